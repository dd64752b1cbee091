package cpu_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/scoring/scoringtest"
)

// ensemble is a network as the trainer fits it: every input a table, and members.
func ensemble() *scoring.Model {
	m := scoringtest.Model(rand.New(rand.NewPCG(3, 3)), scoringtest.Shape{Columns: 53, Hidden: []int{64, 64}, Members: 8, Tables: 4, Log: 4, Scale: 3})
	for i := range m.Inputs {
		// What is learnt has no steps: a segment begins where the one below ends.
		in := &m.Inputs[i]
		for b := range len(in.Edges) - 1 {
			for j := range m.Width {
				in.Prefix[(b+1)*m.Width+j] = in.Prefix[b*m.Width+j] + in.Slope[b*m.Width+j]*(in.Edges[b+1]-in.Edges[b])
			}
		}
	}
	return m
}

// gonumEnsemble is an ensemble by gonum's float32 matrix product: each input is
// encoded as the shares of its segments, and the members, which have a matrix in
// common, are rows of one product.
type gonumEnsemble struct {
	m                   *scoring.Model
	first, encoded, acc blas32.General
	bias                []float32 // of the encoding
	h                   [2]blas32.General
}

func newGonumEnsemble(m *scoring.Model, rows int) *gonumEnsemble {
	g := &gonumEnsemble{m: m, bias: make([]float32, m.Width)}
	for i := range m.Inputs {
		in := &m.Inputs[i]
		g.first.Data = append(g.first.Data, in.Slope[:len(in.Edges)*m.Width]...)
		g.first.Rows += len(in.Edges)
		for j := range m.Width {
			g.bias[j] += in.Prefix[j]
		}
	}
	general := func(rows, columns int) blas32.General {
		return blas32.General{Rows: rows, Cols: columns, Stride: columns, Data: make([]float32, rows*columns)}
	}
	g.first.Cols, g.first.Stride = m.Width, m.Width
	g.encoded, g.acc = general(rows, g.first.Rows), general(rows, m.Width)
	for i := range g.h {
		g.h[i] = general(rows*m.Members, m.Width)
	}
	return g
}

// encode writes the shares of the segments of each input.
func (g *gonumEnsemble) encode(x scoring.Matrix) {
	at := 0
	for i := range x.Rows {
		for k := range g.m.Inputs {
			in := &g.m.Inputs[k]
			z := x.Data[i*x.Cols+in.Column]
			if in.Log {
				z = float32(math.Copysign(math.Log1p(math.Abs(float64(z))), float64(z)))
			}
			z = max(min((z-in.Mean)*in.Inv, in.Hi), in.Lo)
			for b, edge := range in.Edges {
				u := z - edge
				if b > 0 {
					u = max(u, 0)
				}
				if b+1 < len(in.Edges) {
					u = min(u, in.Edges[b+1]-edge)
				}
				g.encoded.Data[at] = u
				at++
			}
		}
	}
}

func (g *gonumEnsemble) score(x scoring.Matrix, out []float32) {
	m, w := g.m, g.m.Width
	g.encode(x)
	blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, g.encoded, g.first, 0, g.acc)
	in, next := &g.h[0], &g.h[1]
	a, b := &m.Hidden[0], &m.Hidden[1]
	for i := range x.Rows {
		for k := range m.Members {
			row := in.Data[(i*m.Members+k)*w:][:w]
			s, bias, r := a.S[k*w:][:w], a.B[k*w:][:w], b.R[k*w:][:w]
			for j, v := range g.acc.Data[i*w:][:w] {
				row[j] = max((v+g.bias[j])*s[j]+bias[j], 0) * r[j]
			}
		}
	}
	blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, *in, blas32.General{Rows: w, Cols: w, Stride: w, Data: b.W}, 0, *next)
	for i := range x.Rows {
		sum := 0.
		for k := range m.Members {
			dot := m.Bias[k]
			s, bias, last := b.S[k*w:][:w], b.B[k*w:][:w], m.Out[k*w:][:w]
			for j, v := range next.Data[(i*m.Members+k)*w:][:w] {
				dot += max(v*s[j]+bias[j], 0) * last[j]
			}
			sum += 1 / (1 + math.Exp(-float64(dot)))
		}
		out[i] = float32(sum / float64(m.Members))
	}
}

// The peer that weir is measured against computes the same network.
func TestPeerScoresTheSame(t *testing.T) {
	m := ensemble()
	x := normalRows(300, m.Columns)
	got, want := make([]float32, x.Rows), make([]float32, x.Rows)
	mustScorer(cpu.New(m))(x, want)
	newGonumEnsemble(m, x.Rows).score(x, got)
	for i := range got {
		if math.Abs(float64(got[i]-want[i])) > 1e-5 {
			t.Fatalf("row %d: the peer scores %g, weir %g", i, got[i], want[i])
		}
	}
	if slices.Max(want)-slices.Min(want) < .05 {
		t.Errorf("scores from %g to %g tell nothing apart", slices.Min(want), slices.Max(want))
	}
}

// BenchmarkTables is the network that the trainer fits, 53 features in tables of 17
// segments, 8 members, beside the same by gonum, which has to multiply what weir
// looks up.
func BenchmarkTables(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // one core each: gonum would take all
	m := ensemble()
	for _, rows := range []int{1, 32, 256, 1024} {
		for _, back := range []struct {
			name  string
			score func(scoring.Matrix, []float32)
		}{
			{"asm", mustScorer(cpu.New(m))},
			{"gonum", newGonumEnsemble(m, rows).score},
		} {
			b.Run(fmt.Sprintf("net=53x17-64-64-1/members=8/rows=%d/backend=%s", rows, back.name), func(b *testing.B) {
				benchmark(b, rows, m.Columns, 8*2*64*65+2*53*64, back.score)
			})
		}
	}
}
