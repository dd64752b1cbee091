//go:build linux

package cuda

import (
	"math/rand/v2"
	"testing"

	"github.com/weir-risk/weir/scoring/cuda/link"
	"github.com/weir-risk/weir/scoring/scoringtest"
)

// TestAuditsGoThroughEveryRow holds the audit to what doc.go promises, for batches of any
// size: the share of rows, and after how many batches one place of a batch is looked at.
func TestAuditsGoThroughEveryRow(t *testing.T) {
	for _, rows := range []int{1, 2, 7, 63, 64, 65, 100, 1000, link.RowsMax} {
		const batches = 20_000
		a, last, longest, audited := audit{owed: auditEach - 1}, make([]int, rows), 0, 0
		for n := range batches {
			if a.next(rows, link.RowsMax); a.rows < 0 || a.from < 0 || a.from+a.rows > rows {
				t.Fatalf("%d rows of %d from %d", a.rows, rows, a.from)
			}
			if n == 0 && a.rows == 0 {
				t.Error("the first batch is not looked at")
			}
			audited += a.rows
			for i := a.from; i < a.from+a.rows; i++ {
				longest, last[i] = max(longest, n-last[i]), n
			}
		}
		for _, at := range last {
			longest = max(longest, batches-at)
		}
		if got, want := float64(audited), float64(rows*batches)/auditEach; got < want-1 || got > want+2 {
			t.Errorf("batches of %d: %g rows audited, want %g", rows, got, want)
		}
		if t.Logf("batches of %d rows: each row within %d batches", rows, longest); longest > onePlace {
			t.Errorf("batches of %d: a row is left out of %d batches, not %d", rows, longest, onePlace)
		}
	}
}

// onePlace is the promise of doc.go: each place of a batch is looked at in one of so many.
const onePlace = auditEach

// TestAuditsFindWrongBits has a device go wrong while it serves, in each score or in one
// place of a batch only.
func TestAuditsFindWrongBits(t *testing.T) {
	for _, c := range []struct {
		name         string
		wrong        uint32
		rows, within int
	}{
		{"every score, batches of 64", 2, 64, 1},
		{"every score, batches of 7", 2, 7, 10},
		{"one score of 64", 1, 64, onePlace},
		{"one score of 1000", 1, 1000, onePlace},
	} {
		b := newBench(t, Config{Always: true})
		b.serves(t)
		m := someModel(1)
		s, out := b.scorer(t, m), make([]float32, c.rows)
		// No probe: it would find the first score of a batch much sooner.
		s.router.forget(CPU)
		x := scoringtest.Rows(rand.New(rand.NewPCG(1, 42)), c.rows, m.Columns)
		for range 5 {
			if err := s.Score(x, out); err != nil {
				t.Fatal(err)
			}
		}
		b.control.wrong.Store(c.wrong)
		n := 0
		for ; b.Stats().Batches[CPU] == 0 && n < 10*onePlace; n++ {
			if err := s.Score(x, out); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%s: found in batch %d", c.name, n)
		if n > c.within {
			t.Errorf("%s: found in batch %d, not %d", c.name, n, c.within)
		}
		want := make([]float32, c.rows)
		if err := s.cpu.Score(x, want); err != nil {
			t.Fatal(err)
		}
		if !same(out, want) {
			t.Errorf("%s: the batch in which it was found is not the CPU's", c.name)
		}
	}
}
