// The rules of the tree, as tests: what a reader may rely on in every package.
package weir_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/weir-risk/weir/"

// The limits of a function and of a file, in lines.
const (
	functionMax = 70
	fileMax     = 600
)

// source is one Go file.
type source struct {
	path string // from the root, with slashes
	dir  string
	test bool
	text []byte
	file *ast.File
}

// tree parses every Go file of the module once. Other modules inside it, which
// write assembly or run peers, keep their own rules.
var tree = sync.OnceValues(func() (files []*source, err error) {
	positions = token.NewFileSet()
	err = filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, nested := os.Stat(filepath.Join(name, "go.mod"))
			if name != "." && (nested == nil || d.Name() == "testdata" || d.Name()[0] == '.') {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		s := &source{path: filepath.ToSlash(name), dir: path.Dir(filepath.ToSlash(name)), test: strings.HasSuffix(name, "_test.go")}
		if s.text, err = os.ReadFile(name); err != nil {
			return err
		}
		if s.file, err = parser.ParseFile(positions, name, s.text, parser.ParseComments|parser.SkipObjectResolution); err != nil {
			return err
		}
		files = append(files, s)
		return nil
	})
	return files, err
})

var positions *token.FileSet

// each calls do for every file.
func each(t *testing.T, do func(s *source)) {
	t.Helper()
	files, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 100 {
		t.Fatalf("%d files found; is this the root?", len(files))
	}
	for _, s := range files {
		do(s)
	}
}

// at is where a node is, for messages.
func at(n ast.Node) string {
	p := positions.Position(n.Pos())
	return fmt.Sprintf("%s:%d", filepath.ToSlash(p.Filename), p.Line)
}

// TestPackageComments holds every package to one comment, in one file.
func TestPackageComments(t *testing.T) {
	comments, packages := make(map[string][]string), make(map[string]bool)
	each(t, func(s *source) {
		if s.test {
			return
		}
		packages[s.dir] = true
		if s.file.Doc != nil {
			comments[s.dir] = append(comments[s.dir], s.path)
			want := "Package " + s.file.Name.Name + " "
			if s.file.Name.Name == "main" {
				want = "Command " + path.Base(s.dir) + " "
			}
			if !strings.HasPrefix(s.file.Doc.Text(), want) {
				t.Errorf("%s: the package comment does not begin with %q", s.path, want)
			}
		}
	})
	for dir := range packages {
		if len(comments[dir]) != 1 {
			t.Errorf("%s: the package has %d comments, not one: %q", dir, len(comments[dir]), comments[dir])
		}
	}
}

// may says which packages of ours a package may import; a name ending in / stands
// for what is below it. The most special line counts: imports go one way, from
// cmd over ingest, trainer and alerts to features and scoring, and from there to
// schemas. The clients of logs and stores know the nouns only, decoding also the
// spec that it is compiled from.
var may = map[string][]string{
	"schemas":                      {},
	"features/":                    {"features/", "schemas"},
	"scoring/":                     {"scoring/", "schemas"},
	"scoring/cuda/kernels":         {"scoring"},
	"scoring/cuda/internal/ptxsim": {},
	"ingest/kafka":                 {"schemas"},
	"ingest/history/":              {"ingest/history/", "schemas"},
	"ingest/broker":                {"schemas"},
	"ingest/peer":                  {},
	"ingest/trace":                 {"schemas"},
	"ingest/decode/":               {"features/spec", "schemas"},
	"ingest/simulate":              {"schemas"},
	"ingest/":                      {"ingest/", "features/", "scoring/", "schemas"},
	"trainer/":                     {"trainer/", "ingest/kafka", "ingest/history/", "features/", "scoring/", "schemas"},
	"alerts/":                      {"alerts/", "ingest/kafka", "ingest/history/", "ingest/trace", "features/", "scoring/", "schemas"},
	"cmd/weir/internal/":           {},
	"cmd/":                         {"cmd/weir/internal/", "ingest/", "trainer/", "alerts/", "features/", "scoring/", "schemas"},
}

// within reports whether a folder is the one of a pattern, or below it.
func within(dir, pattern string) bool {
	if below, ok := strings.CutSuffix(pattern, "/"); ok {
		return dir == below || strings.HasPrefix(dir, pattern)
	}
	return dir == pattern
}

