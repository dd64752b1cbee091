package spec

import (
	"embed"
	"slices"
	"strings"
)

//go:embed builtin/*.spec
var builtin embed.FS

// BuiltinNames are the names of the specs that come with weir, sorted.
func BuiltinNames() []string {
	entries, err := builtin.ReadDir("builtin")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".spec"))
	}
	slices.Sort(names)
	return names
}

// BuiltinText is the text of a spec that comes with weir, nil where there is no
// such spec.
func BuiltinText(name string) []byte {
	text, err := builtin.ReadFile("builtin/" + name + ".spec")
	if err != nil {
		return nil
	}
	return text
}

// Builtin is a spec that comes with weir, and whether there is one of that name. It is the
// same in every version, to the hash: a ledger is decided by one spec, and models are
// learnt for it, so that a version which meant something else by the name could not take
// over. A better one gets another name.
func Builtin(name string) (*Spec, bool) {
	text := BuiltinText(name)
	if text == nil {
		return nil, false
	}
	s, err := Parse(name, text)
	if err != nil {
		panic("BUG: built-in spec: " + err.Error())
	}
	return s, true
}
