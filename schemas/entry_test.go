package schemas

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

var update = flag.Bool("update", false, "rewrite golden files")

// entryType compiles decision.proto, so that the code here is held to the
// schema itself and no generated code has to be kept.
func entryType(t *testing.T) protoreflect.MessageDescriptor {
	t.Helper()
	c := protocompile.Compiler{Resolver: &protocompile.SourceResolver{}}
	files, err := c.Compile(context.Background(), "decision.proto")
	if err != nil {
		t.Fatal(err)
	}
	return files[0].Messages().ByName("Entry")
}

func randomText(r *rand.Rand) []byte {
	b := make([]byte, r.IntN(20))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func randomDecision(r *rand.Rand) Decision {
	maybe := func(v int64) int64 {
		if r.IntN(4) == 0 {
			return 0
		}
		return v
	}
	d := Decision{
		Place:   Place{Partition: r.Int32N(9), Offset: maybe(r.Int64()), Prev: r.Int64N(5) - 1, Timestamp: maybe(r.Int64() - 1<<62)},
		Verdict: Verdict{Outcome: Outcome(r.IntN(int(NumOutcomes))), Reason: Reason(r.IntN(int(NumReasons))), Flags: Flags(r.IntN(16))},
		Tx: Transaction{Time: maybe(r.Int64() - 1<<62), Amount: maybe(r.Int64() - 1<<62), AmountBase: maybe(r.Int64()),
			Type: TxType(r.IntN(int(NumTxTypes))), Status: Status(r.IntN(int(NumStatuses)))},
		Tenant: randomText(r), PrevCard: randomText(r), Action: Action(r.IntN(int(NumActions))),
		Score: r.Float32(), Prob: r.Float32(), Threshold: r.Float32(), Rank: float32(maybe(3)), ReviewProb: 1,
		Arithmetic: Arithmetic(r.IntN(4)), Bundle: r.Uint64(), Spec: r.Uint64(), Engine: uint64(maybe(7)),
		Challenger: uint64(maybe(9)), ChallengerScore: r.Float32(),
	}
	for f := range d.Text {
		d.Text[f] = randomText(r)
	}
	for range r.IntN(3) {
		d.OwnText = append(d.OwnText, append(randomText(r), 'x'))
		d.Own = append(d.Own, r.NormFloat64())
	}
	if len(d.Own) > 0 {
		d.Own[0] = math.NaN()
	}
	for range r.IntN(70) {
		d.Features = append(d.Features, float32(r.NormFloat64()))
	}
	return d
}

func appendRandom(dst []byte, r *rand.Rand, kind EntryKind) []byte {
	switch kind {
	case EntryDecision:
		d := randomDecision(r)
		return AppendDecision(dst, &d)
	case EntryLabel:
		l := Label{TxID: randomText(r), Verdict: LabelVerdict(r.IntN(3)), FraudType: randomText(r),
			Source: LabelSource(r.IntN(5)), KnownAt: r.Int64(), Version: r.Uint32N(LabelVersionMax), Selected: randomText(r),
			SelectedProb: r.Float32(), Place: Place{Partition: 2, Offset: r.Int64(), Prev: r.Int64N(3) - 1, Timestamp: 5}, Time: r.Int64() - 1<<62}
		for i := range l.Entity {
			l.Entity[i] = randomText(r)
		}
		return AppendLabelEntry(dst, &l)
	case EntryRate:
		return AppendRateEntry(dst, &Rate{Currency: []byte("USD"), Since: r.Int64(), Num: r.Int64(), Den: r.Int64(), Partition: 1, Offset: r.Int64()})
	case EntryBundle:
		return AppendBundleEntry(dst, &BundleTaken{Slot: []byte("champion"), Hash: [32]byte{byte(r.IntN(2))}, Offset: r.Int64N(3) - 1})
	case EntryGap:
		return AppendGapEntry(dst, &Gap{Partition: 3, From: r.Int64(), To: r.Int64(), By: randomText(r), Topic: randomText(r)})
	case EntrySync:
		return AppendSyncEntry(dst)
	case EntrySpec:
		return AppendSpecEntry(dst, &SpecTaken{Name: randomText(r), Text: randomText(r), Before: [32]byte{byte(r.IntN(2) ^ 1)}})
	}
	g := Genesis{TopicID: [16]byte{byte(r.IntN(2))}, Topic: randomText(r), Start: []Position{{1, 2}, {3, r.Int64()}, {}}}
	if r.IntN(4) > 0 { // earlier versions did not say
		g.Spec = SpecTaken{Name: randomText(r), Text: append(randomText(r), 'x')}
	}
	return AppendGenesisEntry(dst, &g)
}

// appendEntry writes a parsed entry again.
func appendEntry(dst []byte, e *Entry) []byte {
	switch e.Kind {
	case EntryDecision:
		return AppendDecision(dst, &e.Decision)
	case EntryLabel:
		return AppendLabelEntry(dst, &e.Label)
	case EntryRate:
		return AppendRateEntry(dst, &e.Rate)
	case EntryBundle:
		return AppendBundleEntry(dst, &e.Bundle)
	case EntryGap:
		return AppendGapEntry(dst, &e.Gap)
	case EntrySync:
		return AppendSyncEntry(dst)
	case EntrySpec:
		return AppendSpecEntry(dst, &e.Spec)
	}
	return AppendGenesisEntry(dst, &e.Genesis)
}

// TestEntryIsWhatTheSchemaSays holds the code written by hand to the Protobuf
// library: what we write it reads, writes again as the same bytes (so no field
// is unknown to the schema, out of order or of another type), and what it wrote
// we read as what was put in.
func TestEntryIsWhatTheSchemaSays(t *testing.T) {
	desc := entryType(t)
	var buf []byte
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 7))
		kind := EntryKind(1 + seed%8)
		buf = appendRandom(buf[:0], r, kind)
		if kind == EntryBundle && seed%4 == 3 { // appendRandom also makes entries of before there were shares
			buf = AppendBundleEntry(buf[:0], &BundleTaken{Slot: []byte("challenger"), Hash: [32]byte{1}, Share: r.Float32()})
		}
		m := dynamicpb.NewMessage(desc)
		if err := proto.Unmarshal(buf, m); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		body := m.Get(desc.Fields().ByNumber(protoreflect.FieldNumber(kind))).Message()
		if n := len(body.GetUnknown()); n != 0 {
			t.Fatalf("seed %d: %d bytes are of fields that the schema does not have", seed, n)
		}
		again, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, buf) {
			t.Fatalf("seed %d: the library writes\n%x\nwhere we wrote\n%x", seed, again, buf)
		}
		var e Entry
		if err := ParseEntry(again, &e); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if got := appendEntry(nil, &e); !bytes.Equal(got, buf) {
			t.Fatalf("seed %d: parsed and written again\n%x\nwant\n%x", seed, got, buf)
		}
	}
}

