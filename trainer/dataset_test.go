package trainer

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSortSplitAndThin(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	d := NewDataset([]string{"time", "number"})
	for i := range 5_000 {
		ms := int64(r.IntN(1_000))
		d.AddCard([]float32{float32(ms), float32(i)}, r.IntN(20) == 0, ms, int64(i), uint64(i))
	}
	d.Sort()
	for i := range d.Rows() {
		row := d.Row(i)
		if int64(row[0]) != d.Time[i] || int64(row[1]) != d.AmountBase[i] || uint64(row[1]) != d.Card[i] {
			t.Fatalf("seed %d: row %d is torn: %v, time %d", seed, i, row, d.Time[i])
		}
		if i > 0 && (d.Time[i] < d.Time[i-1] || d.Time[i] == d.Time[i-1] && row[1] < d.Row(i - 1)[1]) {
			t.Fatalf("seed %d: row %d is out of order", seed, i)
		}
	}
	before, after := d.Split(500)
	if before.Rows()+after.Rows() != d.Rows() || slices.Max(before.Time) >= 500 || slices.Min(after.Time) < 500 {
		t.Errorf("seed %d: split in %d and %d", seed, before.Rows(), after.Rows())
	}
	thin := d.thin(1_000)
	sum := 0.0
	for _, w := range thin.Weight {
		sum += float64(w)
	}
	if thin.Frauds() != d.Frauds() || thin.Rows() > 1_001 || thin.Rows() < 600 || math.Abs(sum-5_000) > 1 {
		t.Errorf("seed %d: thinned to %d rows with %d of %d frauds and the weight %g", seed, thin.Rows(), thin.Frauds(), d.Frauds(), sum)
	}
	if !slices.IsSorted(thin.Time) || d.thin(5_000) != d {
		t.Errorf("seed %d: thinned for nothing, or out of order", seed)
	}
}
