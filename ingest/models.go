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

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
)

// Slot is a record of models that says which bundle is the champion or the
// challenger: a pointer, signed by whoever may say so.
type Slot struct {
	Bundle   string `json:"bundle"` // SHA-256, hex
	By       string `json:"by"`
	Reason   string `json:"reason"`
	Previous string `json:"previous,omitempty"`
	// Share is the part of the cards, by hash, whose payments a challenger decides.
	Share float64 `json:"share,omitempty"`
	// Replaces names the record of the slot that it is to replace, by the beginning of
	// its signature, or is "none" for the first one: where another is in force by then,
	// somebody was faster, and it is not taken. Records of before there was one do not
	// say, and replace whatever is there, as they did then.
	Replaces string `json:"replaces,omitempty"`
	// Time is when it was signed, Unix ms: a record that is older than the one in
	// force is not taken, so that nobody can bring back a slot by copying its record.
	Time      int64  `json:"time,omitempty"`
	Signature string `json:"signature"` // Ed25519 over the lines of signed, hex
}

func (s *Slot) signed(name string) []byte {
	b := []byte("weir slot")
	for _, text := range []string{name, s.Bundle, s.By, s.Reason, s.Previous} {
		b = strconv.AppendQuote(append(b, '\n'), text)
	}
	if s.Share != 0 {
		b = strconv.AppendFloat(append(b, "\nshare "...), s.Share, 'g', -1, 64)
	}
	if s.Time != 0 {
		b = strconv.AppendInt(append(b, "\ntime "...), s.Time, 10)
	}
	if s.Replaces != "" {
		b = strconv.AppendQuote(append(b, "\nreplaces "...), s.Replaces)
	}
	return b
}

// noSlot is what Replaces says of a slot that nobody has filled yet.
const noSlot = "none"

// name returns what Replaces calls the record.
func (s *Slot) name() string { return s.Signature[:min(32, len(s.Signature))] }

// Models follows the topic models: where its bundles are, and what its slots
// point at. Bundles are read when they are opened, so that a long history of
// them costs no memory. One goroutine uses it.
type Models struct {
	Slots   map[string]Slot // by name; only those with a good signature
	Refused []Refusal       // the last records that were not taken, and why
	Past    []PastSlot      // the last records of slots that were taken, oldest first

	log    *kafka.Client
	topic  string
	trust  []ed25519.PublicKey
	reader *kafka.Reader
	at     map[[32]byte]int64 // the offset of each bundle
	before map[[32]byte]int64 // one more than that of the first record of a bundle that was written again
	slotAt map[string]int64   // and of each slot
	hidden map[string]string  // by slot, the name of a record behind the one in force that was overtaken
	shown  map[string]bool    // names of those that it was written again for
	unsaid []Refusal          // those of Refused that nobody was told of
	parsed *spec.Spec         // of the bundle that was opened last: the next one's is mostly the same
}

// refusedKept bounds Models.Refused, and pastKept Models.Past.
const (
	refusedKept = 100
	pastKept    = 100
)

// PastSlot is what a slot said, now or before.
type PastSlot struct {
	Name string
	Slot
}

