package ingest

import (
	"bytes"
	"testing"
)

// TestEveryRecordHasOneDecisionThatCanBeRecomputed runs the whole stream on the
// embedded broker and has the verifier recompute it from the ledger alone.
func TestEveryRecordHasOneDecisionThatCanBeRecomputed(t *testing.T) {
	w := newWorld(t, "payments", 2)
	n := w.payments(briefly(20000, 5000), 1, 2)
	w.runUntil(n, nil)
	v := w.verify()
	r := &v.Report
	if r.SourceRecords != n || r.Decisions != n {
		t.Fatalf("%d source records and %d decisions, want %d of each", r.SourceRecords, r.Decisions, n)
	}
	if r.Scored < n*9/10 || r.Duplicate == 0 || r.Labels == 0 {
		t.Fatalf("the stream is not what it should be: %+v", r)
	}
}

// TestCutsAndRestartsChangeNothing decides the same source in steps of other
// sizes, with a restart in the middle: the ledger's records are the same bytes.
func TestCutsAndRestartsChangeNothing(t *testing.T) {
	var want [][]byte
	for i, rows := range []int{4096, 7, 300} {
		w := newWorld(t, "payments", 3)
		w.challenge()
		n := w.payments(4000, 2, 3)
		set := func(c *Config) { c.RowsMax = rows }
		if i > 0 {
			w.runUntil(n/3, set)
			w.runUntil(n/2, set)
		}
		w.runUntil(n, set)
		w.verify()
		got := w.ledger()[1:] // the genesis record names the topic's own id
		if want == nil {
			want = got
			continue
		}
		if len(got) != len(want) {
			t.Fatalf("steps of %d rows wrote %d records, want %d", rows, len(got), len(want))
		}
		for k := range got {
			if !bytes.Equal(got[k], want[k]) {
				t.Fatalf("steps of %d rows: record %d differs", rows, k)
			}
		}
	}
}
