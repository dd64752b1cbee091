package trainer

const dayMs = 86_400_000

// items are what the desk reviews as one: a transaction, or a card's
// transactions of a day (of UTC), since an analyst who opens a card sees its day.
type items struct {
	of     []int32   // the item of each row
	day    []int32   // of each item, counted from the first row's
	weight []float64 // how many such items of the stream each stands for
	fraud  []bool    // of each item: any row of it is
}

// newItems returns the items of rows in the order of time; with cards, those of
// a card and day, save where nobody is known to have paid: such a row is one of
// its own. A card's day with a fraud stands for itself, as frauds are never
// thinned, and any other for what its least thinned row does.
func newItems(d *Dataset, cards bool) *items {
	it := &items{of: make([]int32, d.Rows())}
	if d.Rows() == 0 {
		return it
	}
	first := floorDiv(d.Time[0], dayMs)
	today := make(map[uint64]int32)
	for i, card := range d.Card {
		day := int32(floorDiv(d.Time[i], dayMs) - first)
		if n := len(it.day); n > 0 && it.day[n-1] != day {
			clear(today)
		}
		k, known := int32(len(it.day)), false
		if cards && card != 0 {
			if k, known = today[card]; !known {
				k = int32(len(it.day))
				today[card] = k
			}
		}
		if !known {
			it.day, it.fraud = append(it.day, day), append(it.fraud, false)
			it.weight = append(it.weight, float64(d.Weight[i]))
		}
		it.of[i] = k
		it.fraud[k] = it.fraud[k] || d.Y[i] != 0
		it.weight[k] = min(it.weight[k], float64(d.Weight[i]))
	}
	return it
}

// best returns each item's highest rank, and the first row that has it.
func (it *items) best(rank []float32) (best []float32, row []int32) {
	best, row = make([]float32, len(it.day)), make([]int32, len(it.day))
	for k := range row {
		row[k] = -1
	}
	for i, k := range it.of {
		if row[k] < 0 || rank[i] > best[k] {
			best[k], row[k] = rank[i], int32(i)
		}
	}
	return best, row
}
