package kernels_test

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/weir-risk/weir/scoring/cuda/internal/ptxsim"
	"github.com/weir-risk/weir/scoring/cuda/kernels"
)

// trial runs the cases on a changed module and says what was wrong, or nothing.
func trial(t *testing.T, text string) string {
	t.Helper()
	module, err := ptxsim.Parse(text)
	if err != nil {
		return err.Error()
	}
	for i, c := range cases {
		m, x := random(uint64(i), c.shape, c.rows)
		image, err := kernels.Pack(m)
		if err != nil {
			t.Fatal(err)
		}
		d := put(t, module.Kernel(kernels.Entry), kernels.Threads, image, m.Columns)
		all := want(t, m, x)
		for range 2 {
			got, err := d.launch(x, c.blocks, nil)
			if err != nil {
				return c.name + ": " + err.Error()
			}
			for row := range all {
				if math.Float32bits(got[row]) != math.Float32bits(all[row]) {
					return fmt.Sprintf("%s: row %d scores %g, not %g", c.name, row, got[row], all[row])
				}
			}
		}
	}
	return ""
}

// every has replace change all matches.
const every = -1

// replace changes the nth match of a pattern in the code that ships.
func replace(t *testing.T, n int, pattern, by string) string {
	t.Helper()
	text := string(kernels.PTX())
	re := regexp.MustCompile(pattern)
	if n == every {
		return re.ReplaceAllString(text, by)
	}
	at := re.FindAllStringSubmatchIndex(text, -1)
	if n >= len(at) {
		t.Fatalf("the code has %d of %s", len(at), pattern)
	}
	return text[:at[n][0]] + string(re.ExpandString(nil, by, text, at[n])) + text[at[n][1]:]
}

// TestEveryBarrierIsNeeded takes the barriers away one by one.
func TestEveryBarrierIsNeeded(t *testing.T) {
	if testing.Short() {
		t.Skip("what is planted shows without the race detector")
	}
	for n := range strings.Count(string(kernels.PTX()), "bar.sync") {
		found := trial(t, replace(t, n, `bar\.sync\s+0;`, ""))
		if found == "" {
			t.Errorf("barrier %d: nobody missed it", n)
		}
		t.Logf("barrier %d: %s", n, found)
	}
}

// TestDefectsAreFound plants one defect at a time in the code that ships.
func TestDefectsAreFound(t *testing.T) {
	if testing.Short() {
		t.Skip("what is planted shows without the race detector")
	}
	for _, c := range []struct {
		name        string
		n           int // of the pattern's matches
		pattern, by string
		want        string
	}{
		{"a load from the wrong space", 0, `ld\.shared\.v4\.f32`, "ld.global.v4.f32", "outside every allocation"},
		{"a store to the wrong space", 1, `st\.shared\.v4\.f32`, "st.global.v4.f32", "outside every allocation"},
		{"scores stored in shared memory", 0, `st\.global\.f32`, "st.shared.f32", "shared access"},
		{"rows of the batch a column too near", 0, `(ld\.global\.u32\s+(%r\d+), \[%rd1\+12\];)`, "$1\nadd.s32 $2, $2, -1;", "scores"},
		{"rows of the batch a column too far", 0, `(ld\.global\.u32\s+(%r\d+), \[%rd1\+12\];)`, "$1\nadd.s32 $2, $2, 1;", "outside every allocation"},
		{"rows of the stack too near", 0, `add\.s32\s+(%r\d+), (%r\d+), 4;`, "add.s32 $1, $2, -4;", "race"},
		{"rows of the stack too far", 0, `add\.s32\s+(%r\d+), (%r\d+), 4;`, "add.s32 $1, $2, 20;", "race"},
		{"products rounded before they are added", every, `fma\.rn\.f32\s+(%f\d+), (%f\d+), (%f\d+), (%f\d+);`,
			"mul.rn.f32 %f99999, $2, $3;\nadd.rn.f32 $1, %f99999, $4;", "scores"},
		{"a vector at an odd word", 0, `(ld\.global\.nc\.v4\.f32 [^\]]*)\]`, "$1+4]", "not aligned"},
		{"no score written", 0, `st\.global\.f32[^;]*;`, "", "scores NaN"},
		{"a score short of each tile", 0, `(st\.global\.f32[^;]*;)`, "setp.ne.s32 %p9999, %r14, 0;\n@%p9999 $1", "row 0 scores NaN"},
		{"a row too many", 0, `(ld\.global\.u32\s+(%r\d+), \[%rd1\+8\];)`, "$1\nadd.s32 $2, $2, 1;", "outside every allocation"},
		{"all lanes write what one should", 0, `@%p\d+ bra\s+\S+\s+(setp\.ne\.s32[^;]*;\s+@%p\d+ bra\s+\S+\s+ld\.shared\.f32)`, "$1", "race"},
		{"the stack not cleared", 0, `st\.shared\.v4\.f32[^;]*;`, "", "nobody wrote"},
		{"no fence before the ticket", 0, `membar\.sys;`, "", "no fence"},
		{"the wrong block tells the host", 0, `(atom\.global\.inc\.u32[^;]*), %r\d+;`, "$1, -1;", "done is 0"},
		{"done too early", 0, `(membar\.sys;)`, "st.volatile.global.u64 [%rd969+1048640], %rd115;\n$1", ""},
		{"missing values as numbers", 3, `setp\.nan\.f32`, "setp.num.f32", "scores"},
		{"subnormals flushed", 0, `mul\.rn\.f32`, "mul.rn.ftz.f32", "not simulated"},
		{"a division that is nearly right", 0, `div\.rn\.f32`, "div.full.f32", "not simulated"},
		{"a wrong digit of the exponential", 0, `0f3AB743CE`, "0f3AC743CE", "scores"},
	} {
		found := trial(t, replace(t, c.n, c.pattern, c.by))
		if found == "" || !strings.Contains(found, c.want) {
			t.Errorf("%s: found %q, want %q", c.name, found, c.want)
		}
		t.Logf("%s: %s", c.name, found)
	}
}
