package ingest

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/decode"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/ingest/pages"
	"github.com/weir-risk/weir/schemas"
)

// An owner decides the transactions of one shard. Its goroutines: one fetcher
// a source partition, the decider (the caller's), the publisher and the
// follower; own waits for all of them.
type owner struct {
	node    *Node
	shard   int32
	state   *State
	view    *view // the topics as they were when the ownership began
	merge   *merger
	abroad  *abroad // the other shards; nil where there are none
	work    work
	decider *Decider
	publish *publisher
	after   *follower
	halt    context.CancelCauseFunc // ends the ownership once what was taken is decided

	trial   probation       // of the champion
	id      schemas.BatchID // of the last batch decided
	decided schemas.Anchor  // where it will end, if nobody intrudes
	unsaved int64           // ledger records since the last snapshot
	saver   *saver          // of snapshots
	wanted  atomic.Bool     // a snapshot is wanted before it is due
	opening *flight         // what goes into the ledger before the first step, nil for nothing
}

// own takes the shard over and decides until the context ends or the ownership
// does. The state must be the fold of the ledger to its end; afterwards it must
// be thrown away. A context that ends is a clean stop, unless it ends because the
// shard was lost: what was decided is published and acknowledged, the shard handed over
// by leave, and a snapshot written, so that the next start has nothing to fold.
func (n *Node) own(held context.Context, fold *fold, v *view, gaps []schemas.Gap, leave func()) error {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(held))
	defer cancel(nil)
	defer context.AfterFunc(held, func() {
		if cause := context.Cause(held); errors.Is(cause, kafka.ErrLostShard) {
			cancel(cause)
		}
	})()
	o, err := n.newOwner(fold.shard, fold.state)
	if err != nil {
		return err
	}
	// What was decided before may not be committed: whoever decided it is dead.
	n.set(func(*Status) { n.decided = positions(n.decided[:0], fold.state.Progress[Transactions]) })
	clear(n.committed)
	o.view = v
	o.saver = newSaver(n, fold.saved)
	// What comes after reads the folder, or ends the process.
	defer o.saver.finish()
	o.unsaved = fold.state.Chain.Offset - fold.saved
	if err := o.bound(ctx); err != nil {
		return err
	}
	if err := o.begin(gaps); err != nil {
		return err
	}
	o.after.backlog = fold.followUps()
	taking, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(held, func() { stop(nil) })()
	o.halt = stop
	var g group
	g.start(cancel, func() error { return o.after.run(ctx) })
	g.start(cancel, func() error { return o.publish.run(ctx) })
	o.abroad = o.newAbroad(&fold.folder.past)
	fetchers := o.fetchers() // before who watches them
	if o.abroad != nil {
		o.abroad.run(ctx, &g, cancel)
	}
	g.start(cancel, func() error { return o.watch(ctx) })
	for _, f := range fetchers {
		g.start(cancel, func() error { return f.run(ctx) })
	}
	err = o.run(ctx, taking)
	if ctx.Err() == nil && taking.Err() != nil {
		err = context.Cause(taking)
		o.settle(ctx, leave)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	cancel(err)
	g.wait()
	return err
}

func (n *Node) newOwner(shard int32, s *State) (*owner, error) {
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, fmt.Errorf("draw a writer id: %w", err)
	}
	o := &owner{
		node: n, shard: shard, state: s,
		id:      schemas.BatchID{Writer: binary.BigEndian.Uint64(random[:]) | 1},
		decided: s.Chain,
		after:   newFollower(n, shard, min(s.AlertsMark, s.DeadMark)),
	}
	o.decider = &Decider{tenant: []byte(n.Tenant), engine: schemas.HashPrefix(EngineHash), lookout: &n.lookout}
	o.work = work{rowsMax: n.RowsMax, bytesMax: n.BytesMax, rowBytes: rowBytes(s.Spec) + len(n.Tenant)}
	o.publish = &publisher{node: n, shard: shard, after: o.after, assigned: n.assigned, flying: make(chan *flight, 1), free: make(chan *flight, 2)}
	o.publish.at.Store(&schemas.Anchor{Offset: s.Chain.Offset, Head: s.Chain.Head})
	for range cap(o.publish.free) {
		o.publish.free <- &flight{}
	}
	return o, nil
}

