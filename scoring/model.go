package scoring

// Limits of a model; Validate holds them.
const (
	ColumnsMax  = 4096 // of the matrix
	InputsMax   = 4096
	SegmentsMax = 256 // of one input
	WidthMax    = 4096
	HiddenMax   = 8
	MembersMax  = 64
	// activationMax bounds what any sum inside the network may reach, so that
	// no input whatever makes an infinity or a NaN.
	activationMax = 1e30
)

// Matrix is rows of float32, row-major: row i is Data[i*Cols : (i+1)*Cols].
// NaN is a missing value; every other value, infinities included, is one.
type Matrix struct {
	Data       []float32
	Rows, Cols int
}

// Scorer scores rows with one model.
//
// Score writes the score of row i, a probability in [0, 1], to out[i]; what
// lies beyond x.Rows in out is left alone. It fails only where the matrix does
// not fit the model or out is too short, having written nothing, or where a
// device fails, having written anything. The bits of a score depend on the
// model and the row alone: neither on the implementation, nor on the rows
// beside it, nor on how a matrix was cut. Score keeps neither x nor out and
// does not allocate. One goroutine uses a Scorer at a time; several Scorers may
// share a Model, which none of them changes. One that is [Halved] was asked for less:
// its bits are those of the model and the row only where it says so.
//
// The real ones are scoring/cpu and scoring/cuda; scoringtest.TestScorer is
// this contract as a test.
type Scorer interface {
	Score(x Matrix, out []float32) error
}

// Model holds the tables of a network; doc.go says what is computed from them.
// It is not changed once it is in use.
type Model struct {
	Columns int     // of the matrix that Score takes
	Inputs  []Input // in the order in which they are summed
	Members int
	// Width is the number of outputs of the encoding: that of Hidden[0], or 1
	// where there is no hidden layer.
	Width  int
	Hidden []Layer
	Out    []float32 // Members rows of the last hidden layer's width; empty where there is none
	Bias   []float32 // Members
}

// Input is one term of the encoding: a piecewise linear function of a column.
// Several inputs may read the same column, with the logarithm and without.
//
// A linear input has no Edges and no Prefix, and one row of Slope. A table has
// n = len(Edges) >= 1 segments and n+1 rows of Prefix and Slope, the last of
// them for a missing value. Rows are Width long.
type Input struct {
	Column    int
	Log       bool    // of the column's signed logarithm, see SignedLog
	Mean, Inv float32 // z = (x - Mean) * Inv, Inv > 0
	Lo, Hi    float32 // to which z is clamped
	Missing   float32 // z of a missing value; linear inputs only
	// Edges are where segments begin, strictly ascending, in units of z. The
	// first segment reaches down to Lo whatever Edges[0] is.
	Edges  []float32
	Prefix []float32
	Slope  []float32
}

// Linear reports whether the input is a plain column of a dense matrix.
func (in *Input) Linear() bool { return len(in.Edges) == 0 }

// Layer is one hidden layer: a matrix that all members share, between scales
// and biases that each member has for itself. The first hidden layer has no R
// and no W: its product is the encoding.
type Layer struct {
	Width int
	R     []float32 // Members rows of the width before: scales of the inputs
	W     []float32 // one row of Width for each input
	S, B  []float32 // Members rows of Width: scales and biases of the outputs
}

// LastWidth returns the width of the last hidden layer, or 0 where there is
// none.
func (m *Model) LastWidth() int {
	if len(m.Hidden) == 0 {
		return 0
	}
	return m.Hidden[len(m.Hidden)-1].Width
}
