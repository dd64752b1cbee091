package scoring_test

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/weir-risk/weir/scoring"
)

// TestIndexByHand has the index of a few counts, worked out on paper.
func TestIndexByHand(t *testing.T) {
	f := func(shares []float32, counts []float64, want float64) {
		t.Helper()
		m := scoring.Margin{Edges: make([]float32, len(shares)-2), Shares: shares}
		if got := m.Index(counts); math.Abs(got-want) > 1e-6 {
			t.Errorf("%v to %v: %.7f, want %.7f", shares, counts, got, want)
		}
	}
	f([]float32{.5, .5, 0}, []float64{10, 10, 0}, 0)
	// .25 ln 1.5 + .25 ln 2
	f([]float32{.5, .5, 0}, []float64{3, 1, 0}, .2746531)
	// .1 ln (.6/.5) twice, and a third empty: the floor of 1e-4 stands for it on both sides.
	f([]float32{.5, .25, .25, 0}, []float64{60, 20, 20, 0}, .1*math.Log(1.2)+2*.05*math.Log(1.25))
	// Half goes missing that never did: (.5-1) ln .5 + (.5-.0001) ln 5000.
	f([]float32{1, 0}, []float64{8, 8}, .5*math.Ln2+.4999*math.Log(5000))
	// One of 4,000 is below the floor's worth in shares, not in the index.
	f([]float32{1, 0}, []float64{3999, 1}, -.00025*math.Log(.99975)+(.00025-.0001)*math.Log(2.5))
	f([]float32{.5, .5, 0}, []float64{0, 0, 0}, 0)
}

// anyColumn draws values of many kinds with their weights: with ties, missing ones
// and infinities.
func anyColumn(r *rand.Rand) (values, weights []float32) {
	kind, missing := r.IntN(4), r.Float64()*.5
	for range 1 + r.IntN(3000) {
		v := float32(r.NormFloat64())
		switch kind {
		case 0:
			v = float32(math.Exp(5 * float64(v)))
		case 1:
			v = float32(r.IntN(1 + r.IntN(6)))
		case 2:
			v = max(v, 1)
		}
		if r.Float64() < missing {
			v = float32(math.NaN())
		} else if r.IntN(500) == 0 {
			v = float32(math.Inf(1 - 2*r.IntN(2)))
		}
		values, weights = append(values, v), append(weights, float32(1+r.IntN(20)))
	}
	return values, weights
}

// TestMarginIsItsDefinition holds margins of drawn columns to what they should be,
// counted value by value, and their index against other columns to the sum of the two
// divergences, which is the same number by another road.
func TestMarginIsItsDefinition(t *testing.T) {
	const seed = 7
	r := rand.New(rand.NewPCG(seed, 0))
	for n := range 300 {
		values, weights := anyColumn(r)
		m := scoring.NewMargin(values, weights)
		share := func(values, weights []float32, bin int) float64 {
			in, all := 0.0, 0.0
			for i, v := range values {
				low, high := math.Inf(-1), math.Inf(1)
				if bin > 0 && bin <= len(m.Edges) {
					low = float64(m.Edges[bin-1])
				}
				if bin < len(m.Edges) {
					high = float64(m.Edges[bin])
				}
				inside := float64(v) >= low && (float64(v) < high || math.IsInf(high, 1)) && bin <= len(m.Edges)
				if inside || v != v && bin == len(m.Edges)+1 {
					in += float64(weights[i])
				}
				all += float64(weights[i])
			}
			return in / all
		}
		present := 0.0
		for k, s := range m.Shares {
			want := share(values, weights, k)
			if math.Abs(float64(s)-want) > 1e-6 {
				t.Fatalf("seed %d column %d: bin %d of %v holds %g, want %g", seed, n, k, m.Edges, s, want)
			}
			if k < len(m.Edges) && s < .0199 {
				t.Fatalf("seed %d column %d: bin %d holds %g", seed, n, k, s)
			}
			if k <= len(m.Edges) {
				present += want
			}
		}
		other, others := anyColumn(r)
		counts, want := make([]float64, m.Bins()), 0.0
		for i, v := range other {
			counts[m.Bin(v)] += float64(others[i])
		}
		for k := range counts {
			p, q := max(share(values, weights, k), 1e-4), max(share(other, others, k), 1e-4)
			want += q*math.Log(q/p) + p*math.Log(p/q)
		}
		if got := m.Index(counts); math.Abs(got-want) > 1e-5*(1+want) {
			t.Fatalf("seed %d column %d: index %g, want %g", seed, n, got, want)
		}
	}
}

