package main

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/trainer"
)

// benchBundle makes a bundle with a network that nobody trained. Its inputs are
// centred and scaled by the rows of x, so that none is hidden by the bounds of
// another; its operating point sends a share of such rows to review, none where
// the share is 0.
func benchBundle(s *spec.Spec, x []float32, alerts float64, hidden ...int) (*scoring.Bundle, error) {
	width := len(s.Features)
	names := s.FeatureNames()
	model := trainer.RandomModel(1, append(append([]int{width}, hidden...), 1)...)
	for c := range model.Inputs {
		scaleInput(&model.Inputs[c], x[c:], width)
	}
	scorer, err := cpu.New(model)
	if err != nil {
		return nil, err
	}
	rows := len(x) / width
	scores := make([]float32, rows)
	if err := scorer.Score(scoring.Matrix{Data: x, Rows: rows, Cols: width}, scores); err != nil {
		return nil, err
	}
	b := &scoring.Bundle{Name: "bench", Spec: scoring.SpecText{Name: s.Name, Text: s.Text, Hash: s.Hash}, Features: names, Model: model,
		Calibration: scoring.Calibration{A: 1, B: 1}, Policy: scoring.Policy{Review: 1}}
	if alerts > 0 {
		slices.Sort(scores)
		at := func(share float64) float32 { return scores[min(int(float64(rows)*(1-share)), rows-1)] }
		b.Policy = scoring.Policy{Review: at(alerts), Block: at(alerts / 10), Explore: float32(alerts / 10), ExploreKey: [16]byte{1}}
		for i := range min(backgroundRows, rows) {
			row := i * rows / min(backgroundRows, rows)
			b.Background = append(b.Background, x[row*width:(row+1)*width]...)
		}
	}
	return b, b.SetSelfTest(scorer, scoring.Matrix{Data: x, Rows: 16, Cols: width})
}

// backgroundRows is how many rows the reasons of alerts compare with.
const backgroundRows = 256

// scaleInput makes an input's values have mean 0 and deviation 1 over a column:
// the first of x and every width'th behind it.
func scaleInput(in *scoring.Input, x []float32, width int) {
	var n, sum, squares float64
	for i := 0; i < len(x); i += width {
		if v := float64(x[i]); v == v {
			n, sum, squares = n+1, sum+v, squares+v*v
		}
	}
	if n == 0 {
		return
	}
	mean := sum / n
	in.Mean = float32(mean)
	if deviation := math.Sqrt(max(squares/n-mean*mean, 0)); deviation > 1e-6 { // else it is always the same
		in.Inv = float32(1 / deviation)
	}
}

// sealBundle writes a bundle into a folder, and returns the file and the key
// that it is signed with.
func sealBundle(folder string, b *scoring.Bundle) (file, trust string, err error) {
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return "", "", fmt.Errorf("make a key: %w", err)
	}
	data, _, err := trainer.Seal(b, key)
	if err != nil {
		return "", "", err
	}
	file = filepath.Join(folder, "bench.bundle")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return "", "", fmt.Errorf("write bundle: %w", err)
	}
	return file, hex.EncodeToString(public), nil
}
