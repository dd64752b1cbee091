package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/trainer"
)

// How the demo learns, in days of the bank's time.
const (
	demoRipe   = 7  // from then on no label means genuine
	demoWindow = 28 // of ripe days that a model learns from, is calibrated and held out on
	demoEvery  = 8  // of the present, after which it learns anew
)

// A pupil is what the demo learns with.
type pupil struct {
	learner  *learner
	key      ed25519.PrivateKey
	champion *scoring.Bundle
	asks     chan int64  // to learn anew as of a time, ms
	lessons  chan lesson // what came of it
}

// A lesson is what came of learning anew.
type lesson struct {
	Day       int      `json:"day"` // of the present, from 1
	Published bool     `json:"published"`
	Reason    string   `json:"reason"`
	Rows      int      `json:"rows"`
	Frauds    int      `json:"frauds"`
	Desk      *tuition `json:"desk,omitempty"` // nil where there is none
	Seconds   float64  `json:"seconds"`
	SwapMs    float64  `json:"swap_ms,omitempty"` // from publishing to serving
	name      string
}

// demoOptions say how the demo learns. The part held out is as long as the gate needs,
// and no longer: what it learns from is the newer.
func (d *demo) demoOptions() trainer.Options {
	o, network := trainer.DefaultOptions(), trainer.DefaultNetwork()
	// A good model soon: a third of the default's work.
	network.Epochs, network.Sample, network.Seed = 4, 0.1, d.seed
	o.Network, o.FitShare, o.CalibrateShare = &network, 0.8, 0.06
	o.Explore, o.ExploreKey = 0.0005, [16]byte{byte(d.seed), 1}
	return o
}

// learn trains a first model on what the ledger holds and publishes it.
func (d *demo) learn(ctx context.Context) (err error) {
	began := time.Now()
	b := newBar(d.env, "learning")
	defer b.end()
	if err := d.learner.read(ctx); err != nil {
		return err
	}
	if d.key, err = signingKey(d.service.data); err != nil {
		return err
	}
	rows, _ := d.ripe(d.learner.newest)
	r, err := fit(ctx, rows, d.demoOptions(), b)
	if err != nil {
		return fmt.Errorf("%w; more --customers or --past give more", err)
	}
	if err := d.publish(ctx, r, "demo", "first model"); err != nil {
		return err
	}
	b.end()
	d.env.printf("the lesson    learnt in %.1f s from %s transactions, %s known frauds;\n              on later days it finds %.0f %% of frauds in %.2f %% of transactions;\n              signed by %x\n",
		time.Since(began).Seconds(), thousands(int64(r.Facts.Rows)), thousands(int64(r.Facts.Frauds)), 100*r.Held.Recall,
		100*float64(r.Held.Reviewed)/float64(max(r.Held.Rows, 1)), []byte(d.key.Public().(ed25519.PublicKey))[:4])
	return nil
}

// ripe returns the rows to learn from as of a time.
func (d *demo) ripe(asOf int64) (*trainer.Dataset, tuition) {
	to := asOf - demoRipe*dayMs
	return d.learner.known(to-demoWindow*dayMs, to)
}

// publish makes a model champion.
func (d *demo) publish(ctx context.Context, r *trainer.Result, name, reason string) error {
	bundle, err := r.Bundle(name, scoring.SpecText{Name: d.spec.Name, Text: d.spec.Text, Hash: d.spec.Hash})
	if err != nil {
		return err
	}
	data, sealed, err := trainer.Seal(bundle, d.key)
	if err != nil {
		return err
	}
	d.champion = sealed
	return ingest.PublishBundle(ctx, d.s.client, d.s.topics, data, sealed.Hash, championSlot, ingest.Slot{By: "weir demo", Reason: reason}, d.key, time.Now())
}

// relearn learns anew whenever it is asked to.
func (d *demo) relearn(ctx context.Context) error {
	for {
		select {
		case asOf := <-d.asks:
			l, err := d.again(ctx, asOf)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			d.lessons <- l
		case <-ctx.Done():
			return nil
		}
	}
}

// again learns as of a time, and publishes what the gate finds better.
func (d *demo) again(ctx context.Context, asOf int64) (l lesson, err error) {
	began := time.Now()
	l.Day = int((asOf-d.presentMs())/dayMs) + 1
	l.name = fmt.Sprintf("demo-day-%d", l.Day)
	if err := d.learner.read(ctx); err != nil {
		return l, err
	}
	d.learner.forget(asOf-(demoRipe+demoWindow)*dayMs, d.presentMs())
	rows, desk := d.ripe(asOf)
	if d.desk != nil {
		l.Desk = &desk
	}
	o := d.demoOptions()
	r, err := fit(ctx, rows, o, newBar(&env{}, ""))
	var v *trainer.Verdict
	if err == nil {
		l.Rows, l.Frauds = r.Facts.Rows, r.Facts.Frauds
		champion := &rival{bundle: d.champion}
		v, err = champion.judge(d.env, rows, &o, r, d.spec, l.name)
	}
	if errors.Is(err, trainer.ErrTooFew) {
		l.Reason, l.Seconds = err.Error(), time.Since(began).Seconds()
		return l, nil
	}
	if err != nil {
		return l, err
	}
	l.Published, l.Reason, l.Seconds = v.Publish, v.Reason, time.Since(began).Seconds()
	if !v.Publish {
		return l, nil
	}
	published := time.Now()
	if err := d.publish(ctx, r, l.name, v.Reason); err != nil {
		return l, err
	}
	for d.node.Champion() != d.champion.Hash {
		if err := sleep(ctx, time.Millisecond); err != nil {
			return l, err
		}
	}
	l.SwapMs = time.Since(published).Seconds() * 1000
	return l, nil
}

// presentMs is when the present begins, in the bank's time.
func (d *demo) presentMs() int64 { return d.feed.start + int64(d.past)*dayMs }

// tell says what came of a lesson.
func (l *lesson) tell(e *env) {
	text := fmt.Sprintf("learnt anew in %.1f s from %s transactions, %s known frauds. ", l.Seconds, thousands(int64(l.Rows)), thousands(int64(l.Frauds)))
	if l.Desk != nil {
		text += l.Desk.String()
	}
	if l.Published {
		text += fmt.Sprintf("Published and swapped in after %.0f ms, while the stream ran: %s decides from here on. It is ", l.SwapMs, l.name)
	} else {
		text += "Not published: "
	}
	e.printf("\n%s\n\n", paragraph(fmt.Sprintf("day %d", l.Day), text+l.Reason))
}

// paragraph sets a text beside its name, no wider than a terminal.
func paragraph(name, text string) string {
	const indent, wide = 14, 80
	var b strings.Builder
	fmt.Fprintf(&b, "%-*s", indent-1, name)
	at := indent - 1
	for _, word := range strings.Fields(text) {
		if at+1+len(word) > wide {
			b.WriteString("\n" + strings.Repeat(" ", indent-1))
			at = indent - 1
		}
		b.WriteString(" " + word)
		at += 1 + len(word)
	}
	return b.String()
}
