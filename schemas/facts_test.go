package schemas

import (
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
		Anchor: Anchor{r.Int64(), id()}, Records: r.Uint32()}
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
