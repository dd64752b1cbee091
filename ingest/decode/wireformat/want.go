package wireformat

import "github.com/weir-risk/weir/features/spec"

// want says what the spec reads of a value: nothing where it is nil, all of it
// where it is a leaf, otherwise the fields that are its children.
type want struct {
	leaf     bool
	time     bool // the event time
	children map[string]*want
}

// child is what is wanted of a field.
func (w *want) child(name string) *want {
	if w == nil || w.leaf {
		return w
	}
	return w.children[name]
}

// inside is what is wanted of the elements of an array or a map, whose keys are
// not known before the record is: all, where anything is.
func (w *want) inside() *want {
	if w == nil {
		return nil
	}
	return everything
}

var everything = &want{leaf: true}

// wanted makes the tree of the paths that a spec reads.
func wanted(in *spec.Input) *want {
	root := &want{}
	add := func(path []string) *want {
		w := root
		for _, name := range path {
			if w.children == nil {
				w.children = make(map[string]*want)
			}
			if w.children[name] == nil {
				w.children[name] = &want{}
			}
			w = w.children[name]
		}
		w.leaf = path != nil
		return w
	}
	for i := range in.Text {
		add(in.Text[i].Path)
	}
	add(in.Amount.Path)
	add(in.Type.Path)
	add(in.Status.Path)
	for _, f := range in.OwnText {
		add(f.Path)
	}
	for _, f := range in.OwnNumber {
		add(f.Path)
	}
	add(in.Time.Path).time = true
	root.leaf = false // of the fields that have no path
	return root
}
