package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/weir-risk/weir/alerts/desk"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/trainer"
)

// receipts proves decisions: from the history, the topics and the bundles that they
// name. One at a time reads the models.
type receipts struct {
	log    *kafka.Client
	topics schemas.Topics

	mu     sync.Mutex
	models *ingest.Models
	trust  []ed25519.PublicKey
	last   *scoring.Bundle // that was read last: most decisions that are looked at are of one
}

// withReceipts gives a desk what proves decisions. Without the keys it shows them, and
// cannot recompute them.
func (s *service) withReceipts(o *desk.Options, store history.Store, sp *spec.Spec, trustFile string) error {
	o.Receipts.Spec = sp
	name := trustFile
	if name == "" {
		name = filepath.Join(s.flags.data, "signing.key.pub")
	}
	trust, err := trainer.LoadPublicKeys(name)
	if err != nil && trustFile != "" {
		return fmt.Errorf("keys that bundles are signed with: %w", err)
	}
	if err != nil {
		return nil // the pages say what is missing
	}
	r := &receipts{log: s.client, topics: s.topics, models: ingest.NewModels(s.client, s.topics, trust), trust: trust}
	o.Receipts.Bundle = r.bundle
	if store != nil {
		o.Receipts.Recompute = r.recompute(&ingest.Recomputer{Past: store, Spec: sp, Bundle: r.open, Ledger: r.ledger})
	}
	return nil
}

// find returns the whole hash of a bundle; the caller holds mu.
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

// bundle reads a bundle, whatever spec it is for.
func (r *receipts) bundle(ctx context.Context, prefix uint64) (*scoring.Bundle, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
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
	r.mu.Lock()
	defer r.mu.Unlock()
	hash, err := r.find(ctx, prefix)
	if err != nil {
		return nil, nil, err
	}
	return r.models.Open(ctx, hash, spec)
}

// ledger reads a record of the ledger from its topic.
func (r *receipts) ledger(ctx context.Context, shard int32, offset int64) ([]byte, error) {
	record, err := kafka.NewReader(r.log, r.topics.Decisions, shard, offset).Get(ctx, offset)
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