// TestMarginCutsTenths has a column that varies cut into ten like bins, and one of
// zeros with few others cut where the others begin.
func TestMarginCutsTenths(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 0))
	values, weights := make([]float32, 20_000), make([]float32, 20_000)
	for i := range values {
		values[i], weights[i] = r.Float32(), float32(1+i%2*9)
	}
	m := scoring.NewMargin(values, weights)
	for k, e := range m.Edges {
		if math.Abs(float64(m.Shares[k])-.1) > .002 || math.Abs(float64(e)-float64(k+1)/10) > .02 {
			t.Errorf("bin %d ends at %g and holds %g", k, e, m.Shares[k])
		}
	}
	if len(m.Edges) != 9 {
		t.Errorf("%d edges", len(m.Edges))
	}
	for i := range values {
		values[i] = max(0, float32(i-19_800)) // one of a hundred
	}
	if m = scoring.NewMargin(values, weights); !reflect.DeepEqual(m.Edges, []float32{1}) {
		t.Errorf("edges of rare values: %v", m.Edges)
	}
}

func withProfile(t testing.TB) *scoring.Bundle {
	b := newBundle(t)
	m := scoring.Margin{Edges: []float32{-1, 0, 2.5}, Shares: []float32{.25, .25, .25, .125, .125}}
	b.Profile = &scoring.Profile{Features: []scoring.Margin{m, {Edges: []float32{}, Shares: []float32{1, 0}}, m, m}, Score: m}
	return b
}

func TestBundleCarriesItsProfile(t *testing.T) {
	want := withProfile(t)
	data := mustSign(t, mustEncode(t, want), key(1))
	got, err := scoring.ReadBundle(data, trust(key(1)))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Profile, want.Profile) {
		t.Errorf("read %+v, wrote %+v", got.Profile, want.Profile)
	}
	// A bundle from before there were profiles has none, and is what it was.
	old := mustSign(t, mustEncode(t, newBundle(t)), key(1))
	if got, err = scoring.ReadBundle(old, trust(key(1))); err != nil || got.Profile != nil || bytes.Contains(old, []byte("profile")) {
		t.Errorf("an old bundle gives %+v, %v", got, err)
	}
}

func TestUnsoundProfileIsRefused(t *testing.T) {
	nan := float32(math.NaN())
	f := func(name string, change func(p *scoring.Profile)) {
		t.Helper()
		b := withProfile(t)
		change(b.Profile)
		if err := b.Validate(); !errors.Is(err, scoring.ErrProfile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f("a column short", func(p *scoring.Profile) { p.Features = p.Features[1:] })
	f("edges that fall", func(p *scoring.Profile) { p.Features[2].Edges = []float32{0, 0, 1} })
	f("an edge that is no number", func(p *scoring.Profile) { p.Features[3].Edges = []float32{0, 1, nan} })
	f("an infinite edge", func(p *scoring.Profile) { p.Score.Edges = []float32{0, 1, float32(math.Inf(1))} })
	f("a share short", func(p *scoring.Profile) { p.Score.Shares = p.Score.Shares[1:] })
	f("a share below zero", func(p *scoring.Profile) { p.Score.Shares = []float32{-.5, .5, .5, .25, .25} })
	f("a share that is no number", func(p *scoring.Profile) { p.Score.Shares = []float32{nan, .25, .25, .25, .25} })
	f("shares of more than all", func(p *scoring.Profile) { p.Score.Shares = []float32{.5, .5, .5, .5, .5} })
	f("too many bins", func(p *scoring.Profile) {
		p.Score = scoring.Margin{Shares: make([]float32, 12)}
		for i := range 10 {
			p.Score.Edges = append(p.Score.Edges, float32(i))
		}
		p.Score.Shares[0] = 1
	})
}
