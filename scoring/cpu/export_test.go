//go:build amd64 && !purego

package cpu

import "github.com/weir-risk/weir/scoring"

// Kernels names the kernels that this processor can run, the fastest first.
func Kernels() (names []string) {
	for _, k := range kernelsHere() {
		names = append(names, k.name)
	}
	return names
}

// NewBy makes a scorer by some of them.
func NewBy(name string, m *scoring.Model) (*Scorer, error) {
	return newScorer(m, func(m *scoring.Model) (string, func(scoring.Matrix, []float32)) {
		for _, k := range kernelsHere() {
			if k.name == name {
				return name, newPacked(m, k).score
			}
		}
		panic("BUG: there are no kernels " + name)
	})
}