// rowBytes bounds a decision in the ledger, its texts aside: tags, numbers and
// the framing of a record take less than 320 bytes.
func rowBytes(s *spec.Spec) int {
	return 320 + 4*len(s.Features) + 8*len(s.Input.OwnNumber) + 5*len(s.Input.OwnText)
}

// textBytes bounds a decision's texts: the spec's fields, the card's previous token
// and the key.
func textBytes(s *spec.Spec) int {
	return (int(schemas.NumText) + len(s.Input.OwnText) + 2) * decode.TextMax
}

// factBytes bounds the facts of a batch, which name so many partitions.
func factBytes(partitions int) int { return 1024 + 12*partitions }

// roomOf returns what of a topic's max.message.bytes is there for a batch's records:
// what does not compress grows by less than one part in 128.
func roomOf(messageMax, partitions int) int {
	return messageMax - messageMax/128 - factBytes(partitions)
}

// bound keeps steps within the ledger's max.message.bytes: a step is one batch
// and is written whole or not at all, so that one which turned out too large
// would be too large for ever.
func (o *owner) bound(ctx context.Context) error {
	n := o.node
	topic, err := n.log.MessageMax(ctx, n.Topics.Decisions)
	if err != nil {
		return fmt.Errorf("look up max.message.bytes of %s: %w", n.Topics.Decisions, err)
	}
	partitions := 0
	for _, list := range o.state.Progress {
		partitions += len(list)
	}
	room, row := roomOf(topic, partitions), o.work.rowBytes+textBytes(o.state.Spec)
	if room < row {
		return fmt.Errorf("max.message.bytes of %s is %d, and one decision may take %d: %w", n.Topics.Decisions, topic, row+factBytes(partitions), kafka.ErrTooLarge)
	}
	// The last record of a step begins before the bound and ends behind it.
	o.work.bytesMax = max(1, min(n.BytesMax, room)-row)
	return nil
}

// settleMax is how long a clean stop waits for the broker.
const settleMax = 5 * time.Second

// settle ends an ownership in good order, as far as the broker lets it. Nothing is written
// to the log any more when it leaves the shard to a standby, which need not wait for the
// snapshot: that of a large state takes the disk minutes.
func (o *owner) settle(ctx context.Context, leave func()) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	late := make(chan struct{})
	defer close(late)
	after := o.node.after(settleMax)
	go func() { // ends with settle
		select {
		case <-after:
			cancel()
		case <-late:
		}
	}()
	_, err := o.quiesce(ctx)
	if err == nil {
		o.node.commitLast(ctx)
		leave()
	}
	if err == nil && o.unsaved > 0 {
		o.saver.finish()                             // the disk's time is not the broker's
		err = o.snapshot(context.WithoutCancel(ctx)) // which waits for the broker no more
	}
	if err != nil {
		o.node.Log.Warn("stopped before all was acknowledged: the next start publishes it", "waited", settleMax)
	}
}

// run is the owner's loop: take, step, hand over. It takes until taking ends;
// what was decided is handed over all the same.
func (o *owner) run(ctx, taking context.Context) error {
	if o.opening != nil {
		o.publish.flying <- o.opening // it holds a flight, and this is the first
	}
	for {
		var f *flight
		select {
		case f = <-o.publish.free:
		case <-taking.Done():
			return taking.Err()
		}
		if err := o.fill(taking, f); err != nil {
			return err
		}
		select {
		case o.publish.flying <- f:
		case <-ctx.Done():
			return ctx.Err()
		}
		o.look()
		if err := o.save(taking); err != nil {
			return err
		}
	}
}

// look takes the next turn of a look at the last day, and more of them for as long as
// nothing has arrived to be decided: what was decided is on its way already.
func (o *owner) look() {
	for more := true; more; more = o.node.lookout.looking() && o.merge.idle() {
		o.node.lookOut(&o.decider.serves[champion], o.decided.Offset)
	}
}

