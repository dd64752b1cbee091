package spec

import "testing"

func TestBuiltinsParse(t *testing.T) {
	for _, name := range BuiltinNames() {
		s, ok := Builtin(name)
		if !ok || s.Name != name {
			t.Fatalf("built-in %s: %v, %+v", name, ok, s)
		}
	}
}
