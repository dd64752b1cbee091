package alerts

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/weir-risk/weir/schemas"
)

// TestLabelsSayWhatIsKnown closes alerts and takes that back, before and after the
// alert has come, and looks at each part of the labels.
func TestLabelsSayWhatIsKnown(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 4))
	alerted, explored, unscored := decide(r, 0, 5, 10), decide(r, 0, 6, 10), decide(r, 0, 7, 10)
	alerted.ReviewProb, alerted.Score, alerted.Threshold = 0.25, 0.3, 0.3 // at the threshold is not below it
	explored.ReviewProb, explored.Score, explored.Threshold = 0.25, 0.2, 0.3
	unscored.Score, unscored.Threshold = 0.2, 0.3
	explored.Text[schemas.Counterparty], explored.Text[schemas.Device] = []byte("other"), nil
	label := func(d *decided, id string, version uint32, verdict schemas.LabelVerdict, at int64, selected string, prob float32) schemas.Label {
		l := schemas.Label{TxID: d.Text[schemas.ID], Verdict: verdict, Source: schemas.Analyst, KnownAt: at, Version: version,
			Selected: []byte(selected), SelectedProb: prob, Time: d.Tx.Time, DispositionID: []byte(id)}
		for i, f := range schemas.LabelEntities {
			if len(d.Text[f]) > 0 {
				l.Entity[i] = d.Text[f]
			}
		}
		return l
	}
	want := []schemas.Label{label(alerted, "a", 1, schemas.LabelFraud, 1000, "alert", 1), label(explored, "b", 1, schemas.LabelGenuine, 1500, "exploration", 0.25),
		label(alerted, "c", 2, schemas.LabelNone, 2000, "alert", 1), label(unscored, "d", 1, schemas.LabelFraud, 3000, "alert", 1),
		label(unscored, "h", 2, schemas.LabelGenuine, 4000, "alert", 1)}
	actions := []schemas.Disposition{
		{ID: []byte("a"), AlertID: []byte("0-5"), Kind: schemas.ClosedFraud, At: 1000},
		{ID: []byte("b"), AlertID: []byte("0-6"), Kind: schemas.ClosedGenuine, At: 1500},
		{ID: []byte("c"), AlertID: []byte("0-5"), Kind: schemas.Undone, At: 2000, Previous: []byte("a")},
		{ID: []byte("d"), AlertID: []byte("0-7"), Kind: schemas.ClosedFraud, At: 3000},
		{ID: []byte("e"), AlertID: []byte("0-7"), Kind: schemas.ClosedFraud, At: 3000}, // stale
		{ID: []byte("g"), AlertID: []byte("0-7"), Kind: schemas.ReviewedGenuine, At: 3500, Previous: []byte("d"), By: []byte("bob")},
		{ID: []byte("h"), AlertID: []byte("0-7"), Kind: schemas.SettledGenuine, At: 4000, Previous: []byte("g"), By: []byte("sue")},
		{ID: []byte("f"), AlertID: []byte("0-8"), Kind: schemas.ClosedFraud, At: 3000}, // of an alert that never comes
	}
	var ds, as []Record
	for i := range actions {
		d := &actions[i]
		if d.TxID = []byte("what it says of the transaction is not asked"); len(d.By) == 0 {
			d.By = []byte("ann")
		}
		ds = append(ds, Record{Offset: int64(i), Value: schemas.AppendDispositionJSON(nil, d)})
	}
	for i, d := range []*decided{alerted, explored, unscored} {
		as = append(as, Record{Offset: int64(i), Value: d.json()})
	}
	for _, late := range []bool{false, true} {
		v := fresh(t)
		var labels [2]int
		for i := range 2 {
			var f Folded
			var err error
			if late == (i == 0) {
				f, err = v.FoldDispositions(t.Context(), ds)
			} else {
				f, err = v.FoldAlerts(t.Context(), 0, as)
			}
			if err != nil {
				t.Fatal(err)
			}
			labels[i] = f.Labels
		}
		if labels[0] != 0 || labels[1] != len(want) {
			t.Errorf("late %v: %d and %d labels", late, labels[0], labels[1])
		}
		due, err := v.Unpublished(t.Context(), 10)
		if err != nil || !reflect.DeepEqual(due, want) {
			t.Fatalf("late %v: due\n%+v\nwant\n%+v, %v", late, due, want, err)
		}
		marked(t, v, want)
	}
}

// marked marks one of the labels that are due, and looks at what is still.
func marked(t *testing.T, v *View, want []schemas.Label) {
	t.Helper()
	// What the topic holds is not due: those of analysts, of the same version.
	other := want[1]
	other.Source = schemas.Chargeback
	held := []Record{{Offset: 0, Value: schemas.AppendLabelJSON(nil, &want[2])}, {Offset: 1, Value: schemas.AppendLabelJSON(nil, &other)}, {Offset: 2, Value: []byte("{")}}
	if err := v.MarkLabelled(t.Context(), 0, held); err != nil {
		t.Fatal(err)
	}
	due, err := v.Unpublished(t.Context(), 2)
	if err != nil || !reflect.DeepEqual(due, want[:2]) {
		t.Errorf("still due %+v, %v", due, err)
	}
	if next, err := v.Next(t.Context(), Place{PlaceLabels, 0}); next != 3 || err != nil {
		t.Errorf("at %d, %v", next, err)
	}
}
