package features

import (
	"slices"
	"testing"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

// TestAVerdictOfThisEveningCounts has an analyst find a fraud at a terminal the same
// day, and a genuine payment there the day after: the built-in payments spec's run of
// frauds begins and ends with them, and does not wait for labels to be a week old.
func TestAVerdictOfThisEveningCounts(t *testing.T) {
	s, _ := spec.Builtin("payments")
	e := New(s, Options{})
	names, x := s.FeatureNames(), make([]float32, e.Width())
	const day, start = int64(24 * 3600 * 1000), int64(1_750_000_000_000)
	var b schemas.Batch
	pay := func(id, terminal string, at int64) {
		b.Reset(len(s.Input.OwnText), len(s.Input.OwnNumber))
		b.Add(schemas.Place{})
		b.Tx[0] = schemas.Transaction{Time: at, Amount: 5000, AmountBase: 5000}
		b.SetBytes(0, schemas.ID, []byte(id))
		b.SetBytes(0, schemas.Customer, []byte("one"))
		b.SetBytes(0, schemas.Terminal, []byte(terminal))
		if e.Step(&b, x, nil); b.Verdict[0].Outcome != schemas.Scored {
			t.Fatalf("%s is %v", id, b.Verdict[0])
		}
	}
	run := func(when string, length float32, aged bool) {
		t.Helper()
		n, age := x[slices.Index(names, "plain_fraud_run_terminal")], x[slices.Index(names, "plain_fraud_age_terminal")]
		if n != length || (age == age) != aged {
			t.Errorf("%s the run is %g, aged %g", when, n, age)
		}
	}
	verdict := func(id string, v schemas.LabelVerdict, at int64) {
		e.Label(&schemas.Label{TxID: []byte(id), Verdict: v, Source: schemas.Analyst, KnownAt: at, Version: 1})
	}
	pay("a", "elsewhere", start) // what the customer usually pays
	pay("b", "here", start+1000)
	run("before any verdict", 0, false)
	verdict("b", schemas.LabelFraud, start+day/2)
	pay("c", "here", start+day)
	run("the day after a fraud", 1, true)
	verdict("c", schemas.LabelGenuine, start+day+day/2)
	pay("d", "here", start+2*day)
	run("the day after a genuine payment", 0, false)
}
