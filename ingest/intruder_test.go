package ingest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/ingest/decode"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// An intruder is a second writer, as a stale owner would be, and worse. It
// folds the standing ledger and appends batches that extend it, and batches that
// do not.
type intruder struct {
	w       *world
	r       *rand.Rand
	state   *State
	folder  Folder
	reader  *kafka.LedgerReader
	decider Decider
	id      schemas.BatchID
	heads   []schemas.BatchID // of the standing ledger, oldest first
	last    []byte            // the newest batch, as it was sent
	taken   int               // batches of its own that the chain took
}

func (w *world) intruder(r *rand.Rand) *intruder {
	in := &intruder{w: w, r: r, id: schemas.BatchID{Writer: r.Uint64() | 1}}
	in.state = NewState(w.spec, features.Options{})
	in.reader = kafka.NewLedgerReader(w.log, w.topics.Decisions, 0, schemas.Anchor{})
	in.decider = Decider{tenant: []byte("bank"), engine: schemas.HashPrefix(EngineHash)}
	in.decider.Use(w.bundle, w32(w.t, w.bundle.Model))
	return in
}

// catchUp folds what stands.
func (in *intruder) catchUp(ctx context.Context) error {
	_, end, err := in.w.log.Offsets(ctx, in.w.topics.Decisions, 0)
	for err == nil && in.reader.Position() < end {
		var b *kafka.LedgerBatch
		if b, err = in.reader.Next(ctx, end); b == nil || err != nil {
			return err
		}
		if !b.Taken {
			continue
		}
		if b.Facts.ID.Writer == in.id.Writer {
			in.taken++
		}
		in.heads = append(in.heads, b.Facts.ID)
		err = in.folder.Fold(in.state, &b.Facts, b.Base, b.Values)
	}
	return err
}

// facts are those of a batch that extends the standing ledger.
func (in *intruder) facts(records int) schemas.Facts {
	s := in.state
	in.id.Sequence++
	return schemas.Facts{ID: in.id, Extends: s.Chain.Head, Anchor: s.Chain, Records: uint32(records),
		Sources: positions(nil, s.Progress[Transactions]), Labels: positions(nil, s.Progress[Labels]), Rates: positions(nil, s.Progress[Rates]),
		Bundle: s.Champion, Spec: s.Spec.Hash, Engine: EngineHash, AlertsMark: s.AlertsMark, DeadMark: s.DeadMark}
}

// decide decides the next records of a partition, as an owner would. The state
// is then ahead of the ledger, and must be given up.
func (in *intruder) decide(ctx context.Context, partition int32) (output, error) {
	s := in.state
	at := *s.At(Transactions, partition)
	var w work
	w.reset(len(s.Spec.Input.OwnText), len(s.Spec.Input.OwnNumber))
	d := decode.New(s.Spec, decode.Options{Tokens: in.w.tokens()})
	_, end, err := in.w.log.Offsets(ctx, in.w.topics.Transactions, partition)
	if err != nil {
		return output{}, err
	}
	prev, limit := at.Offset, min(end, at.Offset+1+int64(1+in.r.IntN(40)))
	reader := kafka.NewReader(in.w.log, in.w.topics.Transactions, partition, at.Offset+1)
	set, err := reader.Next(ctx, limit)
	for err == nil && set != nil && set.Next() && set.Record().Offset < limit {
		r := set.Record()
		i := w.rows.Add(schemas.Place{Partition: partition, Offset: r.Offset, Prev: prev, Timestamp: r.Timestamp})
		d.Decode(&w.rows, i, r.Value)
		prev = r.Offset
	}
	if n := w.rows.Len(); n > 0 {
		w.order = []run{{class: Transactions, to: n}}
	}
	var out output
	in.decider.step(s, &w, &out)
	return out, err
}

// forget goes back to the fold of the standing ledger.
func (in *intruder) forget() {
	id := in.id
	*in = *in.w.intruder(in.r) // what was taken is counted again
	in.id = id
}

