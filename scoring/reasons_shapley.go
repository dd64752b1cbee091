package scoring

import "math/bits"

// mixer scores every mixture of a decision with background rows, in which some
// groups of features are the decision's and the others the row's: a set of groups
// is a number of which bit g stands for group g.
type mixer struct {
	model  *Model
	group  []int // of each input
	behind Scorer
	rows   []float32 // of the background: ReasonRows times groups times width, a group's part of the encoding
	logits []float32 // of these rows
	usual  int       // the row whose logit is closest to their mean
	common []float32 // and its features
	// Scratch: a decision's parts, what they are beyond a row's, codes that were mixed,
	// which of them a set has, their scores, and what sets are worth.
	parts, beyond, codes []float32
	at                   []int
	scores               []float32
	worth                []float64
	weight               []float64 // of a set of so many groups, see shares
}

// mix prepares to mix with rows, which whole scores; of is the group of each column.
func (x *mixer) mix(m *Model, newScorer func(*Model) (Scorer, error), whole Scorer, rows []float32, of []int, groups int) error {
	x.model = m
	for i := range m.Inputs {
		x.group = append(x.group, of[m.Inputs[i].Column])
	}
	var err error
	if x.behind, err = newScorer(m.behind()); err != nil {
		return err
	}
	x.logits = make([]float32, ReasonRows)
	if err := whole.Score(Matrix{Data: rows, Rows: ReasonRows, Cols: len(of)}, x.logits); err != nil {
		return err
	}
	part := groups * m.Width
	x.rows = make([]float32, ReasonRows*part)
	mean := float32(0)
	for i, p := range x.logits {
		x.logits[i] = logit(p)
		mean += x.logits[i] / ReasonRows
		x.encode(x.rows[i*part:(i+1)*part], rows[i*len(of):(i+1)*len(of)])
	}
	for i, l := range x.logits {
		if distance(l, mean) < distance(x.logits[x.usual], mean) {
			x.usual = i
		}
	}
	x.common = rows[x.usual*len(of) : (x.usual+1)*len(of)]
	sets := 1 << groups
	x.parts, x.beyond = make([]float32, part), make([]float32, part)
	x.codes, x.at = make([]float32, sets*m.Width), make([]int, sets)
	x.scores, x.worth = make([]float32, sets), make([]float64, sets)
	// Of groups! orders, size! (groups-size-1)! have these size groups first and a
	// certain other one next.
	x.weight = make([]float64, groups)
	for size := range x.weight {
		x.weight[size] = 1 / float64(groups)
		for k := range size {
			x.weight[size] *= float64(k+1) / float64(groups-1-k)
		}
	}
	return nil
}

// behind returns the model that begins behind m's encoding: its inputs are the
// encoding's sums, as they are.
func (m *Model) behind() *Model {
	reach := make([]float64, m.Width)
	for i := range m.Inputs {
		m.Inputs[i].addBound(reach)
	}
	b := *m
	b.Columns, b.Inputs = m.Width, nil
	for j, most := range reach {
		most := float32(most * 1.001) // whose rounding may take a sum past it
		in := Input{Column: j, Inv: 1, Lo: -most, Hi: most, Slope: make([]float32, m.Width)}
		in.Slope[j] = 1
		b.Inputs = append(b.Inputs, in)
	}
	return &b
}

// encode computes each group's part of a row's encoding.
func (x *mixer) encode(parts, row []float32) {
	clear(parts)
	w := x.model.Width
	for i := range x.model.Inputs {
		in := &x.model.Inputs[i]
		in.addNearly(row[in.Column], parts[x.group[i]*w:(x.group[i]+1)*w])
	}
}