// fill makes one step of what has arrived and encodes it into f.
func (o *owner) fill(ctx context.Context, f *flight) error {
	if err := ctx.Err(); err != nil {
		return err // a stream that never pauses must stop too
	}
	in := &o.state.Spec.Input
	o.work.reset(len(in.OwnText), len(in.OwnNumber))
	o.node.enter(Fetching)
	err := o.merge.take(ctx, &o.work)
	o.node.leave(Fetching)
	if err == nil && o.abroad != nil {
		err = o.abroad.fold(o.state)
	}
	if err != nil {
		return err
	}
	o.node.enter(Stepping)
	defer o.node.leave(Stepping)
	f.out.reset()
	f.out.trace, f.shard, f.began = o.node.Trace, o.shard, o.node.Now()
	o.swap(&f.out)
	o.decider.step(o.state, &o.work, &f.out)
	if o.decider.failure != nil {
		o.node.endShadow(o.decider.failed, o.decider.failure)
	}
	if f.out.records() == 0 {
		f.out.sync()
	}
	o.tryChampion()
	o.merge.pass(o.state)
	f.places, f.verdicts = f.places[:0], f.verdicts[:0]
	f.places = append(f.places, o.work.rows.Place...)
	f.verdicts = append(f.verdicts, o.work.rows.Verdict...)
	f.labels = len(o.work.labels)
	o.merge.release()
	err = o.encode(f)
	f.decided = o.node.Now()
	o.node.Metrics.stepped(&o.work, f.decided.Sub(f.began))
	if err == nil {
		rest := pages.Live
		if o.work.records() >= o.node.RowsMax/busySteps {
			rest = pages.Busy
		}
		err = o.node.measureDue(o.state, rest)
	}
	return err
}

// swap takes what is in the slots between two steps, and says in the ledger what
// is new.
func (o *owner) swap(out *output) {
	all, s := o.node.serves(), o.state
	for k, now := range [numSlots][32]byte{s.Champion, s.Challenger} {
		o.decider.serves[k] = all[k]
		hash, share := all[k].hash(), all[k].share
		if hash != now || slot(k) == challenger && share != s.Share {
			taken := schemas.BundleTaken{Slot: []byte(slot(k).String()), Hash: hash, Offset: all[k].offset, Share: share}
			s.applyBundle(&taken)
			out.bundle(&taken)
		}
	}
}

// encode makes the record batch of a step: the facts on its first record.
func (o *owner) encode(f *flight) error {
	facts := &f.facts
	o.fillFacts(facts, uint32(f.out.records()))
	f.headers, f.scratch = schemas.AppendFacts(f.headers[:0], f.scratch[:0], facts)
	now := o.node.Now().UnixMilli()
	f.batch.Reset()
	for i := range f.out.records() {
		var headers []kafka.Header
		if i == 0 {
			headers = f.headers
		}
		f.batch.Append(f.out.keys[i], f.out.record(i), now, headers)
	}
	var err error
	f.bytes, err = f.batch.Finish(o.node.Codec)
	if err != nil {
		return fmt.Errorf("encode a step of %d records: %w", f.out.records(), err)
	}
	f.counts = o.state.Counts
	o.unsaved += int64(facts.Records)
	return nil
}

// fillFacts says what is true of the step. The last batch taken serves as
// anchor; it may be one behind the batch that this one extends.
func (o *owner) fillFacts(f *schemas.Facts, records uint32) {
	s := o.state
	f.Extends = o.decided.Head
	o.id.Sequence++
	f.ID = o.id
	f.Sources = positions(f.Sources[:0], s.Progress[Transactions])
	f.Labels = positions(f.Labels[:0], s.Progress[Labels])
	f.Rates = positions(f.Rates[:0], s.Progress[Rates])
	f.Shards = shardPositions(f.Shards[:0], s.Others)
	f.Bundle, f.Spec, f.Engine = s.Champion, s.Spec.Hash, EngineHash
	f.AlertsMark = o.after.mark.Load()
	f.DeadMark = f.AlertsMark
	f.Anchor = *o.publish.at.Load()
	f.Records = records
	if f.Key = 0; o.node.tokenKey != s.TokenKey {
		f.Key = o.node.tokenKey
	}
	o.decided = schemas.Anchor{Offset: o.decided.Offset + int64(records), Head: f.ID}
	if f.Key != 0 {
		s.TokenKey = f.Key
	}
	s.Before = [32]byte{}
	s.Chain, s.AlertsMark, s.DeadMark = o.decided, max(s.AlertsMark, f.AlertsMark), max(s.DeadMark, f.DeadMark)
}

