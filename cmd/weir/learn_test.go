package main

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/trainer"
)

// decided gives a learner a decision whose vector begins with its number.
func (l *learner) decided(n int, at int64, a schemas.Action) {
	l.entry = schemas.Entry{Kind: schemas.EntryDecision}
	d := &l.entry.Decision
	d.Outcome, d.Action, d.Tx.Time, d.Features = schemas.Scored, a, at, make([]float32, len(l.spec.Features))
	d.Text[schemas.ID], d.Features[0] = fmt.Appendf(nil, "tx-%d", n), float32(n)
	l.add()
}

func (l *learner) labelled(n int, from schemas.LabelSource, version uint32, v schemas.LabelVerdict) {
	l.entry = schemas.Entry{Kind: schemas.EntryLabel, Label: schemas.Label{TxID: fmt.Appendf(nil, "tx-%d", n), Source: from, Version: version, Verdict: v}}
	l.add()
}

// frauds are what rows are learnt as, by their numbers.
func frauds(d *trainer.Dataset) map[int]bool {
	m := make(map[int]bool)
	for i := range d.Rows() {
		m[int(d.Row(i)[0])] = d.Y[i] == 1
	}
	return m
}

// The rows of the test below, and the first of them that the desk sees.
const tuitionRows, tuitionPresent = 400, 100

// tuitionOf gives two learners the same decisions and chargebacks, and one of them what
// analysts said of alerts besides, which it returns.
func tuitionOf(r *rand.Rand, with, without *learner) (said map[int]schemas.LabelVerdict) {
	said = make(map[int]schemas.LabelVerdict)
	alerted := make(map[int]bool)
	for i := range tuitionRows {
		a := schemas.Action(r.IntN(2)) // allow or review
		alerted[i] = a != schemas.Allow
		charged, k, v := r.IntN(3) == 0, r.IntN(i+1), schemas.LabelVerdict(1+r.IntN(2))
		for _, l := range []*learner{with, without} {
			l.decided(i, int64(i), a)
			if charged {
				l.labelled(k, schemas.Chargeback, 1, v)
			}
			if i%97 == 96 {
				l.forget(int64(i-150), tuitionPresent)
			}
		}
		if k := tuitionPresent + r.IntN(max(1, i-tuitionPresent)); i > tuitionPresent && alerted[k] {
			said[k] = schemas.LabelVerdict(r.IntN(3)) // none takes one back
			with.labelled(k, schemas.Analyst, uint32(i), said[k])
		}
	}
	return said
}

// TestVerdictsOfTheDeskAreLearnt sees that rows which analysts judged are learnt from,
// however old, and differ by what a lesson tells from what they would have been without.
// Rows too young to tell stay out.
func TestVerdictsOfTheDeskAreLearnt(t *testing.T) {
	sp, ok := spec.Builtin("payments")
	if !ok {
		t.Fatal("no spec")
	}
	var all tuition
	for seed := range uint64(25) {
		with, without := newLearner(nil, schemas.Topics{}, sp), newLearner(nil, schemas.Topics{}, sp)
		said := tuitionOf(rand.New(rand.NewPCG(seed, 5)), with, without)
		const from, to = 290, 340
		rows, got := with.known(from, to)
		learnt, want := frauds(rows), tuition{}
		others, none := without.known(from, to)
		otherwise := frauds(others)
		if none != (tuition{}) || len(otherwise) != to-from {
			t.Fatalf("without a desk: %+v, %d rows", none, len(otherwise))
		}
		for k, v := range said {
			switch fraud, there := learnt[k]; {
			case v == schemas.LabelNone:
			case k >= to:
				want.Young++
			case !there || fraud != (v == schemas.LabelFraud):
				t.Errorf("seed %d: the desk said %v of row %d, which is there: %v, as fraud: %v", seed, v, k, there, fraud)
			default:
				want.Verdicts++
				known := without.verdicts[hashText(fmt.Appendf(nil, "tx-%d", k))]
				before := known != nil && known.verdict[schemas.Chargeback] == schemas.LabelFraud
				if fraud && !before {
					want.Fraud++
				} else if !fraud && before {
					want.Genuine++
				}
			}
		}
		if got != want {
			t.Errorf("seed %d: got %+v, want %+v", seed, got, want)
		}
		for k, fraud := range learnt {
			if v := said[k]; k < from && v == schemas.LabelNone || k >= to || v == schemas.LabelNone && fraud != otherwise[k] {
				t.Errorf("seed %d: row %d is learnt, fraud %v; the desk said %v of it", seed, k, fraud, v)
			}
		}
		all.Verdicts, all.Fraud, all.Genuine, all.Young = all.Verdicts+got.Verdicts, all.Fraud+got.Fraud, all.Genuine+got.Genuine, all.Young+got.Young
	}
	if all.Fraud < 50 || all.Genuine < 50 || all.Young < 30 || all.Verdicts <= all.Fraud+all.Genuine {
		t.Errorf("%+v: too few to tell", all)
	}
}

// TestTuition is what the lesson's paragraph says.
func TestTuition(t *testing.T) {
	f := func(v tuition, want string) {
		t.Helper()
		if got := v.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f(tuition{}, "No verdict of the desk is among them. ")
	f(tuition{Verdicts: 1}, "1 verdict of the desk among them, which agrees with what was known otherwise. ")
	f(tuition{Verdicts: 3}, "3 verdicts of the desk among them, which agree with what was known otherwise. ")
	f(tuition{Verdicts: 12, Fraud: 4, Genuine: 1}, "12 verdicts of the desk among them, because of which 5 rows are learnt otherwise: 4 as fraud and 1 as genuine. ")
	f(tuition{Verdicts: 2, Genuine: 1}, "2 verdicts of the desk among them, because of which 1 row is learnt otherwise: 1 as genuine. ")
	f(tuition{Young: 2}, "No verdict of the desk is among them. 2 verdicts on younger payments are left for the next lesson. ")
	f(tuition{Young: 1}, "No verdict of the desk is among them. 1 verdict on a younger payment is left for the next lesson. ")
}
