package ingest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/trainer"
)

// A misfit is something that is put into models and must not be taken.
type misfit struct {
	name, reason string
	edit         func(c *spoiler) // of c.data, or of where it is put
}

// A spoiler holds a sound bundle that a misfit spoils, and where it goes.
type spoiler struct {
	w        *world
	key      ed25519.PrivateKey
	stranger ed25519.PrivateKey
	bundle   *scoring.Bundle
	data     []byte
	hash     [32]byte    // under which it is filed
	record   *[]byte     // put in the place of the bundle's; nil: data is
	absent   bool        // no record of the bundle is written
	slot     func(*Slot) // changes the slot after it was signed
	value    *[]byte     // put in the place of the slot's record
	share    float64     // of the cards
	older    bool        // the slot is older than the one in force
	replaces string      // the record that the slot is to replace
	signAs   string      // the name that the slot is signed for; "" is its own
}

// The file's outline, as scoring writes it.
const (
	headBytes = 20
	sealBytes = 128
)

// seal makes the hash and the signature of changed content good again.
func (c *spoiler) seal() {
	c.w.t.Helper()
	at := len(c.data) - sealBytes
	hash := sha256.Sum256(c.data[:at])
	data, err := scoring.Sign(append(c.data[:at:at], append(hash[:], make([]byte, 96)...)...), c.key)
	c.w.must(err)
	c.data, c.hash = data, hash
}

// manifest replaces a text of the manifest.
func manifest(old, new string) func(c *spoiler) {
	return func(c *spoiler) {
		n := binary.LittleEndian.Uint32(c.data[12:])
		text := string(c.data[headBytes : headBytes+n])
		if !strings.Contains(text, old) {
			c.w.t.Fatalf("manifest has no %q: %s", old, text)
		}
		text = strings.Replace(text, old, new, 1)
		out := append(bytes.Clone(c.data[:headBytes]), text...)
		binary.LittleEndian.PutUint32(out[12:], uint32(len(text)))
		c.data = append(out, c.data[headBytes+n:]...)
		c.seal()
	}
}

// number overwrites a number of the sections: i counts from their beginning, or
// where it is negative from the spec's text.
func number(i int, v float32) func(c *spoiler) {
	return func(c *spoiler) {
		at := headBytes + int(binary.LittleEndian.Uint32(c.data[12:])) + 4*i
		if i < 0 {
			at = len(c.data) - sealBytes - len(c.bundle.Spec.Text) + 4*i
		}
		binary.LittleEndian.PutUint32(c.data[at:], math.Float32bits(v))
		c.seal()
	}
}

// weight overwrites the first weight of the network.
func weight(v float32) func(c *spoiler) {
	return func(c *spoiler) { number(5*len(c.bundle.Features), v)(c) }
}

// plain changes the file's bytes and nothing else.
func plain(edit func(d []byte) []byte) func(c *spoiler) {
	return func(c *spoiler) { c.data = edit(c.data) }
}

// retrained seals another bundle.
func retrained(change func(b *scoring.Bundle)) func(c *spoiler) {
	return func(c *spoiler) {
		b := *c.bundle
		change(&b)
		data, read, err := trainer.Seal(&b, c.key)
		c.w.must(err)
		c.data, c.hash = data, read.Hash
	}
}

// slotSays puts a text in the place of the slot's record; nil is no value.
func slotSays(value []byte) func(c *spoiler) {
	return func(c *spoiler) { c.value = &value }
}

// bundleSays puts bytes in the place of the bundle's record.
func bundleSays(value []byte) func(c *spoiler) {
	return func(c *spoiler) { c.record = &value }
}

