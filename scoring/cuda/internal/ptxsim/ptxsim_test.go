package ptxsim

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
)

// program wraps instructions in a module: its kernel gets the addresses of
// memory that is read (%rd1), read and written (%rd2), only written (%rd3) and a signal
// (%rd4), and has 1 KiB of shared memory, s. %r1 is the thread, %r2 the block,
// and %rd5 and %rd6 the thread's words in shared and in written memory.
func program(body string) string {
	return `.version 8.0
.target sm_80
.address_size 64
.visible .entry k(
	.param .u64 k_param_0,
	.param .u64 k_param_1,
	.param .u64 k_param_2,
	.param .u64 k_param_3
)
.maxntid 128, 1, 1
{
	.reg .pred %p<9>;
	.shared .align 16 .b8 s[1024];
	ld.param.u64 %rd1, [k_param_0];
	ld.param.u64 %rd2, [k_param_1];
	ld.param.u64 %rd3, [k_param_2];
	ld.param.u64 %rd4, [k_param_3];
	mov.u32 %r1, %tid.x;
	mov.u32 %r2, %ctaid.x;
	mov.u64 %rd9, s;
	mul.wide.u32 %rd8, %r1, 4;
	add.s64 %rd5, %rd9, %rd8;
	add.s64 %rd6, %rd3, %rd8;
` + body + `
	ret;
}
`
}

// try runs instructions in one block of 64 threads, or as many blocks as are
// asked for, and returns the words that were written.
func try(body string, blocks int) ([]uint32, error) {
	m, err := Parse(program(body))
	if err != nil {
		return nil, err
	}
	mem := new(Memory)
	read, data := mem.Alloc(256, ReadOnly)
	for i := range data {
		data[i] = byte(i)
	}
	both, _ := mem.Alloc(256, ReadWrite)
	write, out := mem.Alloc(256, WriteOnly)
	signal, _ := mem.Alloc(8, Signal)
	if err := m.Kernel("k").Launch(mem, Launch{Blocks: blocks, Threads: 64, Args: []uint64{read, both, write, signal}}); err != nil {
		return nil, err
	}
	var words []uint32
	for i := 0; i < len(out); i += 4 {
		words = append(words, order.Uint32(out[i:]))
	}
	return words, nil
}

