package scoring

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// manifest is the readable part of a bundle: everything but the big tables, and
// how long those are.
type manifest struct {
	Name        string          `json:"name"`
	Spec        manifestSpec    `json:"spec"`
	Features    []string        `json:"features"`
	Model       manifestModel   `json:"model"`
	Calibration manifestCalib   `json:"calibration"`
	Policy      manifestPolicy  `json:"policy"`
	Background  int             `json:"background_rows"`
	SelfTest    int             `json:"self_test_rows"`
	Profile     *Profile        `json:"profile,omitempty"`
	Facts       json.RawMessage `json:"facts"`
}

type manifestSpec struct {
	Name  string `json:"name"`
	Hash  string `json:"hash"`
	Bytes int    `json:"bytes"`
}

type manifestModel struct {
	Columns int             `json:"columns"`
	Members int             `json:"members"`
	Width   int             `json:"width"`
	Inputs  []manifestInput `json:"inputs"`
	Hidden  []int           `json:"hidden"`
}

type manifestInput struct {
	Column int  `json:"column"`
	Log    bool `json:"log"`
	Edges  int  `json:"edges"`
}

type manifestCalib struct {
	Kind string  `json:"kind"`
	A    float32 `json:"a"`
	B    float32 `json:"b"`
	C    float32 `json:"c"`
}

type manifestPolicy struct {
	Rank       string  `json:"rank"`
	Review     float32 `json:"review"`
	Block      float32 `json:"block"`
	Explore    float32 `json:"explore"`
	ExploreKey string  `json:"explore_key"`
}

// manifest returns the bundle's canonical manifest.
func (b *Bundle) manifest() ([]byte, error) {
	m := manifest{
		Name: b.Name, Features: b.Features, Profile: b.Profile, Facts: b.Facts,
		Spec: manifestSpec{b.Spec.Name, hex.EncodeToString(b.Spec.Hash[:]), len(b.Spec.Text)},
		Model: manifestModel{
			Columns: b.Model.Columns, Members: b.Model.Members, Width: b.Model.Width,
			Inputs: []manifestInput{}, Hidden: []int{},
		},
		Calibration: manifestCalib{calibrationNames[b.Calibration.Kind], b.Calibration.A, b.Calibration.B, b.Calibration.C},
		Policy: manifestPolicy{
			rankNames[b.Policy.Rank], b.Policy.Review, b.Policy.Block,
			b.Policy.Explore, hex.EncodeToString(b.Policy.ExploreKey[:]),
		},
		Background: len(b.Background) / len(b.Features), SelfTest: len(b.SelfTestScores),
	}
	if len(m.Facts) == 0 {
		m.Facts = json.RawMessage("{}")
	}
	var facts map[string]json.RawMessage
	if json.Unmarshal(m.Facts, &facts) != nil || facts == nil {
		return nil, ErrFacts
	}
	for i := range b.Model.Inputs {
		in := &b.Model.Inputs[i]
		m.Model.Inputs = append(m.Model.Inputs, manifestInput{in.Column, in.Log, len(in.Edges)})
	}
	for l := range b.Model.Hidden {
		m.Model.Hidden = append(m.Model.Hidden, b.Model.Hidden[l].Width)
	}
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	return text, nil
}

// parseManifest returns a bundle with all that the manifest says, and with
// tables of the lengths that it says, still empty. Those lengths are bounded by
// the limits of a model and of a bundle before anything is made.
func parseManifest(text []byte) (*Bundle, error) {
	var m manifest
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	again, err := json.Marshal(m)
	if err != nil || !bytes.Equal(again, text) {
		return nil, fmt.Errorf("not in canonical form: %w", ErrManifest)
	}
	b := &Bundle{
		Name: m.Name, Features: m.Features, Profile: m.Profile, Facts: m.Facts, Spec: SpecText{Name: m.Spec.Name},
		Calibration: Calibration{A: m.Calibration.A, B: m.Calibration.B, C: m.Calibration.C},
		Policy:      Policy{Review: m.Policy.Review, Block: m.Policy.Block, Explore: m.Policy.Explore},
	}
	if !unhex(b.Spec.Hash[:], m.Spec.Hash) {
		return nil, fmt.Errorf("spec hash %.80q: %w", m.Spec.Hash, ErrSpec)
	}
	if !unhex(b.Policy.ExploreKey[:], m.Policy.ExploreKey) {
		return nil, fmt.Errorf("key %.80q: %w", m.Policy.ExploreKey, ErrExploration)
	}
	kind := slices.Index(calibrationNames[:], m.Calibration.Kind)
	if kind < 0 {
		return nil, fmt.Errorf("kind %.40q: %w", m.Calibration.Kind, ErrCalibration)
	}
	rank := slices.Index(rankNames[:], m.Policy.Rank)
	if rank < 0 {
		return nil, fmt.Errorf("rank key %.40q: %w", m.Policy.Rank, ErrRankKey)
	}
	var facts map[string]json.RawMessage
	if json.Unmarshal(m.Facts, &facts) != nil || facts == nil {
		return nil, ErrFacts
	}
	b.Calibration.Kind, b.Policy.Rank = CalibrationKind(kind), RankKey(rank)
	return b, b.shape(&m)
}

