package main

import (
	"context"
	"fmt"

	"github.com/weir-risk/weir/alerts/desk"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// receipts proves decisions: from the history, the topics and the bundles that they
// name, which it reads where the page of the models does.
type receipts struct {
	*deskModels
	last *scoring.Bundle // that was read last: most decisions that are looked at are of one; guarded by reading
}

// withReceipts gives a desk what proves decisions. Without the keys it shows them, and
// cannot recompute them.
func (d *deskModels) withReceipts(o *desk.Options, sp *spec.Spec) {
	o.Receipts.Spec = sp
	if len(d.trust) == 0 {
		return // the pages say what is missing
	}
	r := &receipts{deskModels: d}
	o.Receipts.Bundle = r.bundleOf
	if d.past != nil {
		o.Receipts.Recompute = r.recompute(&ingest.Recomputer{Past: d.past, Spec: sp, Bundle: r.open, Ledger: r.ledger})
	}
}

// find returns the whole hash of a bundle; the caller holds reading.
func (r *receipts) find(ctx context.Context, prefix uint64) ([32]byte, error) {
	if err := r.models.Read(ctx); err != nil {
		return [32]byte{}, fmt.Errorf("read the models: %w", err)
	}
	for _, hash := range r.models.Bundles() {
		if schemas.HashPrefix(hash) == prefix {
			return hash, nil
		}
	}
	return [32]byte{}, ingest.ErrNoBundle
}

// bundleOf reads a bundle, whatever spec it is for.
func (r *receipts) bundleOf(ctx context.Context, prefix uint64) (*scoring.Bundle, error) {
	r.reading.Lock()
	defer r.reading.Unlock()
	if r.last != nil && r.last.Prefix() == prefix {
		return r.last, nil
	}
	hash, err := r.find(ctx, prefix)
	if err != nil {
		return nil, err
	}
	data, err := r.models.File(ctx, hash)
	if err != nil {
		return nil, err
	}
	b, err := scoring.ReadBundle(data, r.trust)
	if err == nil && b.Hash != hash {
		err = ingest.ErrMisfiled
	}
	if err != nil {
		return nil, fmt.Errorf("bundle %.8x: %w", hash, err)
	}
	r.last = b
	return b, nil
}

// open reads a bundle that is for a spec, and makes a scorer of it.
func (r *receipts) open(ctx context.Context, prefix uint64, spec [32]byte) (*scoring.Bundle, scoring.Scorer, error) {
	r.reading.Lock()
	defer r.reading.Unlock()
	hash, err := r.find(ctx, prefix)
	if err != nil {
		return nil, nil, err
	}
	return r.models.Open(ctx, hash, spec)
}

// ledger reads a record of the ledger from its topic.
func (r *receipts) ledger(ctx context.Context, shard int32, offset int64) ([]byte, error) {
	record, err := kafka.NewReader(r.service.client, r.service.topics.Decisions, shard, offset).Get(ctx, offset)
	if err != nil {
		return nil, err
	}
	return record.Value, nil
}

func (r *receipts) recompute(with *ingest.Recomputer) func(context.Context, int32, int64) ([]desk.Check, error) {
	return func(ctx context.Context, shard int32, offset int64) ([]desk.Check, error) {
		checks, err := with.Decision(ctx, shard, offset)
		var list []desk.Check
		for _, c := range checks {
			list = append(list, desk.Check{What: c.What, Words: c.Words,
				Outcome: map[ingest.Result]string{ingest.Equal: desk.CheckEqual, ingest.Different: desk.CheckDifferent, ingest.NotCompared: desk.CheckNot}[c.Result]})
		}
		return list, err
	}
}
