package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
)

var brokerAt = regexp.MustCompile(`msg=broker address=(\S+)`)

// TestStatusOfUp looks at a weir that runs, through its metrics and through Kafka.
func TestStatusOfUp(t *testing.T) {
	t.Parallel()
	up := inBackground(t, "up", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--web", "127.0.0.1:0")
	up.get("/healthz") // it is up
	at, kafka := servesAt.FindStringSubmatch(up.said())[1], brokerAt.FindStringSubmatch(up.said())[1]
	up.until("it is ready", func() bool {
		_, text := up.get("/metrics")
		return strings.Count(text, "\nweir_ready{") == 3 && !strings.Contains(text, "\nweir_ready{role=\"desk\"} 0") &&
			!strings.Contains(text, "\nweir_ready{role=\"score\"} 0") && !strings.Contains(text, "\nweir_ready{role=\"record\"} 0") && strings.Contains(text, "\nweir_owner 1")
	})
	call(t, "simulate", "--kafka", kafka, "--customers", "20", "--days", "5", "--seed", "7").succeeds(t)
	var decided int64
	up.until("all is decided", func() bool {
		_, text := up.get("/readyz")
		var ready struct{ Decisions int64 }
		if err := json.Unmarshal([]byte(text), &ready); err != nil {
			t.Fatal(err)
		}
		still := decided == ready.Decisions
		decided = ready.Decisions
		return still && decided > 100
	})
	text := call(t, "status", "--at", at).succeeds(t).stdout
	for _, want := range []string{"all is well", "score   ready     decides", "record  ready", "desk    ready", "since the start", "lag         0 records in 4 partitions, by the scorer", "champion none", "open "} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	fitsScreen(t, text)

	var r statusReport
	c := call(t, "status", "--at", at+",127.0.0.1:1", "--kafka", kafka, "--json").fails(t, exitFailed)
	if err := json.Unmarshal([]byte(c.stdout), &r); err != nil {
		t.Fatalf("%v: %s", err, c.stdout)
	}
	if r.OK || len(r.Nodes) != 2 || !r.Nodes[0].OK || !r.Nodes[0].Owner || r.Nodes[1].OK || r.Nodes[1].Error == "" || len(r.Problems) != 1 {
		t.Errorf("%+v", r)
	}
	if k := r.Kafka; k == nil || !k.OK || k.Members != 1 || len(k.Lag) != 4 || k.Ledger < decided || sum(r.Decisions) < decided || r.LagFrom != "Kafka" {
		t.Errorf("%+v %+v", r.Kafka, r.Decisions)
	}
	text = call(t, "status", "--at", at, "--kafka", "127.0.0.1:1", "--timeout", "2s").fails(t, exitFailed).stdout
	if !strings.Contains(text, "NOT WELL, 1 problem") || !strings.Contains(text, "Kafka: ") || !strings.Contains(text, "decides") {
		t.Errorf("brokers that are away hide the nodes:\n%s", text)
	}
}

// node serves what a role of weir might say.
func node(t *testing.T, metrics, readyz string) string {
	mux := http.NewServeMux()
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, metrics) })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, readyz)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// TestStatusOfWhatIsNotWell has a row for each node, whatever is the matter with it, and
// obeys none.
func TestStatusOfWhatIsNotWell(t *testing.T) {
	t.Parallel()
	halted := node(t, `weir_ready{role="score"} 0
weir_halted{reason="state_full"} 1
weir_owner 0
weir_decisions_total{outcome="scored",reason=""} 1234567
`, `{"reason":"the state\u001b[2J is `+strings.Repeat("very ", 40)+`full"}`)
	standby := node(t, "weir_ready{role=\"score\"} 1\nweir_owner 0\nweir_snapshot_timestamp_seconds 1000\n", "{}")
	recorder := node(t, "weir_ready{role=\"record\"} 1\nweir_history_up 0\nweir_history_lag{stream=\"ledger\",partition=\"0\"} 42\n", "{}")
	garbage := node(t, "weir_ready{role=} what\n", "{}")
	other := node(t, "process_up 1\n", "{}")
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer slow.Close()
	c := call(t, "status", "--timeout", "1s", "--at", strings.Join([]string{halted, standby, recorder, garbage, other, strings.TrimPrefix(slow.URL, "http://"), "127.0.0.1:1"}, ","))
	c.fails(t, exitFailed)
	for _, want := range []string{"NOT WELL, 7 problems", "NOT READY halted, state_full: the state", "stands by", "cannot be read", "no role of weir",
		"no answer in time", "nobody listens", "none of the scorers asked decides", "DOES NOT ANSWER, 42 records behind", "scored 1,234,567", "lag         unknown"} {
		if !strings.Contains(c.stdout, want) {
			t.Errorf("%q is not in\n%s", want, c.stdout)
		}
	}
	fitsScreen(t, c.stdout)
	call(t, "status", "--at", "nowhere").fails(t, exitUsage, "--at")
	call(t, "status", "--timeout", "0s").fails(t, exitUsage, "--timeout")
}

// fitsScreen sees that a screen is one.
func fitsScreen(t *testing.T, text string) {
	t.Helper()
	lines := strings.Split(text, "\n")
	if len(lines) > 50 {
		t.Errorf("%d lines", len(lines))
	}
	for _, line := range lines {
		if len([]rune(line)) > statusWidth || strings.ContainsFunc(line, unicode.IsControl) {
			t.Errorf("%d characters: %q", len([]rune(line)), line)
		}
	}
}

// TestStatusWatches prints a line a second where there is no terminal, and ends with the
// code of what it saw last.
func TestStatusWatches(t *testing.T) {
	t.Parallel()
	at := node(t, "weir_ready{role=\"score\"} 1\nweir_owner 1\nweir_source_lag{partition=\"0\"} 3\n", "{}")
	for _, x := range []struct {
		at   string
		code int
		want string
	}{{at, exitOK, " well ready=1/1 rate=0 lag=3\n"}, {"127.0.0.1:1", exitFailed, " NOT-WELL ready=0/1 "}} {
		ctx, cancel := context.WithCancel(t.Context())
		var out strings.Builder
		e := &env{stdout: writerFunc(func(p []byte) (int, error) {
			if out.Write(p); strings.Count(out.String(), "\n") == 2 {
				cancel()
			}
			return len(p), nil
		}), stderr: &strings.Builder{}}
		if code := run(ctx, []string{"status", "--watch", "--at", x.at}, e); code != x.code || strings.Count(out.String(), x.want) != 2 {
			t.Errorf("exit code %d, want %d:\n%s", code, x.code, out.String())
		}
		cancel()
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestStatusRate counts over the time between two looks, and not across a restart.
func TestStatusRate(t *testing.T) {
	at := time.Unix(1000, 0)
	look := func(seconds int, decided ...float64) (nodes []statusNode) {
		for _, n := range decided {
			nodes = append(nodes, statusNode{OK: n >= 0, decided: n, at: at.Add(time.Duration(seconds) * time.Second)})
		}
		return nodes
	}
	for _, x := range []struct {
		before, now []statusNode
		want        float64
	}{
		{nil, look(1, 5), 0},
		{look(0, 100, 10), look(2, 300, 20), 105},
		{look(0, 100), look(1, 20), 0},  // it started anew
		{look(0, -1), look(1, 20), 0},   // it did not answer before
		{look(0, 100), look(0, 200), 0}, // no time
	} {
		if got := rate(x.before, x.now); got != x.want {
			t.Errorf("rate %v, want %v", got, x.want)
		}
	}
}
