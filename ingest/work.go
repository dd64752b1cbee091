package ingest

import "github.com/weir-risk/weir/schemas"

// A work is the input of one step: the records taken, in merge order.
type work struct {
	rows     schemas.Batch
	labels   []schemas.Label // alias their chunks, which are held until the step ends
	rates    []schemas.Rate
	order    []run
	bytes    int // an upper bound of what the step will write
	rowBytes int // of a decision besides its texts
	rowsMax  int
	bytesMax int
}

// A run is consecutive records of one class: from..to in rows, labels or rates.
type run struct {
	class    Class
	from, to int
}

func (w *work) reset(ownText, ownNumber int) {
	w.rows.Reset(ownText, ownNumber)
	w.labels, w.rates, w.order, w.bytes = w.labels[:0], w.rates[:0], w.order[:0], 0
}

func (w *work) records() int { return w.rows.Len() + len(w.labels) + len(w.rates) }

// full reports whether another record might not fit: a step is one batch and
// is written whole or not at all, so its size is bounded before it is decided.
func (w *work) full() bool {
	return w.records() >= w.rowsMax || w.bytes >= w.bytesMax
}

// add appends record i of c.
func (w *work) add(c *chunk, i int) {
	class := c.cursor.class
	var n int
	switch class {
	case Transactions:
		before := len(w.rows.Arena)
		w.rows.CopyRow(&c.rows, i)
		n = w.rows.Len()
		w.bytes += w.rowBytes + len(w.rows.Arena) - before
	case Labels:
		w.labels = append(w.labels, c.labels[i])
		n = len(w.labels)
		l := &c.labels[i]
		w.bytes += labelBytes + l.Texts()
	case Rates:
		w.rates = append(w.rates, c.rates[i])
		n = len(w.rates)
		w.bytes += labelBytes
	}
	if k := len(w.order); k > 0 && w.order[k-1].class == class {
		w.order[k-1].to = n
		return
	}
	w.order = append(w.order, run{class: class, from: n - 1, to: n})
}

// labelBytes bounds a label or a rate in the ledger, its texts aside.
const labelBytes = 192
