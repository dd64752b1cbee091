package ingest

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// An Other is how far a shard's state has folded the ledger of another shard.
type Other struct {
	Shard    int32
	Chain    schemas.Anchor
	Progress []Progress // of that shard's source partitions, ascending
}

// ownsPartition reports whether a source partition is a shard's, of so many.
func ownsPartition(partition, shard, shards int32) bool { return partition%max(1, shards) == shard }

// others brings what the other shards decided into the state of one. It is gathered
// as it comes, and folded all at once before a step, in merge order: so the state
// depends on nothing but on what was gathered, which the facts of the step's batch say,
// and whoever folds or verifies that batch gathers the same.
//
// Of another shard's ledger only decisions are folded. Labels, rates and bundles each
// shard takes by itself.
type others struct {
	log     *kafka.Client
	topic   string
	folder  Folder
	entry   schemas.Entry
	ahead   []Other // as State.Others, with what is gathered
	open    func(*Other) otherReader
	readers []otherReader // for upto, as State.Others; nil until needed
	records []gathered
	arena   []byte
}

// An otherReader reads another shard's ledger forward: from Kafka, or from a history.
type otherReader interface {
	// next returns the next batch that the chain takes, which is to begin at an offset at
	// the latest. It is good until the next call.
	next(ctx context.Context, offset int64) (base int64, facts *schemas.Facts, values [][]byte, err error)
	Close()
}

// A gathered record is a decision of another shard that is not folded yet.
type gathered struct {
	key       int64 // the largest event time so far in its partition
	partition int32
	offset    int64
	from, to  int // in the arena
}

// newOthers returns what folds the other shards into a state, on from where it is; nil
// where there are none.
func newOthers(log *kafka.Client, topic string, s *State, past *pastSpecs) *others {
	if len(s.Others) == 0 {
		return nil
	}
	o := &others{log: log, topic: topic, readers: make([]otherReader, len(s.Others)), ahead: copyOthers(nil, s.Others)}
	o.open = func(a *Other) otherReader {
		return liveReader{kafka.NewLedgerReader(log, topic, a.Shard, a.Chain)}
	}
	for _, known := range past.specs {
		o.folder.past.add(known)
	}
	return o
}

// beside returns the other shards of a state that has folded nothing.
func beside(shard, shards int32) (list []Other) {
	for k := range shards {
		if k != shard {
			list = append(list, Other{Shard: k})
		}
	}
	return list
}

func copyOthers(dst, src []Other) []Other {
	dst = slices.Grow(dst[:0], len(src))[:len(src)]
	for i := range src {
		dst[i].Shard, dst[i].Chain = src[i].Shard, src[i].Chain
		dst[i].Progress = append(dst[i].Progress[:0], src[i].Progress...)
	}
	return dst
}

// shardPositions appends the positions of the other shards, as facts hold them.
func shardPositions(dst []schemas.Position, list []Other) []schemas.Position {
	for _, o := range list {
		dst = append(dst, schemas.Position{Partition: o.Shard, Offset: o.Chain.Offset - 1})
	}
	return dst
}

func (o *others) close() {
	if o == nil {
		return
	}
	for _, r := range o.readers {
		if r != nil {
			r.Close()
		}
	}
}

// gather takes in a batch that the chain of other i takes.
func (o *others) gather(i int, base int64, id schemas.BatchID, values [][]byte) error {
	at := &o.ahead[i]
	for k, value := range values {
		if err := schemas.ParseEntry(value, &o.entry); err != nil {
			return fmt.Errorf("parse record %d of shard %d: %w: %w", base+int64(k), at.Shard, ErrUnreadable, err)
		}
		o.folder.past.learn(&o.entry)
		switch o.entry.Kind {
		case schemas.EntryDecision:
			d := &o.entry.Decision
			p := at.of(d.Partition)
			p.Offset = d.Offset
			if moves(d.Verdict) {
				p.MaxTime = max(p.MaxTime, d.Tx.Time)
			}
			from := len(o.arena)
			o.arena = append(o.arena, value...)
			o.records = append(o.records, gathered{key: p.MaxTime, partition: d.Partition, offset: d.Offset, from: from, to: len(o.arena)})
		case schemas.EntryGap:
			if g := &o.entry.Gap; gapClass(g) == Transactions {
				p := at.of(g.Partition)
				p.Offset = max(p.Offset, g.To)
			}
		case schemas.EntryGenesis:
			for _, start := range o.entry.Genesis.Start {
				at.of(start.Partition).Offset = start.Offset - 1
			}
		}
	}
	at.Chain = schemas.Anchor{Offset: base + int64(len(values)), Head: id}
	return nil
}

