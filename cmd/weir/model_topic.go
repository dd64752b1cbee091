package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/trainer"
)

// topicModels are the flags of what weir model does with the topic of models.
type topicModels struct {
	kafka           *kafkaFlags
	key, by, reason string
	share           float64
}

func addTopicModels(fs *flag.FlagSet) *topicModels {
	t := &topicModels{kafka: addKafka(fs)}
	fs.StringVar(&t.key, "key", filepath.Join("weir-data", "signing.key"), "PEM `FILE` of the key that promote, challenge and rollback sign with")
	fs.StringVar(&t.by, "by", cmp.Or(os.Getenv("USER"), "unknown"), "who says so: a `NAME` for the record")
	fs.StringVar(&t.reason, "reason", "", "why: a `TEXT` for the record")
	fs.Float64Var(&t.share, "share", 0, "`SHARE` of the cards, 0 to 1, by hash, whose payments challenge lets the\nchallenger decide")
	return t
}

// The slots of models.
const (
	championSlot   = "champion"
	challengerSlot = "challenger"
)

// A bundleFile is a bundle's bytes and what messages call it.
type bundleFile struct {
	name string
	data []byte
}

// find reads a bundle: a file, or what models holds.
func (m *modelRun) find(ctx context.Context, e *env, what string) (bundleFile, error) {
	data, err := os.ReadFile(what)
	if err == nil || m.topic.kafka.brokers == "" {
		if err != nil {
			err = fmt.Errorf("read bundle: %w", err)
		}
		return bundleFile{what, data}, err
	}
	if err := m.open(ctx, e, nil); err != nil {
		return bundleFile{}, err
	}
	hash, err := m.resolve(what)
	if err != nil {
		return bundleFile{}, err
	}
	data, err = m.models.File(ctx, hash)
	return bundleFile{fmt.Sprintf("%s (%.8x)", what, hash), data}, err
}

// open reads the topic, once. The slots must be signed by one of the trusted keys,
// or by one of more.
func (m *modelRun) open(ctx context.Context, e *env, more []ed25519.PublicKey) (err error) {
	if m.models != nil {
		return nil
	}
	trust, err := trainer.LoadPublicKeys(m.trust)
	if err != nil && len(more) == 0 {
		return fmt.Errorf("keys that bundles are signed with: %w; --trust FILE names them", err)
	}
	if m.log, err = m.topic.kafka.client(e); err != nil {
		return err
	}
	m.models = ingest.NewModels(m.log, m.topic.kafka.topics(), append(trust, more...))
	return m.models.Read(ctx)
}

func (m *modelRun) close() {
	if m.log != nil {
		m.log.Close()
	}
}

// hashDigits is how much of a hash has to be said at least.
const hashDigits = 8

// resolve returns the hash that is meant: that of a slot, or one that begins so.
func (m *modelRun) resolve(what string) (hash [32]byte, err error) {
	if what == championSlot || what == challengerSlot {
		if hash = m.models.Hash(what); hash == [32]byte{} {
			return hash, fmt.Errorf("there is no %s; weir model ls lists what models holds", what)
		}
		return hash, nil
	}
	found := 0
	for _, h := range m.models.Bundles() {
		if len(what) >= hashDigits && strings.HasPrefix(hex.EncodeToString(h[:]), what) {
			hash = h
			found++
		}
	}
	if found != 1 {
		return hash, fmt.Errorf("%q is no file, no slot, and the beginning of %s that models holds (8 digits or more): weir model ls lists them", what, several(found, "hash", "hashes"))
	}
	return hash, nil
}

// signing loads the key that slots are signed with, and reads the topic.
func (m *modelRun) signing(ctx context.Context, e *env) (ed25519.PrivateKey, error) {
	key, err := trainer.LoadKey(m.topic.key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; --key FILE names the key whose bundles the scorers trust", err)
	}
	if err != nil {
		return nil, err
	}
	return key, m.open(ctx, e, []ed25519.PublicKey{key.Public().(ed25519.PublicKey)})
}

// promote makes a bundle the champion.
func (m *modelRun) promote(ctx context.Context, e *env, what string) error {
	return m.point(ctx, e, championSlot, what, "promoted by hand")
}

// challenge makes a bundle the challenger, or ends the one that there is.
func (m *modelRun) challenge(ctx context.Context, e *env, what string) error {
	if !(m.topic.share >= 0 && m.topic.share <= 1) {
		return usagef("--share %g: 0 to 1", m.topic.share)
	}
	if what != "none" {
		return m.point(ctx, e, challengerSlot, what, "challenges by hand")
	}
	key, err := m.signing(ctx, e)
	if err != nil {
		return err
	}
	return m.write(ctx, e, challengerSlot, "", key, "ended by hand", func(s ingest.Slot) error {
		return m.models.Point(ctx, challengerSlot, s, key, time.Now())
	})
}

