package schemas

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
)

func randomFacts(r *rand.Rand) Facts {
	list := func() (ps []Position) {
		for range r.IntN(4) {
			ps = append(ps, Position{r.Int32N(99), r.Int64() - 1<<60})
		}
		return ps
	}
	id := func() BatchID { return BatchID{r.Uint64(), r.Uint64()} }
	return Facts{ID: id(), Extends: id(), Sources: list(), Labels: list(), Rates: list(), Shards: list(),
		Bundle: [32]byte{1}, Spec: [32]byte{2}, Engine: [32]byte{3}, AlertsMark: -1, DeadMark: r.Int64(),
		Anchor: Anchor{r.Int64(), id()}, Records: r.Uint32(), Key: uint64(r.IntN(2)) * r.Uint64()}
}

func TestFactsSurviveTheirHeaders(t *testing.T) {
	var headers []Header
	var scratch []byte
	for seed := range uint64(500) {
		want := randomFacts(rand.New(rand.NewPCG(seed, 1)))
		headers, scratch = AppendFacts(headers[:0], scratch[:0], &want)
		headers = append(headers, Header{Key: []byte("from a later version"), Value: []byte("x")}, Header{Key: []byte("z")})
		var got Facts
		if err := ParseFacts(headers, &got); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !reflect.DeepEqual(want, got) {
			t.Fatalf("seed %d: want %+v, got %+v", seed, want, got)
		}
	}
}

func TestFactsThatAreNotWholeAreRefused(t *testing.T) {
	want := randomFacts(rand.New(rand.NewPCG(1, 1)))
	headers, _ := AppendFacts(nil, nil, &want)
	var got Facts
	for i := range headers[:6] {
		cut := append(append([]Header(nil), headers[:i]...), headers[i+1:]...)
		if ParseFacts(cut, &got) == nil {
			t.Errorf("taken without header %q", headers[i].Key)
		}
		short := append([]Header(nil), headers...)
		short[i].Value = short[i].Value[1:]
		if ParseFacts(short, &got) == nil {
			t.Errorf("taken with header %q cut short", headers[i].Key)
		}
	}
	for i := range headers {
		twice := append(append([]Header(nil), headers...), headers[i])
		if ParseFacts(twice, &got) == nil {
			t.Errorf("taken with header %q twice", headers[i].Key)
		}
		if i > 0 && i < 6 { // as many as there must be, and one of them missing
			twice[i] = headers[0]
			if ParseFacts(twice[:len(headers)], &got) == nil {
				t.Errorf("taken with header %q for header %q", headers[0].Key, headers[i].Key)
			}
		}
	}
}

func TestFactsDoNotAllocate(t *testing.T) {
	f := randomFacts(rand.New(rand.NewPCG(5, 1)))
	headers, scratch := AppendFacts(nil, nil, &f)
	var got Facts
	if n := testing.AllocsPerRun(100, func() {
		headers, scratch = AppendFacts(headers[:0], scratch[:0], &f)
		if err := ParseFacts(headers, &got); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// FuzzParseFacts makes headers of the bytes, a length before each part, and
// holds whatever is taken to be written as it was read.
func FuzzParseFacts(f *testing.F) {
	pack := func(headers []Header) (b []byte) {
		for _, h := range headers {
			b = append(append(b, byte(len(h.Key))), h.Key...)
			b = append(append(b, byte(len(h.Value))), h.Value...)
		}
		return b
	}
	for seed := range uint64(5) {
		facts := randomFacts(rand.New(rand.NewPCG(seed, 1)))
		headers, _ := AppendFacts(nil, nil, &facts)
		f.Add(pack(headers))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		var headers []Header
		part := func() []byte {
			n := min(int(src[0]), len(src)-1)
			p := src[1 : 1+n]
			src = src[1+n:]
			return p
		}
		for len(src) > 0 {
			h := Header{Key: part()}
			if len(src) > 0 {
				h.Value = part()
			}
			headers = append(headers, h)
		}
		var facts, again Facts
		if ParseFacts(headers, &facts) != nil {
			return
		}
		written, _ := AppendFacts(nil, nil, &facts)
		if err := ParseFacts(written, &again); err != nil {
			t.Fatalf("what was parsed and written does not parse: %v", err)
		}
		if once, twice := fmt.Sprint(facts), fmt.Sprint(again); once != twice {
			t.Fatalf("%s became %s", once, twice)
		}
	})
}
