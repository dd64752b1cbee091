package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/trainer"
)

// The days of ripe rows that a training takes, and that the first one waits for.
const (
	onlineDays  = 28
	onlineFirst = 14
)

// onlineOptions say how a night learns: weights from the first days, the operating
// point from the next, and the newest that are ripe are held out for the gate.
func (l *online) onlineOptions() trainer.Options {
	o := trainer.DefaultOptions()
	network := l.network
	o.Network, o.FitShare, o.CalibrateShare, o.ReviewCardsPerDay = &network, 0.72, 0.1, 100
	if l.network0 != nil && l.trained%max(1, 7/l.options.retrain) != 0 {
		// What was learnt the night before stays: one look at the rows, with small steps.
		o.Warm, network.Epochs, network.Rate = l.network0, 1, network.Rate/8
	}
	network.Seed += uint64(l.trained)
	return o
}

// train learns from what is known this night, and publishes what is better.
func (l *online) train(ctx context.Context, start, night int64) error {
	ripe := night - labelDelay
	if ripe-start < onlineFirst*dayMs {
		return nil
	}
	l.forget(ripe - onlineDays*dayMs)
	known, _ := l.rows.Split(ripe)
	o := l.onlineOptions()
	fitted, err := trainer.Fit(ctx, known, o, nil)
	if errors.Is(err, trainer.ErrTooFew) {
		return nil
	}
	if err != nil {
		return err
	}
	l.trained, l.network0 = l.trained+1, fitted.Network
	name := fmt.Sprintf("night-%03d", (night-start)/dayMs)
	better, err := l.better(known, &o, fitted, name)
	if err != nil || !better.Publish {
		return err
	}
	return l.publish(ctx, fitted, name, better.Reason)
}

// better holds a night's model against the champion.
func (l *online) better(known *trainer.Dataset, o *trainer.Options, fitted *trainer.Result, name string) (*trainer.Verdict, error) {
	_, _, held, err := trainer.Cut(known, o)
	if err != nil {
		return nil, err
	}
	var champion trainer.Judged
	if l.champion != nil {
		if champion, err = trainer.JudgeBundle(l.champion.Name, l.champion, held); err != nil {
			return nil, err
		}
	}
	challenger, err := fitted.Judge(name, held)
	if err != nil {
		return nil, err
	}
	v, err := trainer.Gate(champion, challenger, held, o.Gate(held))
	if errors.Is(err, trainer.ErrTooFew) {
		return &trainer.Verdict{}, nil
	}
	return v, err
}

// publish makes a model champion, and returns once the scorer has it.
func (l *online) publish(ctx context.Context, fitted *trainer.Result, name, reason string) error {
	b, err := fitted.Bundle(name, scoring.SpecText{Name: l.spec.Name, Text: l.spec.Text, Hash: l.spec.Hash})
	if err != nil {
		return err
	}
	data, sealed, err := trainer.Seal(b, l.key)
	if err != nil {
		return err
	}
	if err := ingest.PublishBundle(ctx, l.log, l.topics, data, sealed.Hash, championSlot, ingest.Slot{By: "weir eval", Reason: reason}, l.key, time.Now()); err != nil {
		return err
	}
	for due := time.Now().Add(silence); l.node.Champion() != sealed.Hash; {
		if time.Now().After(due) {
			return fmt.Errorf("the scorer did not take %s within %v", name, silence)
		}
		if err := sleep(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
	l.champion = sealed
	l.published++
	if l.first == nil {
		l.first = sealed
		l.env.printf("%s rules decided before the first model, %s\n", time.UnixMilli(l.stream.rows[l.decided-1].time).UTC().Format(time.DateOnly), name)
	}
	return nil
}

// scoreStill asks the first champion of the day's rows: what there would be without
// retraining. Labels come the same whatever the model, and so do vectors.
func (l *online) scoreStill(from int) error {
	if l.first == nil || from == l.decided {
		return nil
	}
	j, err := trainer.JudgeBundle(l.first.Name, l.first, l.rows.Slice(from-l.base, l.decided-l.base))
	if err != nil {
		return err
	}
	copy(l.still[from:], j.Prob)
	return nil
}

// forget drops rows of before a time, once there are enough of them.
func (l *online) forget(before int64) {
	_, keep := l.rows.Split(before)
	gone := l.rows.Rows() - keep.Rows()
	if gone == 0 {
		return
	}
	kept := trainer.NewDataset(l.rows.Names)
	kept.X, kept.Y, kept.Weight = append(kept.X, keep.X...), append(kept.Y, keep.Y...), append(kept.Weight, keep.Weight...)
	kept.Time, kept.AmountBase, kept.Card = append(kept.Time, keep.Time...), append(kept.AmountBase, keep.AmountBase...), append(kept.Card, keep.Card...)
	l.rows = kept
	for i := l.base; i < l.base+gone; i++ {
		delete(l.at, hashText(l.stream.rows[i].id))
	}
	l.base += gone
}