func unhex(dst []byte, text string) bool {
	raw, err := hex.DecodeString(text)
	return err == nil && copy(dst, raw) == len(dst) && len(raw) == len(dst)
}

// shape makes the bundle's tables at the manifest's lengths.
func (b *Bundle) shape(m *manifest) error {
	d := &m.Model
	ok := len(b.Features) == d.Columns && within(d.Columns, 1, ColumnsMax) && within(d.Members, 1, MembersMax) &&
		within(d.Width, 1, WidthMax) && within(len(d.Inputs), 1, InputsMax) && len(d.Hidden) <= HiddenMax &&
		within(m.Background, 0, BackgroundRowsMax) && within(m.SelfTest, 0, SelfTestRowsMax) &&
		within(m.Spec.Bytes, 0, BundleBytesMax)
	for _, in := range d.Inputs {
		ok = ok && within(in.Edges, 0, SegmentsMax)
	}
	for _, w := range d.Hidden {
		ok = ok && within(w, 1, WidthMax)
	}
	if !ok {
		return fmt.Errorf("lengths out of bounds: %w", ErrSections)
	}
	budget := BundleBytesMax / 4 // numbers that a file can hold
	table := func(n int) []float32 {
		if budget -= n; budget < 0 || n == 0 {
			return nil
		}
		return make([]float32, n)
	}
	b.Spec.Text = make([]byte, m.Spec.Bytes)
	b.Model = &Model{Columns: d.Columns, Members: d.Members, Width: d.Width, Inputs: make([]Input, len(d.Inputs))}
	for i, in := range d.Inputs {
		rows := 0
		if in.Edges > 0 {
			rows = in.Edges + 1
		}
		b.Model.Inputs[i] = Input{
			Column: in.Column, Log: in.Log, Edges: table(in.Edges),
			Prefix: table(rows * d.Width), Slope: table(max(rows, 1) * d.Width),
		}
	}
	before := 0
	for _, w := range d.Hidden {
		b.Model.Hidden = append(b.Model.Hidden, Layer{
			Width: w, R: table(d.Members * before), W: table(before * w),
			S: table(d.Members * w), B: table(d.Members * w),
		})
		before = w
	}
	b.Model.Out, b.Model.Bias = table(d.Members*before), table(d.Members)
	b.Background, b.SelfTestRows = table(m.Background*d.Columns), table(m.SelfTest*d.Columns)
	b.SelfTestScores = table(m.SelfTest)
	if budget < 0 {
		return fmt.Errorf("more numbers than a bundle holds: %w", ErrSections)
	}
	return nil
}

func within(n, lo, hi int) bool { return n >= lo && n <= hi }

// fill reads the sections into the tables that shape made.
func (b *Bundle) fill(data []byte) error {
	list := b.sections()
	need := len(b.Spec.Text)
	for _, t := range list {
		need += 4 * len(*t)
	}
	if need != len(data) {
		return fmt.Errorf("%d bytes, not %d: %w", len(data), need, ErrSections)
	}
	for _, t := range list {
		for i := range *t {
			(*t)[i] = math.Float32frombits(binary.LittleEndian.Uint32(data))
			data = data[4:]
		}
	}
	copy(b.Spec.Text, data)
	scalars := *list[0]
	for i := range b.Model.Inputs {
		in := &b.Model.Inputs[i]
		in.Mean, in.Inv, in.Lo, in.Hi, in.Missing = scalars[0], scalars[1], scalars[2], scalars[3], scalars[4]
		scalars = scalars[5:]
	}
	return nil
}
