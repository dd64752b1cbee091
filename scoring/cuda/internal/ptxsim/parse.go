package ptxsim

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Module is the parsed text of a module.
type Module struct {
	kernels map[string]*Kernel
}

// Kernel is one entry of a module, ready to run.
type Kernel struct {
	name       string
	params     []string
	threadsMax int
	shared     uint64            // bytes
	variables  map[string]uint64 // shared ones, by offset
	statements []statement
	blocks     []block
	// The sizes of a warp's register files, constants behind registers, and the
	// slots of registers that the machine sets.
	words, wides, preds  int
	wordConsts           map[uint32]int
	wideConsts           map[uint64]int
	tid, lane, cta, grid int
}

// statement is one instruction as it is written.
type statement struct {
	text   string
	guard  string // a predicate register, or nothing
	negate bool
	op     string
	args   []string
}

// failure is what ends a parse or a run.
type failure struct{ error }

func fail(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

// caught turns a failure into an error.
func caught(err *error) {
	if p := recover(); p != nil {
		f, ok := p.(failure)
		if !ok {
			panic(p)
		}
		*err = f.error
	}
}

// Parse reads PTX.
func Parse(text string) (m *Module, err error) {
	defer caught(&err)
	m = &Module{kernels: make(map[string]*Kernel)}
	var lines []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "//")
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	for i := 0; i < len(lines); i++ {
		if !strings.Contains(lines[i], ".entry ") {
			continue // what the module declares besides is used by no kernel, or fails there
		}
		open := i
		for open < len(lines) && lines[open] != "{" {
			open++
		}
		end := open
		for end < len(lines) && lines[end] != "}" {
			end++
		}
		if end == len(lines) {
			fail("an entry without an end: %s", lines[i])
		}
		k := newKernel(strings.Join(lines[i:open], " "), lines[open+1:end])
		m.kernels[k.name] = k
		i = end
	}
	return m, nil
}

// Kernel returns the kernel of a name, or nil.
func (m *Module) Kernel(name string) *Kernel { return m.kernels[name] }

// Threads is how many threads a block may have.
func (k *Kernel) Threads() int { return k.threadsMax }

// Shared is how many bytes of shared memory a block has.
func (k *Kernel) Shared() int { return int(k.shared) }

var (
	entry    = regexp.MustCompile(`\.entry (\w+)\((.*?)\)(.*)`)
	param    = regexp.MustCompile(`\.param \.\w+ (\w+)`)
	most     = regexp.MustCompile(`\.maxntid (\d+), 1, 1`)
	variable = regexp.MustCompile(`^\.shared \.align (\d+) \.b8 (\w+)\[(\d+)\]$`)
)

func newKernel(head string, body []string) *Kernel {
	f := entry.FindStringSubmatch(head)
	if f == nil {
		fail("not an entry: %s", head)
	}
	k := &Kernel{name: f[1], threadsMax: 1024, variables: make(map[string]uint64)}
	for _, p := range param.FindAllStringSubmatch(f[2], -1) {
		k.params = append(k.params, p[1])
	}
	if n := most.FindStringSubmatch(f[3]); n != nil {
		k.threadsMax, _ = strconv.Atoi(n[1])
	}
	labels := make(map[string]int)
	for _, line := range body {
		switch {
		case strings.HasPrefix(line, ".reg "), strings.HasPrefix(line, ".pragma "):
		case strings.HasPrefix(line, ".shared "):
			k.declare(strings.TrimSuffix(line, ";"))
		case strings.HasSuffix(line, ":"):
			labels[strings.TrimSuffix(line, ":")] = len(k.statements)
		case strings.HasSuffix(line, ";"):
			k.statements = append(k.statements, parseStatement(strings.TrimSuffix(line, ";")))
		default:
			fail("%s: %q is not simulated", k.name, line)
		}
	}
	k.compile(labels)
	return k
}

// declare places a variable in shared memory.
func (k *Kernel) declare(line string) {
	f := variable.FindStringSubmatch(line)
	if f == nil {
		fail("%s: %q is not simulated", k.name, line)
	}
	align, _ := strconv.ParseUint(f[1], 10, 64)
	size, _ := strconv.ParseUint(f[3], 10, 64)
	at := (k.shared + align - 1) / align * align
	k.variables[f[2]], k.shared = at, at+size
}

func parseStatement(text string) statement {
	s := statement{text: strings.Join(strings.Fields(text), " ")}
	rest := s.text
	if guard, ok := strings.CutPrefix(rest, "@"); ok {
		guard, rest, _ = strings.Cut(guard, " ")
		s.guard, s.negate = strings.CutPrefix(guard, "!")
		s.guard = strings.TrimPrefix(guard, "!")
	}
	var list string
	s.op, list, _ = strings.Cut(rest, " ")
	s.args = split(list)
	return s
}

// split separates operands at commas outside braces and brackets.
func split(s string) (list []string) {
	if s == "" {
		return nil
	}
	depth, from := 0, 0
	for i := range len(s) {
		switch s[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',':
			if depth == 0 {
				list, from = append(list, strings.TrimSpace(s[from:i])), i+1
			}
		}
	}
	return append(list, strings.TrimSpace(s[from:]))
}

// vector returns the operands in braces, or the one that there is.
func vector(s string) []string {
	if inner, ok := strings.CutPrefix(s, "{"); ok {
		return split(strings.TrimSuffix(inner, "}"))
	}
	return []string{s}
}
