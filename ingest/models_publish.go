package ingest

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// Sign signs the slot of that name.
func (s *Slot) Sign(name string, key ed25519.PrivateKey) {
	s.Signature = hex.EncodeToString(ed25519.Sign(key, s.signed(name)))
}

// PublishBundle writes a bundle into models and then points the slot at it. The
// records bear the time now: a broker deletes and compacts by what they bear, and
// a person reads there since when a model has served.
func PublishBundle(ctx context.Context, log *kafka.Client, topics schemas.Topics, data []byte, hash [32]byte, name string, s Slot, key ed25519.PrivateKey, now time.Time) error {
	s.Bundle = hex32(hash)
	if err := WriteBundle(ctx, log, topics, data, hash, now); err != nil {
		return err
	}
	return PublishSlot(ctx, log, topics, name, s, key, now)
}

// WriteBundle writes a bundle into models, where no slot points at it yet.
func WriteBundle(ctx context.Context, log *kafka.Client, topics schemas.Topics, data []byte, hash [32]byte, now time.Time) error {
	return publishModel(ctx, log, topics.Models, "bundle/"+hex32(hash), data, now)
}

// PublishSlot points the slot at a bundle that models holds; an empty s.Bundle ends
// a challenger. The slot's time is now, or s.Time where that is later: who knows the
// slot in force sets it behind that one's, whatever the clocks say.
func PublishSlot(ctx context.Context, log *kafka.Client, topics schemas.Topics, name string, s Slot, key ed25519.PrivateKey, now time.Time) error {
	s.Time = max(s.Time, now.UnixMilli())
	s.Sign(name, key)
	return writeSlot(ctx, log, topics.Models, name, &s, now)
}

func writeSlot(ctx context.Context, log *kafka.Client, topic, name string, s *Slot, now time.Time) error {
	pointer, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode slot %s: %w", name, err)
	}
	return publishModel(ctx, log, topic, "slot/"+name, pointer, now)
}

// Point points a slot at a bundle that models holds, in place of the record that s
// names, as [Models.After] has it, and returns once that was read back: ErrSlotOvertaken
// is wrapped where somebody else was faster, with who. The key is one of those trusted.
func (m *Models) Point(ctx context.Context, name string, s Slot, key ed25519.PrivateKey, now time.Time) error {
	s.Time = max(s.Time, now.UnixMilli())
	s.Sign(name, key)
	if err := writeSlot(ctx, m.log, m.topic, name, &s, now); err != nil {
		return err
	}
	if err := m.Read(ctx); err != nil {
		return fmt.Errorf("slot %s is written, and whether somebody else was faster is not known: %w", name, err)
	}
	for _, p := range m.Past {
		if p.Name == name && p.Signature == s.Signature {
			return nil // whatever came after it
		}
	}
	for _, r := range m.Refused {
		if r.signature == s.Signature {
			return errors.Join(r.Err, m.Restate(ctx, now))
		}
	}
	return fmt.Errorf("slot %s is written, and models does not hold it", name)
}

// Restate writes the records in force again that one which was overtaken lies behind:
// compaction keeps the last record of a slot, and who reads nothing else would take it.
// It does so once for each such record: readers that trust other keys do not agree on
// what is in force, and would go on for ever.
func (m *Models) Restate(ctx context.Context, now time.Time) error {
	for name, behind := range m.hidden {
		s := m.Slots[name]
		if err := writeSlot(ctx, m.log, m.topic, name, &s, now); err != nil {
			return err
		}
		m.shown[behind] = true
		delete(m.hidden, name)
	}
	return nil
}

// publishModel writes one record of models.
func publishModel(ctx context.Context, log *kafka.Client, topic string, key string, value []byte, now time.Time) error {
	var w kafka.BatchWriter
	w.Append([]byte(key), value, now.UnixMilli(), nil)
	batch, err := w.Finish(kafka.None)
	if err == nil {
		_, err = log.Produce(ctx, topic, 0, batch)
	}
	if err != nil {
		return fmt.Errorf("publish %s: %w", key, err)
	}
	return nil
}