// shares fills in the Shapley value of each group of row against the background.
func (x *Explainer) shares(row, moved []float32) error {
	if err := x.whole.Score(Matrix{Data: row, Rows: 1, Cols: x.cols}, x.own); err != nil {
		return err
	}
	own := logit(x.own[0])
	x.encode(x.parts, row)
	clear(x.worth)
	for r := range ReasonRows {
		mixed := x.codesOf(r)
		w := x.model.Width
		if err := x.behind.Score(Matrix{Data: x.codes[:mixed*w], Rows: mixed, Cols: w}, x.scores); err != nil {
			return err
		}
		for c, p := range x.scores[:mixed] {
			x.scores[c] = logit(p)
		}
		last := len(x.at) - 1 // all groups: the decision itself
		x.worth[0] += float64(x.logits[r])
		for set := 1; set < last; set++ {
			x.worth[set] += float64(x.scores[x.at[set]])
		}
		x.worth[last] += float64(own)
	}
	for g := range moved {
		sum := 0.
		for set, worth := range x.worth {
			if set>>g&1 == 0 {
				sum += float64(x.weight[bits.OnesCount(uint(set))] * (x.worth[set|1<<g] - worth))
			}
		}
		moved[g] = float32(sum / ReasonRows)
	}
	return nil
}

// codesOf mixes the decision with row r, and returns how many codes that gives:
// a group that both have the same is mixed in once.
func (x *mixer) codesOf(r int) (mixed int) {
	w, groups := x.model.Width, len(x.weight)
	theirs := x.rows[r*groups*w : (r+1)*groups*w]
	same := 0
	clear(x.codes[:w])
	for g := range groups {
		beyond, code := x.beyond[g*w:(g+1)*w], x.codes[:w]
		differs := false
		for j, v := range theirs[g*w : (g+1)*w] {
			code[j] += v
			beyond[j] = x.parts[g*w+j] - v
			differs = differs || beyond[j] != 0
		}
		if !differs {
			same |= 1 << g
		}
	}
	mixed = 1
	for set := 1; set < len(x.at); set++ {
		g := bits.TrailingZeros(uint(set))
		from := x.at[set&(set-1)]
		if x.at[set] = from; same>>g&1 == 1 {
			continue
		}
		code, beyond := x.codes[mixed*w:(mixed+1)*w], x.beyond[g*w:(g+1)*w]
		for j, v := range x.codes[from*w : (from+1)*w] {
			code[j] = v + beyond[j]
		}
		x.at[set] = mixed
		mixed++
	}
	return mixed
}

// walk fills in what each group of row adds where the groups are mixed into the
// usual row one after another, on average over the order of the spec and the same
// from its end. That is an estimate of the Shapley value from two of the groups!
// orders (Castro and others, 2009), which sums to the distance from that row's logit
// as the value does from the mean. The rows are so few that to mix them as features,
// for the scorer to encode, takes half of the time that sums of parts would.
func (x *Explainer) walk(row, moved []float32) error {
	groups := len(x.groups)
	upper, lower := x.ways[:groups*x.cols], x.ways[groups*x.cols:]
	x.mixIn(upper, row, func(k int) int { return k }) // the last is the decision itself
	x.mixIn(lower, row, func(k int) int { return groups - 1 - k })
	n := len(x.ways) / x.cols
	if err := x.whole.Score(Matrix{Data: x.ways, Rows: n, Cols: x.cols}, x.scores); err != nil {
		return err
	}
	for i, p := range x.scores[:n] {
		x.scores[i] = logit(p)
	}
	clear(moved)
	first, last := x.logits[x.usual], x.logits[x.usual] // reached from either side
	for k := range groups {
		up, down := x.scores[k], x.scores[groups-1]
		if groups+k < n {
			down = x.scores[groups+k]
		}
		moved[k] += (up - first) / 2
		moved[groups-1-k] += (down - last) / 2
		first, last = up, down
	}
	return nil
}

// mixIn fills rows with the usual one, into which one group more of row is mixed each
// time, in an order.
func (x *Explainer) mixIn(rows, row []float32, order func(k int) int) {
	before := x.common
	for k := range len(rows) / x.cols {
		mixed := rows[k*x.cols : (k+1)*x.cols]
		copy(mixed, before)
		for _, f := range x.groups[order(k)].columns {
			mixed[f] = row[f]
		}
		before = mixed
	}
}
