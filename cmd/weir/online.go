package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/trainer"
)

// onlineFlags say how the stream is lived through.
type onlineFlags struct {
	on                bool
	retrain           int // days
	analysts, explore int // cards a day
}

func addOnline(fs *flag.FlagSet) *onlineFlags {
	o := &onlineFlags{}
	fs.BoolVar(&o.on, "online", false, "live through the whole stream, day by day: broker, scorer, ledger, labels, training,\ngate and swap; --train-days is not of use then")
	fs.IntVar(&o.retrain, "retrain", 1, "with --online, train every `DAYS`, from 1 to 28; from scratch each week")
	fs.IntVar(&o.analysts, "analysts", 0, "with --online, live through it once more, with the best `CARDS` of each day reviewed\nthe same evening")
	fs.IntVar(&o.explore, "explore", 0, "with --analysts, and once more, with so many `CARDS` a day reviewed beside them that\nteach most")
	return o
}

func (o *onlineFlags) validate() error {
	switch {
	case o.retrain < 1 || o.retrain > 28:
		return usagef("--retrain %d: 1 to 28 days", o.retrain)
	case o.analysts < 0 || o.explore < 0 || o.analysts > 100_000 || o.explore > 100_000:
		return usagef("--analysts %d, --explore %d: 0 to 100000 cards a day", o.analysts, o.explore)
	case !o.on && (o.analysts > 0 || o.explore > 0):
		return usagef("--analysts and --explore are of --online")
	case o.explore > 0 && o.analysts == 0:
		return usagef("--explore adds to the cards of --analysts, which is not given")
	}
	return nil
}

// online is one life of a stream: everything that a deployment does, in one
// process, with the events' time for a clock. Its one goroutine sends an hour, waits
// until the ledger has it, and goes on.
type online struct {
	env     *env
	spec    *spec.Spec
	from    string // where the spec is from
	stream  *handbookStream
	network trainer.NetworkOptions
	options onlineFlags

	log    *kafka.Client
	topics schemas.Topics
	node   *ingest.Node
	key    ed25519.PrivateKey
	ledger *kafka.LedgerReader
	entry  schemas.Entry
	tx     kafka.BatchWriter
	labels kafka.BatchWriter
	text   []byte

	decided, told int // rows of the stream that are, and whose labels are due no more
	seen          int // labels that the ledger has

	// What the ledger says, by row of the stream: probability, bundle, and the first
	// champion's probability; each 0 where there was no model.
	prob, still []float32
	bundle      []uint64
	reviewed    []bool

	// The rows that a training may still need, with what is known of them.
	rows *trainer.Dataset
	base int            // the stream's row that rows begins with
	at   map[uint64]int // the stream's row of a transaction's id

	champion, first *scoring.Bundle
	network0        *trainer.Network // of the last training
	trained         int              // trainings so far
	published       int
	due             int // labels written and not sent
	desk            deskMind
}

