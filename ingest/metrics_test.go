package ingest

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
)

// A noting is a registerer that notes what is registered.
type noting struct {
	prometheus.Registerer
	names map[string]string // the labels of each metric
}

var described = regexp.MustCompile(`fqName: "(\w+)".*variableLabels: \{([\w,]*)\}`)

func (n *noting) MustRegister(list ...prometheus.Collector) {
	for _, c := range list {
		descs := make(chan *prometheus.Desc, 10)
		c.Describe(descs)
		close(descs)
		for d := range descs {
			m := described.FindStringSubmatch(d.String())
			n.names[m[1]] = m[2]
		}
	}
	n.Registerer.MustRegister(list...)
}

// documented returns the metrics that the comment of a file lists, with their labels.
func documented(t *testing.T, file string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "//\tweir_") {
			continue
		}
		list, _, _ := strings.Cut(line[3:], "  ")
		for _, m := range regexp.MustCompile(`(weir_\w+)(?:\{([\w,]+)\})?`).FindAllStringSubmatch(list, -1) {
			names[m[1]] = m[2]
		}
	}
	return names
}

// TestEveryMetricIsDocumented compares what is registered with the lists in the
// comments of Metrics and RecorderMetrics, both ways, and has Prometheus' linter look
// at one sample of each.
func TestEveryMetricIsDocumented(t *testing.T) {
	for _, c := range []struct {
		file string
		make func(r prometheus.Registerer)
	}{
		{"metrics.go", func(r prometheus.Registerer) {
			m := NewMetrics(r)
			m.decided(schemas.Verdict{Outcome: schemas.Rejected, Reason: schemas.BadJSON})
			m.Malformed.WithLabelValues("labels").Inc()
			m.Lag.WithLabelValues("0").Set(1)
			m.Halted.WithLabelValues("state_full").Set(1)
			m.Model.WithLabelValues("champion", "00").Set(1)
			m.WatchShare.WithLabelValues("champion").Set(1)
			m.WatchAlarms.WithLabelValues("drift").Inc()
			m.Refused.WithLabelValues("champion", "truncated").Inc()
			m.PSI.WithLabelValues("amount").Set(.1)
			m.ScorePSI.WithLabelValues().Set(.1)
			m.Missing.WithLabelValues("amount").Set(.1)
			m.AlertRate.WithLabelValues().Set(.1)
		}},
		{"record_metrics.go", func(r prometheus.Registerer) {
			m := NewRecorderMetrics(r)
			m.at("ledger", 0, 1, 2)
			m.wrote("ledger", 3)
			m.Tell([]history.Figure{{Quantity: "precision/7d", Value: .5}, {Quantity: "recall/7d", Value: .5}, {Quantity: "calibration/90d", Value: 1}})
		}},
	} {
		reg := prometheus.NewPedanticRegistry()
		n := &noting{Registerer: reg, names: make(map[string]string)}
		c.make(n)
		if want := documented(t, c.file); !maps.Equal(n.names, want) {
			t.Errorf("%s documents\n%v\nand registered are\n%v", c.file, listed(want), listed(n.names))
		}
		problems, err := testutil.GatherAndLint(reg)
		if err != nil {
			t.Error(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
		if samples, err := reg.Gather(); err != nil || len(samples) != len(n.names) {
			t.Errorf("%s: %d metrics of %d are gathered, %v", c.file, len(samples), len(n.names), err)
		}
	}
}

func listed(names map[string]string) (list []string) {
	for _, name := range slices.Sorted(maps.Keys(names)) {
		list = append(list, name+"{"+names[name]+"}")
	}
	return list
}

// TestHistogramsAreNative finds the exponential buckets beside the classic ones in
// every histogram that was observed.
func TestHistogramsAreNative(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := NewMetrics(reg)
	histograms := map[string]prometheus.Histogram{"weir_step_seconds": m.Step, "weir_decision_seconds": m.Decision, "weir_step_records": m.Records,
		"weir_snapshot_pause_seconds": m.SnapPause, "weir_snapshot_seconds": m.SnapWrite, "weir_takeover_seconds": m.TakeOver}
	for _, h := range histograms {
		h.Observe(0.004)
	}
	samples, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, s := range samples {
		h := s.GetMetric()[0].GetHistogram()
		if h == nil {
			continue
		}
		seen++
		if histograms[s.GetName()] == nil || h.GetSampleCount() != 1 || len(h.GetBucket()) == 0 || len(h.GetPositiveSpan()) == 0 || h.GetSchema() < 1 {
			t.Errorf("%s is no native histogram of one observation: %v", s.GetName(), h)
		}
	}
	if seen != len(histograms) {
		t.Errorf("%d histograms, want %d", seen, len(histograms))
	}
}

// observed returns what a histogram of a registry was told: how often, and in all.
func observed(t testing.TB, reg *prometheus.Registry, name string) (times uint64, sum float64) {
	t.Helper()
	samples, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range samples {
		if s.GetName() == name {
			h := s.GetMetric()[0].GetHistogram()
			return h.GetSampleCount(), h.GetSampleSum()
		}
	}
	t.Fatalf("there is no histogram %s", name)
	return 0, 0
}

// TestReadyOnceCaughtUp holds a node's fetches back while the ledger is to be folded:
// it is not ready, and says so, until it has come to the end.
func TestReadyOnceCaughtUp(t *testing.T) {
	t.Parallel() // it mostly waits
	w := newWorld(t, "payments", 1)
	n := w.payments(100, 21, 1)
	w.runUntil(n, nil)
	cable := &wires{}
	held := cable.hold()
	r := w.join(cable, func(*Config) {})
	release := sync.OnceFunc(func() { close(held) })
	t.Cleanup(release) // a node that is held back does not stop
	w.until(func() string { return "the node reads nothing" }, func() bool { return cable.waiting() > 0 })
	if s := r.node.Status(); s.Ready || s.Reason == "" {
		t.Errorf("ready before the ledger is folded: %+v", s)
	}
	release()
	r.until("is ready", func(s Status) bool { return s.Ready })
	if s := r.node.Status(); s.Reason != "" || s.Counts.Decisions() != n {
		t.Errorf("ready, but %+v", s)
	}
}

// TestLagFallsToZero has a node that is held up while more comes than its fetchers
// take in hand, and lets it go on.
func TestLagFallsToZero(t *testing.T) {
	w := newWorld(t, "payments", 2)
	n := w.payments(3000, 22, 2)
	hold := make(chan struct{})
	var once sync.Once
	r := w.start(func(c *Config) {
		c.FetchBytes, c.RowsMax = 10_000, 50
		c.OnPublished = func([]schemas.Place, []schemas.Verdict) { once.Do(func() { <-hold }) }
	})
	release := sync.OnceFunc(func() { close(hold) })
	t.Cleanup(release)
	lag := func() (sum float64) {
		for _, p := range []string{"0", "1"} {
			sum += testutil.ToFloat64(r.node.Metrics.Lag.WithLabelValues(p))
		}
		return sum
	}
	r.until("lags", func(Status) bool { return lag() > 0 })
	release()
	r.decided(n)
	r.until("lags no more", func(Status) bool { return lag() == 0 })
}

// TestFiguresAreTold has days of two bundles, the last one's larger told.
func TestFiguresAreTold(t *testing.T) {
	m := NewRecorderMetrics(prometheus.NewRegistry())
	f := func(day int64, bundle uint64, quantity string, v float64) history.Figure {
		return history.Figure{Day: day, Bundle: bundle, Quantity: quantity, Value: v}
	}
	m.Tell([]history.Figure{
		f(1, 5, "decisions", 10), f(1, 5, "precision/1d", .1), f(1, 5, "precision/7d", .2), f(1, 5, "precision_low/7d", .9), f(1, 5, "psi/amount", .9),
		f(2, 5, "decisions", 70), f(2, 5, "precision/1d", .3), f(2, 6, "decisions", 30), f(2, 6, "precision/1d", .4), f(2, 6, "recall/1d", .6),
	})
	for _, want := range []struct {
		quantity, age string
		value         float64
	}{{"precision", "1d", .3}, {"precision", "7d", .2}, {"recall", "1d", .6}} {
		if got := testutil.ToFloat64(m.Live[want.quantity].WithLabelValues(want.age)); got != want.value {
			t.Errorf("%s at %s is %g, not %g", want.quantity, want.age, got, want.value)
		}
	}
	if n := testutil.CollectAndCount(m.Live["precision"]) + testutil.CollectAndCount(m.Live["calibration"]); n != 2 {
		t.Errorf("%d series", n)
	}
}

// TestLagGrowsWhileTheLedgerTakesNothing has the broker refuse what is decided: the
// fetchers ask for nothing more then, and what waits grows all the same.
func TestLagGrowsWhileTheLedgerTakesNothing(t *testing.T) {
	embedded(t)
	w := newWorld(t, "payments", 1)
	n := w.payments(600, 23, 1)
	r := w.start(watchful)
	r.decided(n)
	away := w.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: w.topics.Decisions, Err: kerr.NotEnoughReplicas, Count: -1})
	lag := func() float64 { return testutil.ToFloat64(r.node.Metrics.Lag.WithLabelValues("0")) }
	// How many records the fetchers take before they have no room hangs on how fast these
	// are written; what comes then waits.
	r.until("the lag is seen", func(Status) bool {
		if lag() < 500 && n < 20_000 {
			n += w.more(50)
		}
		return lag() >= 500
	})
	away.Remove()
	r.decided(n)
	r.until("nothing waits", func(Status) bool { return lag() == 0 })
}
