package features

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

var (
	customerRef = spec.FieldRef{Kind: spec.TextRef, Text: schemas.Customer}
	terminalRef = spec.FieldRef{Kind: spec.TextRef, Text: schemas.Terminal}
	countryRef  = spec.FieldRef{Kind: spec.TextRef, Text: schemas.Country}
	statusRef   = spec.FieldRef{Kind: spec.StatusRef}
	ownTextRef  = spec.FieldRef{Kind: spec.OwnTextRef}
	ownRef      = spec.FieldRef{Kind: spec.OwnNumberRef}
	amountRef   = spec.FieldRef{Kind: spec.AmountRef}
	timeRef     = spec.FieldRef{Kind: spec.TimeRef}
)

func constant(v float64) *spec.Expr { return &spec.Expr{Op: spec.OpConst, Num: v} }

func binary2(op spec.Op, a, b *spec.Expr) *spec.Expr {
	return &spec.Expr{Op: op, Args: []*spec.Expr{a, b}}
}

func aggregateOf(i int) *spec.Expr { return &spec.Expr{Op: spec.OpAgg, Index: i} }

func featureOf(i int) *spec.Expr { return &spec.Expr{Op: spec.OpFeature, Index: i} }

func fieldOf(f spec.FieldRef) *spec.Expr { return &spec.Expr{Op: spec.OpField, Field: f} }

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// randomSpec makes a spec of random aggregates over everything there is to
// choose from, features and where clauses of them.
func randomSpec(r *rand.Rand) *spec.Spec {
	for {
		s := &spec.Spec{Name: "random", BaseDigits: pick(r, 2, 2, 0, 3), LateMax: pick[int64](r, 4000, 20000, 1),
			DedupWindow: pick[int64](r, 5000, 30000), Sources: [...]schemas.LabelSource{3, 0, 1, 2, 4}}
		s.Entities = []spec.Entity{
			{Name: "customer", Keys: []spec.FieldRef{customerRef}},
			{Name: "terminal", Keys: []spec.FieldRef{terminalRef}},
			{Name: "customer × terminal", Keys: []spec.FieldRef{customerRef, terminalRef}},
			{Name: "own", Keys: []spec.FieldRef{ownTextRef}},
		}[:1+r.IntN(4)]
		s.Home = pick(r, 0, 0, 0, 0, r.IntN(len(s.Entities)), -1)
		s.Scored = [schemas.NumTxTypes]bool{schemas.Authorisation: true, schemas.Capture: r.IntN(2) == 0, schemas.Refund: true, schemas.Transfer: true, schemas.Payout: true}
		if r.IntN(4) > 0 {
			s.Input.Text[schemas.OriginalID].Path = []string{"original"}
		}
		predicates := r.IntN(5)
		if r.IntN(6) == 0 {
			predicates = 17 + r.IntN(16) // more than a stamp holds, or as many
		}
		for i := range 4 + r.IntN(12) {
			s.Aggregates = append(s.Aggregates, randomAggregate(r, s, predicates))
			s.Features = append(s.Features, spec.Feature{Name: fmt.Sprint("f", i), Expr: aggregateOf(i)})
		}
		for i := range 3 {
			s.Features = append(s.Features, spec.Feature{Name: fmt.Sprint("g", i), Expr: randomExpr(r, s)})
		}
		for range predicates {
			s.Predicates = append(s.Predicates, spec.Predicate{Cond: randomCondition(r, s, true), Text: "..."})
		}
		for range r.IntN(3) {
			s.Fallback = append(s.Fallback, spec.Rule{Action: pick(r, schemas.Review, schemas.Block), Cond: randomCondition(r, s, false)})
		}
		if Check(s) == nil {
			return s
		}
	}
}

func randomAggregate(r *rand.Rand, s *spec.Spec, predicates int) spec.Aggregate {
	a := spec.Aggregate{Fn: spec.AggFn(r.IntN(int(spec.NumAggFns))), Entity: r.IntN(len(s.Entities)), Where: -1,
		Window: pick[int64](r, 0, 1, 1000, 5000, 5000, 20000), Delay: pick[int64](r, 0, 0, 0, 2000, 10000), Before: r.IntN(4) == 0}
	if predicates > 0 && r.IntN(2) == 0 {
		a.Where = r.IntN(predicates)
	}
	switch {
	case a.Fn == spec.Distinct:
		a.Arg, a.HasArg = pick(r, terminalRef, countryRef, ownTextRef, statusRef), true
		a.Window = max(a.Window, 1000)
	case takesNumber(a.Fn):
		a.Arg, a.HasArg = pick(r, amountRef, amountRef, ownRef, timeRef), true
	}
	return a
}

