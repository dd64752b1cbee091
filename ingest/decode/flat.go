package decode

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
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
// the path $.NAME reads, a column a.b what $.a.b does; columns that no field reads
// are passed over. It is an error, which wraps [ErrColumns], where a field's column
// comes twice, where two fields would have the same column, where id, time or
// amount has none, or where a column stands for an object that fields are inside.
func (d *Decoder) Columns(header []string) (*Columns, error) {
	named := make(map[string]*node)
	if err := d.root.columns("", named); err != nil {
		return nil, err
	}
	c := &Columns{leaves: make([]*leaf, len(header))}
	found := make(map[*node]bool)
	for i, name := range header {
		n := named[name]
		switch {
		case n == nil:
			continue
		case n.leaf == nil:
			return nil, fmt.Errorf("%w: the spec reads fields inside %q, and a column has none; name it %s.FIELD", ErrColumns, name, name)
		case found[n]:
			return nil, fmt.Errorf("%w: the column %q comes twice", ErrColumns, name)
		}
		found[n], c.leaves[i] = true, n.leaf
	}
	var missing []string
	for name, n := range named {
		if l := n.leaf; !found[n] && l != nil && (l.kind == timeKind || l.kind == amountKind || l.kind == textKind && l.col == int(schemas.ID)) {
			missing = append(missing, strconv.Quote(name))
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return nil, fmt.Errorf("%w: no column %s, which id, time or amount is read from", ErrColumns, strings.Join(missing, ", "))
	}
	return c, nil
}

// columns enters what is below n under the name that a column of it has.
func (n *node) columns(prefix string, named map[string]*node) error {
	for k, child := range n.children {
		name := prefix + n.names.names[k]
		if named[name] != nil {
			return fmt.Errorf("%w: two fields of the spec would be read from the column %q", ErrColumns, name)
		}
		named[name] = child
		if err := child.columns(name+".", named); err != nil {
			return err
		}
	}
	return nil
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
