package features

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

// TestIndexIsASetOfItsEntries adds and removes entries at random, many of them with ids
// that look alike in a table, and holds the index to a map.
func TestIndexIsASetOfItsEntries(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	type entry struct{ id, ref uint64 }
	x, all, list := &index{}, map[entry]int{}, []entry(nil)
	draw := func() entry {
		// The same table for all, eight tags a bit apart, and hashes that differ elsewhere.
		return entry{id: 7<<56 | r.Uint64N(4)<<40 | r.Uint64N(8)*3, ref: r.Uint64N(3)<<32 | r.Uint64N(200)}
	}
	for step := range 40_000 {
		if len(list) > 0 && (r.Uint64N(2) == 0 || step > 30_000) {
			i := r.IntN(len(list))
			e := list[i]
			list[i] = list[len(list)-1]
			list = list[:len(list)-1]
			x.remove(e.id, e.ref)
			if all[e]--; all[e] == 0 {
				delete(all, e)
			}
		} else {
			e := draw()
			x.add(e.id, e.ref)
			list, all[e] = append(list, e), all[e]+1
		}
		if e := draw(); all[e] > 0 && !x.holds(e.id, e.ref) {
			t.Fatalf("step %d: the index has lost %x of %x", step, e.id, e.ref)
		}
	}
	for e := range all {
		if !x.holds(e.id, e.ref) {
			t.Errorf("the index has lost %x of %x", e.id, e.ref)
		}
	}
	if got := x.tables[7].count; got != len(list) {
		t.Errorf("%d entries, want %d", got, len(list))
	}
	for _, e := range list {
		x.remove(e.id, e.ref)
	}
	for i, w := range x.tables[7].slots {
		if w != 0 {
			t.Fatalf("slot %d of an empty table is %x", i, w)
		}
	}
}

// TestRingsThatGrowLeaveLittleBehind grows the rings of many entities in step, which is
// what leaves most blocks that nothing else fits into.
func TestRingsThatGrowLeaveLittleBehind(t *testing.T) {
	s := one(agg(spec.Count, 1e9), agg(spec.Mean, 1e9))
	s.Home = -1
	e := New(s, testOptions)
	const entities, rounds = 50_000, 30
	g := &traffic{r: rand.New(rand.NewPCG(1, 1)), entities: entities}
	x := make([]float32, batchRows*e.Width())
	var b schemas.Batch
	for n := 0; n < entities*rounds; n += batchRows {
		g.fill(&b)
		e.Step(&b, x, nil)
	}
	var words, freed int
	for p := range e.kinds[0].parts {
		words, freed = words+len(e.kinds[0].parts[p].rows.words), freed+e.kinds[0].parts[p].rows.freed
	}
	if freed*6 > words {
		t.Errorf("%d of %d words of rows are of no use", freed, words)
	}
	into := New(s, testOptions)
	for p := range Parts {
		if err := into.LoadPart(p, e.AppendPart(nil, p)); err != nil {
			t.Fatal(err)
		}
	}
	if is, was := into.Bytes(), e.Bytes(); is > was*5/4 {
		t.Errorf("the state takes %d bytes once it is loaded, %d before", is, was)
	}
}

// TestABucketIsNeverUndone gives buckets numbers that have the bit with which a row says
// that a reversal hides it.
func TestABucketIsNeverUndone(t *testing.T) {
	for _, facts := range []uint64{bucketBit, bucketBit | undoneBit, bucketBit | bucketIndex, 1, undoneBit - 1, 0} {
		if undone(7<<timeShift | facts) {
			t.Errorf("undone(%#x) = true", facts)
		}
	}
	if facts := uint64(undoneBit | 2<<labelShift | 1); !undone(7<<timeShift | facts) {
		t.Errorf("undone(%#x) = false", facts)
	}
}
