package spec

import (
	"bytes"
	"crypto/sha256"
	"path"
	"strings"
)

// Parse reads and checks a spec. The name, usually a file's, stands in messages
// and is the spec's own name where no line gives one. The error is a
// [Problems] with every mistake found.
func Parse(name string, text []byte) (*Spec, error) {
	s, err := parse(name, text)
	if err == nil && s.zoneByField {
		if err := s.loadZones(); err != nil {
			panic("BUG: " + err.Error())
		}
	}
	return s, err
}

// parse is Parse without the zones that a field may name, which take a moment.
func parse(name string, text []byte) (*Spec, error) {
	file, problems := parseFile(name, text)
	if file == nil {
		return nil, problems
	}
	c := &checker{file: file, origin: name, problems: problems, spec: &Spec{Text: bytes.Clone(text)}}
	c.spec.Name = strings.TrimSuffix(path.Base(name), ".spec")
	if file.name != nil {
		c.spec.Name = file.name.text
	}
	c.check()
	if len(c.problems) > 0 {
		return nil, c.problems.sorted()
	}
	c.spec.canonical = c.canonicalForm()
	c.spec.Hash = sha256.Sum256(c.spec.canonical)
	return c.spec, nil
}