func randomExpr(r *rand.Rand, s *spec.Spec) *spec.Expr {
	f := r.IntN(len(s.Features))
	switch r.IntN(3) {
	case 0:
		return binary2(spec.OpDiv, fieldOf(amountRef), featureOf(f))
	case 1:
		return binary2(spec.OpSub, featureOf(f), aggregateOf(r.IntN(len(s.Aggregates))))
	}
	return fieldOf(pick(r, amountRef, ownRef))
}

func randomCondition(r *rand.Rand, s *spec.Spec, predicate bool) *spec.Expr {
	switch r.IntN(7) {
	case 0:
		return &spec.Expr{Op: spec.OpTextEq, Field: countryRef, Str: "BE"}
	case 1:
		return &spec.Expr{Op: spec.OpTextNe, Field: statusRef, Str: "declined"}
	case 2:
		return binary2(spec.OpGT, fieldOf(pick(r, amountRef, ownRef)), constant(100))
	case 3:
		return binary2(spec.OpGT, featureOf(r.IntN(len(s.Features))), constant(pick(r, 0, 2.5)))
	case 4:
		return &spec.Expr{Op: spec.OpNot, Args: []*spec.Expr{binary2(spec.OpLE, featureOf(r.IntN(len(s.Features))), constant(1))}}
	case 5:
		if !predicate {
			return binary2(spec.OpGT, aggregateOf(r.IntN(len(s.Aggregates))), constant(3))
		}
	}
	return binary2(pick(r, spec.OpAnd, spec.OpOr), randomCondition(r, s, predicate), randomCondition(r, s, predicate))
}

// coverage counts what a stream met.
type coverage struct {
	events, late, repeated, equal, edge, evicted, relabelled, outdated, reversed, tooLate int

	// aggregates counts the values of each function: over a window, over all,
	// with a delay, before, with a where clause.
	aggregates [spec.NumAggFns][5]int
}

func (c *coverage) add(d coverage) {
	c.events += d.events
	c.late += d.late
	c.repeated += d.repeated
	c.equal += d.equal
	c.edge += d.edge
	c.evicted += d.evicted
	c.relabelled += d.relabelled
	c.outdated += d.outdated
	c.reversed += d.reversed
	c.tooLate += d.tooLate
	for fn := range d.aggregates {
		for way, n := range d.aggregates[fn] {
			c.aggregates[fn][way] += n
		}
	}
}

// count notes what the oracle's current transaction meets.
func (c *coverage) count(o *oracle, x *txn, v schemas.Verdict) {
	c.events++
	if v.Flags&schemas.Late != 0 {
		c.late++
	}
	for i := range o.s.Aggregates {
		a := &o.s.Aggregates[i]
		for way, is := range []bool{a.Window > 0, a.Window == 0, a.Delay > 0, a.Before, a.Where >= 0} {
			if is {
				c.aggregates[a.Fn][way]++
			}
		}
	}
	equal, edge := false, false
	for i := range o.s.Entities {
		for _, e := range o.list(x, i) {
			equal = equal || !e.evicted && e.x.time == x.time
			for _, a := range o.s.Aggregates {
				// The last millisecond that is in, and the first that is out.
				d := e.x.time - (x.time - a.Delay - a.Window)
				edge = edge || a.Entity == i && a.Window > 0 && !e.evicted && (d == 0 || d == 1)
			}
		}
	}
	if equal {
		c.equal++
	}
	if edge {
		c.edge++
	}
}

// stream makes transactions and labels that hit the corners of a spec.
type stream struct {
	r    *rand.Rand
	s    *spec.Spec
	now  int64
	past []*txn
	seen map[string]uint32 // versions of labels
	said *schemas.Label    // the last one
}

