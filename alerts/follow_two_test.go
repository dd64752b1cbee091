package alerts

import (
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