var misfits = []misfit{
	{"a byte short", "truncated", plain(func(d []byte) []byte { return d[:len(d)-1] })},
	{"half a file", "truncated", plain(func(d []byte) []byte { return d[:len(d)/2] })},
	{"an empty record", "truncated", bundleSays([]byte{})},
	{"a record without a value", "no_bundle", bundleSays(nil)},
	{"a byte long", "trailing_bytes", plain(func(d []byte) []byte { return append(d, 0) })},
	{"too large", "too_large", plain(func(d []byte) []byte { return append(d, make([]byte, 8<<20)...) })},
	{"another kind of file", "not_a_bundle", plain(func(d []byte) []byte { d[0] = 'W'; return d })},
	{"a newer format", "unknown_version", plain(func(d []byte) []byte { d[8] = 2; return d })},
	{"a bit of a weight flipped", "wrong_hash", plain(func(d []byte) []byte { d[len(d)/2] ^= 1; return d })},
	{"unsigned", "unsigned", plain(func(d []byte) []byte { clear(d[len(d)-96:]); return d })},
	{"signed by a stranger", "unknown_signer", func(c *spoiler) {
		data, err := scoring.Sign(c.data, c.stranger)
		c.w.must(err)
		c.data = data
	}},
	{"a bit of the signature flipped", "wrong_signature", plain(func(d []byte) []byte { d[len(d)-1] ^= 1; return d })},
	{"filed under another hash", "misfiled", func(c *spoiler) { c.hash[0] ^= 1 }},
	{"a field of the manifest that is not known", "manifest", manifest(`"facts":`, `"fact":`)},
	{"wider layers than the sections hold", "sections", manifest(`"hidden":[8]`, `"hidden":[9]`)},
	{"a section is missing", "sections", func(c *spoiler) {
		// The scores of the self-test, and the length that the head says.
		end := len(c.data) - sealBytes - len(c.bundle.Spec.Text)
		size := binary.LittleEndian.Uint32(c.data[16:])
		c.data = slices.Delete(c.data, end-4*16, end)
		binary.LittleEndian.PutUint32(c.data[16:], size-4*16)
		c.seal()
	}},
	{"a column out of range", "shape", manifest(`"column":0`, `"column":4000`)},
	{"no spec", "no_spec", func(c *spoiler) { manifest(hex32(c.bundle.Spec.Hash), strings.Repeat("0", 64))(c) }},
	{"one feature twice", "features", func(c *spoiler) {
		manifest(quoted(c.bundle.Features[1])+",", quoted(c.bundle.Features[0])+",")(c)
	}},
	{"a calibration that is not known", "calibration", manifest(`"kind":"identity"`, `"kind":"isotonic"`)},
	{"a rank key that is not known", "rank_key", manifest(`"rank":"p"`, `"rank":"q"`)},
	{"a threshold below zero", "threshold", manifest(`"review":0.5`, `"review":-0.5`)},
	{"more exploration than all", "exploration", manifest(`"explore":0.01`, `"explore":2`)},
	{"facts that are none", "facts", manifest(`"facts":{}`, `"facts":[]`)},
	{"a profile of no feature", "profile", manifest(`"facts":{}`, `"profile":{"features":[],"score":{"edges":[],"shares":[1,0]}},"facts":{}`)},
	{"a NaN for a weight", "not_finite", weight(float32(math.NaN()))},
	{"an infinite weight", "not_finite", weight(float32(math.Inf(-1)))},
	{"a weight beyond all sums", "unbounded", weight(1e38)},
	{"a scale below zero", "encoding", number(1, -1)},
	{"a self-test score of two", "no_self_test", number(-1, 2)},
	{"other bits of a self-test score", "self_test", func(c *spoiler) {
		scores := c.bundle.SelfTestScores
		number(-1, flip(scores[len(scores)-1]))(c)
	}},
	{"of another spec", "foreign_spec", retrained(func(b *scoring.Bundle) {
		s, _ := spec.Builtin("handbook")
		b.Spec = scoring.SpecText{Name: s.Name, Hash: s.Hash, Text: s.Text}
	})},
	{"another text than the spec's hash names", "spec_text", retrained(func(b *scoring.Bundle) {
		b.Spec.Text = append(bytes.Clone(b.Spec.Text), "\nhour(time) <= 3\n"...)
	})},
	{"two features in the other order", "columns", retrained(func(b *scoring.Bundle) {
		b.Features = slices.Clone(b.Features)
		b.Features[0], b.Features[1] = b.Features[1], b.Features[0]
	})},
	{"a feature under another name", "columns", retrained(func(b *scoring.Bundle) {
		b.Features = slices.Clone(b.Features)
		b.Features[2] += "s"
	})},
	{"a slot to what is not there", "no_bundle", func(c *spoiler) { c.absent = true }},
	{"a slot signed by a stranger", "slot_signature", func(c *spoiler) { c.key = c.stranger }},
	{"a slot without a signature", "slot_signature", func(c *spoiler) { c.slot = func(s *Slot) { s.Signature = "" } }},
	{"a slot changed after it was signed", "slot_signature", func(c *spoiler) { c.slot = func(s *Slot) { s.By = "somebody else" } }},
	{"a slot that was signed for another name", "slot_signature", func(c *spoiler) { c.signAs = "other" }},
	{"a slot from before the one in force", "slot_stale", func(c *spoiler) { c.older = true }},
	{"a slot in place of one that is not in force", "slot_overtaken", func(c *spoiler) { c.replaces = strings.Repeat("ab", 16) }},
	{"a first slot where there is one", "slot_overtaken", func(c *spoiler) { c.replaces = noSlot }},
	{"a slot without a value", "slot_empty", slotSays(nil)},
	{"an empty slot", "slot_empty", slotSays([]byte{})},
	{"a share of more than all cards", "slot_form", shared(1.5)},
	{"a share below none", "slot_form", shared(-.5)},
	{"a slot that is no JSON", "slot_form", slotSays([]byte("champion!"))},
}

