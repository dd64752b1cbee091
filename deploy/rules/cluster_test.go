package rules

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A node is weir as a process of its own. One that is started again serves at the address
// that it had.
type node struct {
	t    *testing.T
	name string
	args []string
	env  []string
	at   string // of /metrics
	web  string // of the desk

	mu     sync.Mutex
	log    bytes.Buffer
	cmd    *exec.Cmd
	exited chan struct{}
}

var (
	servesAt = regexp.MustCompile(`serves metrics" address=(\S+)`)
	deskAt   = regexp.MustCompile(`serves the desk" address=(\S+)`)
)

// start starts the process and waits until it serves.
func (n *node) start() {
	n.t.Helper()
	name, err := weir()
	if err != nil {
		n.t.Fatal(err)
	}
	listen := n.at
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	n.cmd = exec.Command(name, append(slices.Clone(n.args), "--listen", listen)...)
	n.cmd.Env = append(os.Environ(), n.env...)
	stderr, err := n.cmd.StderrPipe()
	if err == nil {
		err = n.cmd.Start()
	}
	if err != nil {
		n.t.Fatal(err)
	}
	n.mu.Lock()
	n.log.Reset()
	n.mu.Unlock()
	n.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) { // ends with the process
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			n.mu.Lock()
			n.log.WriteString(lines.Text() + "\n")
			n.mu.Unlock()
		}
		_ = cmd.Wait()
		close(exited)
	}(n.cmd, n.exited)
	until(n.t, n.name+" serves", n.said, func() bool {
		m := servesAt.FindStringSubmatch(n.said())
		if m != nil {
			n.at = m[1]
		}
		if m := deskAt.FindStringSubmatch(n.said()); m != nil {
			n.web = m[1]
		}
		return m != nil
	})
}

func (n *node) said() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.String()
}

// end ends the process by a signal, and waits for it.
func (n *node) end(s syscall.Signal) {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Signal(s)
	select {
	case <-n.exited:
	case <-time.After(20 * time.Second):
		_ = n.cmd.Process.Kill()
		<-n.exited
	}
	n.cmd = nil
}

// exports reports whether /metrics has a text.
func (n *node) exports(text string) bool {
	resp, err := http.Get("http://" + n.at + "/metrics")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return err == nil && strings.Contains(string(body), text)
}

// decides reports whether it is the scorer that does.
func (n *node) decides() bool { return n.exports("\nweir_owner 1\n") }

// until waits for a condition; what else is known is told where it was in vain.
func until(t *testing.T, what string, more func() string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(45 * time.Second); !cond(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s\n%.6000s", what, more())
		}
	}
}

// A watcher is a real Prometheus that scrapes nodes.
type watcher struct {
	t     *testing.T
	dir   string
	at    string
	began time.Time
	cmd   *exec.Cmd
	fired map[string]bool // alerts that fired at some time
	gone  map[string]bool // and of these, those that cleared
}

// shorter is what a duration of the rules is in a test: minutes become seconds, and hours
// and days are drawn together, in their order.
var shorter = map[string]string{"1m": "1s", "2m": "2s", "5m": "4s", "10m": "5s", "15m": "6s", "30m": "7s", "1h": "7s", "1d": "8s", "7d": "24s", "30d": "30s"}

// fewer are bounds that are lower in a test, where two hundred come a second.
var fewer = strings.NewReplacer("(weir_history_lag) > 500000", "(weir_history_lag) > 1000")

var (
	forLine = regexp.MustCompile(`(?m)^(        for: )(\w+)$`)
	ranges  = regexp.MustCompile(`\[(\w+)(:1m)?\]`)
)

// scaled shortens every duration of the rules, "for" and the ranges alike. A range is 5 s or
// longer, to hold several scrapes. But for the bounds of fewer nothing else is changed.
func scaled(t *testing.T, rules string) string {
	t.Helper()
	short := func(text string) string {
		if shorter[text] == "" {
			t.Fatalf("%q is no duration that is known here", text)
		}
		return shorter[text]
	}
	rules = forLine.ReplaceAllStringFunc(rules, func(s string) string {
		m := forLine.FindStringSubmatch(s)
		return m[1] + short(m[2])
	})
	rules = ranges.ReplaceAllStringFunc(rules, func(s string) string {
		m := ranges.FindStringSubmatch(s)
		text := short(m[1])
		switch m[1] {
		case "5m":
			text = "5s"
		case "10m":
			text = "10s" // for so many log-ins
		}
		if m[2] != "" {
			text = "16s:1s" // what is compared with the past is to outlast its "for"
		}
		return "[" + text + "]"
	})
	fewerRules := fewer.Replace(rules)
	if fewerRules == rules {
		t.Fatal("the bounds of fewer are those of no rule")
	}
	return fewerRules
}