// mistakes are what a run has to find, and words of what it then says.
var mistakes = []struct {
	name, body, want string
	blocks           int
}{
	{"a read behind the end", "ld.global.u32 %r3, [%rd1+256];", "outside every allocation", 1},
	{"a read before the beginning", "ld.global.u32 %r3, [%rd1+-4];", "outside every allocation", 1},
	{"a write behind the end", "st.global.u32 [%rd6+4], %r1;", "outside every allocation", 1},
	{"shared memory by a global address", "st.shared.u32 [%rd3], %r1;", "shared access", 1},
	{"global memory by a shared address", "ld.global.u32 %r3, [%rd9];", "outside every allocation", 1},
	{"an odd address", "ld.global.u32 %r3, [%rd1+2];", "not aligned", 1},
	{"a vector at half of its size", "ld.global.v2.u32 {%r3, %r4}, [%rd1+4];", "not aligned", 1},
	{"an odd shared address", "st.shared.u32 [%rd9+2], %r1;", "not aligned", 1},
	{"a write to memory that is read", "st.global.u32 [%rd1], %r1;", "only read", 1},
	{"a read of memory that is written", "ld.global.u32 %r3, [%rd3];", "only written", 1},
	{"a cached read of memory that changes", "ld.global.nc.u32 %r3, [%rd2];", "as if nobody wrote", 1},
	{"shared memory that nobody wrote", "ld.shared.u32 %r3, [%rd5];", "nobody wrote", 1},
	{"a register that nothing was written to", "add.s32 %r3, %r4, 1;\nst.global.u32 [%rd6], %r3;", "nothing was written to it", 1},
	{"a register written on one path", `setp.gt.u32 %p1, %r1, 7;
			@%p1 mov.u32 %r3, 1;
			st.global.u32 [%rd6], %r3;`, "nothing was written to it", 1},
	{"a read behind another's write", `st.shared.u32 [%rd5], %r1;
			ld.shared.u32 %r3, [%rd9];`, "race", 1},
	{"a write behind another's read", `st.shared.u32 [%rd5], %r1;
			bar.sync 0;
			ld.shared.u32 %r3, [%rd9];
			st.shared.u32 [%rd5], %r1;`, "race", 1},
	{"two writes", "st.shared.u32 [%rd9], %r1;", "race", 1},
	{"two writes of the same", "st.shared.u32 [%rd9], 1;", "race", 1},
	{"a global word of two threads", "st.global.u32 [%rd3], 1;", "another thread touched", 1},
	{"a global word of two blocks", "st.global.u32 [%rd6], %r2;", "another thread touched", 2},
	{"a read of another block's word", `setp.ne.s32 %p1, %r2, %r1;
			@%p1 ret;
			st.global.u32 [%rd2], %r1;
			ld.global.u32 %r3, [%rd2];`, "another thread", 2},
	{"a barrier that some do not reach", `setp.gt.u32 %p1, %r1, 40;
			@%p1 bra $end;
			bar.sync 0;
			$end:`, "not all threads", 1},
	{"a barrier that some reach later", `setp.gt.u32 %p1, %r1, 40;
			@%p1 bra $other;
			bar.sync 0;
			bra $end;
			$other:
			bar.sync 0;
			$end:`, "apart", 1},
	{"a barrier that a warp does not reach", `setp.gt.u32 %p1, %r1, 31;
			@%p1 bra $end;
			bar.sync 0;
			$end:`, "barrier", 1},
	{"two barriers for one", `setp.gt.u32 %p1, %r1, 31;
			@%p1 bra $other;
			bar.sync 0;
			bra $end;
			$other:
			bar.sync 0;
			$end:`, "barrier", 1},
	{"an exchange without some", `setp.eq.s32 %p1, %r1, 5;
			@%p1 bra $end;
			mov.u32 %r3, 1;
			shfl.sync.bfly.b32 %r4|%p2, %r1, %r3, 31, -1;
			$end:`, "31 of a warp's lanes", 1},
	{"an exchange of lanes that are apart", `setp.eq.s32 %p1, %r1, 5;
			@%p1 bra $other;
			shfl.sync.bfly.b32 %r4|%p2, %r1, 1, 31, -1;
			bra $end;
			$other:
			shfl.sync.bfly.b32 %r4|%p2, %r1, 1, 31, -1;
			$end:`, "apart", 1},
	{"an exchange within half a warp", "shfl.sync.bfly.b32 %r4|%p2, %r1, 1, 15, -1;", "less than a warp", 1},
	{"a ticket before a fence", `st.global.u32 [%rd6], 1;
			bar.sync 0;
			setp.ne.s32 %p1, %r1, 0;
			@%p1 ret;
			atom.global.inc.u32 %r3, [%rd2], 0;`, "no fence", 1},
	{"a ticket before another's store", `setp.ne.s32 %p1, %r1, 0;
			@%p1 bra $store;
			atom.global.inc.u32 %r3, [%rd2], 0;
			ret;
			$store:
			st.global.u32 [%rd6], 1;`, "behind the atomic", 1},
	{"a store behind the signal", `setp.ne.s32 %p1, %r1, 0;
			@%p1 ret;
			st.volatile.global.u64 [%rd4], %rd1;
			st.global.u32 [%rd6], 1;`, "behind the signal", 1},
	{"a plain store to a ticket", `setp.ne.s32 %p1, %r1, 0;
			@%p1 ret;
			st.global.u32 [%rd2], 1;
			membar.sys;
			atom.global.inc.u32 %r3, [%rd2], 0;`, "an atomic on global word", 1},
	{"a division by zero", "div.u32 %r3, %r1, 0;", "division by zero", 1},
	{"a loop without an end", "$again:\nbra $again;", "does not end", 1},
	{"an instruction that is not known", "mov.f32 %f1, 0f3F800000;\nsqrt.approx.f32 %f2, %f1;", "not simulated", 1},
	{"an operand of another size", "add.s32 %r3, %rd1, 1;", "another kind", 1},
	{"a label that is not there", "bra $nowhere;", "no label", 1},
}

