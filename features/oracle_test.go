package features

import (
	"math"
	"math/big"
	"slices"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

// txn is a transaction as the tests make it.
type txn struct {
	time     int64
	typ      schemas.TxType
	status   schemas.Status
	amount   int64
	id, orig string
	texts    map[schemas.TextField]string // terminal, country, ...
	ownText  string
	own      float64
}

func (x *txn) text(f spec.FieldRef) string {
	switch f.Kind {
	case spec.TextRef:
		return x.texts[f.Text]
	case spec.OwnTextRef:
		return x.ownText
	case spec.TypeRef:
		return typeNames[x.typ]
	case spec.StatusRef:
		return statusNames[x.status]
	}
	panic("no text")
}

// integer returns the number of a field in the units of its aggregates.
func (x *txn) integer(f spec.FieldRef) (int64, bool) {
	switch f.Kind {
	case spec.AmountRef:
		return x.amount, true
	case spec.TimeRef:
		return x.time, true
	}
	return int64(math.RoundToEven(x.own * 1e6)), !math.IsNaN(x.own)
}

// entry is an event as one of its entities keeps it.
type entry struct {
	x       *txn
	preds   uint64
	undone  int64 // when, or neverUndone
	label   schemas.LabelVerdict
	evicted bool
}

// oracle keeps every event and computes each aggregate by its definition.
type oracle struct {
	s       *spec.Spec
	keep    []int64
	lists   []map[string][]*entry // by entity and key, in event-time order
	current *txn
	x       []float32
	have    []bool
	preds   map[int]bool
	known   map[*txn]*[schemas.NumLabelSources][2]int // version, verdict
	cover   coverage
}

func newOracle(s *spec.Spec) *oracle {
	o := &oracle{s: s, known: map[*txn]*[schemas.NumLabelSources][2]int{}}
	for i := range s.Entities {
		o.lists = append(o.lists, map[string][]*entry{})
		o.keep = append(o.keep, o.keepOf(i))
	}
	if s.Home >= 0 {
		o.keep[s.Home] = max(o.keep[s.Home], s.DedupWindow+s.LateMax)
		for i := range s.Entities {
			labels := slices.ContainsFunc(s.Aggregates, func(a spec.Aggregate) bool { return a.Entity == i && a.Fn >= spec.FraudCount })
			if labels || s.Input.Text[schemas.OriginalID].Path != nil {
				o.keep[s.Home] = max(o.keep[s.Home], o.keepOf(i))
			}
		}
	}
	return o
}

func (o *oracle) keepOf(i int) int64 {
	keep := int64(1)
	for _, a := range o.s.Aggregates {
		if a.Entity == i {
			keep = max(keep, a.Window+a.Delay+o.s.LateMax)
		}
	}
	return keep
}

func (o *oracle) key(x *txn, entity int) string {
	key := ""
	for _, f := range o.s.Entities[entity].Keys {
		t := x.text(f)
		if t == "" {
			return ""
		}
		key += t + "\x00"
	}
	return key
}

func (o *oracle) list(x *txn, entity int) []*entry { return o.lists[entity][o.key(x, entity)] }

func newestOf(list []*entry) int64 {
	if len(list) == 0 {
		return -1
	}
	return list[len(list)-1].x.time
}

// take returns what becomes of a transaction, and its vector.
func (o *oracle) take(x *txn) (v schemas.Verdict, vector []float32, action schemas.Action) {
	if x.typ == schemas.Reversal {
		o.reverse(x)
		return schemas.Verdict{Outcome: schemas.Unscored, Reason: schemas.NotScoredType, Flags: schemas.FoldOnly}, nil, 0
	}
	if r := o.repeated(x); r != schemas.NoReason {
		o.cover.repeated++
		return schemas.Verdict{Outcome: schemas.Duplicate, Reason: r}, nil, 0
	}
	home := o.s.Home >= 0 && o.key(x, o.s.Home) != ""
	for i := range o.s.Entities {
		behind := newestOf(o.list(x, i)) - x.time
		if o.key(x, i) == "" || behind <= 0 {
			continue
		}
		v.Flags |= schemas.Late
		if behind <= o.s.LateMax {
			continue
		}
		if i == o.s.Home || !home {
			o.cover.tooLate++
			return schemas.Verdict{Outcome: schemas.Unscored, Reason: schemas.TooLate, Flags: schemas.Late}, nil, 0
		}
		v.Flags |= schemas.Approximate
	}
	o.current, o.x, o.have, o.preds = x, make([]float32, len(o.s.Features)), make([]bool, len(o.s.Features)), map[int]bool{}
	for i := range o.s.Features {
		o.feature(i)
	}
	for _, r := range o.s.Fallback {
		if w := o.eval(r.Cond); w != 0 && !math.IsNaN(w) {
			action = r.Action
			break
		}
	}
	if !o.s.Scored[x.typ] {
		v.Outcome, v.Reason, v.Flags = schemas.Unscored, schemas.NotScoredType, v.Flags|schemas.FoldOnly
	}
	o.cover.count(o, x, v)
	o.fold(x)
	return v, o.x, action
}

func (o *oracle) repeated(x *txn) schemas.Reason {
	if o.s.Home < 0 {
		return schemas.NoReason
	}
	list := o.list(x, o.s.Home)
	for i := len(list) - 1; i >= 0; i-- {
		p := list[i].x
		if d := x.time - p.time; list[i].evicted || p.id != x.id || max(d, -d) > o.s.DedupWindow {
			continue
		}
		same := p.time == x.time && p.amount == x.amount && p.typ == x.typ && p.status == x.status &&
			p.ownText == x.ownText && p.orig == x.orig
		for f := range schemas.NumText {
			same = same && p.texts[f] == x.texts[f]
		}
		if same {
			return schemas.Repeat
		}
		return schemas.Conflict
	}
	return schemas.NoReason
}

func (o *oracle) fold(x *txn) {
	var preds uint64
	for p := range o.s.Predicates {
		if o.predicate(p) {
			preds |= 1 << p
		}
	}
	o.known[x] = &[schemas.NumLabelSources][2]int{}
	for i := range o.s.Entities {
		key := o.key(x, i)
		if key == "" {
			continue
		}
		list := o.lists[i][key]
		at, _ := slices.BinarySearchFunc(list, x.time+1, func(e *entry, t int64) int { return int(e.x.time - t) })
		for at < len(list) && list[at].x.time <= x.time {
			at++
		}
		list = slices.Insert(list, at, &entry{x: x, preds: preds, undone: neverUndone})
		for _, e := range list {
			if !e.evicted && e.x.time <= newestOf(list)-o.keep[i] {
				e.evicted = true
				o.cover.evicted++
			}
		}
		o.lists[i][key] = list
	}
}

// each calls do for every kept event of an id, with what its entities keep.
func (o *oracle) each(id string, do func(home *entry, others []*entry)) {
	if o.s.Home < 0 {
		return
	}
	for _, list := range o.lists[o.s.Home] {
		for _, e := range list {
			if e.evicted || e.x.id != id {
				continue
			}
			var others []*entry
			for i := range o.s.Entities {
				for _, other := range o.list(e.x, i) {
					if i != o.s.Home && other.x == e.x && !other.evicted {
						others = append(others, other)
					}
				}
			}
			do(e, others)
		}
	}
}

func (o *oracle) reverse(x *txn) {
	if o.s.Input.Text[schemas.OriginalID].Path == nil {
		return
	}
	o.each(x.orig, func(home *entry, others []*entry) {
		if home.undone != neverUndone {
			return
		}
		o.cover.reversed++
		for _, e := range append(others, home) {
			e.undone = x.time
		}
	})
}

func (o *oracle) label(l *schemas.Label) LabelResult {
	result := Unknown
	o.each(string(l.TxID), func(home *entry, others []*entry) {
		known := o.known[home.x]
		if int(l.Version) <= known[l.Source][0] {
			if int(l.Version) < known[l.Source][0] {
				o.cover.outdated++
			}
			result = min(result, Superseded)
			return
		}
		if *known != [schemas.NumLabelSources][2]int{} {
			o.cover.relabelled++
		}
		result = Applied
		known[l.Source] = [2]int{int(l.Version), int(l.Verdict)}
		verdict := schemas.LabelNone
		for _, s := range o.s.Sources {
			if v := known[s][1]; v != int(schemas.LabelNone) {
				verdict = schemas.LabelVerdict(v)
				break
			}
		}
		for _, e := range append(others, home) {
			e.label = verdict
		}
	})
	return result
}

// aggregate computes an aggregate by its definition.
func (o *oracle) aggregate(a *spec.Aggregate) float64 {
	x := o.current
	if o.key(x, a.Entity) == "" {
		return math.NaN()
	}
	var in []*entry
	for _, e := range o.list(x, a.Entity) {
		if a.Where >= 0 && e.preds>>a.Where&1 == 0 {
			continue
		}
		if e.evicted {
			// It counts for ever, as it was when it left.
			if a.Window == 0 && e.undone == neverUndone {
				in = append(in, e)
			}
			continue
		}
		if e.undone <= x.time || e.x.time > x.time-a.Delay || a.Window > 0 && e.x.time <= x.time-a.Delay-a.Window {
			continue
		}
		in = append(in, e)
	}
	switch a.Fn {
	case spec.Last, spec.SinceLast, spec.FirstSeen, spec.FraudCount, spec.FraudRun, spec.FraudRunAge:
		return o.recent(a, in)
	}
	if !a.Before && a.Delay == 0 && (a.Where < 0 || o.predicate(a.Where)) {
		in = append(in, &entry{x: x})
	}
	return o.amounts(a, in)
}

func (o *oracle) recent(a *spec.Aggregate, in []*entry) float64 {
	now := o.current.time
	switch {
	case a.Fn == spec.FirstSeen && len(in) == 0:
		return 0
	case a.Fn == spec.FirstSeen:
		return float64(now-in[0].x.time) / 1000
	case a.Fn == spec.FraudCount || a.Fn == spec.FraudRun:
		n := 0
		for _, e := range slices.Backward(in) {
			if e.label == schemas.LabelFraud {
				n++
			} else if e.label == schemas.LabelGenuine && a.Fn == spec.FraudRun {
				break
			}
		}
		return float64(n)
	case a.Fn == spec.FraudRunAge:
		age := math.NaN()
		for _, e := range slices.Backward(in) {
			if e.label == schemas.LabelFraud {
				age = float64(now-e.x.time) / 1000
			} else if e.label == schemas.LabelGenuine {
				break
			}
		}
		return age
	case len(in) == 0:
		return math.NaN()
	}
	last := in[len(in)-1].x
	if a.Fn == spec.SinceLast {
		return float64(now-last.time) / 1000
	}
	v, ok := last.integer(a.Arg)
	if !ok {
		return math.NaN()
	}
	return float64(v) / o.units(a.Arg)
}

func (o *oracle) units(f spec.FieldRef) float64 {
	switch f.Kind {
	case spec.AmountRef:
		return math.Pow10(o.s.BaseDigits)
	case spec.TimeRef:
		return 1000
	}
	return 1e6
}

func (o *oracle) amounts(a *spec.Aggregate, in []*entry) float64 {
	switch a.Fn {
	case spec.Count:
		return float64(len(in))
	case spec.Distinct:
		seen := map[string]bool{}
		for _, e := range in {
			if t := e.x.text(a.Arg); t != "" {
				seen[t] = true
			}
		}
		return float64(len(seen))
	case spec.FraudRate:
		n := 0
		for _, e := range in {
			if e.label == schemas.LabelFraud {
				n++
			}
		}
		if n == 0 {
			return 0
		}
		return float64(n) / float64(len(in))
	}
	var values []int64
	for _, e := range in {
		if v, ok := e.x.integer(a.Arg); ok {
			values = append(values, v)
		}
	}
	units, n := o.units(a.Arg), float64(len(values))
	sum, squares, logs := new(big.Int), new(big.Int), new(big.Int)
	for _, v := range values {
		b := big.NewInt(v)
		sum.Add(sum, b)
		squares.Add(squares, new(big.Int).Mul(b, b))
		logs.Add(logs, big.NewInt(lnFixed(v)))
	}
	switch {
	case a.Fn == spec.Sum:
		return nearest(sum) / units
	case len(values) == 0:
		return math.NaN()
	case a.Fn == spec.Mean:
		return nearest(sum) / (n * units)
	case a.Fn == spec.GeoMean:
		return expFloat(nearest(logs)/(n*(1<<32))) / units
	case a.Fn == spec.Min:
		return float64(slices.Min(values)) / units
	case a.Fn == spec.Max:
		return float64(slices.Max(values)) / units
	}
	squares.Mul(squares, big.NewInt(int64(len(values))))
	squares.Sub(squares, new(big.Int).Mul(sum, sum))
	return math.Sqrt(nearest(squares)) / (n * units)
}

// nearest returns the float64 nearest to an integer of any size.
func nearest(b *big.Int) float64 {
	f, _ := new(big.Float).SetInt(b).Float64()
	return f
}

func (o *oracle) feature(i int) float64 {
	if !o.have[i] {
		o.x[i], o.have[i] = float32(o.eval(o.s.Features[i].Expr)), true
	}
	return float64(o.x[i])
}

func (o *oracle) predicate(p int) bool {
	is, ok := o.preds[p]
	if !ok {
		v := o.eval(o.s.Predicates[p].Cond)
		is = v != 0 && !math.IsNaN(v)
		o.preds[p] = is
	}
	return is
}

// eval computes an expression by recursion.
func (o *oracle) eval(x *spec.Expr) float64 {
	arg := func(i int) float64 { return o.eval(x.Args[i]) }
	yes := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	switch x.Op {
	case spec.OpConst:
		return x.Num
	case spec.OpField:
		if x.Field.Kind == spec.OwnNumberRef {
			return o.current.own
		}
		v, _ := o.current.integer(x.Field)
		return float64(v) / o.units(x.Field)
	case spec.OpTextEq:
		return yes(o.current.text(x.Field) == x.Str)
	case spec.OpTextNe:
		return yes(o.current.text(x.Field) != x.Str)
	case spec.OpAgg:
		return o.aggregate(&o.s.Aggregates[x.Index])
	case spec.OpFeature:
		return o.feature(x.Index)
	case spec.OpNot:
		if v := arg(0); math.IsNaN(v) {
			return v
		} else {
			return yes(v == 0)
		}
	}
	return o.eval2(x.Op, arg(0), arg(1), yes)
}

func (o *oracle) eval2(op spec.Op, a, b float64, yes func(bool) float64) float64 {
	unknown := math.IsNaN(a) || math.IsNaN(b)
	switch {
	case op == spec.OpAnd && (a == 0 || b == 0):
		return 0
	case op == spec.OpOr && (a*0 == 0 && a != 0 || b*0 == 0 && b != 0):
		return 1
	case unknown:
		return math.NaN()
	case op == spec.OpAnd:
		return 1
	case op == spec.OpOr:
		return 0
	case op == spec.OpGT:
		return yes(a > b)
	case op == spec.OpLE:
		return yes(a <= b)
	case op == spec.OpSub:
		return a - b
	case op == spec.OpDiv && b == 0:
		return math.NaN()
	case op == spec.OpDiv:
		return a / b
	}
	panic("an operation that the generator does not make")
}