// watch starts Prometheus with the rules, scaled.
func watch(t *testing.T, dir string) *watcher {
	t.Helper()
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{t: t, dir: dir, at: "127.0.0.1:" + os.Getenv("WEIR_PROMETHEUS_PORT"), began: time.Now(), fired: map[string]bool{}, gone: map[string]bool{}}
	w.write("rules.yaml", scaled(t, string(text)))
	w.write("prometheus.yaml", "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [rules.yaml]\n"+
		"scrape_configs:\n  - job_name: weir\n    file_sd_configs: [{files: [targets.json], refresh_interval: 1s}]\n")
	w.targets()
	log, err := os.Create(filepath.Join(dir, "prometheus.log"))
	if err != nil {
		t.Fatal(err)
	}
	w.cmd = exec.Command(os.Getenv("WEIR_PROMETHEUS")+"/prometheus", "--config.file="+dir+"/prometheus.yaml", "--storage.tsdb.path="+dir+"/tsdb", "--web.listen-address="+w.at)
	w.cmd.Stdout, w.cmd.Stderr = log, log
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = w.cmd.Process.Kill()
		_ = w.cmd.Wait()
	})
	return w
}

func (w *watcher) write(name, text string) {
	if err := os.WriteFile(filepath.Join(w.dir, name+".new"), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(w.dir, name+".new"), filepath.Join(w.dir, name)); err != nil {
		w.t.Fatal(err)
	}
}

// forgotten is a target whose name nobody resolves any more.
const forgotten = "weir-forgotten.invalid:9464"

// targets says which nodes are to be scraped, and what else.
func (w *watcher) targets(nodes ...*node) { w.targetsAnd(nil, nodes...) }

func (w *watcher) targetsAnd(list []string, nodes ...*node) {
	for _, n := range nodes {
		list = append(list, n.at)
	}
	text, err := json.Marshal([]map[string]any{{"targets": list}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.write("targets.json", string(text))
}

// ask asks Prometheus' API; false while it does not answer.
func (w *watcher) ask(path string, to any) bool {
	resp, err := http.Get("http://" + w.at + "/api/v1/" + path)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	body := struct {
		Status, Error string
		Data          any
	}{Data: to}
	text, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(text, &body)
	}
	if err != nil || body.Status != "success" {
		w.t.Errorf("%s: %v %s", path, err, body.Error)
		return false
	}
	return true
}

// firing are the alerts that fire now.
func (w *watcher) firing() (names []string, ok bool) {
	var data struct {
		Alerts []struct {
			State  string
			Labels map[string]string
		}
	}
	if !w.ask("alerts", &data) {
		return nil, false
	}
	for _, a := range data.Alerts {
		if name := a.Labels["alertname"]; a.State == "firing" && !slices.Contains(names, name) {
			names = append(names, name)
			w.fired[name] = true
		}
	}
	slices.Sort(names)
	return names, true
}

func (w *watcher) now() string {
	names, _ := w.firing()
	return fmt.Sprintf("fire now: %q", names)
}

// fires waits until alerts fire.
func (w *watcher) fires(names ...string) {
	w.t.Helper()
	began := time.Now()
	left := slices.Clone(names)
	until(w.t, fmt.Sprintf("%q fire", names), func() string { return fmt.Sprintf("%q do not; %s", left, w.now()) }, func() bool {
		now, _ := w.firing()
		left = slices.DeleteFunc(left, func(n string) bool { return slices.Contains(now, n) })
		return len(left) == 0
	})
	w.t.Logf("%5.1f s  fire after %4.1f s: %s", time.Since(w.began).Seconds(), time.Since(began).Seconds(), strings.Join(names, " "))
}

// clears waits until alerts that fired fire no more.
func (w *watcher) clears(names ...string) {
	w.t.Helper()
	began := time.Now()
	until(w.t, fmt.Sprintf("%q clear", names), w.now, func() bool {
		now, ok := w.firing()
		return ok && !slices.ContainsFunc(names, func(n string) bool { return slices.Contains(now, n) })
	})
	for _, n := range names {
		w.gone[n] = w.fired[n]
	}
	w.t.Logf("%5.1f s clear after %4.1f s: %s", time.Since(w.began).Seconds(), time.Since(began).Seconds(), strings.Join(names, " "))
}

// told is what expressions come to now.
func (w *watcher) told(exprs ...string) string {
	text := w.now()
	for _, expr := range exprs {
		var data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
		w.ask("query?"+url.Values{"query": {expr}}.Encode(), &data)
		text += "\n" + expr
		for _, r := range data.Result {
			text += fmt.Sprintf("\n  %v %v", r.Metric, r.Value[1])
		}
	}
	return text
}

// holds reports whether an expression has a series now.
func (w *watcher) holds(expr string) bool {
	var data struct{ Result []any }
	return w.ask("query?"+url.Values{"query": {expr}}.Encode(), &data) && len(data.Result) > 0
}

// series asks for an expression over the last minutes, and returns how many series it has.
func (w *watcher) series(expr string) int {
	var data struct{ Result []any }
	now := time.Now().Unix()
	q := url.Values{"query": {expr}, "start": {fmt.Sprint(now - 300)}, "end": {fmt.Sprint(now)}, "step": {"5"}}
	w.ask("query_range?"+q.Encode(), &data)
	return len(data.Result)
}

// script runs one of deploy's launchers.
func script(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
}
