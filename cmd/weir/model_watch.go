package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/trainer"
)

// watchDays is how many days weir model watch shows where it is not told.
const watchDays = 14

// watchedDay is a day of a bundle: a line of --json.
type watchedDay struct {
	Day       string             `json:"day"`
	Bundle    string             `json:"bundle"` // the beginning of the hash, as decisions have it
	Name      string             `json:"name,omitempty"`
	Decisions int64              `json:"decisions"`
	AlertRate float64            `json:"alert_rate"`
	ScorePSI  *float64           `json:"score_psi,omitempty"` // nil where the bundle has no profile, or is not known
	PSI       map[string]float64 `json:"psi,omitempty"`
	Missing   map[string]float64 `json:"missing,omitempty"`
	Labels    []watchedAge       `json:"labels"` // by age

	bundle uint64
	moved  []string // features by falling index, without those that move by their nature
}

// watchedAge is what was known of a day at an age of it.
type watchedAge struct {
	Age         string           `json:"age"`
	Labelled    int64            `json:"labelled"`
	Alerts      int64            `json:"alerts"` // of which it was known what they were
	Precision   *watchedEstimate `json:"precision,omitempty"`
	Recall      *watchedEstimate `json:"recall,omitempty"`
	Calibration *watchedEstimate `json:"calibration,omitempty"`
}

// watchedEstimate is a figure with its 95 % interval.
type watchedEstimate struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// watchLive prints how the days of the history were.
func (m *modelRun) watchLive(ctx context.Context, e *env) error {
	c := m.compare
	bundles, err := m.challengers(ctx, e)
	if err != nil {
		return err
	}
	s, err := m.labelSpec(bundles)
	if err != nil {
		return err
	}
	store, err := c.open(ctx, e)
	if err != nil {
		return err
	}
	defer store.Close()
	newest, err := store.Newest(ctx)
	if err != nil {
		return err
	}
	if c.asOf.set {
		newest = min(newest, c.asOf.ms)
	}
	from, to := newest-(watchDays-1)*dayMs, newest+1
	if c.from.set {
		from = c.from.ms
	}
	if c.to.set {
		to = min(to, c.to.ms)
	}
	w := trainer.NewWatch(store, s, bundles)
	if c.ripe.set {
		w.Ripe = c.ripe.Duration
	}
	figures, err := c.figures(ctx, w, store, from, to, newest)
	if err != nil {
		return err
	}
	days := watchedDays(figures, w, bundles)
	if !e.json {
		printWatched(e, days, newest)
	}
	return e.report(map[string]any{"newest": rfc3339(newest), "ripe": spanText(w.Ripe), "days": days})
}

// open opens the history, which must be there.
func (c *comparison) open(ctx context.Context, e *env) (history.Store, error) {
	if file := filepath.Join(c.data, "history.db"); c.history.url == "" {
		if _, err := os.Stat(file); err != nil {
			return nil, fmt.Errorf("read the history: %w; --history or --data says where it is", err)
		}
	}
	return c.history.open(ctx, e, c.data)
}

// figures returns the figures of days: those that are noted, and the others made now.
// The newest day goes on, and is looked at all the same.
func (c *comparison) figures(ctx context.Context, w *trainer.Watch, d history.Diary, from, to, newest int64) (list []history.Figure, err error) {
	from -= ((from % dayMs) + dayMs) % dayMs
	noted, err := d.Figures(ctx, from, to)
	if err != nil {
		return nil, err
	}
	have := trainer.Noted(noted)
	if !c.ripe.set { // otherwise they are by another age
		list = noted
	}
	for day := from; day < to; day += dayMs {
		for _, age := range append([]time.Duration{0}, w.Ages()...) {
			if !c.ripe.set && have(day, age) || age > 0 && !w.Over(day, age, newest) {
				continue
			}
			some, err := w.At(ctx, day, age)
			if err != nil {
				return nil, err
			}
			list = append(list, some...)
		}
	}
	return list, nil
}

