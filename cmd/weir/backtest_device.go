package main

import (
	"context"
	"fmt"
	"math"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/scoring/cuda"
)

// scorer makes what scores: the CPU, or the GPU that --device asks for. A GPU that is
// asked for by name, or by an arithmetic that the CPU has not, is waited for.
func (b *backtestRun) scorer(ctx context.Context, e *env, bundle *scoring.Bundle) (scoring.Scorer, func(), error) {
	log, err := b.logger(e)
	if err != nil {
		return nil, nil, err
	}
	half := b.device.arithmetic.half
	b.device.always = half
	device, err := b.device.open(e, log)
	if err != nil {
		return nil, nil, err
	}
	if device == nil && half {
		return nil, nil, fmt.Errorf("--arithmetic float16 needs a GPU, and this machine has none that is NVIDIA's; float32 gives the bits of the CPU")
	}
	if device == nil {
		s, err := cpu.New(bundle.Model)
		return s, func() {}, err
	}
	s, err := b.onDevice(ctx, device, bundle)
	if err != nil {
		device.Close()
		return nil, nil, err
	}
	return s, func() { _ = s.Close(); device.Close() }, nil
}

// onDevice puts the model on a GPU.
func (b *backtestRun) onDevice(ctx context.Context, device *cuda.Device, bundle *scoring.Bundle) (*cuda.Scorer, error) {
	half := b.device.arithmetic.half
	if half || b.device.device.gpu {
		if err := device.Await(ctx, cuda.Serving, cuda.Waiting, cuda.Absent); err != nil {
			return nil, err
		}
		if st := device.Stats(); half && st.State != cuda.Serving {
			return nil, fmt.Errorf("--arithmetic float16 needs a GPU that scores: %s; float32 gives the bits of the CPU", st.Reason)
		}
	}
	return device.Scorer(bundle.Model, bundle.SelfTestRows)
}

// halfSample is how many rows of float16 arithmetic are scored in float32 too.
const halfSample = 10_000

// A sampled scorer scores the first rows in float16 arithmetic on the CPU too, to say how
// far they are off.
type sampled struct {
	scoring.Scorer
	whole *cpu.Scorer
	want  []float32

	halves, wholes, rows int // in each arithmetic, and compared
	largest              float64
}

func sampleOf(s scoring.Scorer, m *scoring.Model) (*sampled, error) {
	whole, err := cpu.New(m)
	return &sampled{Scorer: s, whole: whole}, err
}

// Score implements [scoring.Scorer].
func (s *sampled) Score(x scoring.Matrix, out []float32) error {
	err := s.Scorer.Score(x, out)
	if err != nil || !scoring.Half(s.Scorer) {
		s.wholes += x.Rows
		return err
	}
	s.halves += x.Rows
	x.Rows = min(x.Rows, halfSample-s.rows)
	if x.Rows == 0 {
		return nil
	}
	if len(s.want) < x.Rows {
		s.want = make([]float32, x.Rows)
	}
	if err := s.whole.Score(x, s.want); err != nil {
		return err
	}
	for i, want := range s.want[:x.Rows] {
		s.largest = max(s.largest, math.Abs(float64(out[i])-float64(want)))
	}
	s.rows += x.Rows
	return nil
}

// sampleReport is the arithmetic's part of the report.
type sampleReport struct {
	Asked   string  `json:"asked"`
	Float32 int     `json:"float32_rows"`
	Float16 int     `json:"float16_rows"`
	Rows    int     `json:"compared_rows"` // of float16 with float32
	Largest float64 `json:"largest_difference"`
}

func (s *sampled) report(asked string) sampleReport {
	return sampleReport{asked, s.wholes, s.halves, s.rows, s.largest}
}

func (s *sampled) print(e *env, half bool) {
	if s.halves > 0 {
		e.printf("Scored in float16 on the GPU: %s rows; the first %s of them are at most %.2g from float32.\n", thousands(int64(s.halves)), thousands(int64(s.rows)), s.largest)
	}
	if half && s.wholes > 0 {
		e.printf("Scored in float32 in its place: %s rows, where the GPU failed or the model has no matrix for its tensor cores.\n", thousands(int64(s.wholes)))
	}
}
