package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// A Place is where something stands in a file, line and column from 1. Columns are
// counted in characters.
type Place struct{ Line, Column int }

// A Problem is one thing that is wrong with a file.
type Problem struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Key    string `json:"key,omitempty"`
	Reason string `json:"reason"`
	Hint   string `json:"hint"`
}

func (p Problem) String() string {
	return fmt.Sprintf("%s:%d:%d: %s; %s", p.File, p.Line, p.Column, p.Reason, p.Hint)
}

// A Value is what a file says of one setting.
type Value struct {
	Setting *Setting
	Place
	Items []string // one, but of a list
}

// Text is the value as its variable would have it.
func (v *Value) Text() string { return strings.Join(v.Items, v.Setting.Join) }

// Flags are the texts that the setting's flag is given, one after another.
func (v *Value) Flags() []string {
	if v.Setting.Join == ";" {
		return v.Items
	}
	return []string{v.Text()}
}

// A File is a file that was read. Values hold only what is right.
type File struct {
	Name     string
	Values   map[string]*Value
	Problems []Problem

	places map[string]Place // of every key, right or wrong
	lines  [][]byte
	tabs   map[int]int // by line: how many tabs of its indentation are read as two blanks
}

// FileMax is more bytes than any file of settings has.
const FileMax = 1 << 20

// Parse reads a file. What is wrong with it is in Problems, all of it, in the order of
// the lines; the values on which other flags and variables depend are looked at by
// [File.Judge].
func Parse(name string, data []byte) *File {
	f := &File{Name: name, Values: make(map[string]*Value), places: make(map[string]Place), tabs: make(map[int]int)}
	if f.raw(data) {
		if root := f.load(bytes.Join(f.lines, []byte("\n"))); root != nil {
			f.root(root)
		}
	}
	f.sort()
	return f
}

func (f *File) sort() {
	slices.SortStableFunc(f.Problems, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
}

func (f *File) problem(at Place, key, reason, hint string) {
	f.Problems = append(f.Problems, Problem{f.Name, max(at.Line, 1), max(at.Column-f.tabs[at.Line], 1), key, reason, hint})
}

// raw looks at the file's bytes, and reports whether they are worth to be parsed. A tab
// is told and read as two blanks, so that the mistakes behind it are told too.
func (f *File) raw(data []byte) bool {
	start := Place{1, 1}
	switch {
	case len(data) > FileMax:
		f.problem(start, "", fmt.Sprintf("the file has %d bytes, more than %d", len(data), FileMax), "this is no file of settings; weir config default prints one")
		return false
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		f.problem(start, "", "the file is written in UTF-16", "save it as UTF-8")
		return false
	case len(bytes.TrimSpace(data)) == 0:
		f.problem(start, "", "the file is empty", "it may have been cut off; {} says that nothing is set")
		return false
	}
	f.lines = bytes.Split(data, []byte("\n"))
	fine := true
	for i, line := range f.lines {
		indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
		if at := bytes.IndexByte(indent, '\t'); at >= 0 && len(bytes.TrimSpace(line)) > 0 {
			f.problem(Place{i + 1, at + 1}, "", "the line is indented by a tab", "YAML takes spaces only: two for each level")
			f.tabs[i+1] = bytes.Count(indent, []byte("\t"))
			f.lines[i] = slices.Concat(bytes.ReplaceAll(indent, []byte("\t"), []byte("  ")), line[len(indent):])
		}
		if at := invalid(line); at >= 0 {
			f.problem(Place{i + 1, utf8.RuneCount(line[:at]) + 1}, "", "this is no UTF-8", "save the file as UTF-8")
			fine = false
		} else if at := bytes.IndexFunc(line, control); at >= 0 {
			f.problem(Place{i + 1, utf8.RuneCount(line[:at]) + 1}, "", "there is a control character here", "delete it: it cannot be seen, and has no meaning")
			fine = false
		}
	}
	return fine
}

// invalid returns where a line is no UTF-8, -1 where all of it is.
func invalid(line []byte) int {
	for i := 0; i < len(line); {
		r, n := utf8.DecodeRune(line[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
	return -1
}

func control(r rune) bool {
	return r < ' ' && r != '\t' && r != '\r' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029
}

// load parses YAML, one document of it.
func (f *File) load(data []byte) *yaml.Node {
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithUniqueKeys(false))
	if err != nil {
		f.broken(err)
		return nil
	}
	var document, second yaml.Node
	if err := loader.Load(&document); errors.Is(err, io.EOF) {
		return nil // nothing but comments
	} else if err != nil {
		f.broken(err)
		return nil
	}
	switch err := loader.Load(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		f.broken(err)
	default:
		at := place(&second)
		if len(second.Content) > 0 {
			at = place(second.Content[0])
		}
		f.problem(at, "", "a second document begins before this", "weir reads one: take out the line --- and what follows, or use a file of its own")
	}
	if len(document.Content) == 0 {
		return nil
	}
	return document.Content[0]
}

// broken notes that a file is no YAML.
func (f *File) broken(err error) {
	if len(f.tabs) > 0 {
		return // it is told, and more is a guess
	}
	at, reason := Place{1, 1}, "this is no YAML: "+err.Error()
	var one *yaml.LoadError
	if errors.As(err, &one) {
		at, reason = Place{one.Mark.Line, one.Mark.Column}, "this is no YAML: "+one.Message
	}
	hint := "look at this line and the one before: a colon, a quote or a bracket is missing or too many, or the indentation is off"
	if n := at.Line - 1; n >= 0 && n < len(f.lines) {
		switch text := bytes.TrimSpace(f.lines[n]); {
		case bytes.ContainsAny(text, "@`"):
			hint = "a value that begins with @ or ` has to stand in quotes"
		case strings.Contains(reason, "anchor"):
			hint = "anchors are not taken: write the value out"
		case bytes.Contains(text, []byte("{{")):
			hint = "{{ }} is of templates: let Helm or another put the value in first"
		}
	}
	f.problem(at, "", strings.ReplaceAll(reason, "\n", " "), hint)
}

func place(n *yaml.Node) Place { return Place{n.Line, n.Column} }

// root reads the file's outermost level.
func (f *File) root(n *yaml.Node) {
	if !f.plain(n, "") || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		f.problem(place(n), "", "the file is "+kindOf(n)+", not sections with keys", "weir config default prints a file that is right")
		return
	}
	f.pairs(n, "", func(name string, key, value *yaml.Node) {
		s := Find(name)
		switch {
		case s != nil && s.Section() == "":
			f.value(s, value)
		case isSection(name):
			f.section(name, value)
		default:
			f.unknown(place(key), "", name)
		}
	})
}

// section reads one section.
func (f *File) section(name string, n *yaml.Node) {
	switch {
	case !f.plain(n, name) || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null": // its keys are commented out
	case n.Kind != yaml.MappingNode:
		example := sectionExample(name)
		f.problem(place(n), name, name+" is a section and holds keys; here is "+kindOf(n), "write "+name+": and below it, indented, "+example)
	default:
		f.pairs(n, name, func(last string, key, value *yaml.Node) {
			if s := Find(name + "." + last); s != nil {
				f.value(s, value)
			} else {
				f.unknown(place(key), name, last)
			}
		})
	}
}

func sectionExample(name string) string {
	for _, s := range Settings {
		if s.Section() == name {
			return s.Name() + ": " + s.Example
		}
	}
	return ""
}

// pairs calls each for every key of a mapping, once.
func (f *File) pairs(n *yaml.Node, section string, each func(name string, key, value *yaml.Node)) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.ScalarNode && key.Value == "<<" && key.Style == 0 {
			f.problem(place(key), "", "<< merges other keys in", "write the keys out: whoever reads the file should see what is set")
			continue
		}
		if !f.plain(key, "") {
			continue
		}
		if key.Kind != yaml.ScalarNode {
			f.problem(place(key), "", "a key is "+kindOf(key), "a key is one word")
			continue
		}
		name := key.Value
		full := name
		if section != "" {
			full = section + "." + name
		}
		if first, twice := f.places[full]; twice {
			f.problem(place(key), full, fmt.Sprintf("%s stands here a second time, first in line %d", full, first.Line), "delete one of the two")
			continue
		}
		f.places[full] = place(key)
		each(name, key, value)
	}
}

