package ptxsim

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestProduct multiplies two matrices of small whole numbers: the left one by
// ldmatrix from shared memory, the right one from fragments.
func TestProduct(t *testing.T) {
	m, err := Parse(program(`mul.wide.u32 %rd10, %r1, 16;
		add.s64 %rd11, %rd1, %rd10;
		ld.global.nc.v2.u32 {%r10, %r11}, [%rd11];
		ld.global.nc.v2.u32 {%r12, %r13}, [%rd11+8];
		add.s64 %rd12, %rd9, %rd10;
		st.shared.v4.u32 [%rd12], {%r10, %r11, %r12, %r13};
		bar.sync 0;
		setp.gt.u32 %p1, %r1, 31;
		@%p1 ret;
		and.b32 %r14, %r1, 15;
		shl.b32 %r15, %r14, 5;
		shr.u32 %r16, %r1, 4;
		shl.b32 %r17, %r16, 4;
		add.s32 %r18, %r15, %r17;
		ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r20,%r21,%r22,%r23}, [%r18];
		mul.wide.u32 %rd13, %r1, 8;
		add.s64 %rd14, %rd1, %rd13;
		ld.global.nc.v2.u32 {%r24, %r25}, [%rd14+512];
		mov.f32 %f0, 0f3F000000;
		mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1,%f2,%f3,%f4}, {%r20,%r21,%r22,%r23}, {%r24,%r25}, {%f0,%f0,%f0,%f0};
		add.s64 %rd15, %rd3, %rd10;
		st.global.v4.f32 [%rd15], {%f1,%f2,%f3,%f4};`))
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 3))
	var a, b [16][16]float64 // b by inputs
	mem := new(Memory)
	read, data := mem.Alloc(1024, ReadOnly)
	put := func(at int, v float64) {
		order.PutUint16(data[at:], uint16(toHalf(math.Float32bits(float32(v)))))
	}
	for i := range 16 {
		for j := range 16 {
			a[i][j] = float64(r.IntN(17) - 8)
			put(2*(16*i+j), a[i][j])
			if j < 8 {
				b[i][j] = float64(r.IntN(17) - 8)
				lane := 4*j + i%8/2
				put(512+8*lane+4*(i/8)+2*(i%2), b[i][j])
			}
		}
	}
	both, _ := mem.Alloc(4, ReadWrite)
	write, out := mem.Alloc(512, WriteOnly)
	signal, _ := mem.Alloc(8, Signal)
	if err := m.Kernel("k").Launch(mem, Launch{Blocks: 1, Threads: 64, Args: []uint64{read, both, write, signal}}); err != nil {
		t.Fatal(err)
	}
	for i := range 16 {
		for j := range 8 {
			want := 0.5
			for k := range 16 {
				want += a[i][k] * b[k][j]
			}
			lane := i%8*4 + j/2
			got := float(order.Uint32(out[16*lane+4*(i/8*2+j%2):]))
			if float64(got) != want {
				t.Errorf("row %d, column %d: %g, want %g", i, j, got, want)
			}
		}
	}
}

// TestHalves rounds every half to itself, and what lies between two of them to the
// nearer one, or the even one.
func TestHalves(t *testing.T) {
	for i := uint32(0); i < 0x7c00; i++ {
		v := halves[i]
		if got := toHalf(math.Float32bits(v)); got != i {
			t.Fatalf("half %x becomes %x", i, got)
		}
		if got := toHalf(math.Float32bits(-v)); got != i|0x8000 {
			t.Fatalf("half %x becomes %x", i|0x8000, got)
		}
		next := float32(65536) // behind the largest
		if i+1 < 0x7c00 {
			next = halves[i+1]
		}
		middle := (v + next) / 2
		up, down := math.Float32bits(math.Nextafter32(middle, next)), math.Float32bits(math.Nextafter32(middle, v))
		if toHalf(up) != i+1 || toHalf(down) != i || toHalf(math.Float32bits(middle)) != i+i&1 {
			t.Fatalf("between halves %x and %x: %x, %x, %x", i, i+1, toHalf(down), toHalf(math.Float32bits(middle)), toHalf(up))
		}
	}
}
