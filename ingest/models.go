package ingest

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
)

// Slot is a record of models that says which bundle is the champion or the
// challenger: a pointer, signed by whoever may say so.
type Slot struct {
	Bundle    string `json:"bundle"` // SHA-256, hex
	By        string `json:"by"`
	Reason    string `json:"reason"`
	Previous  string `json:"previous,omitempty"`
	Signature string `json:"signature"` // Ed25519 over the lines of signed, hex
}

func (s *Slot) signed(name string) []byte {
	return []byte("weir slot\n" + name + "\n" + s.Bundle + "\n" + s.By + "\n" + s.Reason + "\n" + s.Previous)
}

// The errors of models.
var (
	ErrNoBundle    = errors.New("models does not hold this bundle")
	ErrSlotRefused = errors.New("the slot is not signed by a trusted key")
)

// Models is what the topic models held when it was read.
type Models struct {
	Bundles map[[32]byte][]byte // the files, by their content's hash
	Slots   map[string]Slot     // by name; only those with a good signature
	Refused []error             // what was not taken, and why
	next    int64
}

// ReadModels reads the topic models to its end.
func ReadModels(ctx context.Context, log *kafka.Client, topics schemas.Topics, trust []ed25519.PublicKey) (*Models, error) {
	_, end, err := log.Offsets(ctx, topics.Models, 0)
	if err != nil {
		return nil, err
	}
	m := &Models{Bundles: make(map[[32]byte][]byte), Slots: make(map[string]Slot)}
	r := kafka.NewReader(log, topics.Models, 0, kafka.Earliest)
	defer r.Close()
	for {
		records, err := r.Next(ctx, end)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", topics.Models, err)
		}
		if records == nil {
			return m, nil
		}
		for records.Next() {
			m.add(records.Record(), trust)
		}
		if err := records.Err(); err != nil {
			return nil, fmt.Errorf("read %s: %w", topics.Models, err)
		}
	}
}

// add takes one record in.
func (m *Models) add(r *kafka.Record, trust []ed25519.PublicKey) {
	key := string(r.Key)
	m.next = r.Offset + 1
	if name, ok := strings.CutPrefix(key, "slot/"); ok {
		var s Slot
		err := json.Unmarshal(r.Value, &s)
		if err == nil && !s.trusted(name, trust) {
			err = ErrSlotRefused
		}
		if err != nil {
			m.Refused = append(m.Refused, fmt.Errorf("slot %s at offset %d: %w", name, r.Offset, err))
			return
		}
		m.Slots[name] = s
		return
	}
	name, ok := strings.CutPrefix(key, "bundle/")
	hash, err := hex.DecodeString(name)
	if !ok || err != nil || len(hash) != 32 {
		m.Refused = append(m.Refused, fmt.Errorf("record %d of models has the key %q, which is neither a bundle's nor a slot's", r.Offset, key))
		return
	}
	m.Bundles[[32]byte(hash)] = append([]byte(nil), r.Value...)
}

func (s *Slot) trusted(name string, trust []ed25519.PublicKey) bool {
	signature, err := hex.DecodeString(s.Signature)
	if err != nil {
		return false
	}
	for _, key := range trust {
		if ed25519.Verify(key, s.signed(name), signature) {
			return true
		}
	}
	return false
}

// Open reads a bundle that models holds, and makes a scorer of it. The bundle is
// checked as any is: signature, spec, and the bits of its self-test on the back
// end that will serve it.
func (m *Models) Open(hash, spec [32]byte, trust []ed25519.PublicKey) (*scoring.Bundle, scoring.Scorer, error) {
	data, ok := m.Bundles[hash]
	if !ok {
		return nil, nil, fmt.Errorf("bundle %x: %w", hash, ErrNoBundle)
	}
	return OpenBundle(data, spec, trust)
}

// OpenBundle checks a bundle's file and makes a scorer of it.
func OpenBundle(data []byte, spec [32]byte, trust []ed25519.PublicKey) (*scoring.Bundle, scoring.Scorer, error) {
	b, err := scoring.ReadBundle(data, trust)
	if err != nil {
		return nil, nil, err
	}
	if err := b.CheckSpec(spec); err != nil {
		return nil, nil, err
	}
	s, err := cpu.New(b.Model)
	if err != nil {
		return nil, nil, err
	}
	return b, s, b.SelfTest(s)
}

// PublishBundle writes a bundle into models and then points the slot at it.
func PublishBundle(ctx context.Context, log *kafka.Client, topics schemas.Topics, data []byte, hash [32]byte, name string, s Slot, key ed25519.PrivateKey) error {
	s.Bundle = hex32(hash)
	s.Signature = hex.EncodeToString(ed25519.Sign(key, s.signed(name)))
	pointer, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode slot %s: %w", name, err)
	}
	for _, r := range []struct {
		key   string
		value []byte
	}{{"bundle/" + s.Bundle, data}, {"slot/" + name, pointer}} {
		var w kafka.BatchWriter
		w.Append([]byte(r.key), r.value, 0, nil)
		batch, err := w.Finish(kafka.None)
		if err == nil {
			_, err = log.Produce(ctx, topics.Models, 0, batch)
		}
		if err != nil {
			return fmt.Errorf("publish %s: %w", r.key, err)
		}
	}
	return nil
}
