//go:build linux && (amd64 || arm64) && !nogpu

package driver

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/ebitengine/purego"
)

func TestNoLibraryIsSaid(t *testing.T) {
	_, err := Load("/nowhere/libcuda.so.1")
	if !errors.Is(err, ErrNoLibrary) || !strings.Contains(err.Error(), "/nowhere/libcuda.so.1") {
		t.Errorf("error %v", err)
	}
}

// TestMissingSymbolsAreNamed takes a library that is no driver for one.
func TestMissingSymbolsAreNamed(t *testing.T) {
	_, err := Load("libc.so.6")
	if !errors.Is(err, ErrNoSymbol) {
		t.Fatalf("error %v", err)
	}
	for _, s := range new(Library).symbols() {
		if !strings.Contains(err.Error(), s.name) {
			t.Errorf("%s is not said to be missing: %v", s.name, err)
		}
	}
}

// TestEveryFunctionHasItsOwnName catches a function that is left out of the list, or
// listed under another's name.
func TestEveryFunctionHasItsOwnName(t *testing.T) {
	l := &Library{}
	names, functions := map[string]bool{}, map[*Func]bool{}
	for _, s := range l.symbols() {
		names[s.name], functions[s.f] = true, true
		*s.f = Func{1, s.name, nil}
	}
	if n := reflect.TypeFor[Library]().NumField(); len(names) != n || len(functions) != n {
		t.Errorf("%d names for %d of %d functions", len(names), len(functions), n)
	}
	if l.MemAlloc.name != "cuMemAlloc_v2" || l.GraphInstantiate.name != "cuGraphInstantiateWithFlags" {
		t.Errorf("%q, %q", l.MemAlloc.name, l.GraphInstantiate.name)
	}
}

// TestCalls calls a function of the C library as one of the driver's is called.
func TestCalls(t *testing.T) {
	libc, err := purego.Dlopen("libc.so.6", purego.RTLD_NOW)
	if err != nil {
		t.Fatal(err)
	}
	abs, err := purego.Dlsym(libc, "abs")
	if err != nil {
		t.Fatal(err)
	}
	f := Func{abs, "abs", &Error{"abs", NotReady}}
	done, pending := []uintptr{0}, []uintptr{NotReady}
	if n := testing.AllocsPerRun(1000, func() {
		if err := f.Call(done...); err != nil {
			t.Fatal(err)
		}
		if err := f.Call(pending...); Code(err) != NotReady {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%g allocations in a call", n)
	}
	err = f.Call(700)
	if Code(err) != 700 || !Lost(err) || err.Error() != "abs: illegal address (700)" {
		t.Errorf("error %v", err)
	}
	if err := f.Call(OutOfMemory); Lost(err) || Code(errors.New("x")) != 0 {
		t.Errorf("running out of memory counts as lost: %v", err)
	}
}