// of returns the progress of a partition, made at its beginning where there is none.
func (o *Other) of(partition int32) *Progress {
	i, ok := slices.BinarySearchFunc(o.Progress, partition, func(p Progress, n int32) int { return cmp.Compare(p.Partition, n) })
	if !ok {
		o.Progress = slices.Insert(o.Progress, i, Progress{Partition: partition, Offset: -1})
	}
	return &o.Progress[i]
}

// next returns the offset after the last one decided of a partition.
func (o *Other) next(partition int32) int64 {
	for i := range o.Progress {
		if o.Progress[i].Partition == partition {
			return o.Progress[i].Offset + 1
		}
	}
	return 0
}

// maxTime returns the largest event time that was decided of a partition.
func (o *Other) maxTime(partition int32) int64 {
	for i := range o.Progress {
		if o.Progress[i].Partition == partition {
			return o.Progress[i].MaxTime
		}
	}
	return 0
}

// fold folds what is gathered into the state.
func (o *others) fold(s *State) error {
	slices.SortFunc(o.records, func(a, b gathered) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.partition, b.partition), cmp.Compare(a.offset, b.offset))
	})
	o.folder.begin(s)
	for _, r := range o.records {
		if err := schemas.ParseEntry(o.arena[r.from:r.to], &o.entry); err != nil {
			return fmt.Errorf("%w: %w", ErrUnreadable, err)
		}
		if err := o.folder.queue(s, &o.entry.Decision); err != nil {
			return fmt.Errorf("fold the decision of partition %d offset %d: %w", r.partition, r.offset, err)
		}
	}
	o.folder.flush(s)
	s.Others = copyOthers(s.Others, o.ahead)
	o.records, o.arena = o.records[:0], o.arena[:0]
	return nil
}

// syncRecords and syncBytes bound what is gathered: beyond either, a shard that has
// nothing to decide says in its ledger that it has folded the others, so that it holds
// no more, and neither does whoever folds its ledger.
const (
	syncRecords = 4096
	syncBytes   = 4 << 20
)

func (o *others) full() bool { return len(o.records) >= syncRecords || len(o.arena) >= syncBytes }

// upto folds the other shards up to the positions in a batch's facts.
func (o *others) upto(ctx context.Context, s *State, at []schemas.Position) error {
	if o == nil {
		return nil
	}
	for i := range o.ahead {
		a := &o.ahead[i]
		k := slices.IndexFunc(at, func(p schemas.Position) bool { return p.Partition == a.Shard })
		if k < 0 {
			return fmt.Errorf("%w: the facts of a batch say nothing of shard %d", ErrUnreadable, a.Shard)
		}
		if err := o.read(ctx, i, at[k].Offset); err != nil {
			return err
		}
	}
	return o.fold(s)
}

// read gathers other i up to a ledger offset, inclusive.
func (o *others) read(ctx context.Context, i int, offset int64) error {
	a := &o.ahead[i]
	if o.readers[i] == nil {
		o.readers[i] = o.open(a)
	}
	for a.Chain.Offset <= offset {
		base, facts, values, err := o.readers[i].next(ctx, offset)
		if err != nil {
			return fmt.Errorf("read shard %d: %w", a.Shard, err)
		}
		if err := o.gather(i, base, facts.ID, values); err != nil {
			return err
		}
	}
	return nil
}

// A liveReader is an otherReader of Kafka.
type liveReader struct{ *kafka.LedgerReader }

// behindMax is how often another shard's ledger is looked at for what a batch says that
// it had folded of it: a replica that has just become the leader may need a moment.
const behindMax = 40

func (r liveReader) next(ctx context.Context, offset int64) (base int64, facts *schemas.Facts, values [][]byte, err error) {
	for looks := 0; ; {
		b, err := r.Next(ctx, offset+1)
		if err == nil && b == nil {
			if looks++; looks == behindMax {
				return 0, nil, nil, endsBefore(offset)
			}
			b, err = r.Follow(ctx)
		}
		if err != nil {
			return 0, nil, nil, err
		}
		if b != nil && b.Taken {
			return b.Base, &b.Facts, b.Values, nil
		}
	}
}

func endsBefore(offset int64) error {
	return fmt.Errorf("it ends before offset %d, which another shard's batch was built on: %w", offset, ErrTruncated)
}
