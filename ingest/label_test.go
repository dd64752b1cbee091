package ingest

import (
	"errors"
	"strings"
	"testing"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

// subject returns a label that names its transaction in every way.
func subject() schemas.Label {
	l := schemas.Label{TxID: []byte("t"), Verdict: schemas.LabelFraud, FraudType: []byte("stolen"), Source: schemas.Analyst,
		KnownAt: 1000, Version: 1, Selected: []byte("alert"), SelectedProb: 1, Time: 900}
	for i := range l.Entity {
		l.Entity[i] = []byte("e")
	}
	l.Entity[0] = []byte("k1." + strings.Repeat("x", 22)) // the card
	return l
}

// TestLabelsAreCompared changes one thing at a time in the ledger's label.
func TestLabelsAreCompared(t *testing.T) {
	f := func(what string, change func(l *schemas.Label), want bool) {
		t.Helper()
		a, b := subject(), subject()
		change(&b)
		if got := sameLabel(&a, &b); got != want {
			t.Errorf("%s: same is %v", what, got)
		}
	}
	f("nothing", func(*schemas.Label) {}, true)
	f("id", func(l *schemas.Label) { l.TxID = []byte("u") }, false)
	f("verdict", func(l *schemas.Label) { l.Verdict = schemas.LabelNone }, false)
	f("type", func(l *schemas.Label) { l.FraudType = nil }, false)
	f("source", func(l *schemas.Label) { l.Source = schemas.Chargeback }, false)
	f("known", func(l *schemas.Label) { l.KnownAt++ }, false)
	f("version", func(l *schemas.Label) { l.Version++ }, false)
	f("selected", func(l *schemas.Label) { l.Selected = []byte("none") }, false)
	f("probability", func(l *schemas.Label) { l.SelectedProb = .5 }, false)
	f("time", func(l *schemas.Label) { l.Time++ }, false)
	f("no time", func(l *schemas.Label) { l.Time = 0 }, false)
	for i, field := range schemas.LabelEntities {
		f(field.String(), func(l *schemas.Label) { l.Entity[i] = []byte("f") }, false)
		f("no "+field.String(), func(l *schemas.Label) { l.Entity[i] = nil }, false)
	}
	f("time only", func(l *schemas.Label) { l.Entity = [schemas.NumLabelEntities][]byte{} }, false)
	f("of an earlier version", func(l *schemas.Label) { l.Time, l.Entity = 0, [schemas.NumLabelEntities][]byte{} }, true)
}

// TestLabelsAreChecked has labels that a ledger must not hold. The payments spec
// keeps cards secret; the handbook's reads none.
func TestLabelsAreChecked(t *testing.T) {
	f := func(name string, change func(l *schemas.Label), want error) {
		t.Helper()
		s, ok := spec.Builtin(name)
		if !ok {
			t.Fatal(name)
		}
		l := subject()
		change(&l)
		if err := checkLabel(s, &l, 2000); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%+v: %v, want %v", l, err, want)
		}
	}
	const number = "4000001234567899"
	for _, name := range []string{"payments", "handbook"} {
		f(name, func(*schemas.Label) {}, nil)
		f(name, func(l *schemas.Label) { l.Entity[0] = nil }, nil)
		f(name, func(l *schemas.Label) { l.Entity[0] = []byte(number) }, errLabelSecret)
		f(name, func(l *schemas.Label) { l.KnownAt = 1e12 }, errLabelAhead)
		f(name, func(l *schemas.Label) { l.Entity[5] = make([]byte, labelTextMax) }, errLabelLong)
	}
	s, err := spec.Parse("test", []byte("spec test\nbase EUR\nfield id = $.id\nfield time = $.time\nfield amount = $.amount decimal\nfield card = $.card\nscored authorisation\nhome card dedup 7d\n\namount\n\nfallback review when amount > 1000\n"))
	if err != nil {
		t.Fatal(err)
	}
	l := subject()
	l.Entity[0] = []byte(number) // the bank's own choice: its ledger holds it anyway
	if err := checkLabel(s, &l, 2000); err != nil {
		t.Error(err)
	}
}