// TestImports holds the direction of imports. Tests may look further.
func TestImports(t *testing.T) {
	each(t, func(s *source) {
		if s.test {
			return
		}
		rule := ""
		for pattern := range may {
			if within(s.dir, pattern) && len(pattern) > len(rule) {
				rule = pattern
			}
		}
		if rule == "" {
			t.Errorf("%s: no rule says what this package may import", s.path)
			return
		}
		for _, i := range s.file.Imports {
			name, ours := strings.CutPrefix(strings.Trim(i.Path.Value, `"`), module)
			if ours && !slices.ContainsFunc(may[rule], func(p string) bool { return within(name, p) }) {
				t.Errorf("%s: %s may not import %s", at(i), s.dir, name)
			}
		}
	})
}

// pure are the packages whose results follow from what goes in alone.
var pure = []string{"schemas", "features/", "scoring", "scoring/cpu/", "scoring/cuda/kernels", "scoring/cuda/internal/ptxsim", "ingest/decode", "ingest/simulate"}

// clocks are the functions of package time that read one.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer"}

// TestPurity keeps clocks, files and networks out of the pure packages.
func TestPurity(t *testing.T) {
	each(t, func(s *source) {
		if s.test || !slices.ContainsFunc(pure, func(p string) bool { return within(s.dir, p) }) {
			return
		}
		for _, i := range s.file.Imports {
			switch name := strings.Trim(i.Path.Value, `"`); {
			case within(name, "os/"), within(name, "net/"), name == "syscall", name == "math/rand", name == "crypto/rand":
				t.Errorf("%s: %s imports %s", at(i), s.dir, name)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clocks, sel.Sel.Name) {
					t.Errorf("%s: time.%s in a package that has no clock", at(n), sel.Sel.Name)
				}
			}
			return true
		})
	})
}

// TestLengths keeps functions and files short enough to be held in mind.
func TestLengths(t *testing.T) {
	each(t, func(s *source) {
		if n := bytes.Count(s.text, []byte{'\n'}); n > fileMax {
			t.Errorf("%s: %d lines, at most %d", s.path, n, fileMax)
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				if n := positions.Position(f.End()).Line - positions.Position(f.Pos()).Line + 1; n > functionMax {
					t.Errorf("%s: %s has %d lines, at most %d", at(f), f.Name.Name, n, functionMax)
				}
			}
		}
	})
}

// TestExportedNamesAreDocumented wants a comment on every exported name; one on a
// group speaks for its members.
func TestExportedNamesAreDocumented(t *testing.T) {
	each(t, func(s *source) {
		if s.test || s.file.Name.Name == "main" {
			return
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Doc == nil && d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d))) && d.Name.Name != "String" && d.Name.Name != "Error" {
					t.Errorf("%s: %s has no comment", at(d), d.Name.Name)
				}
			case *ast.GenDecl:
				undocumented(t, d)
			}
		}
	})
}

// receiver is the name of a method's type.
func receiver(d *ast.FuncDecl) string {
	name := ""
	ast.Inspect(d.Recv.List[0].Type, func(n ast.Node) bool {
		if x, ok := n.(*ast.Ident); ok && name == "" {
			name = x.Name
		}
		return name == ""
	})
	return name
}

func undocumented(t *testing.T, d *ast.GenDecl) {
	t.Helper()
	for _, spec := range d.Specs {
		switch x := spec.(type) {
		case *ast.TypeSpec:
			if d.Doc == nil && x.Doc == nil && x.Name.IsExported() {
				t.Errorf("%s: %s has no comment", at(x), x.Name.Name)
			}
		case *ast.ValueSpec:
			for _, name := range x.Names {
				if d.Doc == nil && x.Doc == nil && x.Comment == nil && name.IsExported() {
					t.Errorf("%s: %s has no comment", at(x), name.Name)
				}
			}
		}
	}
}

// names collects what the packages declare: by folder, Name and Type.Method and
// Type.Field.
func names(t *testing.T) map[string]map[string]bool {
	t.Helper()
	all := make(map[string]map[string]bool)
	each(t, func(s *source) {
		known := all[s.dir]
		if known == nil {
			known = make(map[string]bool)
			all[s.dir] = known
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				name := d.Name.Name
				if d.Recv != nil {
					name = receiver(d) + "." + name
				}
				known[name] = true
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					declared(known, spec)
				}
			}
		}
	})
	return all
}

