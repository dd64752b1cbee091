package history_test

import (
	"testing"

	"github.com/weir-risk/weir/ingest/history"
)

// TestEveryRecordComesBackAsItsBytes writes every kind of record and every
// outcome and reads the ledger's own bytes again.
func TestEveryRecordComesBackAsItsBytes(t *testing.T) {
	eachStore(t, func(t *testing.T, url string) {
		s := open(t, url)
		l := newLedger(t, 1)
		l.everyKind()
		if err := s.Write(t.Context(), l.block(0, len(l.batches))); err != nil {
			t.Fatal(err)
		}
		l.same(s, 0, len(l.batches))
		l.same(s, 1, len(l.batches))
		at, err := s.Position(t.Context(), history.Ledger, 0)
		if err != nil {
			t.Fatal(err)
		}
		if at.Offset != l.next || at.Head != l.head || at.Begun != 0 {
			t.Fatalf("position is %+v, want %d after %v", at, l.next, l.head)
		}
	})
}
