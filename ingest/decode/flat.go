package decode

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/weir-risk/weir/schemas"
)

// ErrColumns is wrapped by the errors of a header that a spec cannot read.
var ErrColumns = errors.New("columns do not fit the spec")

// Columns says which cells of a flat record hold which fields; see
// [Decoder.Columns].
type Columns struct {
	leaves []*leaf // nil where no field reads the column
}

// Columns binds the names of a header to the spec's fields: a column NAME is what
// the path $.NAME reads, columns that no field reads are passed over. It is an
// error, which wraps [ErrColumns], where a field's column comes twice, where id,
// time or amount has none, or where a path is deeper than a column can be.
func (d *Decoder) Columns(header []string) (*Columns, error) {
	c := &Columns{leaves: make([]*leaf, len(header))}
	found := make([]bool, len(d.root.children))
	for i, name := range header {
		k := slices.Index(d.root.names.names, name)
		if k < 0 {
			continue
		}
		if d.root.children[k].leaf == nil {
			return nil, fmt.Errorf("%w: the spec reads fields inside %q, and a column has none", ErrColumns, name)
		}
		if found[k] {
			return nil, fmt.Errorf("%w: the column %q comes twice", ErrColumns, name)
		}
		found[k], c.leaves[i] = true, d.root.children[k].leaf
	}
	for k, n := range d.root.children {
		if l := n.leaf; !found[k] && l != nil && (l.kind == timeKind || l.kind == amountKind || l.kind == textKind && l.col == int(schemas.ID)) {
			return nil, fmt.Errorf("%w: the column %q is missing, which id, time or amount is read from", ErrColumns, d.root.names.names[k])
		}
	}
	return c, nil
}

// DecodeFields decodes a flat record into row i of b: cells[k] is the text of
// column k, an empty one no value. There must be as many cells as columns. All
// else is as with [Decoder.Decode], where every value is a string.
func (d *Decoder) DecodeFields(b *schemas.Batch, i int, c *Columns, cells [][]byte) schemas.Reason {
	if len(cells) != len(c.leaves) {
		panic(fmt.Sprintf("BUG: %d cells in %d columns", len(cells), len(c.leaves)))
	}
	d.begin(b, i)
	for k, l := range c.leaves {
		if l == nil || len(cells[k]) == 0 {
			continue
		}
		if l.kind <= secretKind && !utf8.Valid(cells[k]) {
			return d.end(textUTF8)
		}
		d.fromText(l, cells[k], false)
	}
	if d.fault != passed {
		return d.end(d.fault)
	}
	return d.end(d.finish())
}
