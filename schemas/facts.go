package schemas

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
)

// Header is a Kafka record header.
type Header struct{ Key, Value []byte }

// The keys of the facts' headers, on the first record of each batch of the
// ledger. Values are big-endian; a list of positions is 12 bytes each,
// partition and offset.
//
//	w   writer, sequence                  16 bytes
//	x   what it extends: writer, sequence 16
//	n   number of records                  4
//	a   anchor: offset, writer, sequence  24
//	m   alerts mark, dead letters mark    16
//	h   bundle, spec and engine hashes    96
//	s   source positions                  12 each
//	l   label positions                   12 each
//	r   rate positions                    12 each
//	o   positions of the other shards     12 each
//	k   check of the token key             8
//
// Those from s on are left out where there is nothing to say.
var factKeys = [...][]byte{[]byte("w"), []byte("x"), []byte("n"), []byte("a"), []byte("m"), []byte("h"),
	[]byte("s"), []byte("l"), []byte("r"), []byte("o"), []byte("k")}

// AppendFacts appends the headers that hold f to dst. Their values lie in
// scratch, which is returned grown; they are good until it is used again.
func AppendFacts(dst []Header, scratch []byte, f *Facts) ([]Header, []byte) {
	be := binary.BigEndian
	var ends [len(factKeys)]int
	id := func(b BatchID) {
		scratch = be.AppendUint64(be.AppendUint64(scratch, b.Writer), b.Sequence)
	}
	list := func(ps []Position) {
		for _, p := range ps {
			scratch = be.AppendUint64(be.AppendUint32(scratch, uint32(p.Partition)), uint64(p.Offset))
		}
	}
	start := len(scratch)
	id(f.ID)
	ends[0] = len(scratch)
	id(f.Extends)
	ends[1] = len(scratch)
	scratch = be.AppendUint32(scratch, f.Records)
	ends[2] = len(scratch)
	scratch = be.AppendUint64(scratch, uint64(f.Anchor.Offset))
	id(f.Anchor.Head)
	ends[3] = len(scratch)
	scratch = be.AppendUint64(be.AppendUint64(scratch, uint64(f.AlertsMark)), uint64(f.DeadMark))
	ends[4] = len(scratch)
	scratch = append(append(append(scratch, f.Bundle[:]...), f.Spec[:]...), f.Engine[:]...)
	ends[5] = len(scratch)
	for i, ps := range [...][]Position{f.Sources, f.Labels, f.Rates, f.Shards} {
		list(ps)
		ends[6+i] = len(scratch)
	}
	if f.Key != 0 {
		scratch = be.AppendUint64(scratch, f.Key)
	}
	ends[10] = len(scratch)
	for i, end := range ends {
		if end > start || i < 6 {
			dst = append(dst, Header{Key: factKeys[i], Value: scratch[start:end:end]})
		}
		start = end
	}
	return dst, scratch
}

// ParseFacts reads the headers of a batch's first record into f, whose slices
// are reused. Headers of other keys are passed over; the first six must be
// there, and none twice. Errors wrap [ErrWire].
func ParseFacts(headers []Header, f *Facts) error {
	*f = Facts{Sources: f.Sources[:0], Labels: f.Labels[:0], Rates: f.Rates[:0], Shards: f.Shards[:0]}
	seen := 0
	for _, h := range headers {
		k := slices.IndexFunc(factKeys[:], func(key []byte) bool { return bytes.Equal(key, h.Key) })
		switch {
		case k < 0:
			continue
		case seen>>k&1 == 1:
			return fmt.Errorf("%w: header %q of a ledger batch comes twice", ErrWire, h.Key)
		case f.header(h.Key[0], h.Value) != 0:
			return fmt.Errorf("%w: header %q of a ledger batch has %d bytes", ErrWire, h.Key, len(h.Value))
		}
		seen |= 1 << k
	}
	const first = 1<<6 - 1
	if seen&first != first {
		return fmt.Errorf("%w: a ledger batch with %d of the 6 headers that state its facts", ErrWire, bits.OnesCount(uint(seen&first)))
	}
	return nil
}

// header takes one header; what it returns is not 0 where its length is wrong.
func (f *Facts) header(key byte, v []byte) (n int) {
	be := binary.BigEndian
	if want := factSize(key); want > 0 && len(v) != want {
		return 1
	}
	id := func(v []byte) BatchID { return BatchID{Writer: be.Uint64(v), Sequence: be.Uint64(v[8:])} }
	switch key {
	case 'w':
		f.ID = id(v)
	case 'x':
		f.Extends = id(v)
	case 'n':
		f.Records = be.Uint32(v)
	case 'a':
		f.Anchor = Anchor{Offset: int64(be.Uint64(v)), Head: id(v[8:])}
	case 'm':
		f.AlertsMark, f.DeadMark = int64(be.Uint64(v)), int64(be.Uint64(v[8:]))
	case 'h':
		copy(f.Bundle[:], v)
		copy(f.Spec[:], v[32:])
		copy(f.Engine[:], v[64:])
	case 's':
		f.Sources, n = positionList(f.Sources, v)
	case 'l':
		f.Labels, n = positionList(f.Labels, v)
	case 'r':
		f.Rates, n = positionList(f.Rates, v)
	case 'o':
		f.Shards, n = positionList(f.Shards, v)
	case 'k':
		f.Key = be.Uint64(v)
	}
	return n
}

// positionList appends the positions in v; n is what is left over of it.
func positionList(dst []Position, v []byte) (list []Position, n int) {
	for ; len(v) >= 12; v = v[12:] {
		dst = append(dst, Position{Partition: int32(binary.BigEndian.Uint32(v)), Offset: int64(binary.BigEndian.Uint64(v[4:]))})
	}
	return dst, len(v)
}

// factSize returns the length of a header's value, 0 where it varies.
func factSize(key byte) int {
	switch key {
	case 'w', 'x', 'm':
		return 16
	case 'n':
		return 4
	case 'k':
		return 8
	case 'a':
		return 24
	case 'h':
		return 96
	}
	return 0
}