// TestEveryFieldOfADecisionSurvives parses what was written and compares field
// by field, so that a field forgotten on both sides is found.
func TestEveryFieldOfADecisionSurvives(t *testing.T) {
	var e Entry
	for seed := range uint64(500) {
		want := randomDecision(rand.New(rand.NewPCG(seed, 8)))
		if err := ParseEntry(AppendDecision(nil, &want), &e); err != nil {
			t.Fatal(err)
		}
		a, b := reflect.ValueOf(want), reflect.ValueOf(e.Decision)
		for i := range a.NumField() {
			x, y := a.Field(i), b.Field(i)
			if x.Kind() == reflect.Slice && x.Len() == 0 && y.Len() == 0 {
				continue
			}
			if name := a.Type().Field(i).Name; name == "Own" || name == "Text" {
				continue // NaN and empty texts; the bytes are compared above
			}
			if !reflect.DeepEqual(x.Interface(), y.Interface()) {
				t.Fatalf("seed %d: %s: want %v, got %v", seed, a.Type().Field(i).Name, x, y)
			}
		}
	}
}

// TestOldEntriesStayReadable reads what earlier versions wrote, to the same bytes
// again and, in entries.txt, to the same values by the schema's names: fields
// that change their numbers on every side at once would pass the first and
// mistake one for another. The files only ever grow: -update appends what is not
// there yet, such as an entry with a new field.
func TestOldEntriesStayReadable(t *testing.T) {
	const file = "testdata/entries.golden"
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for kind := EntryDecision; kind <= EntrySync; kind++ {
		now := appendRandom(nil, rand.New(rand.NewPCG(1, uint64(kind))), kind)
		if bytes.Contains(src, now) {
			continue
		}
		if !*update {
			t.Errorf("an entry of kind %d is not in %s as it is written now", kind, file)
		}
		src = append(src, now...)
	}
	if *update {
		if err := os.WriteFile(file, src, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m := newMeanings(t)
	var e Entry
	for i := 0; len(src) > 0; i++ {
		f, rest, err := nextField(src)
		if err != nil {
			t.Fatal(err)
		}
		one := src[:len(src)-len(rest)]
		if err := ParseEntry(one, &e); err != nil || f.number != int(e.Kind) {
			t.Fatalf("entry %d: kind %d, field %d, %v", i, e.Kind, f.number, err)
		}
		if got := appendEntry(nil, &e); !bytes.Equal(got, one) {
			t.Fatalf("entry %d of an old ledger is written as\n%x\nbut was\n%x", i, got, one)
		}
		m.is(i, one)
		src = rest
	}
	m.close()
}

// meanings are what old entries say: testdata/entries.txt, a line each.
type meanings struct {
	t    *testing.T
	desc protoreflect.MessageDescriptor
	list []string
}

const meaningsFile = "testdata/entries.txt"

func newMeanings(t *testing.T) *meanings {
	text, err := os.ReadFile(meaningsFile)
	if err != nil {
		t.Fatal(err)
	}
	return &meanings{t, entryType(t), strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })}
}