func (in *intruder) send(ctx context.Context, facts *schemas.Facts, values [][]byte) error {
	var b kafka.BatchWriter
	var headers []kafka.Header
	if facts != nil {
		headers, _ = schemas.AppendFacts(nil, nil, facts)
	}
	for i, v := range values {
		if i > 0 {
			headers = nil
		}
		b.Append(nil, v, 1, headers)
	}
	bytes, err := b.Finish(kafka.LZ4)
	if err != nil {
		return err
	}
	in.last = append([]byte(nil), bytes...)
	_, err = in.w.log.Produce(ctx, in.w.topics.Decisions, 0, bytes)
	return err
}

func values(out *output) (list [][]byte) {
	for i := range out.records() {
		list = append(list, out.record(i))
	}
	return list
}

// valid appends a batch that extends the standing ledger with the decisions that
// are due.
func (in *intruder) valid(ctx context.Context) error {
	if err := in.catchUp(ctx); err != nil {
		return err
	}
	if !in.state.Genesis || in.state.Champion != in.w.bundle.Hash {
		return nil
	}
	out, err := in.decide(ctx, int32(in.r.IntN(2)))
	if err != nil || out.records() == 0 {
		return err
	}
	facts := in.facts(out.records())
	err = in.send(ctx, &facts, values(&out))
	in.forget()
	return err
}

// invalid appends something that the chain must drop.
func (in *intruder) invalid(ctx context.Context, kind int) error {
	if err := in.catchUp(ctx); err != nil {
		return err
	}
	label := func() [][]byte {
		return [][]byte{schemas.AppendLabelEntry(nil, &schemas.Label{TxID: []byte("t"), Verdict: schemas.LabelFraud, Version: 1})}
	}
	facts := in.facts(1)
	switch kind {
	case 0: // an old head
		facts.Extends = schemas.BatchID{Writer: 99, Sequence: 99}
		if n := len(in.heads); n > 1 {
			facts.Extends = in.heads[in.r.IntN(n-1)]
		}
		return in.send(ctx, &facts, label())
	case 1: // the right head, and the same id
		facts.ID = facts.Extends
		return in.send(ctx, &facts, label())
	case 2: // the right head, and more records than there are
		facts.Records = 2
		return in.send(ctx, &facts, label())
	case 3: // fewer
		facts.Records = 0
		return in.send(ctx, &facts, label())
	case 4: // no facts, and nonsense
		return in.send(ctx, nil, [][]byte{{0xff, 0xff}, nil, []byte("{}")})
	case 5: // empty facts; nothing extends the ledger's beginning but its first batch
		facts = schemas.Facts{Extends: schemas.BatchID{Writer: 1}}
		return in.send(ctx, &facts, label())
	case 6: // facts cut short
		headers, _ := schemas.AppendFacts(nil, nil, &facts)
		headers[0].Value = headers[0].Value[:8]
		var b kafka.BatchWriter
		b.Append(nil, label()[0], 1, headers)
		bytes, err := b.Finish(kafka.None)
		if err == nil {
			_, err = in.w.log.Produce(ctx, in.w.topics.Decisions, 0, bytes)
		}
		return err
	default: // the newest batch of its own once more
		if in.last == nil {
			return nil
		}
		_, err := in.w.log.Produce(ctx, in.w.topics.Decisions, 0, in.last)
		return err
	}
}