// watchedDays arranges figures by day and bundle.
func watchedDays(figures []history.Figure, w *trainer.Watch, bundles []*scoring.Bundle) []*watchedDay {
	type key struct {
		day    int64
		bundle uint64
	}
	values := make(map[key]map[string]float64)
	for _, f := range figures {
		if f.Bundle == 0 {
			continue
		}
		k := key{f.Day, f.Bundle}
		if values[k] == nil {
			values[k] = make(map[string]float64)
		}
		values[k][f.Quantity] = f.Value
	}
	names := make(map[uint64]string)
	for _, b := range bundles {
		names[b.Prefix()] = b.Name
	}
	list := []*watchedDay{}
	for k, v := range values {
		d := &watchedDay{Day: rfc3339(k.day)[:len(time.DateOnly)], Bundle: fmt.Sprintf("%016x", k.bundle), Name: names[k.bundle], bundle: k.bundle,
			Decisions: int64(v[trainer.QuantityDecisions]), AlertRate: v[trainer.QuantityAlertRate],
			PSI: named(v, trainer.QuantityPSI), Missing: named(v, trainer.QuantityMissing), Labels: []watchedAge{}}
		d.moved = movedMost(d.PSI, w.Spec)
		if psi, ok := v[trainer.QuantityScorePSI]; ok {
			d.ScorePSI = &psi
		}
		for _, age := range w.Ages() {
			at := "/" + trainer.AgeText(age)
			if labelled, ok := v[trainer.QuantityLabelled+at]; ok {
				d.Labels = append(d.Labels, watchedAge{trainer.AgeText(age), int64(labelled), int64(v[trainer.QuantityAlerts+at]),
					estimateOf(v, trainer.QuantityPrecision, at), estimateOf(v, trainer.QuantityRecall, at), estimateOf(v, trainer.QuantityCalibration, at)})
			}
		}
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b *watchedDay) int { return strings.Compare(a.Bundle+a.Day, b.Bundle+b.Day) })
	return list
}

// movedMost returns the features by falling index, without those that move by their
// nature.
func movedMost(psi map[string]float64, s *spec.Spec) []string {
	names := slices.SortedFunc(maps.Keys(psi), func(a, b string) int {
		return cmp.Or(cmp.Compare(psi[b], psi[a]), strings.Compare(a, b))
	})
	nature := make(map[string]bool)
	for i := range s.Features {
		nature[s.Features[i].Name] = s.MovesByNature(i)
	}
	return slices.DeleteFunc(names, func(name string) bool { return nature[name] })
}

// named returns the quantities of features.
func named(values map[string]float64, prefix string) map[string]float64 {
	m := make(map[string]float64)
	for quantity, v := range values {
		if name, ok := strings.CutPrefix(quantity, prefix); ok {
			m[name] = v
		}
	}
	return m
}

func estimateOf(v map[string]float64, quantity, at string) *watchedEstimate {
	value, ok := v[quantity+at]
	if !ok {
		return nil
	}
	return &watchedEstimate{value, v[quantity+trainer.LowEnd+at], v[quantity+trainer.HighEnd+at]}
}

func printWatched(e *env, days []*watchedDay, newest int64) {
	if len(days) == 0 {
		e.printf("no bundle decided anything in these days\n")
		return
	}
	for i, d := range days {
		if i == 0 || d.bundle != days[i-1].bundle {
			if i > 0 {
				e.printf("\n")
			}
			e.printf("bundle %s  %s\n", d.Bundle, d.Name)
			e.printf("%-10s %10s %8s %7s  %-44s  %s\n", "day", "decisions", "alerts", "score", "moved most", "by age of label: precision, recall, expected/seen")
		}
		d.print(e)
		if rfc3339(newest)[:len(time.DateOnly)] == d.Day {
			e.printf("%-10s of this day there will be more\n", "")
		}
	}
	e.printf("\nscore and moved most: population stability index against the days of training;\nabove %.2f is much. Days of the week, ages and running counts move by their nature\nand are left out of it; --json has all. In brackets 95 %% intervals.\n", scoring.IndexMuch)
}

