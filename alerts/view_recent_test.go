package alerts

import (
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weir-risk/weir/schemas"
)

// TestNothingReadBeforeAChangeIsKept folds actions one by one while readers read, and
// asks each time for an alert and in the end for all: what is answered is what the file
// holds. There are few alerts, so that the one changed is mostly the one that is read.
func TestNothingReadBeforeAChangeIsKept(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	actions := 300
	if testing.Short() {
		actions = 60
	}
	l := randomLogs(r, 2, actions)
	v, err := OpenView(t.Context(), filepath.Join(t.TempDir(), "view.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for shard := range l.alerts {
		if _, err := v.FoldAlerts(t.Context(), int32(shard), l.alerts[shard]); err != nil {
			t.Fatal(err)
		}
	}
	order := make(map[string]int) // of actions
	for i, record := range l.dispositions {
		var d schemas.Disposition
		if schemas.ParseDisposition(record.Value, &d) == nil {
			order[string(d.ID)] = i + 1
		}
	}
	var readers sync.WaitGroup
	var done atomic.Bool
	readers.Go(func() { neverOlder(t, v, l.ids, order, done.Load) })
	for range 3 {
		readers.Go(func() {
			for n := 0; !done.Load(); n++ {
				if _, err := v.Item(t.Context(), l.ids[n%len(l.ids)]); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	defer readers.Wait()
	defer done.Store(true)
	check := func(id string) {
		key, err := parseID(id)
		if err != nil {
			t.Fatal(err)
		}
		x, err := v.item(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		want, err := v.read(t.Context(), key)
		if err != nil || !reflect.DeepEqual(x.State, want.State) || string(x.ID) != id {
			t.Fatalf("alert %s: it is %+v, %v, and is said to be %+v", id, want.State, err, x.State)
		}
	}
	for i := range l.dispositions {
		f, err := v.FoldDispositions(t.Context(), l.dispositions[i:i+1])
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range f.Settled {
			if slices.Contains(l.ids, s.AlertID) {
				check(s.AlertID)
			}
		}
	}
	for _, id := range l.ids {
		check(id)
	}
}

// neverOlder reads alerts from the file and then as everybody does, until it is over: a
// state is of no action before the one that the file had.
func neverOlder(t *testing.T, v *View, ids []string, order map[string]int, over func() bool) {
	for n := 0; !over(); n++ {
		key, err := parseID(ids[n%len(ids)])
		if err != nil {
			t.Error(err)
			return
		}
		file, err1 := v.read(t.Context(), key)
		x, err2 := v.item(t.Context(), key)
		if err1 != nil || err2 != nil || order[x.State.Last] < order[file.State.Last] {
			t.Errorf("%v, %v: the file had action %d, and then the state is of action %d", err1, err2, order[file.State.Last], order[x.State.Last])
			return
		}
	}
}

func TestRecent(t *testing.T) {
	var r recent
	x := func(raised int64) Item { return Item{Raised: raised} }
	_, at, _ := r.get(1)
	r.put(1, x(10), at)
	if got, _, ok := r.get(1); !ok || got.Raised != 10 {
		t.Fatalf("got %v, %v", got.Raised, ok)
	}
	_, at, _ = r.get(2)
	r.hold([]change{{key: 1}, {key: 2}}) // while 2 was read
	r.put(2, x(20), at)
	r.put(3, x(30), at)
	for key, want := range map[int64]bool{1: false, 2: false, 3: true} {
		if _, _, ok := r.get(key); ok != want {
			t.Fatalf("during a commit %d is there: %v", key, ok)
		}
	}
	r.forget([]change{{key: 1}, {key: 2}})
	r.put(2, x(20), at)
	for key := range int64(3) {
		if _, _, ok := r.get(key); ok {
			t.Fatalf("%d is there still", key)
		}
	}
	_, at, _ = r.get(0)
	for key := range int64(3 * recentMax) {
		r.put(key, x(key), at)
		r.get(0) // as who reads the top of a queue does
	}
	if n := len(r.young) + len(r.old); n > 2*recentMax {
		t.Fatalf("%d are held", n)
	}
	for key, want := range map[int64]bool{0: true, 1: false, recentMax: false, 3*recentMax - 1: true} {
		if got, _, ok := r.get(key); ok != want || ok && got.Raised != key {
			t.Fatalf("%d: %v, %v", key, got.Raised, ok)
		}
	}
	if r.clear(); len(r.young)+len(r.old) > 0 {
		t.Fatal("it is not empty")
	}
}