// plain refuses what makes a file say other things than it seems to.
func (f *File) plain(n *yaml.Node, key string) bool {
	switch {
	case n.Kind == yaml.AliasNode:
		f.problem(place(n), key, "*"+n.Value+" stands for what is written elsewhere", "write the value out")
		return false
	case n.Anchor != "":
		f.problem(place(n), key, "&"+n.Anchor+" is an anchor", "take it out: a value is written where it counts")
		return false
	case n.Style&yaml.TaggedStyle != 0:
		f.problem(place(n), key, n.Tag+" is a tag", "take it out: the key says what the value is")
		return false
	}
	return true
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return "a value"
}

// value reads what is set.
func (f *File) value(s *Setting, n *yaml.Node) {
	if !f.plain(n, s.Key) {
		return
	}
	before := len(f.Problems)
	v := &Value{Setting: s, Place: place(n)}
	switch {
	case n.Kind == yaml.MappingNode:
		f.problem(v.Place, s.Key, s.Key+" is one value; here is a mapping", "for example "+s.Name()+": "+s.Example)
	case n.Kind == yaml.SequenceNode && s.Join == "":
		f.problem(v.Place, s.Key, s.Key+" is one value; here is a list", "for example "+s.Name()+": "+s.Example)
	case n.Kind == yaml.SequenceNode && len(n.Content) == 0:
		f.problem(v.Place, s.Key, "the list is empty", "leave the key out for what holds where nothing is said")
	case n.Kind == yaml.SequenceNode:
		for _, item := range n.Content {
			switch {
			case !f.plain(item, s.Key):
			case item.Kind != yaml.ScalarNode:
				f.problem(place(item), s.Key, "an item of "+s.Key+" is "+kindOf(item), "for example "+s.Name()+": "+s.Example)
			default:
				f.item(v, item, true)
			}
		}
	default:
		f.item(v, n, false)
	}
	if len(f.Problems) == before {
		f.Values[s.Key] = v
	}
}

// item reads one value, or one of a list.
func (f *File) item(v *Value, n *yaml.Node, listed bool) {
	s, key := v.Setting, v.Setting.Key
	list := []string{n.Value}
	if s.Join != "" && !listed { // a list as its flag has it
		list = strings.Split(n.Value, s.Join)
	}
	reason, hint := s.written(n)
	if reason == "" && listed && s.Join != "" && strings.Contains(n.Value, s.Join) {
		reason, hint = fmt.Sprintf("an item of the list holds %q, which is between two of them in a flag", s.Join), "make it two items"
	}
	for _, one := range list {
		if reason != "" {
			break
		}
		reason, hint = s.judge(strings.TrimSpace(one))
		v.Items = append(v.Items, strings.TrimSpace(one))
	}
	if reason == "" && listed && slices.Contains(v.Items[:len(v.Items)-1], v.Items[len(v.Items)-1]) {
		reason, hint = "the list names the same twice", "delete one of the two"
	}
	if reason != "" {
		f.problem(place(n), key, key+": "+reason, hint)
	}
}
