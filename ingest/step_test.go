package ingest

import (
	"math"
	"testing"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/decode"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/trainer"
)

const stepSpec = `spec step
base EUR
field id = $.id
field original_id = $.of
field type = $.type
field time = $.time as ms
field amount = $.amount decimal
field currency = $.currency default "EUR"
field customer = $.customer
scored authorisation
home customer dedup 7d
late 1h
amount
count() by customer over 1d
fallback block when amount > 1000
fallback review when amount > 100
`

// A steps is a state and its decider, and what a test expects of their steps.
type steps struct {
	t       *testing.T
	state   *State
	decider *Decider
	decoder *decode.Decoder
	work    work
	want    []schemas.Decision // of the work's transactions: verdict, action, amount_base
}

func newSteps(t *testing.T) *steps {
	s, err := spec.Parse("step", []byte(stepSpec))
	if err != nil {
		t.Fatal(err)
	}
	return &steps{t: t, state: NewState(s, features.Options{}), decider: &Decider{tenant: []byte("bank"), engine: 77}, decoder: decode.New(s, decode.Options{})}
}

// pay adds a record and what is to become of it.
func (s *steps) pay(record string, want schemas.Verdict, action schemas.Action, base int64) {
	if s.work.rows.TextWidth == 0 {
		s.work.reset(0, 0)
	}
	i := s.work.rows.Add(schemas.Place{Offset: int64(len(s.want)), Prev: int64(len(s.want)) - 1, Timestamp: -1})
	s.decoder.Decode(&s.work.rows, i, []byte(record))
	s.work.order = append(s.work.order, run{Transactions, i, i + 1})
	s.want = append(s.want, schemas.Decision{Verdict: want, Action: action, Tx: schemas.Transaction{AmountBase: base}})
}

// rate adds a rate of dollars.
func (s *steps) rate(since, num, den int64) {
	n := len(s.work.rates)
	s.work.rates = append(s.work.rates, schemas.Rate{Currency: []byte("USD"), Since: since, Num: num, Den: den, Offset: int64(n)})
	s.work.order = append(s.work.order, run{Rates, n, n + 1})
}

// step steps, and returns the decisions when they are as expected.
func (s *steps) step() (list []schemas.Decision) {
	s.t.Helper()
	var out output
	s.decider.step(s.state, &s.work, &out)
	for i := range out.records() {
		var e schemas.Entry
		if err := schemas.ParseEntry(out.record(i), &e); err != nil {
			s.t.Fatal(err)
		}
		if e.Kind == schemas.EntryDecision {
			list = append(list, e.Decision)
		}
	}
	if len(list) != len(s.want) {
		s.t.Fatalf("%d decisions, want %d", len(list), len(s.want))
	}
	for i := range list {
		d, w := &list[i], &s.want[i]
		if d.Verdict != w.Verdict || d.Action != w.Action || d.Tx.AmountBase != w.Tx.AmountBase {
			s.t.Errorf("%d, %s: %v %v, flags %b, %v, %d; want %v %v, flags %b, %v, %d", i, d.Text[schemas.ID], d.Outcome, d.Reason, d.Flags,
				d.Action, d.Tx.AmountBase, w.Outcome, w.Reason, w.Flags, w.Action, w.Tx.AmountBase)
		}
		if string(d.Tenant) != "bank" || d.Spec != schemas.HashPrefix(s.state.Spec.Hash) || d.Engine != 77 {
			s.t.Errorf("%d: tenant %q, spec %x, engine %d", i, d.Tenant, d.Spec, d.Engine)
		}
	}
	return list
}

func verdict(o schemas.Outcome, r schemas.Reason, f schemas.Flags) schemas.Verdict {
	return schemas.Verdict{Outcome: o, Reason: r, Flags: f}
}

// TestStepRules decides one record of each kind while no model is there. A proof
// of a ledger runs the same code, and could not tell.
func TestStepRules(t *testing.T) {
	s := newSteps(t)
	noModel := verdict(schemas.Degraded, schemas.NoModel, 0)
	folded := verdict(schemas.Unscored, schemas.NotScoredType, schemas.FoldOnly)
	s.pay(`{"id":"a","time":7200000,"amount":50,"customer":"c"}`, noModel, schemas.Allow, 5000)
	s.pay(`{"id":"b","time":7200000,"amount":500,"customer":"c"}`, noModel, schemas.Review, 50000)
	s.pay(`{"id":"c","time":7200000,"amount":5000,"customer":"c"}`, noModel, schemas.Block, 500000)
	s.pay(`{"id":"a","time":7200000,"amount":50,"customer":"c"}`, verdict(schemas.Duplicate, schemas.Repeat, 0), schemas.Allow, 5000)
	s.pay(`{"id":"a","time":7200000,"amount":51,"customer":"c"}`, verdict(schemas.Duplicate, schemas.Conflict, 0), schemas.Review, 5100)
	s.pay(`{"id":"d","time":3600000,"amount":50,"customer":"c"}`, verdict(schemas.Degraded, schemas.NoModel, schemas.Late), schemas.Allow, 5000)
	s.pay(`{"id":"e","time":3599999,"amount":50,"customer":"c"}`, verdict(schemas.Unscored, schemas.TooLate, schemas.Late), schemas.Review, 5000)
	s.pay(`{"id":"f","time":7200000,"amount":5000,"customer":"c","type":"capture"}`, folded, schemas.Allow, 500000)
	s.pay(`{"id":"g","time":7200000,"amount":50,"customer":"c","type":"reversal","of":"a"}`, folded, schemas.Allow, 5000)
	s.pay(`{"id":"h","time":7200000}`, verdict(schemas.Rejected, schemas.MissingAmount, 0), schemas.Allow, 0)
	list := s.step()
	for i, want := range map[int]float32{0: 1, 2: 3, 5: 1} {
		if d := &list[i]; len(d.Features) != 2 || d.Features[1] != want || d.Bundle != 0 {
			t.Errorf("%s: features %v, bundle %x; want a count of %v", d.Text[schemas.ID], d.Features, d.Bundle, want)
		}
	}
	if c := s.state.Counts; c.Alerts != 4 || c.Decisions() != 10 {
		t.Errorf("counts %+v", c)
	}
}

