package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/trainer"
)

// movedFeature is the feature that the past of these tests moves, from a day on.
const movedFeature, movedFrom = 7, pastStart + 28*dayMs

// decidedPast is a past that a bundle learnt from its first half decided, with what is
// below the threshold drawn for review by one of ten.
func decidedPast(t *testing.T, seed uint64, n int) (p *past, b *scoring.Bundle) {
	p = newPast(t, seed, n, 40)
	p.write("past.db")
	data, _ := p.learn("past.db", 20)
	if err := os.WriteFile("model.weir", []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	b, _, err := readAnyBundle(bundleFile{"model.weir", []byte(data)})
	if err != nil {
		t.Fatal(err)
	}
	s, err := cpu.New(b.Model)
	if err != nil {
		t.Fatal(err)
	}
	b.Policy.Review, b.Policy.Explore, b.Policy.ExploreKey = .3, .1, [16]byte{1}
	for i := range p.decisions {
		d := &p.decisions[i]
		if d.Tx.Time >= movedFrom {
			d.Features[movedFeature] += 2
		}
		var score [1]float32
		if err := s.Score(scoring.Matrix{Data: d.Features, Rows: 1, Cols: len(d.Features)}, score[:]); err != nil {
			t.Fatal(err)
		}
		r := b.Decide(score[0], d.Tx.AmountBase, d.Text[schemas.ID])
		d.Bundle, d.Score, d.Prob, d.ReviewProb, d.Action = b.Prefix(), score[0], r.Prob, r.ReviewProb, r.Action
	}
	return p, b
}

// watched runs weir model watch.
func watched(t *testing.T, args ...string) (days []watchedDay, rest map[string]any) {
	t.Helper()
	var line struct {
		Newest string       `json:"newest"`
		Ripe   string       `json:"ripe"`
		Days   []watchedDay `json:"days"`
	}
	lastLine(t, call(t, append([]string{"model", "watch", "--bundle", "model.weir", "--json"}, args...)...).succeeds(t).stdout, &line)
	return line.Days, map[string]any{"newest": line.Newest, "ripe": line.Ripe}
}

// TestWatchSeesWhatMoved has one feature move: its index says so from that day on, and
// no other's does.
func TestWatchSeesWhatMoved(t *testing.T) {
	notForRace(t)
	t.Chdir(t.TempDir())
	p, b := decidedPast(t, 2, 8000)
	p.write("live.db")
	days, _ := watched(t, "--history", "live.db", "--from", rfc3339(pastStart+20*dayMs))
	if len(days) != 21 {
		t.Fatalf("%d days", len(days))
	}
	for _, d := range days[:len(days)-1] { // the last is the beginning of a day
		moved := d.Day > rfc3339(movedFrom)[:10]
		if d.Day == rfc3339(movedFrom)[:10] {
			continue
		}
		for c, name := range b.Features {
			if got, want := d.PSI[name] > .3, moved && c == movedFeature; got != want {
				t.Errorf("%s: %s has an index of %.3f", d.Day, name, d.PSI[name])
			}
		}
		if len(d.PSI) != len(b.Features) || len(d.Missing) != len(b.Features) || d.ScorePSI == nil || !moved && *d.ScorePSI > .2 {
			t.Errorf("%s: %+v", d.Day, d)
		}
	}
	text := call(t, "model", "watch", "--bundle", "model.weir", "--history", "live.db").succeeds(t).stdout
	for _, want := range []string{b.Features[movedFeature], "1d: 0.", "there will be more"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// seenBy is what labels say of a day's decisions, counted one by one.
func (p *past) seenBy(day int64, age time.Duration) (a watchedAge) {
	known := make(map[string]schemas.LabelVerdict)
	for i := range p.labels {
		if l := &p.labels[i]; l.KnownAt <= day+dayMs+age.Milliseconds() {
			known[string(l.TxID)] = l.Verdict
		}
	}
	right, missed := 0.0, 0.0
	for i := range p.decisions {
		d := &p.decisions[i]
		if d.Tx.Time < day || d.Tx.Time >= day+dayMs {
			continue
		}
		verdict := known[string(d.Text[schemas.ID])]
		if verdict != schemas.LabelNone {
			a.Labelled++
			if d.ReviewProb == 1 {
				a.Alerts++
			}
		}
		switch {
		case verdict != schemas.LabelFraud:
		case d.ReviewProb == 1:
			right++
		case d.Action == schemas.Review:
			missed += 10
		}
	}
	a.Precision, a.Recall = &watchedEstimate{Value: right / float64(a.Alerts)}, &watchedEstimate{Value: right / (right + missed)}
	return a
}

// TestWatchCountsLabelsByAge holds what labels say to a count by hand.
func TestWatchCountsLabelsByAge(t *testing.T) {
	notForRace(t)
	t.Chdir(t.TempDir())
	p, _ := decidedPast(t, 3, 5000)
	p.write("live.db")
	days, _ := watched(t, "--history", "live.db", "--from", rfc3339(pastStart+20*dayMs), "--to", rfc3339(pastStart+30*dayMs))
	ages := map[string]time.Duration{"1d": 24 * time.Hour, "3d": 3 * 24 * time.Hour, "7d": 7 * 24 * time.Hour}
	seen := 0
	for _, d := range days {
		at, err := time.Parse(time.DateOnly, d.Day)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range d.Labels {
			age, ok := ages[a.Age]
			if !ok {
				continue
			}
			want := p.seenBy(at.UnixMilli(), age)
			same := func(got, want *watchedEstimate) bool {
				if math.IsNaN(want.Value) {
					return got == nil
				}
				return got != nil && math.Abs(got.Value-want.Value) < 1e-6 && got.Low <= got.Value && got.Value <= got.High
			}
			if a.Labelled != want.Labelled || a.Alerts != want.Alerts || !same(a.Precision, want.Precision) || !same(a.Recall, want.Recall) {
				t.Errorf("%s at %s: %+v, want %+v", d.Day, a.Age, a, want)
			}
			seen++
		}
	}
	if seen != 33 {
		t.Errorf("%d ages of days were looked at", seen)
	}
}

// TestDaysAreNotedOnce records days as a stream goes on, in every store there is, and
// wants what one look at the end finds, to the bit.
func TestDaysAreNotedOnce(t *testing.T) {
	notForRace(t)
	t.Chdir(t.TempDir())
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	p, b := decidedPast(t, seed, 2500)
	stores := []string{"live.db"}
	if u := clickhouseDatabase(t); u != "" {
		stores = append(stores, u)
	}
	var first []history.Figure
	for _, where := range stores {
		p.write(where)
		want, _ := watched(t, "--history", where, "--from", rfc3339(pastStart))
		store, err := history.Open(t.Context(), where, history.Options{})
		if err != nil {
			t.Fatal(err)
		}
		noted := 0
		record := func(day int64) {
			w := trainer.NewWatch(store, p.spec, []*scoring.Bundle{b}) // as after a restart
			last := int64(math.MinInt64)
			n, err := w.Record(t.Context(), store, pastStart+day*dayMs, func(day int64) error {
				if day <= last {
					t.Errorf("day %d is told after day %d", day, last)
				}
				last = day
				if list, err := store.Figures(t.Context(), day, day+dayMs); err != nil || !trainer.Noted(list)(day, 0) {
					t.Errorf("day %d is told, and not noted: %v", day, err)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			noted += n
		}
		for _, day := range []int64{1, 2, 5, 17, 18, 40, 40} {
			record(day)
		}
		// Days 0 to 38 are over, and of each the ages up to what is left, but for a day
		// in which labels may be late.
		if count := 39 + 38 + 36 + 32 + 25 + 11; noted != count {
			t.Errorf("%d days and ages were noted, not %d", noted, count)
		}
		list, err := store.Figures(t.Context(), pastStart-dayMs, pastStart+41*dayMs)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = list
		} else if !slices.Equal(first, list) {
			t.Errorf("%d figures of %s are not the %d of the first store", len(list), "ClickHouse", len(first))
		}
		if got, _ := watched(t, "--history", where, "--from", rfc3339(pastStart)); !reflect.DeepEqual(got, want) {
			t.Errorf("what is noted is not what a look finds: %s", firstDifference(got, want))
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func firstDifference(got, want []watchedDay) string {
	for i := range min(len(got), len(want)) {
		if !reflect.DeepEqual(got[i], want[i]) {
			return fmt.Sprintf("%+v, not %+v", got[i], want[i])
		}
	}
	return fmt.Sprintf("%d days, not %d", len(got), len(want))
}

// A stuckStore notes so many days and ages, and then is away.
type stuckStore struct {
	history.Store
	left int
}

func (s *stuckStore) Note(ctx context.Context, list []history.Figure) error {
	if s.left--; s.left < 0 {
		return errors.New("away")
	}
	return s.Store.Note(ctx, list)
}

// TestARecorderNotesDays has the role beside a recorder note days under the bundles of
// the topic of models, each day once, and nothing before there is a bundle. What is noted is
// told before all is.
func TestARecorderNotesDays(t *testing.T) {
	notForRace(t)
	log, address := brokerWith(t, "transactions")
	if err := log.Ensure(t.Context(), schemas.DefaultTopics("").Layouts(1)); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	p, b := decidedPast(t, 4, 1500)
	p.write("live.db")
	store, err := history.Open(t.Context(), "live.db", history.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	n := &noter{store: store, models: ingest.NewModels(log, schemas.DefaultTopics(""), nil), known: make(map[[32]byte]*scoring.Bundle),
		metric: ingest.NewRecorderMetrics(prometheus.NewRegistry())}
	round := func(want int) {
		t.Helper()
		if noted, err := n.round(t.Context()); noted != want || err != nil {
			t.Fatalf("%d were noted, not %d: %v", noted, want, err)
		}
	}
	round(0)
	call(t, "model", "promote", "--kafka", address, "--key", "sign.key", "--trust", "sign.key.pub", "model.weir").succeeds(t)
	n.store = &stuckStore{store, 60}
	if noted, err := n.round(t.Context()); noted != 60 || err == nil || testutil.CollectAndCount(n.metric.Live["precision"]) == 0 {
		t.Errorf("%d were noted, %v, and none of it is told", noted, err)
	}
	n.store = store
	round(121)
	round(0)
	if got := testutil.CollectAndCount(n.metric.Live["precision"]); got != 5 {
		t.Errorf("precision is told at %d ages", got)
	}
	list, err := store.Figures(t.Context(), pastStart, pastStart+20*dayMs)
	if err != nil || !slices.ContainsFunc(list, func(f history.Figure) bool {
		return f.Bundle == b.Prefix() && f.Quantity == "psi/"+b.Features[movedFeature] && f.Value > 0
	}) {
		t.Errorf("%d figures, %v", len(list), err)
	}
}