func positions(dst []schemas.Position, list []Progress) []schemas.Position {
	for _, p := range list {
		dst = append(dst, schemas.Position{Partition: p.Partition, Offset: p.Offset})
	}
	return dst
}

// begin encodes what has to be in the ledger before the first step: the genesis
// record, which names the source topic and where it was begun, the spec where it is
// another than before, and the gaps that an operator gave up.
func (o *owner) begin(gaps []schemas.Gap) error {
	s := o.state
	if s.Genesis && s.Before == [32]byte{} && len(gaps) == 0 {
		return nil
	}
	f := <-o.publish.free
	taken := schemas.SpecTaken{Name: []byte(s.Spec.Name), Text: s.Spec.Format(), Before: s.Before}
	if s.Before != [32]byte{} {
		f.out.spec(&taken)
		o.node.Log.Warn("the ledger goes on by another spec", "ledger_offset", s.Chain.Offset, "spec", hex32(s.Spec.Hash), "name", s.Spec.Name, "before", hex32(s.Before))
	}
	if !s.Genesis {
		g := schemas.Genesis{Topic: []byte(o.node.Topics.Transactions), TopicID: o.view.topics[Transactions].ID, Spec: taken}
		for _, p := range s.Progress[Transactions] {
			g.Start = append(g.Start, schemas.Position{Partition: p.Partition, Offset: p.Offset + 1})
		}
		s.Genesis, s.TopicID = true, g.TopicID
		f.out.genesis(&g)
	}
	for i := range gaps {
		g := &gaps[i]
		s.applyGap(g)
		f.out.gap(g)
		o.node.Log.Warn("source records given up", "partition", g.Partition, "from", g.From, "to", g.To, "by", string(g.By))
	}
	o.opening = f
	return o.encode(f)
}

// quiesce waits until everything decided is taken and everything that follows
// from it is acknowledged. What others appended in between has moved offsets, so
// that only the publisher knows where the last batch lies.
func (o *owner) quiesce(ctx context.Context) (schemas.Anchor, error) {
	for {
		at := *o.publish.at.Load()
		if at.Head == o.decided.Head && o.after.mark.Load() == at.Offset-1 {
			return at, nil
		}
		select {
		case <-ctx.Done():
			return at, ctx.Err()
		case <-o.node.after(time.Millisecond):
		}
	}
}

// save begins a snapshot that is due, and makes the next parts of the snapshot in
// work, or all for as long as nothing has arrived to be decided. The stream waits
// for a slow disk only where twice as many records are unsaved as should be, so
// that what a start has to fold stays bounded.
func (o *owner) save(ctx context.Context) error {
	every := o.node.snapshotEvery()
	due := o.unsaved >= every || o.wanted.Load()
	if due && o.unsaved >= 2*every {
		o.saver.finish()
	}
	if due && !o.saver.busy() {
		if err := o.snapshot(ctx); err != nil {
			return err
		}
	}
	// All parts are to be made before half of the records until the next are.
	n := 1 + int(2*features.Parts*int64(o.work.records())/every)
	for idle := true; idle && o.saver.making(); idle = o.merge.idle() {
		began := o.node.Now()
		o.saver.parts(n)
		o.node.Metrics.SnapPause.Observe(o.node.Now().Sub(began).Seconds())
	}
	return nil
}

// snapshotEvery is how many records lie between two snapshots. Where nothing is
// said, a snapshot is to cost a record no more in a large state than in a small one.
func (n *Node) snapshotEvery() int64 {
	if n.SnapshotEvery > 0 {
		return n.SnapshotEvery
	}
	return max(400_000, int64(n.entities)*2/5)
}

// snapshot begins a snapshot once the state holds only what was taken. The marks in it
// stay those of the last batch, so that it is the fold of the ledger up to there
// and nothing else; alerts before its position are acknowledged all the same.
func (o *owner) snapshot(ctx context.Context) error {
	o.wanted.Store(false)
	if o.node.SnapshotDir == "" {
		o.unsaved = 0
		return nil
	}
	began := o.node.Now()
	at, err := o.quiesce(ctx)
	if err != nil {
		return err
	}
	o.state.Chain = at
	o.saver.begin(o.state)
	o.node.Metrics.SnapPause.Observe(o.node.Now().Sub(began).Seconds())
	o.unsaved = 0
	return nil
}
