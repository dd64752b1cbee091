package features

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/weir-risk/weir/features/spec"
)

// partVersion returns the first byte of a part. Another layout has another number: once
// the facts of a row held one where clause more.
func partVersion(s *spec.Spec) byte {
	if len(s.Predicates) == wordBits+1 {
		return 2
	}
	return 1
}

// AppendPart appends part 0..Parts-1 of the state. The bytes are canonical: a
// function of what was folded, in ledger order, and not of how: entities by
// key, events in order, nothing that can be computed again, no capacities. It
// only reads, so several goroutines may append parts while nobody changes the
// state.
//
//	part    version, then for each kind of the spec: count, entities
//	entity  key (8 bytes), number of rows, bases, rows
//	row     time since the row before, facts, columns; a bucket has its sums
//
// Numbers are varints, hashes eight bytes, least significant first.
func (e *Engine) AppendPart(dst []byte, part int) []byte {
	dst = append(dst, partVersion(e.spec))
	var refs []int
	for _, k := range e.kinds {
		refs = k.inOrder(refs, part, k.parts[part].count)
		dst = beginKind(dst, len(refs))
		for _, ref := range refs {
			var n entity
			n.open(k, part, ref)
			dst = n.append(dst)
		}
	}
	return dst
}

// inOrder returns the references of a part's first count entities in the order
// of their keys, in the memory of refs.
func (k *kind) inOrder(refs []int, part, count int) []int {
	heads := k.parts[part].heads
	refs = refs[:0]
	for ref := range count {
		refs = append(refs, ref)
	}
	slices.SortFunc(refs, func(a, b int) int {
		return cmp.Compare(heads[a*k.head+headKey], heads[b*k.head+headKey])
	})
	return refs
}

func beginKind(dst []byte, entities int) []byte {
	return binary.AppendUvarint(dst, uint64(entities))
}

// append appends an entity.
func (n *entity) append(dst []byte) []byte {
	k := n.k
	start, end := n.span()
	dst = binary.LittleEndian.AppendUint64(dst, n.h[headKey])
	dst = binary.AppendUvarint(dst, uint64(end-start))
	for i := range k.tallies {
		if t := &k.tallies[i]; t.base > 0 {
			dst = appendWords(dst, n.h[t.base:t.base+t.words])
		}
	}
	before := int64(0)
	for pos := start; pos != end; pos++ {
		stamp := *n.stampAt(pos)
		dst = binary.AppendUvarint(dst, uint64(timeOf(stamp)-before))
		before = timeOf(stamp)
		if stamp&bucketBit != 0 {
			dst = binary.AppendUvarint(dst, bucketBit)
			dst = appendWords(dst, n.bucketOf(stamp))
			continue
		}
		dst = binary.AppendUvarint(dst, stamp&(1<<timeShift-1)&^undoneBit)
		dst = n.appendColumns(dst, stamp, n.rowAt(pos))
	}
	return dst
}

func appendWords(dst []byte, words []uint64) []byte {
	for _, w := range words {
		dst = binary.AppendVarint(dst, int64(w))
	}
	return dst
}

// appendColumns appends a row but for its stamp.
func (n *entity) appendColumns(dst []byte, stamp uint64, row []uint64) []byte {
	k := n.k
	if k.colPred > 0 {
		dst = binary.AppendUvarint(dst, row[k.colPred])
	}
	if k.colUndo > 0 {
		if !undone(stamp) {
			dst = append(dst, 0)
		} else {
			dst = binary.AppendUvarint(dst, row[k.colUndo]+1)
		}
	}
	for i := range k.numbers {
		dst = binary.AppendVarint(dst, int64(row[k.numbers[i].at]))
	}
	for _, col := range k.hashes {
		dst = binary.LittleEndian.AppendUint64(dst, row[col])
	}
	if k.home {
		dst = binary.AppendUvarint(dst, row[k.colLabels])
	}
	return dst
}
