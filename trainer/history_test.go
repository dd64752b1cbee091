package trainer

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestASampleHasRoom chooses samples of 20,000 genuine rows: never more than there
// is room for, nearly as many, and weighing as much as all.
func TestASampleHasRoom(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	const n = 20_000
	ids := make([]uint64, n)
	c := &census{}
	for i := range ids {
		ids[i] = r.Uint64()
		c.add(ids[i], false)
	}
	f := func(frauds, room int, share float64, least, most int) {
		t.Helper()
		c.frauds = frauds
		s, err := c.choose(&HistoryQuery{RowsMax: room, Share: share})
		if most < 0 {
			if !errors.Is(err, ErrTooMany) {
				t.Errorf("seed %d: %d frauds, room for %d, a share of %g: %v, want ErrTooMany", seed, frauds, room, share, err)
			}
			return
		}
		taken := 0
		for _, id := range ids {
			if s.takes(id) {
				taken++
			}
		}
		if err != nil || taken != s.taken || taken < least || taken > most || frauds+taken > room || math.Abs(float64(s.weight)*float64(taken)-n) > 1 {
			t.Errorf("seed %d: %d frauds, room for %d, a share of %g: %d taken, said %d, of weight %g, %v", seed, frauds, room, share, taken, s.taken, s.weight, err)
		}
	}
	f(500, 100_000, 0, n, n)
	f(500, 20_500, 0, n, n)
	f(500, 20_499, 0, n-20, n-1)
	f(500, 5_500, 0, 4_980, 5_000)
	f(500, 100_000, 1, n, n)
	f(500, 100_000, 0.25, 4_600, 5_400)
	f(500, 3_000, 0.25, 0, -1) // what is asked for does not fit
	f(500, 499, 0, 0, -1)
}

// TestArrangingKeepsRowsWhole sorts rows in place by a number, equal ones as they
// were.
func TestArrangingKeepsRowsWhole(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for range 50 {
		d := NewDataset([]string{"key", "place"})
		for i := range r.IntN(200) {
			key := r.IntN(30)
			d.AddCard([]float32{float32(key), float32(i)}, i%3 == 0, int64(i), int64(i), uint64(i))
			d.Weight[i] = float32(i)
		}
		want := d.pick(slices.Collect(func(yield func(int) bool) {
			for key := range 30 {
				for i := range d.Rows() {
					if d.Row(i)[0] == float32(key) && !yield(i) {
						return
					}
				}
			}
		}))
		keys := make([]float32, d.Rows())
		for i := range keys {
			keys[i] = d.Row(i)[0]
		}
		d.sort(func(a, b int) int { return int(keys[a] - keys[b]) })
		if !slices.Equal(d.X, want.X) || !slices.Equal(d.Y, want.Y) || !slices.Equal(d.Weight, want.Weight) || !slices.Equal(d.Time, want.Time) ||
			!slices.Equal(d.AmountBase, want.AmountBase) || !slices.Equal(d.Card, want.Card) {
			t.Fatalf("seed %d: rows are torn or out of order", seed)
		}
	}
}
