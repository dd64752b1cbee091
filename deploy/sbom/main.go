// Command sbom finishes the bill of materials of a program, and refuses one that does not
// say all: every module that the program was built of has to be in it, under a licence
// that may be shipped. cyclonedx-gomod makes what goes in, by the program itself.
//
//	sbom -program FILE -licences FILE [-packages FILE] -version TEXT IN OUT
//
// It is a module of its own, since cyclonedx-gomod and all that it brings is of no use to
// weir; deploy/sbom/run builds what it needs.
package main

import (
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	fs := flag.NewFlagSet("sbom", flag.ContinueOnError)
	program := fs.String("program", "", "`FILE` of the program")
	known := fs.String("licences", "", "`FILE` of licences")
	packages := fs.String("packages", "", "`FILE` of Debian's packages in the image, NAME VERSION a line")
	version := fs.String("version", "", "the program's `VERSION`")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() != 2 {
		return errors.New("sbom: IN and OUT are not named")
	}
	info, err := buildinfo.ReadFile(*program)
	if err != nil {
		return fmt.Errorf("read of what %s was built: %w", *program, err)
	}
	var texts [3]string
	for i, name := range []string{fs.Arg(0), *known, *packages} {
		if name == "" {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		texts[i] = string(text)
	}
	list, err := parseLicences(texts[1])
	if err != nil {
		return fmt.Errorf("%s: %w", *known, err)
	}
	// The program of a tree that is at no proxy has no version for who made the bill.
	texts[0] = strings.ReplaceAll(texts[0], info.Main.Path+"@v0.0.0", info.Main.Path+"@"+*version)
	var b bill
	if err := json.Unmarshal([]byte(texts[0]), &b); err != nil {
		return fmt.Errorf("read %s: %w", fs.Arg(0), err)
	}
	want := map[string]string{"std": info.GoVersion}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		want[m.Path] = m.Version
	}
	b.addPackages(texts[2])
	if err := b.finish(want, list, *version); err != nil {
		return fmt.Errorf("%s: %w", fs.Arg(0), err)
	}
	out, err := json.MarshalIndent(b, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(fs.Arg(1), append(out, '\n'), 0o644)
}

// licences are those that may be shipped, and what modules are under.
type licences struct {
	allowed map[string]bool
	of      map[string]string
}

func parseLicences(text string) (licences, error) {
	l := licences{allowed: make(map[string]bool), of: make(map[string]string)}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case name == "":
		case rest == "":
			return l, fmt.Errorf("%q names no licence", name)
		case name == "allow":
			l.allowed[rest] = true
		default:
			l.of[name] = rest
		}
	}
	return l, nil
}

// A bill is the part of a CycloneDX document that is looked at; it keeps the rest.
type bill map[string]any

func (b bill) components() []any { list, _ := b["components"].([]any); return list }

// addPackages adds Debian's packages: NAME VERSION a line.
func (b bill) addPackages(text string) {
	for line := range strings.Lines(text) {
		parts := strings.Fields(line)
		if len(parts) != 2 {
			continue
		}
		name, version := parts[0], parts[1]
		name, _, _ = strings.Cut(name, ":") // of an architecture
		id := "pkg:deb/debian/" + name + "@" + version
		b["components"] = append(b.components(), map[string]any{"type": "library", "name": "debian/" + name, "version": version, "bom-ref": id, "purl": id})
	}
}

// finish says of every component what it is under, and returns all that is wrong: modules
// that are not there, and licences that are not known or not allowed.
func (b bill) finish(want map[string]string, l licences, version string) error {
	var errs []error
	missing := maps.Clone(want)
	unused := maps.Clone(l.of)
	for _, part := range b.components() {
		c := part.(map[string]any)
		name, _ := c["name"].(string)
		at, _ := c["version"].(string)
		if v := want[name]; v == at || "go"+strings.TrimPrefix(v, "go") == at {
			delete(missing, name)
		}
		terms := l.of[name]
		delete(unused, name)
		if terms == "" {
			terms = guessed(c)
		}
		delete(c, "evidence")
		if terms == "" {
			errs = append(errs, fmt.Errorf("%s %s: no licence is known; read it, and write it into deploy/sbom/licences", name, at))
			continue
		}
		for one := range strings.SplitSeq(terms, " AND ") {
			if !l.allowed[one] {
				errs = append(errs, fmt.Errorf("%s %s is under %s, which may not be shipped by deploy/sbom/licences", name, at, one))
			}
		}
		c["licenses"] = []any{map[string]any{"expression": terms}}
	}
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		errs = append(errs, fmt.Errorf("%s %s is in the program and not in its bill", name, missing[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(unused)) {
		if !strings.HasPrefix(name, "debian/") {
			errs = append(errs, fmt.Errorf("deploy/sbom/licences: %s is not in the program any more", name))
		}
	}
	about, _ := b["metadata"].(map[string]any)
	main, _ := about["component"].(map[string]any)
	if main == nil {
		return errors.Join(append(errs, errors.New("it does not say what it is of"))...)
	}
	delete(about, "timestamp") // the same program has the same bill
	main["version"] = version
	main["licenses"] = []any{map[string]any{"expression": "Apache-2.0"}}
	return errors.Join(errs...)
}

// guessed is what cyclonedx-gomod takes a module's licence for, all that it found.
func guessed(c map[string]any) string {
	evidence, _ := c["evidence"].(map[string]any)
	list, _ := evidence["licenses"].([]any)
	var ids []string
	for _, part := range list {
		choice, _ := part.(map[string]any)
		licence, _ := choice["license"].(map[string]any)
		if id, _ := licence["id"].(string); id != "" {
			ids = append(ids, id)
		}
	}
	return strings.Join(ids, " AND ")
}
