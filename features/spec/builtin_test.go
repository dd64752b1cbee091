package spec

import (
	"fmt"
	"slices"
	"testing"
)

// TestBuiltinSpecsStayAsTheyAre pins the specs that come with weir: a scorer that was told
// --spec payments is to go on where the version before it stopped, with the same features
// and models. Change no hash here: give the better spec another name, beside the old one.
func TestBuiltinSpecsStayAsTheyAre(t *testing.T) {
	pinned := map[string]string{
		"handbook":     "528fe30a7ab8a393adc98913a42ee034e697577605003ca891560c0fe7a9604e",
		"handbook_now": "70ca4f0a702413c38b24fe9eb813f23a2ab6feac9b583b85c5fd25f10aa53026",
		"payments":     "1a7f6b3655e8aab65505b38b4e86dbbbaa34a6194cdde5a238b46b4fb0baad30",
	}
	for _, name := range BuiltinNames() {
		s, _ := Builtin(name)
		if got := fmt.Sprintf("%x", s.Hash); got != pinned[name] {
			t.Errorf("%s is %s, and was %q: a ledger that the version before decided would halt as ledger_spec", name, got, pinned[name])
		}
	}
	for name := range pinned {
		if !slices.Contains(BuiltinNames(), name) {
			t.Errorf("%s is gone", name)
		}
	}
}