// shared signs a slot with a share of the cards.
func shared(share float64) func(c *spoiler) {
	return func(c *spoiler) { c.share = share }
}

func quoted(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return string(b)
}

// put writes the misfit into a slot, its bundle before it.
func (c *spoiler) put(name string) {
	c.w.t.Helper()
	switch {
	case c.absent:
	case c.record != nil:
		c.w.model("bundle/"+hex32(c.hash), *c.record)
	default:
		c.w.model("bundle/"+hex32(c.hash), c.data)
	}
	if c.value != nil {
		c.w.model("slot/"+name, *c.value)
		return
	}
	s := Slot{Bundle: hex32(c.hash), By: "test", Reason: "test", Share: c.share, Replaces: c.replaces}
	if !c.older {
		s.Time = 2
	}
	if c.signAs != "" {
		s.Sign(c.signAs, c.key)
	} else {
		s.Sign(name, c.key)
	}
	if c.slot != nil {
		c.slot(&s)
	}
	value, err := json.Marshal(&s)
	c.w.must(err)
	c.w.model("slot/"+name, value)
}

// A syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.b.Reset()
	return s.b.String()
}

// TestEveryMisfitIsRefusedByItsName puts all that must not serve into both slots of
// a node that decides, one after another: the log and the metric name what is
// wrong, as does whoever opens it from the topic, and the next decision is the
// champion's and the challenger's that were there before.
func TestEveryMisfitIsRefusedByItsName(t *testing.T) {
	w := newWorld(t, "payments", 1)
	log := &syncBuffer{}
	w.logTo = log
	key, stranger := testKey(t, 1), testKey(t, 2)
	trust := []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}
	data, first := w.sealed(1, key)
	w.publish("champion", data, first.Hash, key)
	data, second := w.sealed(2, key)
	w.publish("challenger", data, second.Hash, key)
	l := w.live(trust)
	l.shows(first, second)
	refused := l.node.Metrics.Refused
	all := NewModels(w.log, w.topics, trust)
	tried := 0
	for i, m := range misfits {
		if raced && testing.Short() && i%7 != 0 {
			continue // the others show no other race, and signatures take long then
		}
		tried++
		data, b := w.sealed(uint64(100+i), key)
		c := &spoiler{w: w, key: key, stranger: stranger, bundle: b, data: data, hash: b.Hash}
		m.edit(c)
		log.take()
		for _, slot := range []string{"champion", "challenger"} {
			before := testutil.ToFloat64(refused.WithLabelValues(slot, m.reason))
			c.put(slot)
			w.until(func() string { return m.name + ": not refused as " + m.reason + ":\n" + log.take() },
				func() bool { return testutil.ToFloat64(refused.WithLabelValues(slot, m.reason)) > before })
		}
		if d := l.pay(); d.Bundle != first.Prefix() || d.Challenger != second.Prefix() || d.Outcome != schemas.Scored {
			t.Errorf("%s: decided by %x, challenged by %x", m.name, d.Bundle, d.Challenger)
		}
		if text := log.take(); strings.Count(text, "reason="+m.reason+" ") < 2 {
			t.Errorf("%s: the log does not name it:\n%s", m.name, text)
		}
		if strings.HasPrefix(m.reason, "slot_") {
			continue
		}
		w.must(all.Read(t.Context()))
		if _, _, err := all.Open(t.Context(), c.hash, w.spec.Hash); RefusalName(err) != m.reason {
			t.Errorf("%s: opened from the topic: %v", m.name, err)
		}
	}
	w.model("nonsense", []byte("x"))
	l.refuses("none", "key")
	l.stop()
	w.verifyModels(trust)
	t.Logf("%d kinds of misfit", tried)
}