// NewModels returns what has read nothing yet; trust are the keys whose bundles
// and slots are taken.
func NewModels(log *kafka.Client, topics schemas.Topics, trust []ed25519.PublicKey) *Models {
	return &Models{Slots: make(map[string]Slot), log: log, topic: topics.Models, trust: trust,
		reader: kafka.NewReader(log, topics.Models, 0, kafka.Earliest), at: make(map[[32]byte]int64),
		before: make(map[[32]byte]int64), slotAt: make(map[string]int64),
		hidden: make(map[string]string), shown: make(map[string]bool)}
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

// add takes one record in. A bundle without a value is gone: compaction takes it.
func (m *Models) add(r *kafka.Record) {
	key := string(r.Key)
	if name, ok := strings.CutPrefix(key, "slot/"); ok {
		if s, err := m.addSlot(name, r); err != nil {
			m.refuse(Refusal{name, fmt.Errorf("slot %.40q at offset %d: %w", name, r.Offset, err), s.Signature})
		}
		return
	}
	name, ok := strings.CutPrefix(key, "bundle/")
	hash, err := hex.DecodeString(name)
	switch {
	case !ok || err != nil || len(hash) != 32:
		m.refuse(Refusal{Err: fmt.Errorf("record %d of %s has the key %.80q: %w", r.Offset, m.topic, key, ErrModelKey)})
	case r.Value == nil:
		delete(m.at, [32]byte(hash))
		delete(m.before, [32]byte(hash))
	default:
		if first, ok := m.at[[32]byte(hash)]; ok && m.before[[32]byte(hash)] == 0 {
			m.before[[32]byte(hash)] = first + 1
		}
		m.at[[32]byte(hash)] = r.Offset
	}
}

// addSlot takes the record of a slot in, or says why it is not taken. The order of the
// log decides between two that replace the same one, so that all readers have the same
// in force. The first record that is read may replace what compaction took.
func (m *Models) addSlot(name string, r *kafka.Record) (Slot, error) {
	s, err := readSlot(name, r.Value, m.trust)
	if err != nil {
		return s, err
	}
	now, ok := m.Slots[name]
	switch {
	case ok && s.Signature == now.Signature: // it is in force, and was written again
		delete(m.hidden, name)
		return s, nil
	case ok && s.Replaces != "" && s.Replaces != now.name():
		if !m.shown[s.name()] {
			m.hidden[name] = s.name()
		}
		return s, fmt.Errorf("%w: %.16s was to be %s, and %q has made it %.16s: %s", ErrSlotOvertaken, cmp.Or(s.Bundle, noSlot), name, now.By, cmp.Or(now.Bundle, noSlot), now.Reason)
	case s.Time < now.Time:
		return s, fmt.Errorf("%w: signed %d ms before it", ErrSlotStale, now.Time-s.Time)
	}
	delete(m.hidden, name)
	m.Slots[name], m.slotAt[name] = s, r.Offset
	if len(m.Past) == pastKept {
		m.Past = append(m.Past[:0], m.Past[1:]...)
	}
	m.Past = append(m.Past, PastSlot{name, s})
	return s, nil
}

// readSlot reads and checks the record of a slot.
func readSlot(name string, value []byte, trust []ed25519.PublicKey) (s Slot, err error) {
	if len(value) == 0 {
		return s, ErrSlotEmpty
	}
	if json.Unmarshal(value, &s) != nil {
		return s, ErrSlotForm
	}
	if !s.trusted(name, trust) {
		return s, ErrSlotRefused
	}
	hash, err := hex.DecodeString(s.Bundle)
	if gone := s.Bundle == "" && name == challenger.String(); !gone && (err != nil || len(hash) != 32) {
		return s, fmt.Errorf("%w: it points at %.80q", ErrSlotForm, s.Bundle)
	}
	if !(s.Share >= 0 && s.Share <= 1) || s.Share > 0 && name != challenger.String() {
		return s, fmt.Errorf("%w: it gives %s a share of %g", ErrSlotForm, name, s.Share)
	}
	return s, nil
}

func (m *Models) refuse(r Refusal) {
	for _, list := range []*[]Refusal{&m.Refused, &m.unsaid} {
		if len(*list) == refusedKept {
			*list = append((*list)[:0], (*list)[1:]...)
		}
		*list = append(*list, r)
	}
}

// Bundles returns the hashes of the bundles that the topic holds, oldest first.
func (m *Models) Bundles() [][32]byte {
	list := slices.Collect(maps.Keys(m.at))
	slices.SortFunc(list, func(a, b [32]byte) int { return cmp.Compare(m.at[a], m.at[b]) })
	return list
}

// Hash returns the hash of the bundle that a slot points at; zero is none.
func (m *Models) Hash(slot string) (hash [32]byte) {
	// It was checked when the slot was taken, and is empty where there is none.
	return parseHash(m.Slots[slot].Bundle)
}

// parseHash returns a hash that is written in hex; zero where it is none.
func parseHash(text string) (hash [32]byte) {
	if b, err := hex.DecodeString(text); err == nil && len(b) == len(hash) {
		hash = [32]byte(b)
	}
	return hash
}

// After returns what a record that replaces the slot in force begins with: which one
// that is, the bundle before it, and a time behind that one's, even where this clock is
// behind the one that signed it.
func (m *Models) After(slot string) Slot {
	now, ok := m.Slots[slot]
	if !ok {
		return Slot{Replaces: noSlot}
	}
	return Slot{Replaces: now.name(), Previous: now.Bundle, Time: now.Time + 1}
}

// Champion returns the hash of the bundle that should decide; zero is none.
func (m *Models) Champion() [32]byte { return m.Hash(champion.String()) }

// offset returns where a bundle lies, -1 where it is not there.
func (m *Models) offset(hash [32]byte) int64 {
	if at, ok := m.at[hash]; ok {
		return at
	}
	return -1
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
// it. The error wraps ErrNoBundle where the topic does not hold it. Where a bundle was
// written again and spoilt, the first record of it is taken while the topic holds it,
// and the other is among m.Refused.
func (m *Models) Open(ctx context.Context, hash, spec [32]byte) (*scoring.Bundle, scoring.Scorer, error) {
	b, s, err := m.open(ctx, hash, spec, m.offset(hash))
	first := m.before[hash] - 1
	if err == nil || first < 0 || errors.Is(err, ErrModelsAway) {
		return b, s, err
	}
	was, scorer, cause := m.open(ctx, hash, spec, first)
	if cause != nil {
		return b, s, err
	}
	m.refuse(Refusal{Err: fmt.Errorf("bundle %.8x at offset %d, written over a sound one at %d, which is taken: %w", hash, m.at[hash], first, err)})
	return was, scorer, nil
}

// open opens the record of a bundle at an offset.
func (m *Models) open(ctx context.Context, hash, spec [32]byte, offset int64) (*scoring.Bundle, scoring.Scorer, error) {
	data, err := m.fileAt(ctx, hash, offset)
	if err != nil {
		return nil, nil, err
	}
	b, s, err := openBundle(data, spec, m.trust, &m.parsed)
	if err == nil && b.Hash != hash {
		err = fmt.Errorf("bundle %.8x is filed under %.8x: %w", b.Hash, hash, ErrMisfiled)
	}
	return b, s, err
}

// File returns a bundle's file as the topic holds it, unchecked.
func (m *Models) File(ctx context.Context, hash [32]byte) ([]byte, error) {
	return m.fileAt(ctx, hash, m.offset(hash))
}

func (m *Models) fileAt(ctx context.Context, hash [32]byte, offset int64) ([]byte, error) {
	if offset < 0 {
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
	return openBundle(data, spec, trust, nil)
}

// openBundle is OpenBundle; parsed, where not nil, holds the spec that was parsed
// last.
func openBundle(data []byte, hash [32]byte, trust []ed25519.PublicKey, parsed **spec.Spec) (*scoring.Bundle, scoring.Scorer, error) {
	b, err := scoring.ReadBundle(data, trust)
	if err != nil {
		return nil, nil, err
	}
	if err := b.CheckSpec(hash); err != nil {
		return nil, nil, err
	}
	if err := checkColumns(b, parsed); err != nil {
		return nil, nil, err
	}
	s, err := cpu.New(b.Model)
	if err != nil {
		return nil, nil, err
	}
	return b, s, b.SelfTest(s)
}
