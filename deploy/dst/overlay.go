package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A patch gives way a text of a file of Go's runtime, which is there once, to another.
type patch struct{ file, old, new string }

// patches have the runtime draw from the seed what a goroutine of a bubble sees of
// chance: which case of a select goes first, where the walk through a map begins, which
// of two timers of one moment fires first, who has a mutex next. What is drawn where a
// cache misses, or on the scheduler's own stack, stays as it is: how often that happens
// depends on what ran before. And while there is a seed, nothing is interrupted because
// the wall's clock says so.
var patches = []patch{
	{"rand.go", `// rand32 is uint32(rand())`, `// simState is what a simulation's seed has come to; 0: there is none.
//
//go:linkname simState
var simState uint64

// simRand draws for a goroutine of a simulation, by splitmix64.
//
//go:nosplit
func simRand() (x uint64, ok bool) {
	if simState == 0 || getg().bubble == nil {
		return 0, false
	}
	simState += 0x9e3779b97f4a7c15
	x = simState
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31, true
}

//go:nosplit
func simRandn(n uint32) uint32 {
	if x, ok := simRand(); ok {
		return uint32((uint64(uint32(x)) * uint64(n)) >> 32)
	}
	return cheaprandn(n)
}

//go:nosplit
func simRand32() uint32 {
	if x, ok := simRand(); ok {
		return uint32(x)
	}
	return cheaprand()
}

// rand32 is uint32(rand())`},
	{"rand.go", `	mp := getg().m
	c := &mp.chacha8
`, `	if x, ok := simRand(); ok {
		return x
	}
	mp := getg().m
	c := &mp.chacha8
`},
	// The same hashes in each process.
	{"rand.go", `	globalRand.state.Init(*seed)
`, `	for i := range seed {
		seed[i] = byte(i)
	}
	globalRand.state.Init(*seed)
`},
	{"select.go", `j := cheaprandn(uint32(norder + 1))`, `j := simRandn(uint32(norder + 1))`},
	{"sema.go", `s.ticket = cheaprand() | 1`, `s.ticket = simRand32() | 1`},
	{"sema.go", `func internal_sync_nanotime() int64 {
`, `func internal_sync_nanotime() int64 {
	if simState != 0 {
		return 1
	}
`},
	{"time.go", `t.rand = cheaprand()`, `t.rand = simRand32()`},
	{"proc.go", `func retake(now int64) uint32 {
`, `func retake(now int64) uint32 {
	if simState != 0 {
		return 0
	}
`},
}

// overlay writes the patched runtime into dir, and the file that tells go of it, whose
// name it returns. It may add to what another overlay says.
func overlay(goroot, dir, other string) (string, error) {
	replace := make(map[string]string)
	if other != "" {
		var list struct{ Replace map[string]string }
		data, err := os.ReadFile(other)
		if err == nil {
			err = json.Unmarshal(data, &list)
		}
		if err != nil {
			return "", fmt.Errorf("read the overlay: %w", err)
		}
		replace = list.Replace
	}
	texts := make(map[string]string)
	for _, p := range patches {
		path := filepath.Join(goroot, "src", "runtime", p.file)
		if texts[path] == "" {
			data, err := os.ReadFile(path)
			if err != nil {
				return "", err
			}
			texts[path] = string(data)
		}
		if n := strings.Count(texts[path], p.old); n != 1 {
			return "", fmt.Errorf("%s holds %q %d times, not once: another Go than these patches are for", path, p.old, n)
		}
		texts[path] = strings.Replace(texts[path], p.old, p.new, 1)
	}
	for path, text := range texts {
		to := filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[path] = to
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, data, 0o600)
}

// without returns a go.mod that has no more of SQLite than its name: the simulation keeps
// no history, and to compile it would take most of the build.
func without(root, dir string) (string, error) {
	stub := filepath.Join(dir, "sqlite")
	if err := os.MkdirAll(stub, 0o700); err != nil {
		return "", err
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return "", err
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "dst.mod")
	for file, text := range map[string]string{
		filepath.Join(stub, "go.mod"):    "module modernc.org/sqlite\n\ngo 1.26\n",
		filepath.Join(stub, "sqlite.go"): sqlite,
		name:                             string(mod) + "\nreplace modernc.org/sqlite => " + stub + "\n",
		filepath.Join(dir, "dst.sum"):    string(sum),
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	return name, nil
}

const sqlite = `package sqlite

type Error struct{}

func (*Error) Error() string { return "no SQLite" }
func (*Error) Code() int     { return 0 }
`
