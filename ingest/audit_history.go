package ingest

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// VerifyHistory verifies a ledger as the history has it: the batches must form
// one chain, source offsets must follow one another, and every feature and score
// is recomputed. What the source held, the history does not know; [VerifyLog]
// compares with that. Verifier makes the verifier of a shard; they are verified, and
// what is returned is, as VerifyLog does. Progress, where not nil, is told how many
// records are done.
func VerifyHistory(ctx context.Context, r history.Reader, verifier func(shard int32) *Verifier, progress func(done int64)) (*Verifier, error) {
	var first *Verifier
	done := int64(0)
	for shard, shards := int32(0), int32(1); shard < shards; shard++ {
		p := pastAudit{past: r, v: verifier(shard), told: func(offset int64) {
			if progress != nil {
				progress(done + offset)
			}
		}}
		if err := p.run(ctx); err != nil {
			return nil, err
		}
		if shard == 0 {
			first, shards = p.v, int32(len(p.v.beside)+1)
		} else {
			first.Report.add(&p.v.Report)
		}
		done += p.v.state.Chain.Offset
	}
	return first, nil
}

// pastAudit verifies a shard from a history.
type pastAudit struct {
	past  history.Reader
	v     *Verifier
	told  func(offset int64)
	in    *others // folded into the state of metBy
	metBy *State
}

func (p *pastAudit) run(ctx context.Context) error {
	v := p.v
	v.meet = func(s *State, at []schemas.Position) error { return p.meet(ctx, s, at) }
	v.refold = func(f *Folder, s *State, before int64) error {
		return foldHistory(ctx, p.past, v.shard, before, f, s)
	}
	defer func() { p.in.close() }()
	var chain kafka.Chain
	return p.past.Batches(ctx, v.shard, 0, func(b *history.Batch) error {
		if len(v.beside) == 0 {
			v.beside = beside(v.shard, int32(len(b.Facts.Shards)+1))
		}
		if !chain.Take(&b.Facts) {
			v.find(Finding{Kind: "chain", Partition: v.shard, Offset: b.Base, Ledger: true,
				What: fmt.Sprintf("batch %x does not extend the one before it, %x", b.Facts.ID, chain.Head)})
			chain.Head = b.Facts.ID
		}
		p.told(b.Base)
		return v.Batch(&b.Facts, b.Base, b.Values)
	})
}

func (p *pastAudit) meet(ctx context.Context, s *State, at []schemas.Position) error {
	if p.metBy != s {
		p.in.close()
		p.in, p.metBy = pastOthers(ctx, p.past, s, &p.v.past), s
	}
	return p.in.upto(ctx, s, at)
}

// pastOthers returns what folds the other shards into a state from a history, as
// newOthers does from Kafka.
func pastOthers(ctx context.Context, r history.Reader, s *State, past *pastSpecs) *others {
	o := newOthers(nil, "", s, past)
	if o != nil {
		o.open = func(a *Other) otherReader {
			next, stop := iter.Pull2(batches(ctx, r, a.Shard, a.Chain.Offset))
			return pastReader{next, stop}
		}
	}
	return o
}

// A pastReader is an otherReader of a history, which holds what was taken.
type pastReader struct {
	pull func() (*history.Batch, error, bool)
	stop func()
}

func (r pastReader) next(_ context.Context, offset int64) (base int64, facts *schemas.Facts, values [][]byte, err error) {
	b, err, ok := r.pull()
	switch {
	case err != nil:
		return 0, nil, nil, err
	case !ok || b.Base > offset:
		return 0, nil, nil, endsBefore(offset)
	}
	return b.Base, &b.Facts, b.Values, nil
}

// Close implements otherReader.
func (r pastReader) Close() { r.stop() }

// errEnough ends the reading of a history.
var errEnough = errors.New("enough")

// batches are those of a shard's ledger from an offset on, and at last the error that
// reading them ended with.
func batches(ctx context.Context, r history.Reader, shard int32, from int64) iter.Seq2[*history.Batch, error] {
	return func(yield func(*history.Batch, error) bool) {
		err := r.Batches(ctx, shard, from, func(b *history.Batch) error {
			if !yield(b, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(nil, err)
		}
	}
}

// foldHistory folds the records of a history that lie before a ledger offset, and of the
// other shards what the batch that holds it had folded. A history holds what was taken.
func foldHistory(ctx context.Context, r history.Reader, shard int32, before int64, f *Folder, s *State) error {
	in := pastOthers(ctx, r, s, &f.past)
	defer in.close()
	for b, err := range batches(ctx, r, shard, 0) {
		if err == nil && b.Base <= before {
			err = in.upto(ctx, s, b.Facts.Shards)
		}
		if err != nil || b.Base >= before {
			return err
		}
		values := b.Values[:min(int64(len(b.Values)), before-b.Base)]
		if err := f.Fold(s, &b.Facts, b.Base, values); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}