// next returns a transaction or a label.
func (g *stream) next() (*txn, *schemas.Label) {
	r := g.r
	if len(g.past) > 0 && r.IntN(5) == 0 {
		return nil, g.label()
	}
	g.now += pick[int64](r, 0, 0, 1, int64(r.IntN(50)), int64(r.IntN(400)))
	if r.IntN(300) == 0 {
		g.now += int64(r.IntN(30000))
	}
	x := g.fresh()
	if len(g.past) > 0 {
		old := g.recent()
		switch r.IntN(12) {
		case 0: // the same again, or something else under its id
			*x = *old
			if r.IntN(3) == 0 {
				x.amount++
			} else if r.IntN(4) == 0 {
				x.time += g.s.DedupWindow + int64(r.IntN(3)) - 1
			}
		case 1: // late
			x.time -= int64(r.IntN(int(g.s.LateMax)*5/4 + 2))
		case 2: // to the millisecond at the edge of a window behind it
			g.toEdge(x)
		case 3:
			x.typ, x.orig = schemas.Reversal, old.id
			x.time += int64(r.IntN(3000)) - 1500
		case 4: // another customer's transaction under the same id
			x.id = old.id
		}
	}
	x.time = max(x.time, 0)
	if x.typ != schemas.Reversal {
		g.past = append(g.past, x)
	}
	return x, nil
}

// toEdge moves a transaction to where a window of it begins at an older one of
// the same entities, or a millisecond beside.
func (g *stream) toEdge(x *txn) {
	a := pick(g.r, g.s.Aggregates...)
	for _, old := range g.past[max(0, len(g.past)-2000):] {
		if t := old.time + a.Window + a.Delay; t >= g.now && t < g.now+500 {
			x.time, x.texts, x.ownText = t+int64(g.r.IntN(3))-1, old.texts, old.ownText
			g.now = max(g.now, x.time)
			return
		}
	}
}

func (g *stream) recent() *txn { return g.past[max(0, len(g.past)-1-g.r.IntN(120))] }

func (g *stream) fresh() *txn {
	r := g.r
	x := &txn{time: g.now, id: fmt.Sprint("t", r.Uint64()), amount: int64(r.IntN(50000)), own: math.Round(r.NormFloat64()*1e9) / 1e6}
	x.typ = pick(r, schemas.Authorisation, schemas.Authorisation, schemas.Capture, schemas.Transfer)
	x.status = schemas.Status(r.IntN(3))
	switch r.IntN(20) {
	case 0:
		x.amount = 0
	case 1:
		x.typ, x.amount = schemas.Refund, -x.amount
	case 2:
		x.amount = r.Int64N(1e18)
	case 3, 4:
		x.own = math.NaN()
	}
	x.texts = map[schemas.TextField]string{
		schemas.Customer: fmt.Sprint("c", int(r.ExpFloat64()*2)),
		schemas.Terminal: fmt.Sprint("t", int(r.ExpFloat64()*3)),
		schemas.Country:  pick(r, "BE", "NL", "FR", ""),
	}
	x.ownText = pick(r, "a", "b", "c", "")
	if r.IntN(30) == 0 {
		delete(x.texts, pick(r, schemas.Customer, schemas.Terminal))
	}
	return x
}

func (g *stream) label() *schemas.Label {
	r := g.r
	old := g.recent()
	l := &schemas.Label{TxID: []byte(old.id), Verdict: pick(r, schemas.LabelNone, schemas.LabelGenuine, schemas.LabelFraud, schemas.LabelFraud),
		Source: schemas.LabelSource(r.IntN(int(schemas.NumLabelSources))), KnownAt: g.now}
	if g.said != nil && r.IntN(3) == 0 { // the same source says more of the same
		l.TxID, l.Source = g.said.TxID, g.said.Source
	}
	g.said = l
	key := fmt.Sprint(string(l.TxID), l.Source)
	if g.seen[key] == 0 || r.IntN(3) > 0 {
		g.seen[key]++
	}
	l.Version = g.seen[key]
	if r.IntN(4) == 0 { // one that was overtaken on its way
		l.Version = 1 + r.Uint32N(l.Version)
	}
	return l
}

// addTo appends a transaction to a batch.
func (x *txn) addTo(b *schemas.Batch) {
	i := b.Add(schemas.Place{})
	b.Tx[i] = schemas.Transaction{Time: x.time, Amount: x.amount, AmountBase: x.amount, Type: x.typ, Status: x.status}
	b.SetBytes(i, schemas.ID, []byte(x.id))
	b.SetBytes(i, schemas.OriginalID, []byte(x.orig))
	for f := range schemas.NumText {
		if t := x.texts[f]; t != "" {
			b.SetBytes(i, f, []byte(t))
		}
	}
	b.SetBytes(i, schemas.NumText, []byte(x.ownText))
	b.Number[i*b.NumberWidth] = x.own
}
