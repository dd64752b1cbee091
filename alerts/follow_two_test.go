package alerts

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/weir-risk/weir/schemas"
)

// TestTwoDesksPublishALabelOnce has analysts close alerts at two desks at once, and one
// of whom no desk knows: each label is in the topic once.
func TestTwoDesksPublishALabelOnce(t *testing.T) {
	w := newWorld(t, 9)
	const each = 30
	w.alert(2*each + 1)
	one := w.start().ready()
	w.file = filepath.Join(t.TempDir(), "other.db")
	two := w.start().ready()
	var both sync.WaitGroup
	for k, r := range []*running{one, two} {
		both.Go(func() {
			for i := range each {
				x := action(w.ids[k*each+i], fmt.Sprintf("ann%d", k), schemas.ClosedFraud)
				x.At = time.Now().Add(time.Hour).UnixMilli() // the other one never finds it late, however slow this machine is
				if s, err := r.Act(t.Context(), x); err != nil || s.Err != nil {
					t.Error(s.Err, err)
				}
			}
		})
	}
	both.Wait()
	w.until("the labels of both", func() bool { return len(w.labels()) >= 2*each })
	// One that was made at a desk that is gone by now.
	x := action(w.ids[2*each], "bob", schemas.ClosedGenuine)
	x.ID, x.TxID, x.At = []byte("x"), []byte("t"), time.Now().Add(-2*othersAfter).UnixMilli()
	w.send(w.topics.Dispositions, schemas.AppendDispositionJSON(nil, &x))
	w.until("the label of the third", func() bool { return len(w.labels()) > 2*each })
	got := make(map[string]int)
	for _, l := range w.labels()[:2*each] {
		got[string(l.TxID)]++
	}
	for tx, n := range got {
		if n != 1 {
			t.Errorf("the label of %s is there %d times", tx, n)
		}
	}
	if len(got) != 2*each {
		t.Errorf("%d labels, want %d", len(got), 2*each)
	}
}

// TestTwoDesksRaceForAnAlert has one analyst claim an alert at one desk and, at the same
// moment, another close it at a second desk, naming that claim: as a page does that a
// desk ahead of the second one has shown. Whichever comes first in the log, what the
// second one says does not count, they are told so, and both desks say the same.
func TestTwoDesksRaceForAnAlert(t *testing.T) {
	w := newWorld(t, 10)
	const rounds = 25
	w.alert(rounds)
	one := w.start().ready()
	w.file = filepath.Join(t.TempDir(), "other.db")
	two := w.start().ready()
	for i, id := range w.ids {
		claim, end := action(id, "ann", schemas.Claimed), action(id, "bob", schemas.ClosedFraud)
		claim.ID, claim.As = fmt.Appendf(nil, "claim%d", i), schemas.AsAnalyst
		end.Previous, end.As = claim.ID, schemas.AsAnalyst
		var won, lost Settled
		var both sync.WaitGroup
		act := func(r *running, x schemas.Disposition, to *Settled) {
			both.Go(func() {
				s, err := r.Act(t.Context(), x)
				if *to = s; err != nil {
					t.Error(err)
				}
			})
		}
		act(one, claim, &won)
		act(two, end, &lost)
		both.Wait()
		if won.Err != nil || !errors.Is(lost.Err, ErrOwned) && !errors.Is(lost.Err, ErrStale) {
			t.Fatalf("alert %s: claimed: %v, closed by another: %v", id, won.Err, lost.Err)
		}
		end.As, end.Previous, end.ID = schemas.AsSupervisor, claim.ID, nil
		if s, err := two.Act(t.Context(), end); err != nil || s.Err != nil || s.State.Status != Fraud {
			t.Fatalf("alert %s: a supervisor closes it: %v, %v", id, s.Err, err)
		}
		w.until("both desks have it closed", func() bool {
			a, errA := one.view.Item(t.Context(), id)
			b, errB := two.view.Item(t.Context(), id)
			w.must(errors.Join(errA, errB))
			return a.Status == Fraud && b.Status == Fraud && a.Last == b.Last && a.Labels == b.Labels
		})
	}
}
