package decode

import (
	"fmt"
	"slices"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

// kind says how a field is read from its bytes.
type kind uint8

const (
	textKind kind = iota
	secretKind
	timeKind
	amountKind
	typeKind
	statusKind
	numberKind
)

// leaf is a field that the spec reads.
type leaf struct {
	kind kind
	col  int   // in Batch.Text, or in Batch.Number
	bad  check // of a value of a wrong type
	// whole says that an integer is taken as its literal digits; fraction is what
	// any other number is.
	whole    bool
	fraction check
	long     check // of a text beyond TextMax
	card     bool  // a card number: digits only, and a token under the previous key too
	keepBIN  bool
}

// node is a place in the tree of the spec's paths: an object with children, or a
// field.
type node struct {
	index    int // its bit among those seen
	names    table
	children []*node
	leaf     *leaf
	bad      check // of a value that is no object: that of the first field below
}

// field is a leaf and where it is.
type field struct {
	path []string
	leaf leaf
}

// wholeText are the fields that may come as integers: what banks number. The
// others are codes and addresses that no integer stands for.
var wholeText = [schemas.NumText]bool{schemas.ID: true, schemas.OriginalID: true, schemas.Card: true,
	schemas.Customer: true, schemas.Account: true, schemas.Counterparty: true, schemas.Merchant: true,
	schemas.MCC: true, schemas.Terminal: true, schemas.Device: true}

// fields lists what the spec reads from a record.
func fields(in *spec.Input) []field {
	var list []field
	add := func(path []string, l leaf) {
		if path != nil {
			list = append(list, field{path, l})
		}
	}
	for f := range schemas.NumText {
		t := &in.Text[f]
		l := leaf{col: int(f), bad: fieldType, whole: wholeText[f], fraction: fieldWhole, long: fieldLong}
		switch {
		case f == schemas.ID:
			l.bad, l.fraction, l.long = idType, idWhole, idLong
		case f == schemas.Currency:
			l.bad, l.fraction, l.long = currencyType, currencyType, currencyUnknown
		case t.Secret:
			l.kind, l.whole, l.card = secretKind, true, f == schemas.Card
			l.keepBIN = l.card && t.KeepBIN
			if l.card {
				l.bad, l.fraction, l.long = secretType, secretForm, secretLong
			}
		}
		add(t.Path, l)
	}
	add(in.Time.Path, leaf{kind: timeKind, bad: timeType})
	add(in.Amount.Path, leaf{kind: amountKind, bad: amountType})
	add(in.Type.Path, leaf{kind: typeKind, bad: typeType, whole: true, fraction: typeType})
	add(in.Status.Path, leaf{kind: statusKind, bad: statusType, whole: true, fraction: statusType})
	for k, f := range in.OwnText {
		add(f.Path, leaf{col: int(schemas.NumText) + k, bad: fieldType, fraction: fieldWhole, long: fieldLong})
	}
	for k, f := range in.OwnNumber {
		add(f.Path, leaf{kind: numberKind, col: k, bad: numberType})
	}
	return list
}

// tree makes the tree of fields and returns its root and the number of its
// nodes. Two fields at one path, or one inside another, are refused by spec.Parse.
func tree(list []field) (*node, int) {
	root, count := &node{}, 0
	var names = map[*node][]string{}
	for _, f := range list {
		n := root
		for _, name := range f.path {
			k := slices.Index(names[n], name)
			if k < 0 {
				count++
				k = len(n.children)
				names[n] = append(names[n], name)
				n.children = append(n.children, &node{index: count - 1, bad: f.leaf.bad})
			}
			n = n.children[k]
		}
		if n.leaf != nil || len(n.children) > 0 {
			panic(fmt.Sprintf("BUG: two fields at %q", f.path))
		}
		n.leaf = &f.leaf
	}
	root.index, root.names = count, newTable(names[root])
	for n, list := range names {
		if n.leaf != nil {
			panic(fmt.Sprintf("BUG: a field with fields inside: %q", list))
		}
		n.names = newTable(list)
	}
	return root, count + 1
}
