//go:build !amd64 || purego

package cpu

import "github.com/weir-risk/weir/scoring"

// newFast has nothing for this processor.
func newFast(*scoring.Model) (string, func(scoring.Matrix, []float32)) { return "", nil }
