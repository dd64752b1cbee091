package features

import (
	"math"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

// opTypeEq and opStatusEq compare numbers where the spec compares names; the
// other operations are the spec's own.
const (
	opTypeEq spec.Op = 128 + iota
	opTypeNe
	opStatusEq
	opStatusNe
)

// instruction is one operation on the stack of values.
type instruction struct {
	op     spec.Op
	index  int // aggregate, feature, or number that a type or status equals
	num    float64
	text   string
	field  spec.FieldRef
	zone   *spec.Zone // nil: the field holds its name
	zoneOf schemas.TextField
}

// program is an expression in the order in which it is computed.
type program []instruction

var (
	typeNames   = []string{"authorisation", "capture", "reversal", "refund", "transfer", "payout"}
	statusNames = []string{"unknown", "approved", "declined"}
)

// compile appends the instructions of x to p and returns it and the depth of
// the stack that it takes.
func compile(s *spec.Spec, p program, x *spec.Expr) (program, int) {
	depth := 1
	for i, arg := range x.Args {
		var d int
		p, d = compile(s, p, arg)
		depth = max(depth, d+i)
	}
	in := instruction{op: x.Op, index: x.Index, num: x.Num, text: x.Str, field: x.Field}
	switch x.Op {
	case spec.OpTextEq, spec.OpTextNe:
		in = comparison(in)
	case spec.OpHour, spec.OpWeekday, spec.OpDay:
		in.zone, in.zoneOf = zoneOf(s, x)
	}
	return append(p, in), depth
}

// comparison makes of a comparison of a type's or status's name one of its
// number.
func comparison(in instruction) instruction {
	names, eq, ne := typeNames, opTypeEq, opTypeNe
	switch in.field.Kind {
	case spec.StatusRef:
		names, eq, ne = statusNames, opStatusEq, opStatusNe
	case spec.OwnTextRef:
		in.field = spec.FieldRef{Kind: spec.TextRef, Text: schemas.NumText + schemas.TextField(in.field.Index)}
		return in
	case spec.TextRef:
		return in
	}
	in.index = -1
	for i, name := range names {
		if name == in.text {
			in.index = i
		}
	}
	if in.op == spec.OpTextEq {
		in.op = eq
	} else {
		in.op = ne
	}
	return in
}

// zoneOf returns the zone of x, nil where a column names it, and that column.
func zoneOf(s *spec.Spec, x *spec.Expr) (*spec.Zone, schemas.TextField) {
	switch {
	case x.Rules != nil:
		return x.Rules, 0
	case x.Zone == "" && x.ZoneField.Kind == spec.OwnTextRef:
		return nil, schemas.NumText + schemas.TextField(x.ZoneField.Index)
	case x.Zone == "" && x.ZoneField.Kind == spec.TextRef && x.ZoneField.Text != schemas.ID:
		return nil, x.ZoneField.Text
	}
	return s.ZoneByName([]byte(x.Zone)), 0
}

// eval computes a program for row i of b; x holds the row's features so far,
// e.values its aggregates.
func (e *Engine) eval(p program, b *schemas.Batch, i int, x []float32) float64 {
	s := e.stack[:0]
	for j := range p {
		in := &p[j]
		switch in.op {
		case spec.OpConst:
			s = append(s, in.num)
		case spec.OpAgg:
			s = append(s, e.values[in.index])
		case spec.OpFeature:
			s = append(s, float64(x[in.index]))
		case spec.OpField:
			s = append(s, e.field(b, i, in.field))
		case spec.OpTextEq:
			s = append(s, truth(string(b.Bytes(i, in.field.Text)) == in.text))
		case spec.OpTextNe:
			s = append(s, truth(string(b.Bytes(i, in.field.Text)) != in.text))
		case opTypeEq:
			s = append(s, truth(int(b.Tx[i].Type) == in.index))
		case opTypeNe:
			s = append(s, truth(int(b.Tx[i].Type) != in.index))
		case opStatusEq:
			s = append(s, truth(int(b.Tx[i].Status) == in.index))
		case opStatusNe:
			s = append(s, truth(int(b.Tx[i].Status) != in.index))
		case spec.OpHour, spec.OpWeekday, spec.OpDay:
			s = append(s, e.clock(in, b, i))
		case spec.OpNot:
			s[len(s)-1] = truthOr(s[len(s)-1], s[len(s)-1] == 0)
		case spec.OpLog:
			s[len(s)-1] = logFloat(max(s[len(s)-1], 0) + 1)
		default:
			a, c := s[len(s)-2], s[len(s)-1]
			s = s[:len(s)-1]
			s[len(s)-1] = apply(in.op, a, c)
		}
	}
	return s[0]
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// truthOr is the truth of b, or NaN where v is.
func truthOr(v float64, b bool) float64 {
	if math.IsNaN(v) {
		return v
	}
	return truth(b)
}

// apply computes an operation of two values.
func apply(op spec.Op, a, c float64) float64 {
	unknown := math.IsNaN(a) || math.IsNaN(c)
	switch op {
	case spec.OpAnd:
		if a == 0 || c == 0 {
			return 0
		}
		return known(unknown, true)
	case spec.OpOr:
		if !math.IsNaN(a) && a != 0 || !math.IsNaN(c) && c != 0 {
			return 1
		}
		return known(unknown, false)
	}
	if unknown {
		return math.NaN()
	}
	switch op {
	case spec.OpAdd:
		return a + c
	case spec.OpSub:
		return a - c
	case spec.OpMul:
		return a * c
	case spec.OpDiv:
		if c == 0 {
			return math.NaN()
		}
		return a / c
	case spec.OpMin:
		return min(a, c)
	case spec.OpMax:
		return max(a, c)
	}
	return truth(compare(op, a, c))
}

func known(unknown, v bool) float64 {
	if unknown {
		return math.NaN()
	}
	return truth(v)
}

func compare(op spec.Op, a, c float64) bool {
	switch op {
	case spec.OpLT:
		return a < c
	case spec.OpLE:
		return a <= c
	case spec.OpGT:
		return a > c
	case spec.OpGE:
		return a >= c
	case spec.OpEQ:
		return a == c
	case spec.OpNE:
		return a != c
	}
	panic("BUG: an operation without a way to compute it")
}

// field returns a numeric field of row i, in the units of features.
func (e *Engine) field(b *schemas.Batch, i int, f spec.FieldRef) float64 {
	switch f.Kind {
	case spec.AmountRef:
		return float64(b.Tx[i].AmountBase) / e.amountUnits
	case spec.TimeRef:
		return float64(b.Tx[i].Time) / 1000
	case spec.OwnNumberRef:
		return b.Number[i*b.NumberWidth+f.Index]
	case spec.TypeRef:
		return float64(b.Tx[i].Type)
	case spec.StatusRef:
		return float64(b.Tx[i].Status)
	}
	return math.NaN()
}

// clock returns the hour, weekday or day of the month of row i where it
// happened.
func (e *Engine) clock(in *instruction, b *schemas.Batch, i int) float64 {
	t, zone := b.Tx[i].Time, in.zone
	if zone == nil {
		zone = e.spec.ZoneByName(b.Bytes(i, in.zoneOf))
	}
	switch in.op {
	case spec.OpHour:
		return float64(zone.Hour(t))
	case spec.OpWeekday:
		return float64(zone.Weekday(t))
	}
	return float64(zone.Day(t))
}
