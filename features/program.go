package features

import (
	"math"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

// Operations beside the spec's own, and next to them, for which the compiler
// makes a table of jumps. Types and statuses are compared as numbers where the
// spec compares names.
const (
	opTypeEq = spec.OpMax + 1 + iota
	opTypeNe
	opStatusEq
	opStatusNe
	opCopy      // of another register
	opPredicate // whether a is true
)

// instruction computes one register from others.
type instruction struct {
	op      spec.Op
	dst     int32 // register, or of a predicate its number
	feature int32 // that is the register's value too, -1 for none
	a, b    int32 // registers, or the feature, type or status that op asks for
	*detail       // nil where the operation needs no more
}

// detail is what only some operations need.
type detail struct {
	text    string
	field   spec.FieldRef
	zone    *spec.Zone // nil: the field holds its name
	zoneOf  schemas.TextField
	emitter *emitter
	view    *entity // that the emitter reads
}

// program is a list of instructions, each after those whose results it takes.
type program []instruction

// run computes a program for row i of b and returns the predicates that hold;
// x holds the row's features so far, and takes those that the program computes.
func (e *Engine) run(p program, b *schemas.Batch, i int, x []float32) (bits uint64) {
	r := e.values
	for j := range p {
		in := &p[j]
		var v float64
		switch in.op {
		case spec.OpAgg:
			v = in.view.emit(in.emitter, bits)
		case opPredicate:
			bits |= holds(r[in.a]) << in.dst
			continue
		case opCopy:
			v = r[in.a]
		case spec.OpFeature:
			v = float64(x[in.a])
		case spec.OpField:
			v = e.field(b, i, &in.field)
		case spec.OpTextEq:
			v = truth(string(b.Bytes(i, in.field.Text)) == in.text)
		case spec.OpTextNe:
			v = truth(string(b.Bytes(i, in.field.Text)) != in.text)
		case opTypeEq:
			v = truth(int32(b.Tx[i].Type) == in.a)
		case opTypeNe:
			v = truth(int32(b.Tx[i].Type) != in.a)
		case opStatusEq:
			v = truth(int32(b.Tx[i].Status) == in.a)
		case opStatusNe:
			v = truth(int32(b.Tx[i].Status) != in.a)
		case spec.OpHour, spec.OpWeekday, spec.OpDay:
			v = e.clock(in.op, in.detail, b, i)
		case spec.OpNot:
			v = truthOr(r[in.a], r[in.a] == 0)
		case spec.OpLog:
			v = logFloat(max(r[in.a], 0) + 1)
		default:
			v = apply(in.op, r[in.a], r[in.b])
		}
		r[in.dst] = v
		if in.feature >= 0 {
			x[in.feature] = float32(v)
		}
	}
	return bits
}

// holds is 1 where a condition is true; the unknown is not.
func holds(v float64) uint64 {
	if v != 0 && !math.IsNaN(v) {
		return 1
	}
	return 0
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
func (e *Engine) field(b *schemas.Batch, i int, f *spec.FieldRef) float64 {
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
func (e *Engine) clock(op spec.Op, in *detail, b *schemas.Batch, i int) float64 {
	t, zone := b.Tx[i].Time, in.zone
	if zone == nil {
		zone = e.spec.ZoneByName(b.Bytes(i, in.zoneOf))
	}
	switch op {
	case spec.OpHour:
		return float64(zone.Hour(t))
	case spec.OpWeekday:
		return float64(zone.Weekday(t))
	}
	return float64(zone.Day(t))
}