func (d *watchedDay) print(e *env) {
	score, moved := "-", "-"
	if d.ScorePSI != nil {
		score = fmt.Sprintf("%.3f", *d.ScorePSI)
	}
	if len(d.moved) > 0 {
		moved = fmt.Sprintf("%.3f %s", d.PSI[d.moved[0]], d.moved[0])
		much := 0
		for _, name := range d.moved {
			if d.PSI[name] > scoring.IndexMuch {
				much++
			}
		}
		if much > 1 {
			moved += fmt.Sprintf(" and %d more", much-1)
		}
	}
	e.printf("%-10s %10s %6.2f %% %7s  %-44s ", d.Day, thousands(d.Decisions), 100*d.AlertRate, score, moved)
	for _, a := range d.Labels {
		if a.Precision == nil && a.Recall == nil {
			continue
		}
		e.printf("  %s:", a.Age)
		for _, part := range []*watchedEstimate{a.Precision, a.Recall, a.Calibration} {
			if part == nil {
				e.printf(" -")
			} else {
				e.printf(" %.2f (%.2f-%.2f)", part.Value, part.Low, part.High)
			}
		}
	}
	e.printf("\n")
}

// addNotes declares how often a recorder looks whether a day is over.
func addNotes(fs *flag.FlagSet) *time.Duration {
	return fs.Duration("note-every", time.Minute, "note in the history what days came to, once they are over: look for such\ndays after each such `TIME`")
}

// A noter notes in the history what days came to, once they are over.
type noter struct {
	store  history.Store
	models *ingest.Models
	known  map[[32]byte]*scoring.Bundle
	watch  *trainer.Watch // nil before there is a bundle
	told   bool           // the metrics were, since the start
	metric *ingest.RecorderMetrics
}

// watch makes the role of a noter, beside the recorder of the history.
func (s *service) watch(store history.Store, beside *ingest.Recorder, every time.Duration) role {
	// A yardstick needs no trust: nothing is decided by it.
	n := &noter{store: store, models: ingest.NewModels(s.client, s.topics, nil), known: make(map[[32]byte]*scoring.Bundle), metric: beside.Metrics}
	return role{"watch", func(ctx context.Context) error {
		said := ""
		for sleep(ctx, every) == nil {
			noted, err := n.round(ctx)
			if noted > 0 {
				s.log.Info("days noted in the history", "days_and_ages", noted)
			}
			switch {
			case ctx.Err() != nil || err == nil || errors.Is(err, history.ErrNone), errors.Is(err, history.ErrOlder): // the recorder migrates
			case err.Error() != said:
				said = err.Error()
				s.log.Warn("what days came to is not noted; tried again", "cause", err)
			}
		}
		return nil
	}}
}

// round notes what is over and not noted yet.
func (n *noter) round(ctx context.Context) (noted int, err error) {
	fresh, err := n.read(ctx)
	if err != nil {
		return 0, err
	}
	if fresh != nil {
		s, err := spec.Parse(fresh.Spec.Name, fresh.Spec.Text)
		if err != nil {
			return 0, err
		}
		n.watch = trainer.NewWatch(n.store, s, slices.Collect(maps.Values(n.known)))
	}
	if n.watch == nil {
		return 0, nil
	}
	newest, err := n.store.Newest(ctx)
	if err != nil || newest == 0 {
		return 0, err
	}
	if ages := n.watch.Ages(); !n.told {
		if err := n.tell(ctx, newest-ages[len(ages)-1].Milliseconds()-watchDays*dayMs, newest); err != nil {
			return 0, err
		}
		n.told = true
	}
	return n.watch.Record(ctx, n.store, newest, func(day int64) error { return n.tell(ctx, day, day+dayMs) })
}

// tell tells the metrics what is noted of days.
func (n *noter) tell(ctx context.Context, from, to int64) error {
	figures, err := n.store.Figures(ctx, from, to)
	if err == nil {
		n.metric.Tell(figures)
	}
	return err
}

// read reads what bundles the topic holds that are not known yet, and returns the last
// of them.
func (n *noter) read(ctx context.Context) (fresh *scoring.Bundle, err error) {
	if err := n.models.Read(ctx); err != nil {
		return nil, err
	}
	for _, hash := range n.models.Bundles() {
		if _, ok := n.known[hash]; ok {
			continue
		}
		data, err := n.models.File(ctx, hash)
		if err != nil {
			return nil, err
		}
		// One that cannot be read decides nothing.
		if b, _, err := readAnyBundle(bundleFile{fmt.Sprintf("%.8x", hash), data}); err == nil {
			// Years of models would not fit into memory with their networks.
			fresh = &scoring.Bundle{Name: b.Name, Hash: b.Hash, Spec: b.Spec, Features: b.Features, Profile: b.Profile}
			n.known[hash] = fresh
		}
	}
	return fresh, nil
}
