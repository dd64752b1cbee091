package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/decode"
	"github.com/weir-risk/weir/ingest/kafka"
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

// reader reads records and labels of a spec.
func reader(t *testing.T, s *spec.Spec) *rowReader {
	t.Helper()
	tokens, err := decode.NewTokens(decode.Key{ID: "k1", Secret: make([]byte, 32)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := newRowReader(s, tokens, nil)
	return &r
}

// TestALabelsCardGetsItsToken has a chargeback file name cards by their numbers: the
// ledger holds the tokens that the decisions have, and the number is nowhere.
func TestALabelsCardGetsItsToken(t *testing.T) {
	w := newWorld(t, "payments", 1)
	n := w.payments(40, 3, 1)
	w.runUntil(n, nil)
	var card, number string
	for _, r := range w.records(w.topics.Transactions, 0) {
		var tx struct{ ID, Card string }
		w.must(json.Unmarshal(r.Value, &tx))
		if tx.Card != "" {
			d := w.ruled()[[2]int64{0, r.Offset}]
			number, card = tx.Card, string(d.Text[schemas.Card])
			break
		}
	}
	var labels feed
	for _, text := range []string{number, number[:4] + " " + number[4:], card, "4000x"} {
		labels.add(fmt.Appendf(nil, `{"tx_id":"t9","verdict":"fraud","source":"chargeback","known_at":"2024-01-01T00:00:00Z","card":%q}`, text), w.saved.times[0])
	}
	before := w.foldWhole().Counts.Labels
	labels.send(w, w.topics.Labels, 0)
	var log bytes.Buffer
	w.logTo = &log
	r := w.start(nil)
	r.until("takes labels", func(Status) bool { return w.foldWhole().Counts.Labels == before+3 })
	r.until("passes one over", func(Status) bool {
		return testutil.ToFloat64(r.node.Metrics.Malformed.WithLabelValues(w.topics.Labels)) == 1
	})
	r.stop()
	if got := testutil.ToFloat64(r.node.Metrics.Labels); got != 3 {
		t.Errorf("the metric says %v labels, want 3", got)
	}
	for _, value := range w.ledger() {
		var e schemas.Entry
		w.must(schemas.ParseEntry(value, &e))
		if bytes.Contains(value, []byte(number)) {
			t.Errorf("a record of the ledger holds %s", number)
		}
		if e.Kind == schemas.EntryLabel && string(e.Label.TxID) == "t9" && string(e.Label.Entity[0]) != card {
			t.Errorf("the label's card is %q, the decision's %q", e.Label.Entity[0], card)
		}
	}
	if said := log.String(); strings.Contains(said, number) || strings.Contains(said, "4000x") || !strings.Contains(said, errLabelSecret.Error()) {
		t.Errorf("the log says\n%s", said)
	}
	if v := w.auditWith(nil); !v.Report.OK() {
		t.Errorf("without the key: %+v", v.Report)
	}
	w.verify()
	// One that is not there is lost, unless an earlier version may have refused it.
	a := audit{Audit: Audit{Spec: w.spec}, reader: *reader(t, w.spec)}
	for _, sealed := range []bool{false, true} {
		if got := a.readable(&origin{class: Labels, sealed: sealed}, &kafka.Record{Value: bytes.Clone(labels.values[0]), Timestamp: labels.times[0]}); got != sealed {
			t.Errorf("after one that was taken is %v, it is readable: %v", sealed, got)
		}
	}
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
		if err := reader(t, s).label(s, &l, 2000); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%+v: %v, want %v", l, err, want)
		}
	}
	const number = "4000001234567899"
	for _, name := range []string{"payments", "handbook"} {
		f(name, func(*schemas.Label) {}, nil)
		f(name, func(l *schemas.Label) { l.Entity[0] = nil }, nil)
		f(name, func(l *schemas.Label) { l.KnownAt = 1e12 }, errLabelAhead)
		f(name, func(l *schemas.Label) { l.Entity[5] = make([]byte, labelTextMax) }, errLabelLong)
	}
	f("payments", func(l *schemas.Label) { l.Entity[0] = []byte(number) }, nil)
	f("payments", func(l *schemas.Label) { l.Entity[0] = []byte("4000 0012 3456 789x") }, errLabelSecret)
	f("handbook", func(l *schemas.Label) { l.Entity[0] = []byte(number) }, errLabelSecret) // by which key?
	s, err := spec.Parse("test", []byte("spec test\nbase EUR\nfield id = $.id\nfield time = $.time\nfield amount = $.amount decimal\nfield card = $.card\nscored authorisation\nhome card dedup 7d\n\namount\n\nfallback review when amount > 1000\n"))
	if err != nil {
		t.Fatal(err)
	}
	l := subject()
	l.Entity[0] = []byte(number) // the bank's own choice: its ledger holds it anyway
	if err := reader(t, s).label(s, &l, 2000); err != nil {
		t.Error(err)
	}
}
