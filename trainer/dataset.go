package trainer

import (
	"cmp"
	"fmt"
	"slices"
)

// Dataset is rows of features and what became of them, in columns; row i is
// X[i*w : (i+1)*w] for w names. NaN is a missing value.
type Dataset struct {
	Names []string
	X     []float32
	Y     []uint8 // 1 is fraud
	// Weight is how many transactions of the stream a row stands for.
	Weight     []float32
	Time       []int64  // ms since the Unix epoch
	AmountBase []int64  // minor units of the base currency
	Card       []uint64 // who paid: a key of the card or customer; 0 unknown
}

// NewDataset returns an empty data set of columns with these names.
func NewDataset(names []string) *Dataset { return &Dataset{Names: slices.Clone(names)} }

// Add appends a row, which it copies, of weight 1 and an unknown card. It
// panics where x has not one number for each name.
func (d *Dataset) Add(x []float32, fraud bool, timeMs, amountBase int64) {
	d.AddCard(x, fraud, timeMs, amountBase, 0)
}

// AddCard does as [Dataset.Add], and says who paid.
func (d *Dataset) AddCard(x []float32, fraud bool, timeMs, amountBase int64, card uint64) {
	if len(x) != len(d.Names) {
		panic(fmt.Sprintf("BUG: a row of %d numbers in a data set of %d columns", len(x), len(d.Names)))
	}
	y := uint8(0)
	if fraud {
		y = 1
	}
	d.X = append(d.X, x...)
	d.Y = append(d.Y, y)
	d.Weight = append(d.Weight, 1)
	d.Time = append(d.Time, timeMs)
	d.AmountBase = append(d.AmountBase, amountBase)
	d.Card = append(d.Card, card)
}

// Rows returns the number of rows.
func (d *Dataset) Rows() int { return len(d.Y) }

// Row returns row i; it aliases d.
func (d *Dataset) Row(i int) []float32 {
	w := len(d.Names)
	return d.X[i*w : (i+1)*w : (i+1)*w]
}

// Frauds counts the fraudulent rows.
func (d *Dataset) Frauds() int {
	n := 0
	for _, y := range d.Y {
		n += int(y)
	}
	return n
}

// Slice returns rows i to j. They alias d, and nothing may be added to them.
func (d *Dataset) Slice(i, j int) *Dataset {
	w := len(d.Names)
	return &Dataset{
		Names: d.Names, X: d.X[i*w : j*w : j*w], Y: d.Y[i:j:j], Weight: d.Weight[i:j:j],
		Time: d.Time[i:j:j], AmountBase: d.AmountBase[i:j:j], Card: d.Card[i:j:j],
	}
}

// Sort puts the rows in the order of time; those of the same time stay in
// theirs. Rows that are in order already cost one look.
func (d *Dataset) Sort() {
	if slices.IsSorted(d.Time) {
		return
	}
	d.sort(func(a, b int) int { return cmp.Compare(d.Time[a], d.Time[b]) })
}

// sort puts the rows in the order of compare, which is given two of them; equal
// ones stay in theirs. It does so in place: rows may be most of the memory.
func (d *Dataset) sort(compare func(a, b int) int) {
	order := make([]int, d.Rows())
	for i := range order {
		order[i] = i
	}
	if slices.IsSortedFunc(order, compare) {
		return
	}
	slices.SortStableFunc(order, compare)
	for i, from := range order {
		// What was there before i went where a row was fetched from.
		for from < i {
			from = order[from]
		}
		d.swap(i, from)
	}
}

func (d *Dataset) swap(i, j int) {
	a, b := d.Row(i), d.Row(j)
	for k := range a {
		a[k], b[k] = b[k], a[k]
	}
	d.Y[i], d.Y[j] = d.Y[j], d.Y[i]
	d.Weight[i], d.Weight[j] = d.Weight[j], d.Weight[i]
	d.Time[i], d.Time[j] = d.Time[j], d.Time[i]
	d.AmountBase[i], d.AmountBase[j] = d.AmountBase[j], d.AmountBase[i]
	d.Card[i], d.Card[j] = d.Card[j], d.Card[i]
}

// grow makes room for n more rows, so that adding them copies nothing.
func (d *Dataset) grow(n int) {
	d.X, d.Y, d.Weight = slices.Grow(d.X, n*len(d.Names)), slices.Grow(d.Y, n), slices.Grow(d.Weight, n)
	d.Time, d.AmountBase, d.Card = slices.Grow(d.Time, n), slices.Grow(d.AmountBase, n), slices.Grow(d.Card, n)
}

// pick returns a copy of the rows of a list.
func (d *Dataset) pick(rows []int) *Dataset {
	p := NewDataset(d.Names)
	p.grow(len(rows))
	for _, i := range rows {
		p.AddCard(d.Row(i), d.Y[i] != 0, d.Time[i], d.AmountBase[i], d.Card[i])
		p.Weight[len(p.Weight)-1] = d.Weight[i]
	}
	return p
}

// cut returns the first row at or after a time; the rows are in order.
func (d *Dataset) cut(ms int64) int {
	i, _ := slices.BinarySearch(d.Time, ms)
	return i
}

// Split cuts rows in the order of time in two: those before a time, and those
// at it or after. Both alias d.
func (d *Dataset) Split(atMs int64) (before, after *Dataset) {
	i := d.cut(atMs)
	return d.Slice(0, i), d.Slice(i, d.Rows())
}

// thin returns at most about max rows: every fraud, and the genuine ones evenly
// spread, each with the weight of those left out beside it.
func (d *Dataset) thin(most int) *Dataset {
	frauds := d.Frauds()
	genuine := d.Rows() - frauds
	keep := max(most-frauds, 1)
	if genuine <= keep {
		return d
	}
	step := (genuine + keep - 1) / keep
	var rows []int
	seen := 0
	for i, y := range d.Y {
		if y != 0 || seen%step == step/2 {
			rows = append(rows, i)
		}
		seen += 1 - int(y)
	}
	p := d.pick(rows)
	for i, y := range p.Y {
		if y == 0 {
			p.Weight[i] *= float32(genuine) / float32(len(rows)-frauds)
		}
	}
	return p
}
