package kernels_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/weir-risk/weir/scoring/cuda/internal/ptxsim"
)

// trial runs a kernel's cases on a changed module and says what was wrong, or nothing.
func (c *code) trial(t *testing.T, text string) string {
	t.Helper()
	module, err := ptxsim.Parse(text)
	if err != nil {
		return err.Error()
	}
	for i, s := range c.cases {
		m, x := random(uint64(i), s.shape, s.rows)
		d := c.deviceOf(t, module, m)
		all := want(t, m, x)
		for range 2 {
			got, err := d.launch(x, s.blocks, nil)
			if err != nil {
				return s.name + ": " + err.Error()
			}
			if found, _ := c.wrong(got, all); found != "" {
				return s.name + ": " + found
			}
		}
	}
	return ""
}

// every has replace change all matches.
const every = -1

// replace changes the nth match of a pattern in the code that ships.
func (c *code) replace(t *testing.T, n int, pattern, by string) string {
	t.Helper()
	text := string(c.ptx)
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
	for _, c := range []*code{inF32, inF16} {
		for n := range strings.Count(string(c.ptx), "bar.sync") {
			found := c.trial(t, c.replace(t, n, `bar\.sync\s+0;`, ""))
			if found == "" {
				t.Errorf("%s: nobody missed barrier %d", c.entry, n)
			}
			t.Logf("%s, barrier %d: %s", c.entry, n, found)
		}
	}
}

// defects are what a run of a kernel has to find, and words of what it then says.
var defects = []struct {
	in          *code
	name        string
	n           int // of the pattern's matches
	pattern, by string
	want        string
}{
	{inF32, "a load from the wrong space", 0, `ld\.shared\.v4\.f32`, "ld.global.v4.f32", "outside every allocation"},
	{inF32, "a store to the wrong space", 1, `st\.shared\.v4\.f32`, "st.global.v4.f32", "outside every allocation"},
	{inF32, "scores stored in shared memory", 0, `st\.global\.f32`, "st.shared.f32", "shared access"},
	{inF32, "rows of the batch a column too near", 0, `(ld\.global\.u32\s+(%r\d+), \[%rd1\+12\];)`, "$1\nadd.s32 $2, $2, -1;", "scores"},
	{inF32, "rows of the batch a column too far", 0, `(ld\.global\.u32\s+(%r\d+), \[%rd1\+12\];)`, "$1\nadd.s32 $2, $2, 1;", "outside every allocation"},
	{inF32, "rows of the stack too near", 0, `add\.s32\s+(%r\d+), (%r\d+), 4;`, "add.s32 $1, $2, -4;", "race"},
	{inF32, "rows of the stack too far", 0, `add\.s32\s+(%r\d+), (%r\d+), 4;`, "add.s32 $1, $2, 20;", "race"},
	{inF32, "products rounded before they are added", every, `fma\.rn\.f32\s+(%f\d+), (%f\d+), (%f\d+), (%f\d+);`,
		"mul.rn.f32 %f99999, $2, $3;\nadd.rn.f32 $1, %f99999, $4;", "scores"},
	{inF32, "a vector at an odd word", 0, `(ld\.global\.nc\.v4\.f32 [^\]]*)\]`, "$1+4]", "not aligned"},
	{inF32, "no score written", 0, `st\.global\.f32[^;]*;`, "", "(NaN)"},
	{inF32, "a score short of each tile", 0, `(st\.global\.f32[^;]*;)`, "setp.ne.s32 %p9999, %r14, 0;\n@%p9999 $1", "row 0 of 70 scores ffffffff"},
	{inF32, "a row too many", every, `(ld\.global\.u32\s+(%r\d+), \[%rd\d+\+8\];)`, "$1\nadd.s32 $2, $2, 1;", "outside every allocation"},
	{inF32, "all lanes write what one should", 0, `@%p\d+ bra\s+\S+\s+(setp\.ne\.s32[^;]*;\s+@%p\d+ bra\s+\S+\s+ld\.shared\.f32)`, "$1", "race"},
	{inF32, "the stack not cleared", 0, `st\.shared\.v4\.f32[^;]*;`, "", "nobody wrote"},
	{inF32, "no fence before the ticket", 0, `membar\.sys;`, "", "no fence"},
	{inF32, "the wrong block tells the host", 0, `(atom\.global\.inc\.u32[^;]*), %r\d+;`, "$1, -1;", "done is 0"},
	{inF32, "every block tells the host", 0, `(atom\.global\.inc[^;]*;\s+setp[^;]*;\s+)@%p\d+ bra[^;]*;`, "$1", ""},
	{inF32, "missing values as numbers", 3, `setp\.nan\.f32`, "setp.num.f32", "scores"},
	{inF32, "subnormals flushed", 0, `mul\.rn\.f32`, "mul.rn.ftz.f32", "not simulated"},
	{inF32, "a division that is nearly right", 0, `div\.rn\.f32`, "div.full.f32", "not simulated"},
	{inF32, "a wrong digit of the exponential", 0, `0f3AB743CE`, "0f3AC743CE", "scores"},
	{inF16, "the halves of a step swapped", every, `(mma\.sync[^}]*\}, \{[^}]*\}, \{)(%r\d+),(%r\d+)\}`, "$1$3,$2}", "scores"},
	{inF16, "the columns of a pair swapped", every, `(cvt\.rn\.f16x2\.f32\s+%r\d+), (%f\d+), (%f\d+);`, "$1, $3, $2;", "scores"},
	{inF16, "a matrix read from half a row", 0, `(ldmatrix[^]]*)\]`, "$1+8]", "not aligned"},
	{inF16, "a step left out", every, `mma\.sync([^}]*\}), \{%r\d+,(%r\d+),(%r\d+),(%r\d+)\}`, "mma.sync$1, {0,$2,$3,$4}", "scores"},
	{inF16, "no score written", 0, `st\.global\.f32[^;]*;`, "", "(NaN)"},
}

// TestDefectsAreFound plants one defect at a time in the code that ships.
func TestDefectsAreFound(t *testing.T) {
	if testing.Short() {
		t.Skip("what is planted shows without the race detector")
	}
	for _, d := range defects {
		found := d.in.trial(t, d.in.replace(t, d.n, d.pattern, d.by))
		if found == "" || !strings.Contains(found, d.want) {
			t.Errorf("%s: found %q, want %q", d.name, found, d.want)
		}
		t.Logf("%s: %s", d.name, found)
	}
}