func TestFinds(t *testing.T) {
	for _, c := range mistakes {
		_, err := try(c.body, c.blocks)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

// TestAllows runs what looks like a mistake and is none.
func TestAllows(t *testing.T) {
	for name, body := range map[string]string{
		"a barrier between": `st.shared.u32 [%rd5], %r1;
			bar.sync 0;
			ld.shared.u32 %r3, [%rd9];
			bar.sync 0;
			st.shared.u32 [%rd5], %r3;`,
		"its own word": `st.shared.u32 [%rd5], %r1;
			ld.shared.u32 %r3, [%rd5];
			st.shared.u32 [%rd5], %r3;
			st.global.u32 [%rd6], 1;
			st.global.u32 [%rd6], 2;`,
		"reads by all": "ld.global.nc.v4.u32 {%r3, %r4, %r5, %r6}, [%rd1+16];",
		"a ticket behind a fence": `st.global.u32 [%rd6], 1;
			membar.sys;
			bar.sync 0;
			setp.ne.s32 %p1, %r1, 0;
			@%p1 ret;
			atom.global.inc.u32 %r3, [%rd2], 0;
			membar.sys;
			st.volatile.global.u64 [%rd4], %rd1;`,
		"a register written on both paths": `setp.gt.u32 %p1, %r1, 7;
			mov.u32 %r3, 2;
			@%p1 mov.u32 %r3, 1;
			st.global.u32 [%rd6], %r3;`,
	} {
		if _, err := try(body, 1); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLanesPart has each thread loop as often as its number says, and half of
// them another way, and all meet again.
func TestLanesPart(t *testing.T) {
	got, err := try(`mov.u32 %r3, 0;
		mov.u32 %r4, 0;
		$loop:
		add.s32 %r3, %r3, %r4;
		and.b32 %r5, %r4, 1;
		setp.eq.s32 %p1, %r5, 0;
		@%p1 bra $even;
		add.s32 %r3, %r3, 100;
		bra.uni $next;
		$even:
		add.s32 %r3, %r3, 1;
		$next:
		add.s32 %r4, %r4, 1;
		setp.le.u32 %p1, %r4, %r1;
		@%p1 bra $loop;
		mov.u32 %r6, 31;
		shfl.sync.bfly.b32 %r7|%p2, %r3, 31, %r6, -1;
		st.global.u32 [%rd6], %r7;`, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range got {
		n := uint32(i ^ 31)
		if want := n*(n+1)/2 + (n+1)/2*100 + n/2 + 1; v != want {
			t.Errorf("thread %d has %d, want %d", i, v, want)
		}
	}
}

// TestWords runs instructions of two or three words.
func TestWords(t *testing.T) {
	nan, inf := uint32(0x7fc12345), uint32(0x7f800000)
	for _, c := range []struct {
		op   string
		args []uint32
		want uint32
	}{
		{"add.s32", []uint32{0xffffffff, 2}, 1}, {"sub.s32", []uint32{1, 2}, 0xffffffff},
		{"mad.lo.s32", []uint32{3, 0xffffffff, 5}, 2}, {"shr.s32", []uint32{0x80000000, 31}, 0xffffffff},
		{"shr.u32", []uint32{0x80000000, 31}, 1}, {"shl.b32", []uint32{1, 32}, 0}, {"not.b32", []uint32{5}, ^uint32(5)},
		{"min.s32", []uint32{0xffffffff, 1}, 0xffffffff}, {"min.u32", []uint32{0xffffffff, 1}, 1},
		{"max.f32", []uint32{nan, 0}, 0}, {"max.f32", []uint32{0, nan}, 0}, {"max.f32", []uint32{nan, nan}, canonical},
		{"max.f32", []uint32{1 << 31, 0}, 0}, {"max.f32", []uint32{0, 1 << 31}, 0}, {"min.f32", []uint32{0, 1 << 31}, 1 << 31},
		{"min.f32", []uint32{nan, inf}, inf}, {"add.rn.f32", []uint32{inf, inf | 1<<31}, canonical},
		{"add.rn.f32", []uint32{nan, 0}, canonical}, {"add.rn.f32", []uint32{1, 1}, 2}, // subnormal
		{"mul.rn.f32", []uint32{0x00800000, 0x3f000000}, 0x00400000}, {"div.rn.f32", []uint32{0x3f800000, 0x40400000}, 0x3eaaaaab},
		{"div.rn.f32", []uint32{0x3f800000, 0}, inf}, {"neg.f32", []uint32{0}, 1 << 31},
		{"bfi.b32", []uint32{0xff, 0xffff0000, 4, 6}, 0xffff03f0}, {"prmt.b32", []uint32{0x33221100, 0x77665544, 0x2104}, 0x22110044},
		{"cvt.rn.f16x2.f32", []uint32{math.Float32bits(1), math.Float32bits(-2)}, 0x3c00c000},
		{"cvt.rzi.s32.f32", []uint32{math.Float32bits(-2.9)}, 0xfffffffe}, {"cvt.rzi.s32.f32", []uint32{nan}, 0},
		{"cvt.rn.f32.s32", []uint32{0xffffffff}, math.Float32bits(-1)}, {"cvt.rn.f32.u32", []uint32{0xffffffff}, math.Float32bits(1 << 32)},
	} {
		body := ""
		var names []string
		for i, v := range c.args {
			body += fmt.Sprintf("mov.b32 %%r%d, %d;\n", 10+i, v)
			names = append(names, fmt.Sprintf("%%r%d", 10+i))
		}
		got, err := try(body+c.op+" %r3, "+strings.Join(names, ", ")+";\nst.global.u32 [%rd6], %r3;", 1)
		if err != nil {
			t.Fatal(err)
		}
		if got[0] != c.want || got[63] != c.want {
			t.Errorf("%s %x: %x, want %x", c.op, c.args, got[0], c.want)
		}
	}
}

// TestComparisons compares with what numbers say, NaN among them.
func TestComparisons(t *testing.T) {
	one, two, nan := uint32(0x3f800000), uint32(0x40000000), uint32(0x7fc00000)
	for name, want := range map[string][4]uint32{ // of 1 and 2, 2 and 1, 1 and 1, 1 and NaN
		"eq": {0, 0, 1, 0}, "neu": {1, 1, 0, 1}, "lt": {1, 0, 0, 0}, "le": {1, 0, 1, 0}, "gt": {0, 1, 0, 0}, "ge": {0, 1, 1, 0},
		"ltu": {1, 0, 0, 1}, "leu": {1, 0, 1, 1}, "gtu": {0, 1, 0, 1}, "geu": {0, 1, 1, 1}, "nan": {0, 0, 0, 1}, "num": {1, 1, 1, 0},
	} {
		for i, pair := range [][2]uint32{{one, two}, {two, one}, {one, one}, {one, nan}} {
			got, err := try(fmt.Sprintf(`mov.b32 %%f1, %d;
				mov.b32 %%f2, %d;
				setp.%s.f32 %%p1, %%f1, %%f2;
				selp.u32 %%r3, 1, 0, %%p1;
				st.global.u32 [%%rd6], %%r3;`, pair[0], pair[1], name), 1)
			if err != nil {
				t.Fatal(err)
			}
			if got[0] != want[i] {
				t.Errorf("setp.%s.f32 of %x: %d", name, pair, got[0])
			}
		}
	}
}

// TestFMA compares with sums of arbitrary precision.
func TestFMA(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	draw := func() uint32 {
		v := r.Uint32()
		switch r.IntN(4) {
		case 0: // near 1, so that sums cancel
			v = v&0x80000fff | 0x3f800000
		case 1: // few bits, so that sums tie
			v &= 0xfff00000
		case 2: // small
			v &= 0x81ffffff
		}
		return v
	}
	exact := func(f float32) *big.Float { return new(big.Float).SetPrec(1200).SetFloat64(float64(f)) }
	for range 400_000 {
		a, b, c := draw(), draw(), draw()
		x, y, z := float(a), float(b), float(c)
		if x-x != 0 || y-y != 0 || z-z != 0 {
			continue
		}
		sum := exact(x)
		sum.Add(sum.Mul(sum, exact(y)), exact(z))
		want, _ := sum.Float32()
		if want == 0 { // big has its own rule for the sign
			want = float32(float64(x)*float64(y) + float64(z))
		}
		if got := fma(a, b, c); got != math.Float32bits(want) {
			t.Fatalf("fma(%x, %x, %x) is %x, want %x", a, b, c, got, math.Float32bits(want))
		}
	}
	if got := fma(0x7f800000, 0, 0x3f800000); got != canonical {
		t.Errorf("infinity times 0 plus 1 is %x", got)
	}
}
