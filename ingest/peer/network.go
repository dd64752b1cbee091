package peer

import (
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

// Network is a plain dense network with ReLU between its layers and a sigmoid
// at the end, multiplied by gonum.
type Network struct {
	Layers  []Layer
	scratch [2][]float32
}

// Layer is In × Out weights, row-major, and Out biases.
type Layer struct {
	In, Out int
	W, B    []float32
}

// Score scores rows of Layers[0].In features into out.
func (n *Network) Score(x []float32, rows int, out []float32) error {
	a := blas32.General{Rows: rows, Cols: n.Layers[0].In, Stride: n.Layers[0].In, Data: x}
	for i, l := range n.Layers {
		buf := &n.scratch[i%2]
		if cap(*buf) < rows*l.Out {
			*buf = make([]float32, rows*l.Out)
		}
		c := blas32.General{Rows: rows, Cols: l.Out, Stride: l.Out, Data: (*buf)[:rows*l.Out]}
		for r := range rows {
			copy(c.Data[r*l.Out:], l.B)
		}
		blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, a, blas32.General{Rows: l.In, Cols: l.Out, Stride: l.Out, Data: l.W}, 1, c)
		if i < len(n.Layers)-1 {
			for k, v := range c.Data {
				c.Data[k] = max(v, 0)
			}
		}
		a = c
	}
	for r := range rows {
		out[r] = float32(1 / (1 + math.Exp(-float64(a.Data[r]))))
	}
	return nil
}