// TestIntruder has a second writer append before, between and after the owner's
// batches, in step with it and at random beside it. What stands is one chain; the
// owner's state is the fold of it; every record has one decision that can be
// recomputed, and nothing that fell was ever alerted.
func TestIntruder(t *testing.T) {
	seeds := uint64(provable(4, 40))
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		t.Logf("seed %d", seed)
		w := newWorld(t, "payments", 2)
		n := w.payments(3000, seed, 2)
		r := rand.New(rand.NewPCG(seed, 2))
		in, beside := w.intruder(r), w.intruder(rand.New(rand.NewPCG(seed, 3)))
		for range 3 { // before the ledger begins
			if err := in.invalid(t.Context(), 4+r.IntN(3)); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { beside.haunt(ctx) })
		valid := 0
		var mu sync.Mutex // the intruder is of one goroutine at a time
		run := w.start(func(c *Config) {
			c.RowsMax, c.SnapshotEvery = 40, 400
			c.OnPublished = func([]schemas.Place, []schemas.Verdict) {
				mu.Lock()
				defer mu.Unlock()
				if ctx.Err() != nil {
					return
				}
				err := error(nil)
				if k := r.IntN(16); k < 8 {
					err = in.invalid(ctx, k)
				} else if k == 8 && valid < 6 {
					valid++
					err = in.valid(ctx)
				}
				if err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
		stands := NewState(w.spec, features.Options{})
		w.until(func() string { return fmt.Sprintf("%d of %d decisions stand", stands.Counts.Decisions(), n) }, func() bool {
			_, end := w.ends(w.topics.Decisions, 0)
			w.foldOn(stands, end)
			return stands.Counts.Decisions() >= n
		})
		cancel()
		wg.Wait()
		mu.Lock()
		for k := range 8 { // after the last batch
			if err := in.invalid(t.Context(), k); err != nil {
				t.Fatal(err)
			}
		}
		mu.Unlock()
		w.repeat(r, 30)
		run.until("goes on", func(s Status) bool { return s.Counts.Decisions() >= n+30 })
		run.stop()
		if err := in.catchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		in.stood(n + 30)
	}
}

// stood proves what is left of a log that an intruder wrote into: so many
// decisions, one chain, snapshots that lead to the same state, alerts of what
// stands only.
func (in *intruder) stood(decisions int64) {
	w := in.w
	v := w.verify()
	_, end := w.ends(w.topics.Decisions, 0)
	whole := w.foldAll(end)
	sameState(w.t, "the verifier", v.State(), whole)
	if v.Report.Decisions != decisions || v.Report.Dropped < 10 || in.taken == 0 {
		w.t.Fatalf("%d batches of the intruder were taken; %+v", in.taken, v.Report)
	}
	names, err := Snapshots(w.dir)
	if err != nil || len(names) == 0 {
		w.t.Fatalf("no snapshot was written: %v", err)
	}
	for _, name := range names {
		w.fromSnapshot(name, end, whole)
	}
	if w.checkAlerts() == 0 {
		w.t.Fatal("no alert was published")
	}
}

// haunt appends whatever comes to its mind until the context ends.
func (in *intruder) haunt(ctx context.Context) {
	for ctx.Err() == nil {
		err := in.invalid(ctx, in.r.IntN(8))
		if err != nil && ctx.Err() == nil {
			in.w.t.Error(err)
			return
		}
		select {
		case <-ctx.Done():
		case <-in.w.nap():
		}
	}
}

// TestAnIntruderThatLies has another writer extend the chain with headers that
// claim more than is true: records that it did not decide, and alerts that nobody
// acknowledged. Nothing is passed over; verification says who lied.
func TestAnIntruderThatLies(t *testing.T) {
	w := newWorld(t, "payments", 2)
	n := w.payments(2000, 28, 2)
	in := w.intruder(rand.New(rand.NewPCG(1, 1)))
	r := w.start(func(c *Config) {
		c.RowsMax = 50
		steps := 0
		c.OnPublished = func([]schemas.Place, []schemas.Verdict) {
			if steps++; steps != 10 && steps != 15 {
				return
			}
			if err := in.catchUp(t.Context()); err != nil {
				t.Error(err)
			}
			facts := in.facts(1)
			facts.Sources[0].Offset += 100
			facts.Sources[1].Offset += 1 << 40
			facts.AlertsMark, facts.DeadMark = 1<<40, 1<<40
			entry := schemas.AppendBundleEntry(nil, &schemas.BundleTaken{Slot: []byte("challenger"), Offset: -1})
			if err := in.send(t.Context(), &facts, [][]byte{entry}); err != nil {
				t.Error(err)
			}
		}
	})
	r.decided(n)
	r.stop()
	w.finish(n)
	w.checkAlerts()
	v := w.audit().Report
	if v.Lost != 0 || v.Doubled != 0 || v.Different != 0 || v.Decisions != n || len(v.First) == 0 {
		t.Fatalf("%+v", v)
	}
	for _, f := range v.First {
		if f.Kind != "chain" || !f.Ledger {
			t.Errorf("finding: %s", f)
		}
	}
}