// is holds entry i to its line; names and numbers are the schema's.
func (m *meanings) is(i int, entry []byte) {
	msg := dynamicpb.NewMessage(m.desc)
	if err := proto.Unmarshal(entry, msg); err != nil {
		m.t.Fatal(err)
	}
	var text bytes.Buffer
	out, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(msg)
	if err == nil {
		err = json.Compact(&text, out) // the library puts spaces in at random
	}
	if err != nil {
		m.t.Fatal(err)
	}
	if *update && i >= len(m.list) {
		m.list = append(m.list, text.String())
	}
	if i >= len(m.list) || m.list[i] != text.String() {
		m.t.Errorf("entry %d of an old ledger says\n%s\nwhich is not its line in %s", i, &text, meaningsFile)
	}
}

func (m *meanings) close() {
	if *update {
		if err := os.WriteFile(meaningsFile, []byte(strings.Join(m.list, "\n")+"\n"), 0o644); err != nil {
			m.t.Fatal(err)
		}
	}
}

// TestNumbersWithoutANameAreRefused gives each field that has names the first
// number without one: what a newer weir means by it could only be folded wrongly.
func TestNumbersWithoutANameAreRefused(t *testing.T) {
	f := func(what string, kind EntryKind, field int, names uint64) {
		t.Helper()
		for _, n := range []uint64{names - 1, names} {
			entry, from := open(nil, int(kind))
			entry = shut(appendUint(entry, field, n), from)
			var e Entry
			if err := ParseEntry(entry, &e); (err != nil) != (n == names) {
				t.Errorf("%s %d of %d: %v", what, n, names, err)
			}
		}
	}
	f("outcome", EntryDecision, 5, uint64(NumOutcomes))
	f("reason", EntryDecision, 6, uint64(NumReasons))
	f("flags", EntryDecision, 7, 1<<8)
	f("action", EntryDecision, 8, uint64(NumActions))
	f("type", EntryDecision, 13, uint64(NumTxTypes))
	f("status", EntryDecision, 14, uint64(NumStatuses))
	f("verdict", EntryLabel, 2, uint64(NumLabelVerdicts))
	f("source", EntryLabel, 4, uint64(NumLabelSources))
	f("version", EntryLabel, 6, LabelVersionMax+1)
}

func FuzzParseEntry(f *testing.F) {
	for kind := EntryDecision; kind <= EntrySync; kind++ {
		f.Add(appendRandom(nil, rand.New(rand.NewPCG(2, uint64(kind))), kind))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		var e, again Entry
		if ParseEntry(src, &e) != nil {
			return
		}
		once := appendEntry(nil, &e)
		if err := ParseEntry(once, &again); err != nil {
			t.Fatalf("what was parsed and written does not parse: %v", err)
		}
		if twice := appendEntry(nil, &again); !bytes.Equal(once, twice) {
			t.Fatalf("written %x, parsed and written again %x", once, twice)
		}
	})
}

func TestEntryCodecDoesNotAllocate(t *testing.T) {
	d := randomDecision(rand.New(rand.NewPCG(3, 3)))
	buf := AppendDecision(nil, &d)
	var e Entry
	if n := testing.AllocsPerRun(100, func() {
		buf = AppendDecision(buf[:0], &d)
		if err := ParseEntry(buf, &e); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
	label := Label{TxID: []byte("t"), Verdict: LabelFraud}
	if n := testing.AllocsPerRun(100, func() {
		buf = AppendLabelEntry(buf[:0], &label)
		if err := ParseEntry(buf, &e); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Fatalf("label: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { buf = AppendAlertJSON(buf[:0], &d, 0, 5, nil, false) }); n != 0 {
		t.Fatalf("alert: %v allocations", n)
	}
}

func BenchmarkEntry(b *testing.B) {
	d := randomDecision(rand.New(rand.NewPCG(4, 4)))
	d.Features = make([]float32, 64)
	buf := AppendDecision(nil, &d)
	b.Run("op=append/features=64", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(buf)))
		for b.Loop() {
			buf = AppendDecision(buf[:0], &d)
		}
	})
	b.Run("op=parse/features=64", func(b *testing.B) {
		var e Entry
		b.ReportAllocs()
		b.SetBytes(int64(len(buf)))
		for b.Loop() {
			if err := ParseEntry(buf, &e); err != nil {
				b.Fatal(err)
			}
		}
	})
}
