package trainer

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
)

// hills draws rows whose chance of fraud no line through the columns tells: it is
// high where two of them lie within bands, or a third is missing.
func hills(seed uint64, rows int) (d *Dataset, chance []float32) {
	r := rand.New(rand.NewPCG(seed, 0))
	d = NewDataset([]string{"a", "b", "c", "same"})
	for i := range rows {
		a, b, c := r.NormFloat64(), math.Exp(r.NormFloat64()), r.NormFloat64()
		p := 0.005
		if math.Abs(a) < 0.4 && b > 1 && b < 2 {
			p = 0.5
		}
		x := []float32{float32(a), float32(b), float32(c), 7}
		if r.Float64() < 0.01 {
			x[2], p = float32(math.NaN()), 0.3
		}
		chance = append(chance, float32(p))
		d.Add(x, r.Float64() < p, int64(i)*60_000, 1000)
	}
	return d, chance
}

func scores(t *testing.T, m *scoring.Model, d *Dataset) []float32 {
	t.Helper()
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
	s, err := cpu.New(m)
	if err != nil {
		t.Fatal(err)
	}
	out, err := score(s, d)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestNetworkFindsWhatNoLineCan(t *testing.T) {
	if testing.Short() {
		t.Skip("what is learnt is no question of races, and TestFitNetwork learns under them")
	}
	d, _ := hills(1, 40_000)
	held, chance := hills(2, 20_000)
	o := DefaultNetwork()
	o.Epochs = 10
	began := time.Now()
	n, err := LearnNetwork(t.Context(), d, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("learnt in %v", time.Since(began).Round(time.Millisecond))
	got := scores(t, n.Model(), held)
	best, found := AveragePrecision(chance, held.Y), AveragePrecision(got, held.Y)
	if found < 0.93*best {
		t.Errorf("average precision %.3f, of the truth %.3f", found, best)
	}
	sum, frauds := 0.0, 0
	for i, p := range got {
		sum += float64(p)
		frauds += int(held.Y[i])
	}
	if ratio := sum / float64(frauds); math.Abs(ratio-1) > 0.15 {
		t.Errorf("expected %.2f times the frauds seen", ratio)
	}
}

// The gradients are those of the loss, by differences.
func TestGradients(t *testing.T) {
	d, _ := hills(3, 400)
	o := DefaultNetwork()
	o.Widths, o.Members = []int{64, 128, 64}, 3
	r := rand.NewPCG(5, 5)
	n := newNetwork(d, &o, 0.05, r)
	for i := range n.p { // away from where a scale is 1 and a bias 0
		n.p[i] += float32(rand.New(r).NormFloat64() * 0.05)
	}
	data := encode(d, n.inputs)
	p := newPass(n, 0)
	list, weight := make([]int32, passRows), make([]float32, passRows)
	for i := range list {
		list[i], weight[i] = int32(i*6), float32(1+i%3)/8
	}
	loss := func() float64 { p.begin(); return p.rows(data, list, weight) }
	loss()
	g := slices.Clone(p.end())
	largest := slices.Max(g)
	pick := rand.New(rand.NewPCG(9, 9))
	checked := 0
	for _, at := range append([]int{n.bias, n.out + 3, n.in[1].w + 5, n.in[1].r + 1, n.in[0].s + 2, n.in[2].b + 4}, pick.Perm(len(n.p))[:300]...) {
		// A row may sit on a bend of the network: then a smaller step is right,
		// until rounding is more than what it shows.
		var want float64
		ok := false
		for h := float32(1.0 / 128); h > 1.0/4096 && !ok; h /= 4 {
			was := n.p[at]
			n.p[at] = was + h
			up := loss()
			n.p[at] = was - h
			down := loss()
			n.p[at] = was
			want = (up - down) / float64(2*h)
			ok = math.Abs(float64(g[at])-want) <= 0.02*math.Abs(want)+0.002*float64(largest)
		}
		if !ok {
			t.Errorf("gradient of parameter %d is %g, by differences %g", at, g[at], want)
		}
		if g[at] != 0 {
			checked++
		}
	}
	if checked < 100 {
		t.Errorf("%d gradients are not zero", checked)
	}
}

// What was trained is what is served.
func TestNetworkIsServedAsItWasLearnt(t *testing.T) {
	d, _ := hills(4, 3000)
	o := DefaultNetwork()
	o.Epochs = 2
	n, err := LearnNetwork(t.Context(), d, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := scores(t, n.Model(), d)
	data := encode(d, n.inputs)
	p := newPass(n, 0)
	p.begin()
	for from := 0; from+passRows <= d.Rows(); from += passRows {
		list, sum := make([]int32, passRows), make([]float64, passRows)
		for i := range list {
			list[i] = int32(from + i)
		}
		p.rows(data, list, make([]float32, passRows)) // the encoding
		for m := range n.members {
			p.forward(m, passRows)
			w := n.widths[len(n.widths)-1]
			for r := range sum {
				dot := float64(n.p[n.bias+m])
				for j, h := range p.h[len(n.in)-1][r*w : (r+1)*w] {
					dot += float64(h) * float64(n.p[n.out+m*w+j])
				}
				sum[r] += 1 / (1 + math.Exp(-dot)) / float64(n.members)
			}
		}
		for r, want := range sum {
			if math.Abs(float64(got[from+r])-want) > 1e-5 {
				t.Fatalf("row %d is served %g, was %g", from+r, got[from+r], want)
			}
		}
	}
}

func TestNetworkIsTheSameAgain(t *testing.T) {
	d, _ := hills(6, 3000)
	o := DefaultNetwork()
	o.Epochs = 2
	var all [][]float32
	for range 2 {
		n, err := LearnNetwork(t.Context(), d, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n.p)
	}
	if !slices.Equal(all[0], all[1]) {
		t.Error("two networks of the same rows differ")
	}
	o.Seed = 2
	n, err := LearnNetwork(t.Context(), d, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Equal(n.p, all[0]) {
		t.Error("another seed makes the same network")
	}
}

// The kernels do what their plain twins do.
func TestKernels(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	draw := func(n int) []float32 {
		list := make([]float32, n)
		for i := range list {
			list[i] = float32(r.NormFloat64())
		}
		return list
	}
	near := func(what string, got, want []float32) {
		t.Helper()
		for i := range got {
			if math.Abs(float64(got[i]-want[i])) > 1e-4 {
				t.Fatalf("%s: [%d] is %g, not %g", what, i, got[i], want[i])
			}
		}
	}
	for _, c := range []struct{ rows, inner, width int }{{1, 1, 64}, {3, 64, 64}, {7, 5, 128}, {64, 64, 192}} {
		for _, turned := range []bool{false, true} {
			a, b, c1 := draw(c.rows*c.inner), draw(c.inner*c.width), draw(c.rows*c.width)
			c2 := slices.Clone(c1)
			row, col := c.inner, 1
			if turned {
				row, col = 1, c.rows
			}
			product(c1, a, row, col, b, c.rows, c.inner, c.width)
			productPlain(c2, a, row, col, b, c.rows, c.inner, c.width)
			near("product", c1, c2)
		}
		s, p, g := draw(c.width), draw(c.width), draw(c.width)
		want := slices.Clone(g)
		for j := range want {
			want[j] += 1.5*s[j] + p[j]
		}
		line(g, 1.5, s, p)
		near("line", g, want)
		s2, p2 := slices.Clone(s), slices.Clone(p)
		for j := range g {
			s2[j] += -0.5 * g[j]
			p2[j] += g[j]
		}
		spread(s, p, -0.5, g)
		near("spread of slopes", s, s2)
		near("spread of prefixes", p, p2)
		kernelsOfLayers(near, draw, c.width)
	}
}

func kernelsOfLayers(near func(what string, got, want []float32), draw func(int) []float32, width int) {
	z, s, b, keep, dx := draw(width), draw(width), draw(width), draw(width), draw(width)
	for j := range keep {
		keep[j] = max(keep[j], 0)
	}
	h, want := draw(width), make([]float32, width)
	activate(h, z, s, b, keep)
	for j := range want {
		want[j] = max(z[j]*s[j]+b[j], 0) * keep[j]
	}
	near("activate", h, want)
	dz, ds, db := draw(width), draw(width), draw(width)
	dz2, ds2, db2 := slices.Clone(dz), slices.Clone(ds), slices.Clone(db)
	for j := range want {
		if h[j] > 0 {
			dz2[j] += 1.25 * dx[j] * s[j]
			ds2[j] += 1.25 * dx[j] * z[j]
			db2[j] += 1.25 * dx[j]
		}
	}
	slopes(dz, ds, db, dx, h, z, s, 1.25)
	near("slopes of z", dz, dz2)
	near("slopes of s", ds, ds2)
	near("slopes of b", db, db2)
}

func TestEncoder(t *testing.T) {
	d, _ := hills(8, 5000)
	list := encoders(d, 0)
	if len(list) != 3 {
		t.Fatalf("%d encoders, of three columns that vary", len(list))
	}
	for _, e := range list {
		if !slices.IsSorted(e.edges) || len(e.edges) < 10 || len(e.edges) > 20 {
			t.Errorf("edges %v", e.edges)
		}
		for i := range d.Rows() {
			v := d.Row(i)[e.input.Column]
			s, u := e.place(v)
			z, missing := e.input.Standardise(v), v != v
			switch {
			case missing:
				if s != e.segments() || u != 0 {
					t.Fatalf("missing is in segment %d of %d, at %g", s, e.segments(), u)
				}
			case z-e.start(s) != u, z < e.start(s), s+1 < e.segments() && z >= e.start(s+1):
				t.Fatalf("%g is in segment %d from %g, at %g", z, s, e.start(s), u)
			}
		}
	}
}

// TestShareOfGenuineRows has an epoch see fifty rows for each fraud, a floor of them
// and no more than a bound, or what was asked for.
func TestShareOfGenuineRows(t *testing.T) {
	f := func(sample float64, frauds, genuine int, want float64) {
		t.Helper()
		o := NetworkOptions{Sample: sample}
		if got := o.share(frauds, genuine); math.Abs(got-want) > 1e-12 {
			t.Errorf("sample %g of %d frauds and %d genuine rows: %g, want %g", sample, frauds, genuine, got, want)
		}
	}
	f(0, 600, 60_000, .5)
	f(0, 600, 20_000, 1)
	f(0, 10, 100_000, .05)
	f(0, 10_000, 1_000_000, .2)
	f(0, 10_000, 8_000_000, .05)
	f(.3, 10_000, 8_000_000, .3)
}
