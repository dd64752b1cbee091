package ingest

import (
	"context"
	"fmt"
	"time"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/decode"
	"github.com/weir-risk/weir/ingest/decode/wireformat"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// Audit says what [VerifyLog] reads and with what it recomputes.
type Audit struct {
	Log    *kafka.Client
	Topics schemas.Topics
	Spec   *spec.Spec
	// Before are specs that the ledger was decided by before, where it does not hold
	// their texts.
	Before   []*spec.Spec
	Features features.Options
	// Tokens, if set, are the deployment's; without them the tokens of secret
	// fields are taken as the ledger has them, and so are those from before a
	// change of keys.
	Tokens *decode.Tokens
	// Wire is as in [Config].
	Wire *wireformat.Schemas
	// Bundles finds a bundle of a spec and a scorer that holds its model.
	Bundles func(hash, spec [32]byte) (*scoring.Bundle, scoring.Scorer, error)
	// Progress, if set, is told how many records of how many are done.
	Progress func(done, total int64)
}

// VerifyLog verifies the ledger in Kafka against itself and against the topics
// that it was made from. Every source record must have exactly one decision, of
// what it says; labels and rates likewise; the batches taken must form one chain;
// and every feature and score recomputed from the ledger alone must have the
// recorded bits. The source is read up to where it ended when the verification
// began; what it no longer holds is taken as the ledger has it.
//
// Of a ledger of several shards each is verified by itself, one after the other, with
// the decisions of the others that its batches say it had folded. What is returned is of
// the first shard, with the report of all.
func VerifyLog(ctx context.Context, a Audit) (*Verifier, error) {
	t, err := a.Log.Describe(ctx, a.Topics.Decisions)
	if err != nil {
		return nil, fmt.Errorf("describe %s: %w", a.Topics.Decisions, err)
	}
	var first *Verifier
	for shard := range int32(t.Partitions) {
		v, err := verifyShard(ctx, a, shard, int32(t.Partitions))
		switch {
		case err != nil:
			return nil, err
		case first == nil:
			first = v
		default:
			first.Report.add(&v.Report)
		}
	}
	return first, nil
}

func verifyShard(ctx context.Context, a Audit, shard, shards int32) (*Verifier, error) {
	if told := a.Progress; told != nil && shards > 1 { // each takes about as long
		a.Progress = func(done, total int64) { told(int64(shard)*total+done, int64(shards)*total) }
	}
	w := audit{Audit: a, v: NewVerifier(a.Spec, a.Features, shard, a.Bundles, a.Before...), shard: shard, shards: shards}
	w.v.refold = func(f *Folder, s *State, before int64) error { return w.refold(ctx, f, s, before) }
	if w.v.beside = beside(shard, shards); len(w.v.beside) > 0 {
		w.v.meet = func(s *State, at []schemas.Position) error { return w.meet(ctx, s, at) }
	}
	defer func() { w.others.close() }()
	if err := w.open(ctx); err != nil {
		return nil, err
	}
	start, end, err := a.Log.Offsets(ctx, a.Topics.Decisions, shard)
	if err != nil {
		return nil, fmt.Errorf("look up the ends of %s: %w", a.Topics.Decisions, err)
	}
	if start > 0 {
		return nil, fmt.Errorf("%s begins at offset %d: its beginning was deleted, so it cannot be folded from there; verify from history", a.Topics.Decisions, start)
	}
	w.total += end
	if err := w.ledger(ctx, end); err != nil {
		return nil, err
	}
	if !w.ours() {
		return nil, fmt.Errorf("verify %s: %w", a.Topics.Decisions, ErrOtherKey)
	}
	for class := range w.origins {
		for _, o := range w.origins[class] {
			if o == nil {
				continue
			}
			// Labels and rates that were not yet taken are nobody's loss.
			until := o.end
			if o.class != Transactions {
				until = min(until, w.v.state.next(o.class, o.partition))
			}
			if err := w.drain(ctx, o, until); err != nil {
				return nil, err
			}
		}
	}
	return w.v, nil
}

// audit is one run of VerifyLog.
type audit struct {
	Audit
	v           *Verifier
	shard       int32
	shards      int32
	others      *others // folded into the state of metBy
	metBy       *State
	done, total int64
	origins     [numClasses][]*origin // by partition; nil for those of other shards
	reader      rowReader
	tokens      *decode.Tokens
	key, given  uint64 // what tells the key of the ledger's tokens here, and that of Tokens; 0 is not known
	rows        schemas.Batch
	other       schemas.Decision // what the source says
	entry       schemas.Entry
}

// open looks up the topics that the ledger was made from.
func (w *audit) open(ctx context.Context) error {
	topics := [numClasses]string{Rates: w.Topics.Rates, Labels: w.Topics.Labels, Transactions: w.Topics.Transactions}
	for class, topic := range topics {
		t, err := w.Log.Describe(ctx, topic)
		if err != nil {
			return fmt.Errorf("describe %s: %w", topic, err)
		}
		for p := range int32(t.Partitions) {
			if Class(class) == Transactions && !ownsPartition(p, w.shard, w.shards) {
				w.origins[class] = append(w.origins[class], nil)
				continue
			}
			start, end, err := w.Log.Offsets(ctx, topic, p)
			if err != nil {
				return fmt.Errorf("look up the ends of %s: %w", topic, err)
			}
			w.origins[class] = append(w.origins[class], &origin{class: Class(class), topic: topic, partition: p, start: start, end: end, last: -1,
				reader: kafka.NewReader(w.Log, topic, p, kafka.Earliest)})
			w.total += end - start
		}
	}
	w.tokens = w.Tokens
	if w.tokens != nil {
		w.given, _ = w.tokens.Checks()
	} else {
		var err error // any will do: what they give is not compared
		if w.tokens, err = decode.NewTokens(decode.Key{ID: "none", Secret: make([]byte, 32)}, nil); err != nil {
			return err
		}
	}
	w.reader = newRowReader(w.Spec, w.tokens, w.Wire)
	return nil
}

// refold folds the ledger before an offset.
func (w *audit) refold(ctx context.Context, f *Folder, s *State, before int64) error {
	r := kafka.NewLedgerReader(w.Log, w.Topics.Decisions, w.shard, schemas.Anchor{})
	defer r.Close()
	in := newOthers(w.Log, w.Topics.Decisions, s, &f.past)
	defer in.close()
	for r.Position() < before {
		b, err := r.Next(ctx, before)
		if err != nil || b == nil {
			return err
		}
		if !b.Taken {
			continue
		}
		if err := in.upto(ctx, s, b.Facts.Shards); err != nil {
			return err
		}
		if err := f.Fold(s, &b.Facts, b.Base, b.Values); err != nil {
			return err
		}
	}
	return nil
}

// meet folds the other shards into the state that is verified.
func (w *audit) meet(ctx context.Context, s *State, at []schemas.Position) error {
	if w.metBy != s {
		w.others.close()
		w.others, w.metBy = newOthers(w.Log, w.Topics.Decisions, s, &w.v.past), s
	}
	return w.others.upto(ctx, s, at)
}

func (w *audit) progress(n int64) {
	w.done += n
	if w.Progress != nil {
		w.Progress(w.done, w.total)
	}
}

// ledger reads the ledger with the one reader of the chain and recomputes it.
func (w *audit) ledger(ctx context.Context, end int64) error {
	r := kafka.NewLedgerReader(w.Log, w.Topics.Decisions, w.shard, schemas.Anchor{})
	defer r.Close()
	for {
		b, err := r.Next(ctx, end)
		if err != nil {
			return fmt.Errorf("read %s: %w", w.Topics.Decisions, err)
		}
		if b == nil {
			more, err := w.more(ctx, end)
			if more == end || err != nil {
				return err
			}
			end = more
			continue
		}
		if err := w.batch(ctx, b); err != nil {
			return err
		}
	}
}

// more returns where the ledger ends once there is more of it. A scorer that
// runs beside the verification may be about to decide what the source held when
// it began: as long as such a record is not decided, and the ledger grows, it is
// waited for.
func (w *audit) more(ctx context.Context, end int64) (int64, error) {
	for range waitsMax {
		behind := false
		for _, o := range w.origins[Transactions] {
			if o == nil {
				continue
			}
			r, err := o.peek(ctx, o.end)
			if err != nil {
				return end, err
			}
			behind = behind || r != nil
		}
		if !behind {
			return end, nil
		}
		// The broker answers as soon as there is something.
		_, _, err := w.Log.Fetch(ctx, kafka.FetchRequest{Topic: w.Topics.Decisions, Partition: w.shard, Offset: end, MaxWait: waitMax, MinBytes: 1, MaxBytes: 1}, nil)
		if err != nil {
			return end, fmt.Errorf("read %s: %w", w.Topics.Decisions, err)
		}
		_, stop, err := w.Log.Offsets(ctx, w.Topics.Decisions, w.shard)
		if err != nil {
			return end, fmt.Errorf("look up the ends of %s: %w", w.Topics.Decisions, err)
		}
		if stop > end {
			return stop, nil
		}
	}
	return end, nil
}

// A verification waits so often and so long for a decision that is due: a step
// takes milliseconds, and a broker's hiccup less than a second.
const (
	waitsMax = 8
	waitMax  = 250 * time.Millisecond
)

// ours reports whether the ledger's tokens are of the key that is given, where both
// are known.
func (w *audit) ours() bool { return w.given == 0 || w.key == 0 || w.key == w.given }

// batch verifies one batch of the ledger.
func (w *audit) batch(ctx context.Context, b *kafka.LedgerBatch) error {
	w.progress(int64(len(b.Values)))
	if !b.Taken {
		w.v.Dropped()
		return nil
	}
	if b.Facts.Key != 0 {
		w.key = b.Facts.Key
	}
	if err := w.v.turn(&b.Facts, b.Base, b.Values); err != nil {
		return err
	}
	if w.Spec != w.v.state.Spec {
		w.Spec = w.v.state.Spec
		w.reader = newRowReader(w.Spec, w.tokens, w.Wire)
	}
	for i, value := range b.Values {
		if schemas.ParseEntry(value, &w.entry) != nil {
			continue // the verifier says so
		}
		if err := w.trace(ctx, b.Base+int64(i)); err != nil {
			return err
		}
	}
	return w.v.Batch(&b.Facts, b.Base, b.Values)
}

// trace finds the record that a ledger record, which is in w.entry, was made of,
// and compares the two.
func (w *audit) trace(ctx context.Context, offset int64) error {
	e := &w.entry
	switch e.Kind {
	case schemas.EntryDecision:
		return w.match(ctx, Transactions, e.Decision.Partition, e.Decision.Offset, offset)
	case schemas.EntryLabel:
		return w.match(ctx, Labels, e.Label.Partition, e.Label.Offset, offset)
	case schemas.EntryRate:
		return w.match(ctx, Rates, e.Rate.Partition, e.Rate.Offset, offset)
	case schemas.EntryGap:
		if o := w.origin(gapClass(&e.Gap), e.Gap.Partition); o != nil {
			return w.giveUp(ctx, o, &e.Gap)
		}
	case schemas.EntryGenesis:
		for _, p := range e.Genesis.Start {
			if o := w.origin(Transactions, p.Partition); o != nil {
				o.last = p.Offset - 1
			}
		}
	}
	return nil
}

// giveUp settles a gap. Whoever gives up what is still there loses it, unless it
// cannot be read.
func (w *audit) giveUp(ctx context.Context, o *origin, g *schemas.Gap) error {
	if err := w.drain(ctx, o, g.From); err != nil {
		return err
	}
	for {
		r, err := o.peek(ctx, g.To+1)
		if err != nil {
			return err
		}
		if r == nil {
			o.last = max(o.last, g.To)
			return nil
		}
		w.lost(o, r)
	}
}

func (w *audit) origin(c Class, partition int32) *origin {
	if partition < 0 || int(partition) >= len(w.origins[c]) {
		return nil
	}
	return w.origins[c][partition]
}
