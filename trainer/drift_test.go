package trainer

import (
	"math/rand/v2"
	"testing"
)

// TestProfileIsOfTheStream takes every fraud and one in forty of the genuine rows of a
// stream: the profile is that of the stream, and so is the score's.
func TestProfileIsOfTheStream(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 0))
	stream, sample := NewDataset([]string{"x"}), NewDataset([]string{"x"})
	for i := range 60_000 {
		fraud := i%20 == 0
		x := []float32{float32(r.NormFloat64())}
		if fraud {
			x[0] += 2
		}
		stream.Add(x, fraud, int64(i), 0)
		if fraud || i%40 == 1 {
			sample.Add(x, fraud, int64(i), 0)
			if !fraud {
				sample.Weight[sample.Rows()-1] = 38
			}
		}
	}
	p := profile(sample, sample, sample.column(0))
	for name, m := range map[string]interface {
		Bin(float32) int
		Index([]float64) float64
	}{"feature": &p.Features[0], "score": &p.Score} {
		counts := make([]float64, 12)
		for _, v := range stream.column(0) {
			counts[m.Bin(v)]++
		}
		// Counted without weights it is above 1.
		if index := m.Index(counts[:11]); index > .02 {
			t.Errorf("the %s's index on its own stream is %.3f", name, index)
		}
	}
}
