package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// A faultyStore stands between a recorder and a history.
type faultyStore struct {
	history.Store
	write func(ctx context.Context, b *history.Block) error
}

func (s *faultyStore) Write(ctx context.Context, b *history.Block) error { return s.write(ctx, b) }

// eachHistory runs a test over SQLite, and over ClickHouse where WEIR_CLICKHOUSE
// names a server.
func eachHistory(t *testing.T, fn func(t *testing.T, s history.Store)) {
	urls := map[string]string{"sqlite": filepath.Join(t.TempDir(), "history.db")}
	if server := os.Getenv("WEIR_CLICKHOUSE"); server != "" {
		u, err := url.Parse(server)
		if err != nil {
			t.Fatal("WEIR_CLICKHOUSE is no URL")
		}
		u.Path = fmt.Sprintf("/weir_test_%08x", rand.Uint32())
		urls["clickhouse"] = u.String()
		t.Cleanup(func() {
			if o, err := clickhouse.ParseDSN(server); err == nil {
				if conn, err := clickhouse.Open(o); err == nil {
					defer conn.Close()
					if err := conn.Exec(context.Background(), "DROP DATABASE "+u.Path[1:]); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for name, at := range urls {
		t.Run(name, func(t *testing.T) {
			s, err := history.Open(t.Context(), at, history.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if _, err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			fn(t, s)
		})
	}
}

// recorder returns a recorder of the world that does not wait.
func (w *world) recorder(s history.Writer, log *bytes.Buffer) *Recorder {
	return NewRecorder(w.log, s, RecorderConfig{
		Topics: w.topics, Every: time.Nanosecond, Now: time.Now,
		After:   func(time.Duration) <-chan time.Time { return time.After(time.Millisecond) },
		Log:     slog.New(slog.NewTextHandler(log, nil)),
		Metrics: NewRecorderMetrics(prometheus.NewRegistry()), Trace: w.traces,
	})
}

// record runs recorders into a store until the history holds as many records of
// each stream as the topics do. Before each write, fault may fail it or, by
// cancelling, end the recorder; the next one then goes on.
func (w *world) record(t *testing.T, s history.Store, fault func(cancel context.CancelFunc, write func() error) error) *Recorder {
	t.Helper()
	want := map[history.Stream]int64{}
	for stream, topic := range map[history.Stream]string{history.Ledger: w.topics.Decisions, history.Alerts: w.topics.Alerts, history.Dispositions: w.topics.Dispositions} {
		_, end, err := w.log.Offsets(t.Context(), topic, 0)
		if err != nil {
			t.Fatal(err)
		}
		at, err := s.Position(t.Context(), stream, 0)
		if err != nil {
			t.Fatal(err)
		}
		if at.Offset < end { // a stage may bring no alerts
			want[stream] = end
		}
	}
	var log bytes.Buffer
	for range 1000 {
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		store := &faultyStore{Store: s}
		store.write = func(ctx context.Context, b *history.Block) error {
			return fault(cancel, func() error {
				err := s.Write(ctx, b)
				if err == nil && b.Next >= want[b.Stream] {
					delete(want, b.Stream)
				}
				return err
			})
		}
		r := w.recorder(store, &log)
		after := r.After
		r.After = func(d time.Duration) <-chan time.Time {
			if len(want) == 0 {
				cancel()
			}
			return after(d)
		}
		if err := r.Run(ctx); err != nil {
			t.Fatal(err)
		}
		late := errors.Is(ctx.Err(), context.DeadlineExceeded)
		cancel()
		if late {
			t.Fatalf("after 60 s %v is not recorded: %+v\n%s", want, r.Status(), log.String())
		}
		if len(want) == 0 {
			return r
		}
	}
	t.Fatal("recorders do not come to an end")
	return nil
}

// decisions counts those of the ledger.
func (w *world) decisions() (n int64) {
	for _, v := range w.ledger() {
		if v[0] == byte(schemas.EntryDecision)<<3|2 {
			n++
		}
	}
	return n
}

// decide has a node decide until there are n decisions at least, in steps of at
// most so many rows. One that was stopped may have decided beyond what it was
// stopped at.
func (w *world) decide(n int64, rows int) {
	w.t.Helper()
	if w.decisions() < n {
		w.runUntil(n, func(c *Config) { c.RowsMax = rows })
	}
}

func noFault(_ context.CancelFunc, write func() error) error { return write() }

// recorded fails the test unless the history holds the ledger byte for byte,
// each decision once, and the alerts.
func (w *world) recorded(t *testing.T, s history.Store, decisions int64) {
	t.Helper()
	want := w.ledger()
	i := 0
	err := s.Batches(t.Context(), 0, 0, func(b *history.Batch) error {
		for _, v := range b.Values {
			if i >= len(want) || !bytes.Equal(v, want[i]) {
				return fmt.Errorf("record %d of the history is not that of the ledger", i)
			}
			i++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if i != len(want) {
		t.Fatalf("history has %d records of the ledger's %d", i, len(want))
	}
	c, err := s.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, alerts, err := w.log.Offsets(t.Context(), w.topics.Alerts, 0)
	if err != nil {
		t.Fatal(err)
	}
	if c.Decisions != decisions || c.Final != decisions || c.Alerts != alerts || c.Labels == 0 {
		t.Fatalf("history has %+v; want %d decisions, as many different ones, %d alerts and labels", c, decisions, alerts)
	}
}

// TestHistoryAloneIsVerified records a stream and has the verifier recompute it
// from the history, without the log.
func TestHistoryAloneIsVerified(t *testing.T) {
	w := newWorld(t, "payments", 2)
	n := w.payments(briefly(6000, 1500), 3, 2)
	w.runUntil(n, nil)
	eachHistory(t, func(t *testing.T, s history.Store) {
		r := w.record(t, s, noFault)
		w.recorded(t, s, n)
		v := NewVerifier(w.spec, features.Options{}, 0, func(_, _ [32]byte) (*scoring.Bundle, scoring.Scorer, error) {
			return w.bundle, w32(t, w.bundle.Model), nil
		})
		err := s.Batches(t.Context(), 0, 0, func(b *history.Batch) error { return v.Batch(&b.Facts, b.Base, b.Values) })
		if err != nil {
			t.Fatal(err)
		}
		if !v.Report.OK() || v.Report.Decisions != n {
			t.Fatalf("%+v", v.Report)
		}
		if rows := testutil.ToFloat64(r.Metrics.Rows.WithLabelValues("ledger")); int(rows) != len(w.ledger()) {
			t.Fatalf("metric says %v rows, the ledger has %d", rows, len(w.ledger()))
		}
		if st := r.Status(); !st.Ready || st.Lag != 0 {
			t.Fatalf("status at the end is %+v", st)
		}
	})
}

// TestRecorderGoesOnAfterAnyFault fails writes before and after they are carried
// out and ends recorders in the middle, at random, while the ledger grows:
// nothing is lost or doubled.
func TestRecorderGoesOnAfterAnyFault(t *testing.T) {
	const seed = 7
	t.Logf("seed %d", seed)
	eachHistory(t, func(t *testing.T, s history.Store) {
		w := newWorld(t, "payments", 2)
		n := w.payments(briefly(4000, 1500), 4, 2)
		random := rand.New(rand.NewPCG(seed, 0))
		broken := errors.New("connection reset by peer")
		faults := 0
		fault := func(cancel context.CancelFunc, write func() error) error {
			kind := random.IntN(6)
			if kind < 4 {
				faults++
			}
			if kind&1 == 0 && kind < 4 {
				cancel() // the recorder ends with this write; another goes on
			}
			switch kind {
			case 0, 1:
				return broken // before it was carried out
			case 2, 3:
				return errors.Join(write(), broken) // after
			}
			return write()
		}
		const stages = 8
		for i := range int64(stages) {
			w.decide(n*(i+1)/stages, 97)
			w.record(t, s, fault)
		}
		if faults < stages {
			t.Fatalf("only %d faults were met", faults)
		}
		w.recorded(t, s, w.decisions())
	})
}

// begunStore says that a block to an offset was begun.
type begunStore struct {
	faultyStore
	begun int64
}

func (s *begunStore) Position(ctx context.Context, stream history.Stream, partition int32) (history.Position, error) {
	at, err := s.faultyStore.Position(ctx, stream, partition)
	if stream == history.Ledger && at.Offset < s.begun {
		at.Begun = s.begun
	}
	return at, err
}

// TestRecorderEndsABlockWhereItWasBegunTo has the ledger grow after a block was
// begun: the block ends where it was said to, and the next goes on from there.
func TestRecorderEndsABlockWhereItWasBegunTo(t *testing.T) {
	w := newWorld(t, "payments", 1)
	n := w.payments(4000, 8, 1)
	w.decide(n/8, 50)
	_, begun, err := w.log.Offsets(t.Context(), w.topics.Decisions, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.decide(n, 50)
	s := sqlite(t)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var ends []int64
	store := &begunStore{faultyStore{Store: s}, begun}
	store.write = func(ctx context.Context, b *history.Block) error {
		if b.Stream == history.Ledger {
			if ends = append(ends, b.Next); len(ends) == 2 {
				cancel()
			}
		}
		return s.Write(ctx, b)
	}
	if err := w.recorder(store, &bytes.Buffer{}).Run(ctx); err != nil {
		t.Fatal(err)
	}
	if len(ends) != 2 || ends[0] != begun || ends[1] <= begun {
		t.Fatalf("blocks end at %v, want the first at %d", ends, begun)
	}
}

// TestRecorderOutlastsTheStore has the store away for a hundred attempts: one
// line in the log, not ready meanwhile, nothing lost.
func TestRecorderOutlastsTheStore(t *testing.T) {
	w := newWorld(t, "payments", 1)
	n := w.payments(1000, 5, 1)
	w.runUntil(n, nil)
	s := sqlite(t)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var log bytes.Buffer
	attempts, ready, lag := 0, false, int64(0)
	store := &faultyStore{Store: s}
	r := w.recorder(store, &log)
	store.write = func(ctx context.Context, b *history.Block) error {
		if attempts++; attempts <= 100 {
			ready = ready || attempts > 2 && r.Status().Ready
			lag = max(lag, r.Status().Lag)
			if up := testutil.ToFloat64(r.Metrics.Up); attempts > 2 && up != 0 {
				t.Errorf("the store is away and the metric says %v", up)
			}
			return errors.New("connection refused")
		}
		return s.Write(ctx, b)
	}
	pauses := 0
	after := r.After
	r.After = func(d time.Duration) <-chan time.Time {
		if pauses++; r.Status().Ready && r.Status().Lag == 0 {
			cancel()
		}
		return after(d)
	}
	if err := r.Run(ctx); err != nil || attempts <= 100 {
		t.Fatalf("after %d attempts: %v, %+v", attempts, err, r.Status())
	}
	w.recorded(t, s, n)
	if ready || lag < n {
		t.Fatalf("while the store was away: ready %v, lag %d of %d records", ready, lag, n)
	}
	if lines := strings.Count(log.String(), "does not answer"); lines != 1 {
		t.Fatalf("the log speaks of the outage in %d lines:\n%s", lines, log.String())
	}
	if got := testutil.ToFloat64(r.Metrics.Up); got != 1 {
		t.Fatalf("the store answers and the metric says %v", got)
	}
	if got := testutil.ToFloat64(r.Metrics.Retries); got != 100 {
		t.Fatalf("metric says %v retries, want 100", got)
	}
}

// TestRecorderRefusesAnotherLedger halts where the history was written from
// another ledger than the one that is there.
func TestRecorderRefusesAnotherLedger(t *testing.T) {
	w, other := newWorld(t, "payments", 1), newWorld(t, "payments", 1)
	w.runUntil(w.payments(300, 6, 1), nil)
	other.runUntil(other.payments(900, 6, 1), nil) // longer: it is not the end that tells
	s := sqlite(t)
	w.record(t, s, noFault)
	at, err := s.Position(t.Context(), history.Ledger, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := other.recorder(s, &bytes.Buffer{})
	if err := r.session(t.Context()); !errors.Is(err, ErrHistoryForeign) {
		t.Fatalf("a history of another ledger gives %v", err)
	}
	if now, err := s.Position(t.Context(), history.Ledger, 0); now != at || err != nil {
		t.Fatalf("position moved from %+v to %+v, %v", at, now, err)
	}
}

// sqlite returns an empty history in a file.
func sqlite(t *testing.T) history.Store {
	t.Helper()
	s, err := history.Open(t.Context(), filepath.Join(t.TempDir(), "history.db"), history.Options{})
	if err == nil {
		t.Cleanup(func() { _ = s.Close() })
		_, err = s.Migrate(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRecorderLeavesOutWhatTheChainDrops has a batch in the ledger that extends
// nothing, and one that was sent twice.
func TestRecorderLeavesOutWhatTheChainDrops(t *testing.T) {
	w := newWorld(t, "payments", 1)
	n := w.payments(1500, 9, 1)
	w.decide(n/3, 50)
	s := sqlite(t)
	stray := schemas.Facts{ID: schemas.BatchID{Writer: 1, Sequence: 1}, Extends: schemas.BatchID{Writer: 2, Sequence: 9}, Records: 1}
	w.append(w.topics.Decisions, &stray, [][]byte{schemas.AppendGapEntry(nil, &schemas.Gap{To: 1})})
	again := w.batches()[0]
	w.append(w.topics.Decisions, &again.facts, again.values)
	w.decide(n, 50)
	w.record(t, s, noFault)
	w.recorded(t, s, n)
}

// TestRecorderSaysWhatIsGone has the log deleted under a recorder. Without a part
// of the ledger it halts: no later part would verify. Of another topic the rest
// is recorded and the loss logged.
func TestRecorderSaysWhatIsGone(t *testing.T) {
	w := newWorld(t, "payments", 1)
	n := w.payments(3000, 10, 1)
	w.decide(n/3, 100)
	s := sqlite(t)
	w.record(t, s, noFault)
	at, err := s.Position(t.Context(), history.Ledger, 0)
	if err != nil {
		t.Fatal(err)
	}
	alerts, err := s.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.decide(n, 100)
	_, end := w.ends(w.topics.Alerts, 0)
	w.retain(w.topics.Alerts, end-1)
	var log bytes.Buffer
	r := w.recorder(s, &log)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	r.After = func(d time.Duration) <-chan time.Time {
		if r.Status().Ready {
			cancel()
		}
		return time.After(time.Millisecond)
	}
	if err := r.Run(ctx); err != nil {
		t.Fatal(err)
	}
	c, err := s.Counts(t.Context())
	if err != nil || c.Alerts != alerts.Alerts+1 || c.Decisions != n || !strings.Contains(log.String(), "deleted before they were recorded") {
		t.Fatalf("of the alerts after %d one is left, the history has %d; %v\n%s", alerts.Alerts, c.Alerts, err, log.String())
	}

	other := sqlite(t)
	w.retain(w.topics.Decisions, at.Offset)
	r = w.recorder(other, &log)
	if err := r.session(t.Context()); !errors.Is(err, kafka.ErrTrimmed) {
		t.Fatalf("a ledger without its beginning gives %v", err)
	}
	ahead := &begunStore{faultyStore{Store: other}, 1 << 40}
	if err := w.recorder(ahead, &log).session(t.Context()); !errors.Is(err, ErrTruncated) {
		t.Fatalf("a ledger that ends before the history does gives %v", err)
	}
}

// TestTheLastDayIsTold has days told in whatever order they are noted in: what is said of
// an age is of the last day that has come to it, and of the bundle that decided most.
func TestTheLastDayIsTold(t *testing.T) {
	figure := func(day int64, bundle uint64, quantity string, v float64) history.Figure {
		return history.Figure{Day: day, Bundle: bundle, Quantity: quantity, Value: v}
	}
	days := [][]history.Figure{
		{figure(1, 1, "decisions", 10), figure(1, 1, "precision/1d", .1), figure(1, 1, "precision/3d", .2), figure(1, 1, "recall/1d", .9)},
		{figure(2, 1, "decisions", 10), figure(2, 2, "decisions", 20), figure(2, 1, "precision/1d", .3), figure(2, 2, "precision/1d", .4)},
		{figure(3, 1, "decisions", 10), figure(3, 0, "labelled/1d", 7)},
	}
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 1, 2, 0}} {
		m := NewRecorderMetrics(prometheus.NewRegistry())
		for _, i := range order {
			m.Tell(days[i])
		}
		for _, x := range []struct {
			quantity, age string
			want          float64
		}{{"precision", "1d", .4}, {"precision", "3d", .2}, {"recall", "1d", .9}} {
			if got := testutil.ToFloat64(m.Live[x.quantity].WithLabelValues(x.age)); got != x.want {
				t.Errorf("%v: %s at %s is %v, not %v", order, x.quantity, x.age, got, x.want)
			}
		}
	}
}
