package ingest

import (
	"context"
	"errors"
	"fmt"

	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/ingest/kafka"
)

// VerifyHistory verifies a ledger as the history has it: the batches must form
// one chain, source offsets must follow one another, and every feature and score
// is recomputed. What the source held, the history does not know; [VerifyLog]
// compares with that. Progress, where not nil, is told the ledger offset.
func VerifyHistory(ctx context.Context, r history.Reader, v *Verifier, progress func(offset int64)) error {
	var chain kafka.Chain
	v.refold = func(f *Folder, s *State, before int64) error {
		return foldHistory(ctx, r, v.shard, before, f, s)
	}
	return r.Batches(ctx, v.shard, 0, func(b *history.Batch) error {
		if len(b.Facts.Shards) > 0 {
			return errors.New("the ledger is of several shards, which are verified from the log")
		}
		if !chain.Take(&b.Facts) {
			v.find(Finding{Kind: "chain", Partition: v.shard, Offset: b.Base, Ledger: true,
				What: fmt.Sprintf("batch %x does not extend the one before it, %x", b.Facts.ID, chain.Head)})
			chain.Head = b.Facts.ID
		}
		if progress != nil {
			progress(b.Base)
		}
		return v.Batch(&b.Facts, b.Base, b.Values)
	})
}

// foldHistory folds the records of a history that lie before a ledger offset. A
// history holds what was taken.
func foldHistory(ctx context.Context, r history.Reader, shard int32, before int64, f *Folder, s *State) error {
	enough := errors.New("enough")
	err := r.Batches(ctx, shard, 0, func(b *history.Batch) error {
		if b.Base >= before {
			return enough
		}
		values := b.Values[:min(int64(len(b.Values)), before-b.Base)]
		if err := f.Fold(s, &b.Facts, b.Base, values); err != nil {
			return err
		}
		return ctx.Err()
	})
	if errors.Is(err, enough) {
		return nil
	}
	return err
}
