package otlp

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
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

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
)

// collect starts the Collector's receiver, and returns where it listens and what it took.
func collect(t *testing.T) (endpoint string, taken *consumertest.TracesSink) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close() // for the receiver, which cannot be given a listener
	factory := otlpreceiver.NewFactory()
	config := factory.CreateDefaultConfig()
	if err := confmap.NewFromStringMap(map[string]any{"protocols": map[string]any{"http": map[string]any{"endpoint": addr}}}).Unmarshal(config); err != nil {
		t.Fatal(err)
	}
	taken = new(consumertest.TracesSink)
	r, err := factory.CreateTraces(t.Context(), receivertest.NewNopSettings(factory.Type()), config, taken)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(context.Background(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return "http://" + addr, taken
}

// A process is weir, running.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	mu  sync.Mutex
	log strings.Builder
	end chan struct{}
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(os.Getenv("WEIR"), args...), end: make(chan struct{})}
	out, err := p.cmd.StderrPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process
		defer close(p.end)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.mu.Lock()
			fmt.Fprintln(&p.log, lines.Text())
			p.mu.Unlock()
		}
	}()
	t.Cleanup(func() { p.stop() })
	return p
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// says waits for a line of the log, and returns what it says.
func (p *process) says(pattern string) string {
	p.t.Helper()
	var found []string
	until(p.t, func() string { return pattern + " in:\n" + p.said() }, func() bool {
		found = regexp.MustCompile(pattern).FindStringSubmatch(p.said())
		return found != nil
	})
	return found[1]
}

// stop stops the process in good order, once.
func (p *process) stop() {
	if p.cmd.ProcessState != nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.end
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("%v: %v\n%s", p.cmd.Args, err, p.said())
	}
}

func until(t *testing.T, what func() string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); !cond(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("waited in vain for " + what())
		}
	}
}

// A trace is its spans by name, each with the service that sent it.
type trace map[string]span

type span struct {
	ptrace.Span
	service string
}

func traces(t *testing.T, taken *consumertest.TracesSink) map[string]trace {
	t.Helper()
	all := make(map[string]trace)
	for _, one := range taken.AllTraces() {
		for _, of := range one.ResourceSpans().All() {
			service, _ := of.Resource().Attributes().Get("service.name")
			for _, scope := range of.ScopeSpans().All() {
				for _, s := range scope.Spans().All() {
					id := s.TraceID().String()
					if all[id] == nil {
						all[id] = make(trace)
					}
					if _, twice := all[id][s.Name()]; twice {
						t.Errorf("trace %s has two spans of %s", id, s.Name())
					}
					all[id][s.Name()] = span{s, service.Str()}
				}
			}
		}
	}
	return all
}

// TestTracesReachTheCollector has one process decide and record, another one the desk, and
// wants of every payment one trace with the spans of both, as the Collector reads them.
func TestTracesReachTheCollector(t *testing.T) {
	endpoint, taken := collect(t)
	dir := t.TempDir()
	traced := []string{"--otlp-endpoint", endpoint, "--otlp-sample", "1", "--listen", "127.0.0.1:0", "--spec", "payments"}
	up := start(t, append([]string{"up", "--data", filepath.Join(dir, "up"), "--broker", "127.0.0.1:0", "--web", "off"}, traced...)...)
	broker := up.says(`msg=broker address=(\S+)`)
	desk := start(t, append([]string{"desk", "--data", filepath.Join(dir, "desk"), "--kafka", broker, "--web", "127.0.0.1:0"}, traced...)...)
	desk.says(`msg="serves the desk" address=(\S+)`)
	pay := exec.Command(os.Getenv("WEIR"), "simulate", "--kafka", broker, "--customers", "150", "--days", "2", "--fraud-share", "0.2", "--resent-share", "0", "--json")
	out, err := pay.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var paid struct{ Transactions int }
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &paid); err != nil || paid.Transactions < 100 {
		t.Fatalf("%v: %s", err, out)
	}
	payments := paid.Transactions
	whole := func() (n, alerts int) {
		for _, one := range traces(t, taken) {
			want := []string{"history", "publish", "step", "transaction", "wait"}
			root, ok := one["transaction"]
			if !ok {
				continue
			}
			if action, _ := root.Attributes().Get("weir.action"); action.Str() != "allow" {
				alerts++
				want = []string{"alert", "desk", "history", "publish", "step", "transaction", "wait"}
			}
			if slices.Equal(slices.Sorted(maps.Keys(one)), want) {
				n++
			}
		}
		return n, alerts
	}
	until(t, func() string {
		n, alerts := whole()
		return fmt.Sprintf("%d whole traces, of %d; %d alerts", n, payments, alerts)
	}, func() bool {
		n, _ := whole()
		return n >= payments
	})
	desk.stop()
	up.stop()
	if all := traces(t, taken); len(all) != payments {
		t.Errorf("%d traces of %d payments", len(all), payments)
	}
	_, alerts := whole()
	if alerts == 0 {
		t.Error("no alert was raised, so that the desk is not tried")
	}
	for id, one := range traces(t, taken) {
		root := one["transaction"]
		for name, s := range one {
			if want := map[bool]string{true: "weir-desk", false: "weir-up"}[name == "desk"]; s.service != want {
				t.Errorf("%s is of %s, not of %s", name, s.service, want)
			}
			if name != "transaction" && s.ParentSpanID() != root.SpanID() || s.EndTimestamp() < s.StartTimestamp() || s.StartTimestamp() < root.StartTimestamp() {
				t.Errorf("trace %s: %s is not below its root", id, name)
			}
		}
		if root.Kind() != ptrace.SpanKindConsumer || !root.ParentSpanID().IsEmpty() || root.TraceState().AsRaw() != "ot=th:0" {
			t.Errorf("trace %s: the root is %v, of %v, with %q", id, root.Kind(), root.ParentSpanID(), root.TraceState().AsRaw())
		}
	}
}
