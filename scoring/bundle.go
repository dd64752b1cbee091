package scoring

import (
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"unicode/utf8"
)

// Limits of a bundle.
const (
	BundleBytesMax    = 8 << 20
	SelfTestRowsMin   = 8
	SelfTestRowsMax   = 4096
	BackgroundRowsMin = 64
	BackgroundRowsMax = 4096
	nameBytesMax      = 1 << 10 // of a name of a bundle, spec or feature
)

// Bundle is one trained model with all that is needed to serve it, and to prove
// that it is served right. It is not changed once it is in use.
type Bundle struct {
	Name     string   // for people
	Spec     SpecText // what the features are
	Features []string // names of the model's columns, in order, each once
	Model    *Model

	Calibration Calibration
	Policy      Policy

	// Profile is what the training's days looked like; nil in a bundle that was made
	// before there were profiles, under which nothing can be watched.
	Profile *Profile
	// Facts of the training, a JSON object, for people and reports.
	Facts json.RawMessage
	// Background is rows of features, row-major, that reasons compare with;
	// empty or BackgroundRowsMin rows or more.
	Background []float32
	// SelfTestRows is rows of features, row-major, and SelfTestScores the bits
	// that every back end must give for them.
	SelfTestRows   []float32
	SelfTestScores []float32

	// Hash is the SHA-256 of the content, the bundle's identity; Signer is whose
	// signature it carries. ReadBundle sets them.
	Hash   [32]byte
	Signer ed25519.PublicKey
}

// SpecText is the feature spec that a bundle was trained with. Hash is that of
// its canonical form, which only the spec's parser knows.
type SpecText struct {
	Name string
	Hash [32]byte
	Text []byte
}

// Prefix returns the first eight bytes of the hash, big-endian: how a decision
// names its bundle.
func (b *Bundle) Prefix() uint64 { return binary.BigEndian.Uint64(b.Hash[:]) }

// CheckSpec returns ErrForeignSpec unless the bundle was made for the spec with
// this hash.
func (b *Bundle) CheckSpec(hash [32]byte) error {
	if b.Spec.Hash != hash {
		return fmt.Errorf("bundle for spec %q, hash %x, offered to a spec of hash %x: %w", b.Spec.Name, b.Spec.Hash[:8], hash[:8], ErrForeignSpec)
	}
	return nil
}

// SetSelfTest makes rows the bundle's self-test, with the scores that s gives
// them. It is for whoever builds a bundle; s must hold b.Model.
func (b *Bundle) SetSelfTest(s Scorer, rows Matrix) error {
	scores := make([]float32, rows.Rows)
	if err := s.Score(rows, scores); err != nil {
		return fmt.Errorf("score %d self-test rows: %w", rows.Rows, err)
	}
	b.SelfTestRows = append([]float32(nil), rows.Data[:rows.Rows*rows.Cols]...)
	b.SelfTestScores = scores
	return nil
}

// SelfTest scores the self-test rows with s, together and then one by one,
// and returns an error that is ErrSelfTest at the first score with other bits
// than the bundle says, or the error of s. Scores in float16 arithmetic are held
// to their bound instead.
func (b *Bundle) SelfTest(s Scorer) error {
	n, cols := len(b.SelfTestScores), len(b.Features)
	got := make([]float32, n)
	if err := s.Score(Matrix{Data: b.SelfTestRows, Rows: n, Cols: cols}, got); err != nil {
		return fmt.Errorf("score %d self-test rows: %w", n, err)
	}
	if err := b.compare(got, 0, Half(s)); err != nil {
		return err
	}
	for i := range n {
		if err := s.Score(Matrix{Data: b.SelfTestRows[i*cols : (i+1)*cols], Rows: 1, Cols: cols}, got[:1]); err != nil {
			return fmt.Errorf("score self-test row %d: %w", i, err)
		}
		if err := b.compare(got[:1], i, Half(s)); err != nil {
			return err
		}
	}
	return nil
}

// compare holds scores of self-test rows, the first of them row first, to the
// bundle's, to the bit or within what half precision may do.
func (b *Bundle) compare(got []float32, first int, half bool) error {
	var bound *HalfBound
	if half {
		bound = NewHalfBound(b.Model)
	}
	for i, v := range got {
		want, row := b.SelfTestScores[first+i], b.SelfTestRows[(first+i)*len(b.Features):][:len(b.Features)]
		if half && bound.Allows(row, v, want) {
			continue
		}
		if math.Float32bits(v) != math.Float32bits(want) {
			return fmt.Errorf("row %d scores %g (%08x), not %g (%08x): %w", first+i,
				v, math.Float32bits(v), want, math.Float32bits(want), ErrSelfTest)
		}
	}
	return nil
}

// Validate reports the first reason why the bundle is not sound: a model error
// or one of the errors from ErrSpec to ErrProfile. Encode and ReadBundle
// call it.
func (b *Bundle) Validate() error {
	names := len(b.Spec.Name) <= nameBytesMax && len(b.Name) <= nameBytesMax && utf8.ValidString(b.Spec.Name+b.Name)
	if len(b.Spec.Text) == 0 || b.Spec.Hash == [32]byte{} || !names {
		return fmt.Errorf("spec %.40q of %d bytes: %w", b.Spec.Name, len(b.Spec.Text), ErrSpec)
	}
	if b.Model == nil {
		return fmt.Errorf("no model: %w", ErrShape)
	}
	if err := b.validateFeatures(); err != nil {
		return err
	}
	if err := b.Model.Validate(); err != nil {
		return fmt.Errorf("model: %w", err)
	}
	if err := b.Calibration.validate(); err != nil {
		return err
	}
	if err := b.Policy.validate(); err != nil {
		return err
	}
	if err := b.validateRows(); err != nil || b.Profile == nil {
		return err
	}
	return b.Profile.validate(len(b.Features))
}

func (b *Bundle) validateFeatures() error {
	if len(b.Features) != b.Model.Columns || len(b.Features) == 0 {
		return fmt.Errorf("%d names for %d columns: %w", len(b.Features), b.Model.Columns, ErrFeatures)
	}
	seen := make(map[string]bool, len(b.Features))
	for i, name := range b.Features {
		if name == "" || len(name) > nameBytesMax || seen[name] || !utf8.ValidString(name) {
			return fmt.Errorf("name %d, %.40q, is empty, too long, no text or a second one: %w", i, name, ErrFeatures)
		}
		seen[name] = true
	}
	return nil
}

func (b *Bundle) validateRows() error {
	cols := len(b.Features)
	rows := len(b.Background) / cols
	if len(b.Background)%cols != 0 || rows > BackgroundRowsMax || rows > 0 && rows < BackgroundRowsMin {
		return fmt.Errorf("%d numbers for rows of %d: %w", len(b.Background), cols, ErrBackground)
	}
	for i, v := range b.Background {
		if math.IsInf(float64(v), 0) {
			return fmt.Errorf("row %d column %d is %g: %w", i/cols, i%cols, v, ErrBackground)
		}
	}
	n := len(b.SelfTestScores)
	if n < SelfTestRowsMin || n > SelfTestRowsMax || len(b.SelfTestRows) != n*cols {
		return fmt.Errorf("%d scores, %d numbers for rows of %d: %w", n, len(b.SelfTestRows), cols, ErrNoSelfTest)
	}
	for i, v := range b.SelfTestScores {
		if !(v >= 0 && v <= 1) {
			return fmt.Errorf("self-test score %d is %g: %w", i, v, ErrNoSelfTest)
		}
	}
	return nil
}