// TestStepConvertsByTheRateOfTheTime has rates come between payments in dollars.
func TestStepConvertsByTheRateOfTheTime(t *testing.T) {
	s := newSteps(t)
	noModel := verdict(schemas.Degraded, schemas.NoModel, 0)
	noRate := verdict(schemas.Unscored, schemas.NoRate, 0)
	pay := func(id, time string, want schemas.Verdict, action schemas.Action, base int64) {
		s.pay(`{"id":"`+id+`","time":`+time+`,"amount":10,"currency":"USD","customer":"c"}`, want, action, base)
	}
	pay("a", "1000", noRate, schemas.Review, 0)
	s.rate(1000, 9, 10)
	s.rate(2000, 1, 2)
	pay("b", "999", noRate, schemas.Review, 0)
	pay("c", "1000", noModel, schemas.Allow, 900)
	pay("d", "1999", noModel, schemas.Allow, 900)
	pay("e", "2000", noModel, schemas.Allow, 500)
	s.rate(1500, 3, 1)
	pay("f", "2000", noModel, schemas.Allow, 500)
	s.pay(`{"id":"g","time":2000,"amount":10,"currency":"GBP","customer":"c"}`, noRate, schemas.Review, 0)
	list := s.step()
	if d := &list[5]; d.Features[0] != 5 || d.Features[1] != 4 {
		t.Errorf("features %v: want an amount of 5 and a count of the four that had a rate", d.Features)
	}
}

// TestStepDecidesByTheBundle scores with a real model of the spec's width, and
// with one of another, which fails.
func TestStepDecidesByTheBundle(t *testing.T) {
	use := func(s *steps, width int, p scoring.Policy) *cpu.Scorer {
		b := &scoring.Bundle{Model: trainer.RandomModel(1, width, 1), Calibration: scoring.Calibration{A: 1, B: 1}, Policy: p, Hash: [32]byte{1, 2, 3}}
		scorer, err := cpu.New(b.Model)
		if err != nil {
			t.Fatal(err)
		}
		s.decider.Use(b, scorer)
		return scorer
	}
	const record = `{"id":"a","time":7200000,"amount":500,"customer":"c"}`
	f := func(p scoring.Policy, flags schemas.Flags, action schemas.Action, reviewProb float32) {
		t.Helper()
		s := newSteps(t)
		scorer := use(s, 2, p)
		s.pay(record, verdict(schemas.Scored, schemas.NoReason, flags), action, 50000)
		d := s.step()[0]
		score := make([]float32, 1)
		if err := scorer.Score(scoring.Matrix{Data: d.Features, Rows: 1, Cols: 2}, score); err != nil {
			t.Fatal(err)
		}
		rank := float32(float64(score[0]) * 50000)
		if d.Score != score[0] || d.Prob != score[0] || d.Rank != rank || d.Threshold != p.Review || d.ReviewProb != reviewProb || d.Bundle != 0x0102030000000000 {
			t.Errorf("%+v, want a score of %v", d, score[0])
		}
	}
	key := [16]byte{1}
	f(scoring.Policy{Rank: scoring.ByAmount, Review: math.MaxFloat32}, 0, schemas.Allow, 0)
	f(scoring.Policy{Rank: scoring.ByAmount, Review: 1e-30}, 0, schemas.Review, 1)
	f(scoring.Policy{Rank: scoring.ByAmount, Review: 1e-30, Block: 2e-30}, 0, schemas.Block, 1)
	f(scoring.Policy{Rank: scoring.ByAmount, Review: math.MaxFloat32, Explore: .99999994, ExploreKey: key}, schemas.Explored, schemas.Review, .99999994)

	s := newSteps(t)
	scorer := use(s, 2, scoring.Policy{Rank: scoring.ByAmount, Review: 1e-30})
	s.pay(record, verdict(schemas.Scored, schemas.NoReason, 0), schemas.Review, 50000)
	s.pay(`{"id":"b","time":7201000,"amount":7,"customer":"c"}`, verdict(schemas.Scored, schemas.NoReason, 0), schemas.Review, 700)
	s.pay(`{"id":"e","time":7202000,"amount":90,"customer":"d"}`, verdict(schemas.Scored, schemas.NoReason, 0), schemas.Review, 9000)
	scores := make(map[float32]bool)
	for i, d := range s.step() {
		own := make([]float32, 1)
		if err := scorer.Score(scoring.Matrix{Data: d.Features, Rows: 1, Cols: 2}, own); err != nil || d.Score != own[0] {
			t.Errorf("row %d of a step has score %v, want its own, %v: %v", i, d.Score, own[0], err)
		}
		scores[own[0]] = true
	}
	if len(scores) < 2 {
		t.Fatal("all rows have one score: the test shows nothing")
	}

	s = newSteps(t)
	use(s, 3, scoring.Policy{})
	s.pay(record, verdict(schemas.Degraded, schemas.ModelFailed, 0), schemas.Review, 50000)
	if d := s.step()[0]; d.Bundle != 0 || d.Score != 0 {
		t.Errorf("bundle %x and score %v of a model that failed", d.Bundle, d.Score)
	}
}
