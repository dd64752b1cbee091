package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"os"
	"time"

	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/scoring"
)

// publishFirst makes a bundle the champion where there is none, signed by the
// data folder's key.
func (s *service) publishFirst(ctx context.Context, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read bundle: %w", err)
	}
	key, err := signingKey(s.flags.data)
	if err != nil {
		return err
	}
	trust := []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}
	models := ingest.NewModels(s.client, s.topics, trust)
	if err := models.Read(ctx); err != nil {
		return err
	}
	if models.Champion() != [32]byte{} {
		s.log.Info("there is a champion already", "bundle", hex.EncodeToString(func() []byte { h := models.Champion(); return h[:] }()))
		return nil
	}
	// Whoever starts weir with a bundle vouches for it: it is signed again.
	if data, err = scoring.Sign(data, key); err != nil {
		return fmt.Errorf("bundle %s: %w", file, err)
	}
	b, err := scoring.ReadBundle(data, trust)
	if err != nil {
		return fmt.Errorf("bundle %s: %w", file, err)
	}
	slot := models.After(championSlot)
	slot.Bundle, slot.By, slot.Reason = hex.EncodeToString(b.Hash[:]), "weir up", "--bundle "+file
	return fill(ctx, s.client, s.topics, models, championSlot, slot, data, key, time.Now())
}
