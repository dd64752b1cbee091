package scoring_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/scoring/scoringtest"
)

func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func trust(keys ...ed25519.PrivateKey) (out []ed25519.PublicKey) {
	for _, k := range keys {
		out = append(out, k.Public().(ed25519.PublicKey))
	}
	return out
}

// newBundle returns a sound bundle of a small network.
func newBundle(t testing.TB) *scoring.Bundle {
	t.Helper()
	r := rand.New(rand.NewPCG(5, 6))
	m := scoringtest.Model(r, scoringtest.Shape{Columns: 4, Hidden: []int{6, 5}, Members: 2, Tables: 2, Log: 2, Scale: 1})
	b := &scoring.Bundle{
		Name: "small <one>", Model: m,
		Spec:        scoring.SpecText{Name: "payments", Hash: sha256.Sum256([]byte("spec")), Text: []byte("amount\n")},
		Features:    []string{"amount", "night", "count × 1d", "mean"},
		Calibration: scoring.Calibration{Kind: scoring.Beta, A: 1.25, B: .75, C: -.1},
		Policy: scoring.Policy{
			Rank: scoring.BySqrtAmount, Review: 3.5, Block: 80, Explore: .01, ExploreKey: [16]byte{1, 2, 3},
		},
		Facts: json.RawMessage(`{"rows":12,"note":"a & b"}`),
	}
	b.Background = make([]float32, 4*scoring.BackgroundRowsMin)
	b.Background[5] = float32(math.NaN())
	s, err := cpu.NewPureGo(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.SetSelfTest(s, scoringtest.Rows(r, 11, 4)); err != nil {
		t.Fatal(err)
	}
	return b
}

func mustEncode(t testing.TB, b *scoring.Bundle) []byte {
	t.Helper()
	data, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func mustSign(t testing.TB, data []byte, k ed25519.PrivateKey) []byte {
	t.Helper()
	signed, err := scoring.Sign(data, k)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestReadBundleSuccess(t *testing.T) {
	want := newBundle(t)
	unsigned := mustEncode(t, want)
	data := mustSign(t, unsigned, key(1))
	got, err := scoring.ReadBundle(data, trust(key(2), key(1)))
	if err != nil {
		t.Fatal(err)
	}
	if got.Hash != [32]byte(data[len(data)-128:]) || !bytes.Equal(got.Signer, trust(key(1))[0]) {
		t.Errorf("hash %x, signer %x", got.Hash, got.Signer)
	}
	if got.Prefix() != binary.BigEndian.Uint64(data[len(data)-128:]) {
		t.Errorf("prefix %x of hash %x", got.Prefix(), got.Hash)
	}
	if again := mustEncode(t, got); !bytes.Equal(again, unsigned) {
		t.Error("the bundle read encodes to other bytes")
	}
	if !reflect.DeepEqual(got.Model, want.Model) || !reflect.DeepEqual(got.Features, want.Features) ||
		got.Calibration != want.Calibration || got.Policy != want.Policy ||
		got.Spec.Hash != want.Spec.Hash || string(got.Spec.Text) != string(want.Spec.Text) || got.Name != want.Name {
		t.Errorf("read %+v, wrote %+v", got, want)
	}
	for i := range data { // nothing is shared with the file
		data[i] = 0xff
	}
	s, err := cpu.New(got.Model)
	if err != nil {
		t.Fatal(err)
	}
	if err := got.SelfTest(s); err != nil {
		t.Error(err)
	}
	if err := got.CheckSpec(want.Spec.Hash); err != nil {
		t.Error(err)
	}
}

func TestSigningAgainKeepsTheHash(t *testing.T) {
	one := mustSign(t, mustEncode(t, newBundle(t)), key(1))
	two := mustSign(t, one, key(2))
	a, err := scoring.ReadBundle(one, trust(key(1)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := scoring.ReadBundle(two, trust(key(2)))
	if err != nil {
		t.Fatal(err)
	}
	if a.Hash != b.Hash || bytes.Equal(one, two) {
		t.Error("a second signature changed the identity, or nothing")
	}
}

// seal makes the hash and the signature of data good again.
func seal(t testing.TB, data []byte) []byte {
	t.Helper()
	at := len(data) - 128
	hash := sha256.Sum256(data[:at])
	return mustSign(t, append(data[:at:at], append(hash[:], make([]byte, 96)...)...), key(1))
}

// replace changes the manifest of a sealed bundle, which says its own length.
func replace(old, new string) change {
	return func(t testing.TB, data []byte) []byte {
		length := binary.LittleEndian.Uint32(data[12:])
		text := string(data[20 : 20+length])
		if !strings.Contains(text, old) {
			t.Fatalf("manifest has no %q: %s", old, text)
		}
		text = strings.Replace(text, old, new, 1)
		out := append(bytes.Clone(data[:20]), text...)
		binary.LittleEndian.PutUint32(out[12:], uint32(len(text)))
		return seal(t, append(out, data[20+length:]...))
	}
}

// number overwrites the float32 at index i of the sections, from behind where i
// is negative (then not counting the spec's text).
func number(i int, v float32) change {
	return func(t testing.TB, data []byte) []byte {
		at := 20 + int(binary.LittleEndian.Uint32(data[12:])) + 4*i
		if i < 0 {
			at = len(data) - 128 - len("amount\n") + 4*i
		}
		binary.LittleEndian.PutUint32(data[at:], math.Float32bits(v))
		return seal(t, data)
	}
}

// A change of a sound, signed bundle's bytes.
type change = func(testing.TB, []byte) []byte

// refused returns an f-test: a sound bundle, changed, is refused with want. It
// adds want to kinds.
func refused(t *testing.T, kinds map[error]bool) func(name string, want error, edit change) {
	sound := mustSign(t, mustEncode(t, newBundle(t)), key(1))
	return func(name string, want error, edit change) {
		t.Helper()
		b, err := scoring.ReadBundle(edit(t, bytes.Clone(sound)), trust(key(1)))
		if !errors.Is(err, want) || b != nil {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		kinds[want] = true
	}
}

func TestReadBundleFailure(t *testing.T) {
	kinds := map[error]bool{}
	f := refused(t, kinds)
	badContainers(f)
	badManifests(f)
	badContents(f)
	t.Logf("%d kinds of refusal", len(kinds))
	if len(kinds) < 24 {
		t.Errorf("only %d kinds of refusal were caused", len(kinds))
	}
}

func badContainers(f func(string, error, change)) {
	plain := func(edit func(d []byte) []byte) change {
		return func(_ testing.TB, d []byte) []byte { return edit(d) }
	}
	f("too large", scoring.ErrTooLarge, plain(func(d []byte) []byte { return append(d, make([]byte, 8<<20)...) }))
	f("empty", scoring.ErrTruncated, plain(func(d []byte) []byte { return nil }))
	f("half a head", scoring.ErrTruncated, plain(func(d []byte) []byte { return d[:13] }))
	f("half a file", scoring.ErrTruncated, plain(func(d []byte) []byte { return d[:len(d)/2] }))
	f("a byte short", scoring.ErrTruncated, plain(func(d []byte) []byte { return d[:len(d)-1] }))
	f("lengths beyond the file", scoring.ErrTruncated, plain(func(d []byte) []byte { d[19] = 0xff; return d }))
	f("a byte long", scoring.ErrTrailing, plain(func(d []byte) []byte { return append(d, 0) }))
	f("another file", scoring.ErrMagic, plain(func(d []byte) []byte { d[0] = 'W'; return d }))
	f("another short file", scoring.ErrMagic, plain(func(d []byte) []byte { return []byte("PK") }))
	f("version 2", scoring.ErrVersion, plain(func(d []byte) []byte { d[8] = 2; return d }))
	f("a flipped bit", scoring.ErrHash, plain(func(d []byte) []byte { d[len(d)/2] ^= 1; return d }))
	f("a flipped bit of the hash", scoring.ErrHash, plain(func(d []byte) []byte { d[len(d)-100] ^= 1; return d }))
	f("no signature", scoring.ErrUnsigned, plain(func(d []byte) []byte { clear(d[len(d)-96:]); return d }))
	f("a key without a signature", scoring.ErrSignature, plain(func(d []byte) []byte { clear(d[len(d)-64:]); return d }))
	f("a flipped bit of the signature", scoring.ErrSignature, plain(func(d []byte) []byte { d[len(d)-1] ^= 1; return d }))
	f("another bundle's signature", scoring.ErrSignature, func(t testing.TB, d []byte) []byte {
		b := newBundle(t)
		b.Name = "other"
		other := mustSign(t, mustEncode(t, b), key(1))
		return append(d[:len(d)-64], other[len(other)-64:]...)
	})
	f("an unknown key", scoring.ErrUnknownSigner, func(t testing.TB, d []byte) []byte { return mustSign(t, d, key(9)) })
}

func badManifests(f func(string, error, change)) {
	f("not JSON", scoring.ErrManifest, replace(`{`, `[`))
	f("a foreign key", scoring.ErrManifest, replace(`"facts":`, `"fact":`))
	f("a key in capitals", scoring.ErrManifest, replace(`"name":`, `"Name":`))
	f("a space", scoring.ErrManifest, replace(`,"features"`, `, "features"`))
	f("a number of another form", scoring.ErrManifest, replace(`"a":1.25`, `"a":1.250`))
	f("a number beyond float32", scoring.ErrManifest, replace(`"a":1.25`, `"a":1e39`))
	f("facts that are a list", scoring.ErrFacts, replace(`{"rows":12,"note":"a \u0026 b"}`, `[1]`))
	f("facts that are null", scoring.ErrFacts, replace(`{"rows":12,"note":"a \u0026 b"}`, `null`))
	f("half a spec hash", scoring.ErrSpec, replace(`"hash":"`, `"hash":"ab`))
	f("a key that is no hex", scoring.ErrExploration, replace(`"explore_key":"01`, `"explore_key":"0x`))
	f("an unknown calibration", scoring.ErrCalibration, replace(`"kind":"beta"`, `"kind":"isotonic"`))
	f("an unknown rank key", scoring.ErrRankKey, replace(`p*sqrt(amount_base)`, `p*log(amount_base)`))
	f("a feature too many", scoring.ErrSections, replace(`"mean"`, `"mean","max"`))
	f("no columns", scoring.ErrSections, replace(`"columns":4`, `"columns":-4`))
	f("more members than it has", scoring.ErrSections, replace(`"members":2`, `"members":3`))
	f("members beyond the limit", scoring.ErrSections, replace(`"members":2`, `"members":65`))
	f("layers beyond the limit", scoring.ErrSections, replace(`"hidden":[6,5]`, `"hidden":[6,5,1,1,1,1,1,1,1]`))
	f("a layer of no width", scoring.ErrSections, replace(`"hidden":[6,5]`, `"hidden":[6,0]`))
	f("more numbers than a file holds", scoring.ErrSections, replace(`"hidden":[6,5]`, `"hidden":[6,4096,4096]`))
	f("edges beyond the limit", scoring.ErrSections, replace(`"edges":`, `"edges":9`+`99`))
	f("another text", scoring.ErrSections, replace(`"bytes":7`, `"bytes":8`))
	f("a width that no layer has", scoring.ErrSections, replace(`"width":6`, `"width":7`))
	f("a column out of range", scoring.ErrShape, replace(`"column":3`, `"column":4`))
}

func badContents(f func(string, error, change)) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	f("one name twice", scoring.ErrFeatures, replace(`"mean"`, `"night"`))
	f("a name that is empty", scoring.ErrFeatures, replace(`"mean"`, `""`))
	f("no spec hash", scoring.ErrSpec, replace(shaHex("spec"), strings.Repeat("0", 64)))
	f("a falling calibration", scoring.ErrCalibration, replace(`"a":1.25`, `"a":-1.25`))
	f("platt with two slopes", scoring.ErrCalibration, replace(`"kind":"beta"`, `"kind":"platt"`))
	f("an identity that is none", scoring.ErrCalibration, replace(`"kind":"beta"`, `"kind":"identity"`))
	f("a threshold below zero", scoring.ErrThreshold, replace(`"review":3.5`, `"review":-3.5`))
	f("blocking before review", scoring.ErrThreshold, replace(`"block":80`, `"block":1`))
	f("a share of one", scoring.ErrExploration, replace(`"explore":0.01`, `"explore":1`))
	f("a share without a key", scoring.ErrExploration, replace(`"explore_key":"010203`, `"explore_key":"000000`))
	f("a mean that is no number", scoring.ErrNotFinite, number(0, nan))
	f("a scale below zero", scoring.ErrEncoding, number(1, -1))
	f("bounds the wrong way round", scoring.ErrEncoding, number(2, 100))
	f("a self-test score that is no number", scoring.ErrNoSelfTest, number(-1, nan))
	f("a self-test score of two", scoring.ErrNoSelfTest, number(-1, 2))
	f("an infinite background", scoring.ErrBackground, number(-11-11*4-1, inf))
	f("a bias that is no number", scoring.ErrNotFinite, number(-11-11*4-64*4-1, nan))
	f("an infinite weight", scoring.ErrNotFinite, number(-11-11*4-64*4-3, -inf))
	f("a weight that overflows", scoring.ErrUnbounded, number(-11-11*4-64*4-3, 1e38))
}

func shaHex(text string) string {
	sum := sha256.Sum256([]byte(text))
	const digits = "0123456789abcdef"
	var out []byte
	for _, b := range sum {
		out = append(out, digits[b>>4], digits[b&15])
	}
	return string(out)
}

func TestEncodeFailure(t *testing.T) {
	f := func(name string, want error, change func(b *scoring.Bundle)) {
		t.Helper()
		b := newBundle(t)
		change(b)
		if _, err := b.Encode(); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	f("no model", scoring.ErrShape, func(b *scoring.Bundle) { b.Model = nil })
	f("no spec", scoring.ErrSpec, func(b *scoring.Bundle) { b.Spec.Text = nil })
	f("a name that is no text", scoring.ErrFeatures, func(b *scoring.Bundle) { b.Features[1] = "\xff" })
	f("seven self-test rows", scoring.ErrNoSelfTest, func(b *scoring.Bundle) {
		b.SelfTestRows, b.SelfTestScores = b.SelfTestRows[:28], b.SelfTestScores[:7]
	})
	f("a row of the self-test cut", scoring.ErrNoSelfTest, func(b *scoring.Bundle) { b.SelfTestRows = b.SelfTestRows[1:] })
	f("few background rows", scoring.ErrBackground, func(b *scoring.Bundle) { b.Background = b.Background[:63*4] })
	f("half a background row", scoring.ErrBackground, func(b *scoring.Bundle) { b.Background = b.Background[1:] })
	f("facts that are no object", scoring.ErrFacts, func(b *scoring.Bundle) { b.Facts = json.RawMessage("7") })
	f("an unknown kind", scoring.ErrCalibration, func(b *scoring.Bundle) { b.Calibration.Kind = 7 })
	f("an unknown rank", scoring.ErrRankKey, func(b *scoring.Bundle) { b.Policy.Rank = 7 })
	f("too large a spec", scoring.ErrTooLarge, func(b *scoring.Bundle) { b.Spec.Text = make([]byte, 8<<20) })
}

// wrong gives scores one bit beside the right ones, from the n-th call on.
type wrong struct {
	scoring.Scorer
	calls int
}

func (w *wrong) Score(x scoring.Matrix, out []float32) error {
	err := w.Scorer.Score(x, out)
	if w.calls--; w.calls < 0 {
		out[0] = math.Nextafter32(out[0], 2)
	}
	return err
}

func TestSelfTestFailure(t *testing.T) {
	b := newBundle(t)
	for _, calls := range []int{0, 1, 5} {
		s, err := cpu.New(b.Model)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.SelfTest(&wrong{s, calls}); !errors.Is(err, scoring.ErrSelfTest) {
			t.Errorf("wrong from call %d on: %v, want ErrSelfTest", calls, err)
		}
	}
	other := scoringtest.Model(rand.New(rand.NewPCG(1, 9)), scoringtest.Shape{Columns: 5, Hidden: []int{3}, Members: 1, Scale: 1})
	s, err := cpu.New(other)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.SelfTest(s); !errors.Is(err, scoring.ErrMatrix) {
		t.Errorf("another model: %v, want ErrMatrix", err)
	}
	if err := b.CheckSpec([32]byte{1}); !errors.Is(err, scoring.ErrForeignSpec) {
		t.Errorf("another spec: %v, want ErrForeignSpec", err)
	}
}

// FuzzReadBundle seals what it is given, so that it gets past the hash and the
// signature, and holds ReadBundle to giving back what it took.
func FuzzReadBundle(f *testing.F) {
	sound := mustEncode(f, newBundle(f))
	f.Add(sound, false)
	f.Add(sound[:len(sound)-128], true)
	for _, edit := range []change{
		replace(`"members":2`, `"members":1`), replace(`"hidden":[6,5]`, `"hidden":[]`),
		replace(`"edges":0`, `"edges":1`), number(3, -1),
	} {
		data := edit(f, bytes.Clone(sound))
		f.Add(data[:len(data)-128], true)
	}
	f.Fuzz(func(t *testing.T, data []byte, content bool) {
		if content {
			hash := sha256.Sum256(data)
			data = append(data[:len(data):len(data)], hash[:]...)
			data = append(data, make([]byte, 96)...)
			if signed, err := scoring.Sign(data, key(1)); err == nil {
				data = signed
			}
		}
		b, err := scoring.ReadBundle(data, trust(key(1)))
		if err != nil {
			return
		}
		again, err := b.Encode()
		if err != nil {
			t.Fatalf("a bundle that was read cannot be written: %v", err)
		}
		if !bytes.Equal(again[:len(again)-96], data[:len(data)-96]) {
			t.Fatal("a bundle that was read is written otherwise")
		}
	})
}