// TestABundleWrittenAnewIsTaken mends what was refused: the same hash, written again.
func TestABundleWrittenAnewIsTaken(t *testing.T) {
	w, l, key, _, data, _ := reigning(t)
	data, second := w.sealed(2, key)
	w.publish("champion", data[:len(data)-1], second.Hash, key)
	l.refuses("champion", "truncated")
	w.model("bundle/"+hex32(second.Hash), data)
	l.shows(second, nil)
	l.stop()
}

// TestASpoiltBundleIsNotLost writes a champion's bundle again, cut short: a node that
// runs goes on, and so does one that starts, with the record that was there before; the
// spoilt one is refused by its name.
func TestASpoiltBundleIsNotLost(t *testing.T) {
	w, l, _, trust, data, good := reigning(t)
	for range 2 {
		w.model("bundle/"+hex32(good.Hash), data[:len(data)-1])
	}
	l.shows(good, nil)
	l.stop()
	m := NewModels(w.log, w.topics, trust)
	n := w.node(nil)
	n.Use(nil, nil)
	w.must(n.Load(t.Context(), m))
	if n.Champion() != good.Hash || len(m.Refused) != 1 || RefusalName(m.Refused[0].Err) != "truncated" {
		t.Errorf("starts with %x, refused %v", n.Champion(), m.Refused)
	}
}

// TestEveryRefusalIsDocumented looks for each in the package's page.
func TestEveryRefusalIsDocumented(t *testing.T) {
	page, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.FieldsFunc(string(page), func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') })
	for _, r := range refusals {
		if !slices.Contains(words, r.name) {
			t.Errorf("doc.go does not say what %s is", r.name)
		}
		if !slices.ContainsFunc(misfits, func(m misfit) bool { return m.reason == r.name }) && r.name != "background" && r.name != "device" && r.name != "key" {
			t.Errorf("no misfit is %s", r.name)
		}
	}
}

// TestASlowClockReplacesASlot writes a slot with a clock that is behind the one that
// signed the slot in force: what begins with After is taken, and what does not is stale.
func TestASlowClockReplacesASlot(t *testing.T) {
	w, key := newWorld(t, "payments", 1), testKey(t, 1)
	trust := []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}
	data, first := w.sealed(1, key)
	fast, slow := time.UnixMilli(2_000_000), time.UnixMilli(1_000_000)
	w.must(PublishBundle(t.Context(), w.log, w.topics, data, first.Hash, "champion", Slot{By: "test"}, key, fast))
	m := NewModels(w.log, w.topics, trust)
	w.must(m.Read(t.Context()))
	data, second := w.sealed(2, key)
	for _, c := range []struct {
		slot Slot
		want [32]byte
	}{{Slot{By: "test"}, first.Hash}, {m.After("champion"), second.Hash}} {
		w.must(PublishBundle(t.Context(), w.log, w.topics, data, second.Hash, "champion", c.slot, key, slow))
		w.must(m.Read(t.Context()))
		if m.Champion() != c.want {
			t.Errorf("after a slot of %d ms the champion is %x, refused %v", c.slot.Time, m.Champion(), m.Refused)
		}
	}
	if before := m.Slots["champion"].Previous; before != hex32(first.Hash) {
		t.Errorf("it names %q before it", before)
	}
}
