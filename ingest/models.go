package ingest

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
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
	b := []byte("weir slot")
	for _, text := range []string{name, s.Bundle, s.By, s.Reason, s.Previous} {
		b = strconv.AppendQuote(append(b, '\n'), text)
	}
	return b
}

// The errors of models.
var (
	ErrNoBundle    = errors.New("models does not hold this bundle")
	ErrSlotRefused = errors.New("the slot is not signed by a trusted key")
	ErrModelsAway  = errors.New("the topic could not be read")
)

// Models follows the topic models: where its bundles are, and what its slots
// point at. Bundles are read when they are opened, so that a long history of
// them costs no memory. One goroutine uses it.
type Models struct {
	Slots   map[string]Slot // by name; only those with a good signature
	Refused []error         // the last records that were not taken, and why

	log    *kafka.Client
	topic  string
	trust  []ed25519.PublicKey
	reader *kafka.Reader
	at     map[[32]byte]int64 // the offset of each bundle
}

// refusedKept bounds Models.Refused.
const refusedKept = 100

// NewModels returns what has read nothing yet; trust are the keys whose bundles
// and slots are taken.
func NewModels(log *kafka.Client, topics schemas.Topics, trust []ed25519.PublicKey) *Models {
	return &Models{Slots: make(map[string]Slot), log: log, topic: topics.Models, trust: trust,
		reader: kafka.NewReader(log, topics.Models, 0, kafka.Earliest), at: make(map[[32]byte]int64)}
}

// Read reads on to where the topic ends now.
func (m *Models) Read(ctx context.Context) error {
	_, end, err := m.log.Offsets(ctx, m.topic, 0)
	if err != nil {
		return err
	}
	for more := true; more; {
		if more, err = m.next(ctx, end); err != nil {
			return err
		}
	}
	return nil
}

// Follow waits for what comes next; it returns without anything new from time
// to time.
func (m *Models) Follow(ctx context.Context) error {
	_, err := m.next(ctx, math.MaxInt64)
	return err
}

// next takes one fetch in and reports whether there was one before end.
func (m *Models) next(ctx context.Context, end int64) (bool, error) {
	records, err := m.reader.Next(ctx, end)
	if err != nil || records == nil {
		return false, err
	}
	for records.Next() {
		m.add(records.Record())
	}
	return true, records.Err()
}

// add takes one record in.
func (m *Models) add(r *kafka.Record) {
	key := string(r.Key)
	if name, ok := strings.CutPrefix(key, "slot/"); ok {
		var s Slot
		err := json.Unmarshal(r.Value, &s)
		if err == nil && !s.trusted(name, m.trust) {
			err = ErrSlotRefused
		}
		if err != nil {
			m.refuse(fmt.Errorf("slot %s at offset %d: %w", name, r.Offset, err))
			return
		}
		m.Slots[name] = s
		return
	}
	name, ok := strings.CutPrefix(key, "bundle/")
	hash, err := hex.DecodeString(name)
	if !ok || err != nil || len(hash) != 32 {
		m.refuse(fmt.Errorf("record %d of %s has the key %q, which is neither a bundle's nor a slot's", r.Offset, m.topic, key))
		return
	}
	m.at[[32]byte(hash)] = r.Offset
}

func (m *Models) refuse(err error) {
	if len(m.Refused) == refusedKept {
		m.Refused = append(m.Refused[:0], m.Refused[1:]...)
	}
	m.Refused = append(m.Refused, err)
}

// Bundles returns the hashes of the bundles that the topic holds, oldest first.
func (m *Models) Bundles() [][32]byte {
	list := slices.Collect(maps.Keys(m.at))
	slices.SortFunc(list, func(a, b [32]byte) int { return cmp.Compare(m.at[a], m.at[b]) })
	return list
}

// Champion returns the hash of the bundle that should decide; zero is none.
func (m *Models) Champion() (hash [32]byte) {
	// A slot's signature was checked, and it holds a hash or decides nothing.
	_, _ = hex.Decode(hash[:], []byte(m.Slots["champion"].Bundle))
	return hash
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

// Open reads a bundle and makes a scorer of it. The bundle is checked as any is:
// signature, spec, and the bits of its self-test on the back end that will serve
// it. The error wraps ErrNoBundle where the topic does not hold it.
func (m *Models) Open(ctx context.Context, hash, spec [32]byte) (*scoring.Bundle, scoring.Scorer, error) {
	data, err := m.File(ctx, hash)
	if err != nil {
		return nil, nil, err
	}
	b, s, err := OpenBundle(data, spec, m.trust)
	if err == nil && b.Hash != hash {
		err = fmt.Errorf("bundle %.8x is filed under %.8x: %w", b.Hash, hash, scoring.ErrHash)
	}
	return b, s, err
}

// File returns a bundle's file as the topic holds it, unchecked.
func (m *Models) File(ctx context.Context, hash [32]byte) ([]byte, error) {
	offset, ok := m.at[hash]
	if !ok {
		return nil, fmt.Errorf("bundle %.8x: %w", hash, ErrNoBundle)
	}
	r, err := kafka.NewReader(m.log, m.topic, 0, offset).Get(ctx, offset)
	if err != nil {
		return nil, fmt.Errorf("read bundle %.8x: %w: %w", hash, ErrModelsAway, err)
	}
	return append([]byte(nil), r.Value...), nil
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
