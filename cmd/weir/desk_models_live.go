package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weir-risk/weir/alerts/desk"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/trainer"
)

// modelsLive is how the models do, by the history.
type modelsLive struct {
	none   string // why nothing is known
	newest int64
	days   map[string][]desk.ModelDay // by the beginning of the hash
	pair   *livePair
}

// livePair is of a champion and a challenger, by the beginnings of their hashes.
type livePair struct {
	champion, challenger string
	desk.ModelPair
}

// How often the history is asked, and over how long. To hold two models against each
// other every decision has to be read, so that is done seldom.
const (
	liveEvery = time.Minute
	pairEvery = 30 * time.Minute
	liveDays  = 28
	pairDays  = 7
)

// run keeps what is known of the history fresh until the context ends: no page waits for
// a history.
func (d *deskModels) run(ctx context.Context) error {
	for said := ""; ; {
		err := d.refresh(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			said = ""
		case err.Error() != said:
			said = err.Error()
			d.service.log.Warn("how models do is not known; tried again", "cause", err)
			d.mu.Lock()
			d.live.none = "The history could not be read, so what is shown may be old: " + said + "."
			d.mu.Unlock()
		}
		if sleep(ctx, liveEvery) != nil {
			return nil
		}
	}
}

// refresh asks the history.
func (d *deskModels) refresh(ctx context.Context) error {
	champion, challenger, bundles, err := d.bundles(ctx)
	if err != nil {
		return err
	}
	var l modelsLive
	if d.past == nil {
		l.none = noHistory
	} else if champion != nil {
		if l, err = readLive(ctx, d.past, champion, bundles); errors.Is(err, history.ErrNone) {
			l.none = noHistory
		} else if err != nil {
			return err
		}
	}
	d.mu.Lock()
	l.pair = d.live.pair
	again := time.Since(d.paired) > pairEvery
	d.mu.Unlock()
	if d.past != nil && l.none == "" && champion != nil && challenger != nil && champion.Hash != challenger.Hash {
		a, b := prefixOf(champion), prefixOf(challenger)
		if again || l.pair == nil || l.pair.champion != a || l.pair.challenger != b {
			if l.pair, err = readPair(ctx, d.past, champion, challenger, l.newest); err != nil {
				return err
			}
			again = true
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if again {
		d.paired = time.Now()
	}
	d.live = l
	return nil
}

func prefixOf(b *scoring.Bundle) string { return fmt.Sprintf("%016x", b.Prefix()) }

// bundles returns the champion, the challenger, and all that were looked at.
func (d *deskModels) bundles(ctx context.Context) (champion, challenger *scoring.Bundle, all []*scoring.Bundle, err error) {
	if _, err := d.look(ctx); err != nil {
		return nil, nil, nil, err
	}
	d.reading.Lock()
	defer d.reading.Unlock()
	for hash, m := range d.known {
		if m.bundle == nil {
			continue
		}
		all = append(all, m.bundle)
		if hash == d.models.Hash(championSlot) {
			champion = m.bundle
		}
		if hash == d.models.Hash(challengerSlot) {
			challenger = m.bundle
		}
	}
	return champion, challenger, all, nil
}

// readLive reads what is noted of the last days.
func readLive(ctx context.Context, store history.Store, champion *scoring.Bundle, bundles []*scoring.Bundle) (l modelsLive, err error) {
	s, err := spec.Parse(champion.Spec.Name, champion.Spec.Text)
	if err != nil {
		return l, err
	}
	if l.newest, err = store.Newest(ctx); err != nil {
		return l, err
	}
	figures, err := store.Figures(ctx, l.newest-liveDays*dayMs, l.newest+1)
	if err != nil {
		return l, err
	}
	nature := make(map[string]bool)
	for i := range s.Features {
		nature[s.Features[i].Name] = s.MovesByNature(i)
	}
	l.days = make(map[string][]desk.ModelDay)
	for _, w := range watchedDays(figures, trainer.NewWatch(store, s, bundles), bundles) { // by bundle, then by day
		l.days[w.Bundle] = append(l.days[w.Bundle], dayOfModel(w, nature))
	}
	return l, nil
}

// dayOfModel is a day for the page. Of labels the oldest say the most.
func dayOfModel(w *watchedDay, nature map[string]bool) desk.ModelDay {
	at, _ := time.Parse(time.DateOnly, w.Day) // it was written so
	d := desk.ModelDay{Day: at.UnixMilli(), Decisions: w.Decisions, AlertRate: w.AlertRate, ScorePSI: w.ScorePSI}
	estimate := func(to **desk.ModelEstimate, e *watchedEstimate, age string) {
		if e != nil {
			*to, d.AtAge = &desk.ModelEstimate{Value: e.Value, Low: e.Low, High: e.High}, age
		}
	}
	for _, a := range w.Labels {
		estimate(&d.Calibration, a.Calibration, a.Age)
		estimate(&d.Recall, a.Recall, a.Age)
		estimate(&d.Precision, a.Precision, a.Age)
	}
	for name, psi := range w.PSI {
		d.Drift = append(d.Drift, desk.FeatureDrift{Name: name, PSI: psi, Missing: w.Missing[name], Nature: nature[name]})
	}
	slices.SortFunc(d.Drift, func(a, b desk.FeatureDrift) int { return strings.Compare(a.Name, b.Name) })
	return d
}

// readPair holds a champion and a challenger against each other, as weir model compare
// does; nil where no payment was scored by both.
func readPair(ctx context.Context, store history.Store, champion, challenger *scoring.Bundle, newest int64) (*livePair, error) {
	s, err := spec.Parse(champion.Spec.Name, champion.Spec.Text)
	if err != nil {
		return nil, err
	}
	q := history.RowQuery{Bare: true, From: newest - pairDays*dayMs, To: newest + 1, AsOf: time.Now().UnixMilli(), Sources: s.Sources[:]}
	t := newTally([]*scoring.Bundle{champion, challenger}, q.AsOf-s.Maturity)
	if err := store.Rows(ctx, q, func(rows *history.Chunk) error { t.add(rows); return nil }); err != nil {
		return nil, err
	}
	for _, p := range t.end() {
		if p.Champion != prefixOf(champion) || p.Challenger != prefixOf(challenger) || p.Alerts == nil {
			continue
		}
		l := &p.Labels
		x := &livePair{p.Champion, p.Challenger, desk.ModelPair{From: p.from, To: p.to, Decisions: p.Rows, Correlation: p.Correlation,
			Both: p.Alerts.Both, OnlyChampion: p.Alerts.Champion, OnlyChallenger: p.Alerts.Challenger, Known: l.Fraud + l.Genuine + l.Presumed}}
		for _, side := range []struct {
			to *desk.PairFigures
			of *judged
			ap *float64
		}{{&x.ModelPair.Champion, &l.Champion, l.ChampionAP}, {&x.ModelPair.Challenger, l.Challenger, l.ChallengerAP}} {
			*side.to = desk.PairFigures{Right: side.of.Fraud, Alerted: side.of.Fraud + side.of.Genuine, Missed: side.of.Missed}
			if side.ap != nil {
				side.to.AveragePrecision = *side.ap
			}
		}
		return x, nil
	}
	return nil, nil
}
