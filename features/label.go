package features

import "github.com/weir-risk/weir/schemas"

// LabelResult says what became of a label.
type LabelResult uint8

// The results.
const (
	Applied    LabelResult = iota // it is the latest version of its source
	Superseded                    // its source has said this or something newer
	Unknown                       // no event of its transaction is kept
)

// A home row keeps for each source, in twelve bits, the latest version that
// counts and its verdict.
const (
	sourceBits = 12
	sourceMask = 1<<sourceBits - 1
)

// Label folds one label: the latest version of each source counts, and the
// spec's order of sources decides between them. What follows sees it.
func (e *Engine) Label(l *schemas.Label) LabelResult {
	result := Unknown
	if e.spec.Home >= 0 && l.Source < schemas.NumLabelSources && l.Verdict < schemas.NumLabelVerdicts {
		id := e.hashID(l.TxID)
		e.each(id, func(n *entity, pos uint32) {
			result = min(result, e.label(n, pos, l))
		})
	}
	switch result {
	case Applied:
		e.counters.Labels++
	case Superseded:
		e.counters.Superseded++
	case Unknown:
		e.counters.UnknownLabels++
	}
	return result
}

// each calls do for every kept event of an id, in its home entity.
func (e *Engine) each(id uint64, do func(n *entity, pos uint32)) {
	n := &e.found
	for i := e.index.first(id); ; {
		ref, next, ok := e.index.next(id, i)
		if !ok {
			return
		}
		i = next
		n.open(e.kinds[e.spec.Home], int(ref>>32), int(uint32(ref)))
		start, end := n.span()
		for pos := end; pos != start; pos-- {
			if *n.stampAt(pos - 1)&bucketBit == 0 && n.rowAt(pos - 1)[n.k.colID] == id {
				do(n, pos-1)
			}
		}
	}
}

// label applies a label to the event at pos of its home entity.
func (e *Engine) label(n *entity, pos uint32, l *schemas.Label) LabelResult {
	row, stamp := n.rowAt(pos), *n.stampAt(pos)
	kept := &row[n.k.colLabels]
	shift := sourceBits * int(l.Source)
	version := uint64(min(l.Version, schemas.LabelVersionMax))
	if version <= *kept>>shift&sourceMask>>2 {
		return Superseded
	}
	e.touch(n)
	*kept = *kept&^(sourceMask<<shift) | (version<<2|uint64(l.Verdict))<<shift
	verdict := e.winner(*kept)
	if verdict == labelOf(stamp) {
		return Applied
	}
	n.relabel(pos, verdict)
	t, id := timeOf(stamp), row[n.k.colID]^n.h[headKey]
	for k, col := range n.k.colLink {
		if col == 0 || row[col] == 0 || !e.kinds[k].labelled {
			continue
		}
		var other entity
		if at, ok := e.locate(&other, k, row[col], t, id); ok {
			e.touch(&other)
			other.relabel(at, verdict)
		}
	}
	return Applied
}

// winner returns the verdict of the strongest source that has one.
func (e *Engine) winner(labels uint64) schemas.LabelVerdict {
	for _, s := range e.spec.Sources {
		if v := schemas.LabelVerdict(labels >> (sourceBits * int(s)) & 3); v != schemas.LabelNone {
			return v
		}
	}
	return schemas.LabelNone
}

// locate opens n on the entity of kind k with the key, and finds the position
// of the event with the time and id there.
func (e *Engine) locate(n *entity, k int, key uint64, t int64, id uint64) (pos uint32, ok bool) {
	kd := e.kinds[k]
	ref := kd.parts[key>>56].find(key, kd.head)
	if ref < 0 {
		return 0, false
	}
	n.open(kd, int(key>>56), ref)
	start, _ := n.span()
	for pos = n.firstAfter(t); pos != start; pos-- {
		stamp := *n.stampAt(pos - 1)
		if timeOf(stamp) != t {
			return 0, false
		}
		if stamp&bucketBit == 0 && n.rowAt(pos - 1)[kd.colID] == id {
			return pos - 1, true
		}
	}
	return 0, false
}