// liveThrough lives through the stream.
func (l *online) liveThrough(ctx context.Context, label string) error {
	dir, err := os.MkdirTemp("", "weir-online-")
	if err != nil {
		return fmt.Errorf("make a temporary folder: %w", err)
	}
	defer os.RemoveAll(dir)
	b, err := broker.Start(broker.Options{})
	if err != nil {
		return err
	}
	defer b.Close()
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	service, score := addService(fs), addScore(fs)
	service.data, service.kafka.brokers, *score.spec = dir, b.Addr(), l.from
	score.snapshotEvery = 1 << 40 // nothing of it is started again
	// One partition: the stream has one order, and each decision its place in it.
	s, err := service.open(ctx, l.env, 1, allRights)
	if err != nil {
		return err
	}
	defer s.close()
	s.log = slog.New(slog.NewTextHandler(io.Discard, nil))
	node, models, err := s.scorer(ctx, score)
	if err != nil {
		return err
	}
	if l.key, err = signingKey(dir); err != nil {
		return err
	}
	l.node, l.log, l.topics = node, s.client, s.topics
	l.ledger = kafka.NewLedgerReader(l.log, l.topics.Decisions, 0, schemas.Anchor{})
	defer l.ledger.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var story error
	err = together(ctx,
		role{"score", node.Run},
		role{"models", func(ctx context.Context) error { return node.Watch(ctx, models) }},
		role{"", func(ctx context.Context) error { defer cancel(); story = l.days(ctx, label); return story }},
	)
	if story == nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

const hourMs = 3600 * 1000

// days takes the stream through its days.
func (l *online) days(ctx context.Context, label string) error {
	n := len(l.stream.rows)
	l.prob, l.still, l.bundle, l.reviewed = make([]float32, n), make([]float32, n), make([]uint64, n), make([]bool, n)
	names := l.spec.FeatureNames()
	l.rows, l.at = trainer.NewDataset(names), make(map[uint64]int, n)
	bar := newBar(l.env, label)
	defer bar.end()
	start := l.stream.rows[0].time / dayMs * dayMs
	for day := 0; l.decided < n; day++ {
		first := l.decided
		for hour := range int64(24) {
			if err := l.hour(ctx, start+int64(day)*dayMs+(hour+1)*hourMs); err != nil {
				return err
			}
			bar.set(int64(l.decided), int64(n))
		}
		evening := start + int64(day+1)*dayMs
		if err := l.scoreStill(first); err != nil {
			return err
		}
		if err := l.review(ctx, first, evening); err != nil {
			return err
		}
		if (day+1)%l.options.retrain == 0 {
			if err := l.train(ctx, start, evening); err != nil {
				return fmt.Errorf("night of %s: %w", time.UnixMilli(evening).UTC().Format(time.DateOnly), err)
			}
		}
	}
	return nil
}

// hour sends the transactions of an hour, and once they are decided the labels that
// became known in it: no feature sees a label before its time.
func (l *online) hour(ctx context.Context, end int64) error {
	now := time.Now().UnixMilli()
	for from := l.decided; ; {
		to := from
		for to < len(l.stream.rows) && l.stream.rows[to].time < end && to < from+preloadBatch {
			r := &l.stream.rows[to]
			l.text = l.appendJSON(l.text[:0], r)
			l.tx.Append(r.customer, l.text, now, nil)
			to++
		}
		if to == from {
			break
		}
		if err := l.send(ctx, l.topics.Transactions, &l.tx); err != nil {
			return err
		}
		if err := l.follow(ctx, to, l.seen); err != nil {
			return err
		}
		from = to
	}
	for l.told < l.decided && l.stream.rows[l.told].time+labelDelay < end {
		source := schemas.DefaultLabel
		if l.stream.rows[l.told].fraud {
			source = schemas.Chargeback
		}
		l.tell(l.told, source, l.stream.rows[l.told].time+labelDelay, "")
		l.told++
	}
	return l.sendLabels(ctx)
}

// tell has what became of a row said to weir with the next labels.
func (l *online) tell(row int, source schemas.LabelSource, at int64, selected string) {
	r := &l.stream.rows[row]
	v := schemas.Label{TxID: r.id, Verdict: schemas.LabelGenuine, Source: source, KnownAt: at, Version: 1, Selected: []byte(selected)}
	if selected != "" {
		v.SelectedProb = 1 // no card is drawn: those that teach most are as certain as the alerts
	}
	if r.fraud {
		v.Verdict = schemas.LabelFraud
	}
	l.text = schemas.AppendLabelJSON(l.text[:0], &v)
	l.labels.Append(r.id, l.text, time.Now().UnixMilli(), nil)
	l.due++
}

// sendLabels sends the labels that are due, and waits until they are in the ledger.
func (l *online) sendLabels(ctx context.Context) error {
	if l.due == 0 {
		return nil
	}
	if err := l.send(ctx, l.topics.Labels, &l.labels); err != nil {
		return err
	}
	want := l.seen + l.due
	l.due = 0
	return l.follow(ctx, l.decided, want)
}

func (l *online) send(ctx context.Context, topic string, w *kafka.BatchWriter) error {
	batch, err := w.Finish(kafka.None)
	if err != nil {
		return err
	}
	if _, err := l.log.Produce(ctx, topic, 0, batch); err != nil {
		return fmt.Errorf("write to %s: %w", topic, err)
	}
	w.Reset()
	return nil
}

// appendJSON appends a row as the spec reads it.
func (l *online) appendJSON(b []byte, r *handbookRow) []byte {
	if l.spec.Name == "handbook" {
		return r.appendJSON(b)
	}
	b = append(append(b, `{"id":"`...), r.id...)
	b = append(append(b, `","type":"authorisation","status":"approved","customer":"`...), r.customer...)
	b = append(append(b, `","terminal":"`...), r.term...)
	b = time.UnixMilli(r.time).UTC().AppendFormat(append(b, `","time":"`...), time.RFC3339)
	return fmt.Appendf(b, `","amount":%d.%02d}`, r.amount/100, r.amount%100)
}

// silence is how long the ledger may be still while something is due.
const silence = time.Minute

// follow reads the ledger until it has so many decisions and labels.
func (l *online) follow(ctx context.Context, decisions, labels int) error {
	last := time.Now()
	for l.decided < decisions || l.seen < labels {
		b, err := l.ledger.Follow(ctx)
		switch {
		case err != nil:
			return err
		case b == nil && ctx.Err() != nil:
			return ctx.Err()
		case b == nil && time.Since(last) > silence:
			return fmt.Errorf("nothing was decided for %v: %s", silence, l.node.Status().Reason)
		case b == nil || !b.Taken:
			continue
		}
		last = time.Now()
		for _, value := range b.Values {
			if err := schemas.ParseEntry(value, &l.entry); err != nil {
				return err
			}
			if err := l.note(); err != nil {
				return err
			}
		}
	}
	return nil
}

// note keeps what an entry of the ledger says.
func (l *online) note() error {
	switch e := &l.entry; e.Kind {
	case schemas.EntryDecision:
		d, r := &e.Decision, &l.stream.rows[l.decided]
		if string(d.Text[schemas.ID]) != string(r.id) || len(d.Features) != len(l.rows.Names) {
			return fmt.Errorf("transaction %s is %v (%v) where %s was due: is the spec one for this stream?", d.Text[schemas.ID], d.Outcome, d.Reason, r.id)
		}
		l.at[hashText(r.id)] = l.decided
		l.rows.AddCard(d.Features, false, r.time, r.amount, hashText(r.customer))
		if d.Outcome == schemas.Scored {
			l.prob[l.decided], l.bundle[l.decided] = d.Prob, d.Bundle
		}
		l.decided++
	case schemas.EntryLabel:
		l.seen++
		if i, ok := l.at[hashText(e.Label.TxID)]; ok && i >= l.base && e.Label.Verdict == schemas.LabelFraud {
			l.rows.Y[i-l.base] = 1
		}
	}
	return nil
}