func declared(known map[string]bool, spec ast.Spec) {
	switch x := spec.(type) {
	case *ast.ValueSpec:
		for _, name := range x.Names {
			known[name.Name] = true
		}
	case *ast.TypeSpec:
		known[x.Name.Name] = true
		var fields *ast.FieldList
		switch y := x.Type.(type) {
		case *ast.StructType:
			fields = y.Fields
		case *ast.InterfaceType:
			fields = y.Methods
		default:
			return
		}
		for _, f := range fields.List {
			for _, name := range f.Names {
				known[x.Name.Name+"."+name.Name] = true
			}
		}
	}
}

var (
	link = regexp.MustCompile(`(?:^|[^\w\])])\[\*?((?:[a-z][\w/]*\.)?[A-Z]\w*(?:\.[A-Z]\w*)?)\]`)
	// A path is one that begins at a folder of the root. What stands behind a
	// slash, a point or a letter is of something longer, an address say.
	named = regexp.MustCompile(`(?:^|[^\w/.@-])((?:cmd|schemas|features|scoring|ingest|trainer|alerts|deploy)/[\w./-]*\w)`)
)

// TestComments resolves what comments point at: [Name] and the paths of packages
// and files.
func TestComments(t *testing.T) {
	all := names(t)
	each(t, func(s *source) {
		for _, group := range s.file.Comments {
			text := group.Text()
			for _, word := range []string{"TO" + "DO", "FIX" + "ME", "XX" + "X"} {
				if strings.Contains(text, word) {
					t.Errorf("%s: %s", at(group), word)
				}
			}
			for _, m := range named.FindAllStringSubmatch(text, -1) {
				if _, err := os.Stat(m[1]); err != nil {
					t.Errorf("%s: there is no %s", at(group), m[1])
				}
			}
			for _, m := range link.FindAllStringSubmatch(text, -1) {
				if !s.test && !resolves(s, all, m[1]) {
					t.Errorf("%s: [%s] is nothing that is declared", at(group), m[1])
				}
			}
		}
	})
}

// resolves reports whether a link in a comment leads somewhere; other people's
// packages are taken at their word.
func resolves(s *source, all map[string]map[string]bool, name string) bool {
	dot := strings.IndexByte(name, '.')
	if dot < 0 || ast.IsExported(name) {
		return all[s.dir][name]
	}
	pkg, name := name[:dot], name[dot+1:]
	if all[pkg] != nil {
		return all[pkg][name]
	}
	for dir, known := range all {
		if path.Base(dir) == pkg && known[name] {
			return true
		}
	}
	return !slices.ContainsFunc(s.file.Imports, func(i *ast.ImportSpec) bool {
		p := strings.Trim(i.Path.Value, `"`)
		return strings.HasPrefix(p, module) && path.Base(p) == pkg
	}) && !ownPackage(all, pkg)
}

// ownPackage reports whether a package of ours has a name.
func ownPackage(all map[string]map[string]bool, pkg string) bool {
	for dir := range all {
		if path.Base(dir) == pkg {
			return true
		}
	}
	return false
}

// TestFormat wants every file as gofmt writes it.
func TestFormat(t *testing.T) {
	each(t, func(s *source) {
		if want, err := format.Source(s.text); err != nil || !bytes.Equal(want, s.text) {
			t.Errorf("%s: not as gofmt writes it (%v)", s.path, err)
		}
	})
}

// TestSkips wants a reason from every test that is skipped.
func TestSkips(t *testing.T) {
	each(t, func(s *source) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || !s.test {
				return true
			}
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && (sel.Sel.Name == "SkipNow" || sel.Sel.Name == "Skip" && len(call.Args) == 0) {
				t.Errorf("%s: a test is skipped without a reason", at(n))
			}
			return true
		})
	})
}

// TestBugsCanBePlanted finds the text that each planted bug replaces, once, where its list
// says: code that moves on would otherwise be noticed when the bugs are next planted.
func TestBugsCanBePlanted(t *testing.T) {
	list, err := os.ReadFile("deploy/mutants/mutants.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, bug := range strings.Split("\n"+string(list), "\n== ")[1:] {
		head, body, _ := strings.Cut(bug, "\n<<<<\n")
		old, _, ok := strings.Cut(body, "\n====\n")
		lines := strings.Split(head, "\n")
		if !ok || len(lines) != 4 {
			t.Errorf("deploy/mutants: %s is not NAME, what it is, file, tests, old and new text", lines[0])
			continue
		}
		text, err := os.ReadFile(lines[2])
		if err != nil {
			t.Error(err)
		}
		if n := strings.Count(string(text), old); n != 1 {
			t.Errorf("deploy/mutants: the text that %s replaces is in %s %d times, not once", lines[0], lines[2], n)
		}
	}
}
