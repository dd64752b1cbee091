package trainer

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
)

// Bundle returns the model as a bundle for the spec that its features came
// from, with self-test rows from those held out, scored by the reference
// scorer.
func (r *Result) Bundle(name string, spec scoring.SpecText) (*scoring.Bundle, error) {
	facts, err := json.Marshal(r.Facts)
	if err != nil {
		return nil, fmt.Errorf("write facts of bundle: %w", err)
	}
	b := &scoring.Bundle{
		Name: name, Spec: spec, Features: r.Names, Model: r.Model(),
		Calibration: r.Calibration, Policy: r.Policy, Profile: r.profile, Facts: facts,
	}
	if len(r.background) >= scoring.BackgroundRowsMin*len(r.Names) {
		b.Background = r.background
	}
	s, err := cpu.NewPureGo(b.Model)
	if err != nil {
		return nil, fmt.Errorf("make bundle: %w", err)
	}
	rows := scoring.Matrix{Data: r.selfTest, Rows: len(r.selfTest) / len(r.Names), Cols: len(r.Names)}
	if err := b.SetSelfTest(s, rows); err != nil {
		return nil, fmt.Errorf("make bundle: %w", err)
	}
	return b, nil
}

// Seal returns a bundle's file, signed, and what the file is known by: the
// bundle as a reader who trusts the key has it.
func Seal(b *scoring.Bundle, key ed25519.PrivateKey) (data []byte, read *scoring.Bundle, err error) {
	data, err = b.Encode()
	if err != nil {
		return nil, nil, fmt.Errorf("seal bundle: %w", err)
	}
	if data, err = scoring.Sign(data, key); err != nil {
		return nil, nil, fmt.Errorf("seal bundle: %w", err)
	}
	read, err = scoring.ReadBundle(data, []ed25519.PublicKey{key.Public().(ed25519.PublicKey)})
	if err != nil {
		return nil, nil, fmt.Errorf("seal bundle: %w", err)
	}
	return data, read, nil
}