// rollback makes the bundle before the champion the champion again.
func (m *modelRun) rollback(ctx context.Context, e *env) error {
	if _, err := m.signing(ctx, e); err != nil {
		return err
	}
	s, ok := m.models.Slots[championSlot]
	switch {
	case !ok:
		return errors.New("there is no champion; weir model ls lists what models holds")
	case s.Previous == "":
		return errors.New("nothing was champion before it; weir model promote HASH names another")
	}
	return m.point(ctx, e, championSlot, s.Previous, "rolled back by hand")
}

// point fills a slot with a bundle, signed by the key, after what a scorer looks at
// was looked at.
func (m *modelRun) point(ctx context.Context, e *env, slot, what, reason string) error {
	key, err := m.signing(ctx, e)
	if err != nil {
		return err
	}
	file, err := m.find(ctx, e, what)
	if err != nil {
		return err
	}
	data, b, err := vouch(file, key)
	if err != nil {
		return err
	}
	m.warnOfSpec(ctx, e, b)
	return m.write(ctx, e, slot, b.Name, key, reason, func(s ingest.Slot) error {
		s.Bundle = hex.EncodeToString(b.Hash[:])
		if slot == challengerSlot {
			s.Share = m.topic.share
		}
		return fill(ctx, m.log, m.topic.kafka.topics(), m.models, slot, s, data, key, time.Now())
	})
}

// vouch signs a bundle by a key, after what a scorer looks at was looked at.
func vouch(file bundleFile, key ed25519.PrivateKey) ([]byte, *scoring.Bundle, error) {
	data, err := scoring.Sign(file.data, key)
	if err != nil {
		return nil, nil, fmt.Errorf("bundle %s: %w", file.name, err)
	}
	trust := []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}
	b, err := scoring.ReadBundle(data, trust)
	if err == nil {
		_, _, err = ingest.OpenBundle(data, b.Spec.Hash, trust)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("bundle %s: %w", file.name, err)
	}
	return data, b, nil
}

// fill points a slot at the bundle that it names, whose file is data, as Point does. A
// bundle is written once, unless another key has to vouch for it now.
func fill(ctx context.Context, log *kafka.Client, topics schemas.Topics, models *ingest.Models, slot string, s ingest.Slot, data []byte, key ed25519.PrivateKey, now time.Time) error {
	hash, err := hex.DecodeString(s.Bundle)
	if err != nil || len(hash) != 32 {
		return fmt.Errorf("%.80q is no bundle's hash", s.Bundle)
	}
	if there, err := models.File(ctx, [32]byte(hash)); err == nil && bytes.Equal(there, data) {
		return models.Point(ctx, slot, s, key, now)
	}
	if err := ingest.WriteBundle(ctx, log, topics, data, [32]byte(hash), now); err != nil {
		return err
	}
	return models.Point(ctx, slot, s, key, now)
}

// write writes a slot by publish, which fills in the bundle, and reports what was
// there before.
func (m *modelRun) write(ctx context.Context, e *env, slot, name string, key ed25519.PrivateKey, reason string, publish func(ingest.Slot) error) error {
	s := m.models.After(slot)
	before := s.Previous
	s.By, s.Reason = m.topic.by, cmp.Or(m.topic.reason, reason)
	if err := publish(s); errors.Is(err, ingest.ErrSlotOvertaken) {
		return fmt.Errorf("nothing is changed: %w; weir model ls says what is there now, so say it again if it still holds", err)
	} else if err != nil {
		return err
	}
	now := m.models.Slots[slot].Bundle
	if !e.json {
		e.printf("%-13s %s  %s\n", slot, cmp.Or(now, "none"), name)
		if before != "" {
			e.printf("before it     %s\n", before)
		}
	}
	return e.report(map[string]any{slot: now, "previous": before})
}

// warnOfSpec says where a bundle is of another spec than the champion: the scorers
// that run now would refuse it.
func (m *modelRun) warnOfSpec(ctx context.Context, e *env, b *scoring.Bundle) {
	data, err := m.models.File(ctx, m.models.Champion())
	if err != nil {
		return
	}
	if now, _, err := readAnyBundle(bundleFile{championSlot, data}); err == nil && now.Spec.Hash != b.Spec.Hash {
		fmt.Fprintf(e.stderr, "the bundle was made for the spec %s (%.8x), the champion for %s (%.8x): scorers of the champion's spec refuse it\n",
			b.Spec.Name, b.Spec.Hash, now.Spec.Name, now.Spec.Hash)
	}
}

// export writes a bundle into a file, as the topic holds it.
func (m *modelRun) export(ctx context.Context, e *env, what string) error {
	if m.out == "" {
		return usagef("weir model export %s --out FILE", what)
	}
	file, err := m.find(ctx, e, what)
	if err != nil {
		return err
	}
	b, _, err := readAnyBundle(file)
	if err != nil {
		return err
	}
	if err := writeWhole(m.out, file.data); err != nil {
		return err
	}
	if !e.json {
		e.printf("%s  %s, %s bytes, hash %x\n", m.out, b.Name, thousands(int64(len(file.data))), b.Hash)
	}
	return e.report(map[string]any{"file": m.out, "bundle": hex.EncodeToString(b.Hash[:]), "bytes": len(file.data)})
}
