package alerts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/schemas"
)

func openTestTrail(t testing.TB, file string) *Trail {
	t.Helper()
	trail, err := OpenTrail(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = trail.Close() }) // a test may have
	return trail
}

// acts makes the records of a day: audit entries and dispositions, some of them twice,
// and some at the same time.
func acts(r *rand.Rand, n int) (audit, dispositions []Record, want []TrailEntry) {
	pick := func(list ...string) []byte { return []byte(list[r.IntN(len(list))]) }
	at := int64(1_700_000_000_000)
	var values [2][][]byte
	add := func(topic int, value []byte, e TrailEntry) {
		e.key = trailKey(e.At, int64(len(values[topic])), int64(topic))
		values[topic] = append(values[topic], value)
		want = append(want, e)
		if r.IntN(10) == 0 { // the answer of the log was lost
			values[topic] = append(values[topic], value)
		}
	}
	for i := range n {
		at += r.Int64N(3) * 1000
		who := pick("ann", "bob", "eve' OR '1'='1", "?")
		if r.IntN(3) == 0 {
			d := schemas.Disposition{ID: fmt.Appendf(nil, "d%d", i), AlertID: fmt.Appendf(nil, "0-%d", r.IntN(9)), TxID: []byte("t"), Kind: schemas.Noted, By: who, At: at, Note: pick("called", "<b>")}
			add(1, schemas.AppendDispositionJSON(nil, &d), TrailEntry{ID: string(d.AlertID) + "/" + string(d.ID), Who: string(who), What: "noted", Of: string(d.AlertID), Detail: string(d.Note), At: at})
			continue
		}
		e := schemas.AuditEntry{ID: fmt.Appendf(nil, "a%d", i), At: at, Who: who, What: schemas.AuditAct(r.IntN(int(schemas.NumAuditActs))),
			Of: pick("/alerts/0-1", "/alerts/0-7", "/queue?status=open&text=k1.Ab", ""), Address: pick("10.0.0.1", "::1"), Detail: pick("", "x")}
		add(0, schemas.AppendAuditJSON(nil, &e), TrailEntry{string(e.ID), string(who), e.What.String(), string(e.Of), string(e.Address), string(e.Detail), at, 0})
	}
	for topic, rs := range []*[]Record{&audit, &dispositions} {
		for i, v := range values[topic] {
			*rs = append(*rs, Record{Offset: int64(i), Value: v})
		}
	}
	slices.SortFunc(want, func(a, b TrailEntry) int { return cmp.Compare(b.key, a.key) })
	return audit, dispositions, want
}

// foldInPieces folds two topics cut at random and one between the other.
func foldInPieces(t *testing.T, r *rand.Rand, trail *Trail, audit, dispositions []Record) {
	t.Helper()
	for len(audit)+len(dispositions) > 0 {
		topic, rs := PlaceAudit, &audit
		if r.IntN(2) == 0 {
			topic, rs = PlaceDispositions, &dispositions
		}
		n := min(len(*rs), 1+r.IntN(40))
		if f, err := trail.Fold(t.Context(), topic, (*rs)[:n]); err != nil || f.Malformed > 0 {
			t.Fatal(err, f.Causes)
		}
		if n > 0 && r.IntN(4) == 0 { // and is passed over
			if _, err := trail.Fold(t.Context(), topic, (*rs)[:n]); err != nil {
				t.Fatal(err)
			}
		}
		*rs = (*rs)[n:]
	}
}

// walkTrail walks all pages of a filter.
func walkTrail(t *testing.T, trail *Trail, f TrailFilter, limit int) (all []TrailEntry) {
	t.Helper()
	for after, pages := Cursor(""), 0; ; pages++ {
		p, err := trail.Page(t.Context(), f, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p.Entries...)
		if p.Looked > 0 && len(p.Entries) > limit || p.Looked == 0 && p.After != "" && len(p.Entries) < limit {
			t.Fatalf("a page of %d ends at %q and looked back to %d", len(p.Entries), p.After, p.Looked)
		}
		if after = p.After; after == "" {
			return all
		}
		if pages > 10_000 {
			t.Fatal("the pages do not end")
		}
	}
}

// TestTrail folds random days in random pieces, and holds every page to a filter over
// the plain list.
func TestTrail(t *testing.T) {
	seeds, filters := uint64(3), 100
	if testing.Short() { // SQLite is slow under the race detector
		seeds, filters = 1, 30
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 9))
		audit, dispositions, want := acts(r, 200)
		trail := openTestTrail(t, filepath.Join(t.TempDir(), "audit.db"))
		trail.look, trail.wordsLook = 20+r.IntN(20), 5+r.IntN(20)
		foldInPieces(t, r, trail, audit, dispositions)
		pick := func(list ...string) string { return list[r.IntN(len(list))] }
		for range filters {
			f := TrailFilter{Who: pick("", "", "ann", "eve' OR '1'='1", "nobody"), What: pick("", "", "viewed", "noted", "denied", "x'; DROP TABLE entries --"),
				Address: pick("", "", "::1", "10.0.0.1", "%"), Of: pick("", "", "/alerts/0-7", "0-7 alerts", "K1.ab", "0", "queue", "' OR 1=1 --", `"`)}
			if r.IntN(3) == 0 {
				f.From = want[r.IntN(len(want))].At
			}
			if r.IntN(3) == 0 {
				f.To = want[r.IntN(len(want))].At
			}
			var expected []TrailEntry
			for _, e := range want {
				has := trailWords(e.Of)
				if (f.Who == "" || f.Who == e.Who) && (f.What == "" || f.What == e.What) && (f.Address == "" || f.Address == e.Address) &&
					e.At >= f.From && (f.To == 0 || e.At < f.To) && !slices.ContainsFunc(trailWords(f.Of), func(w string) bool { return !slices.Contains(has, w) }) {
					expected = append(expected, e)
				}
			}
			if got := walkTrail(t, trail, f, 1+r.IntN(30)); !slices.Equal(got, expected) {
				t.Fatalf("seed %d, %+v: %d entries, want %d\n%v\n%v", seed, f, len(got), len(expected), got, expected)
			}
		}
	}
}

// TestTrailOfOneMoment has entries of one ms that the low bits of their offsets do not
// tell apart, whichever topic is read first.
func TestTrailOfOneMoment(t *testing.T) {
	var audit, dispositions []Record
	for i := range int64(4) {
		e := schemas.AuditEntry{ID: fmt.Appendf(nil, "%d", i), At: 5, Who: []byte("ann"), What: schemas.AuditViewed}
		d := schemas.Disposition{ID: e.ID, AlertID: []byte("0-1"), TxID: []byte("t"), Kind: schemas.Claimed, By: []byte("ann"), At: 5}
		audit = append(audit, Record{Offset: i << (keyBits - 1), Value: schemas.AppendAuditJSON(nil, &e)})
		dispositions = append(dispositions, Record{Offset: i << (keyBits - 1), Value: schemas.AppendDispositionJSON(nil, &d)})
	}
	var ids [2]string
	for first := range ids {
		trail := openTestTrail(t, filepath.Join(t.TempDir(), "audit.db"))
		for k := range 2 {
			topic, rs := PlaceAudit, audit
			if k != first {
				topic, rs = PlaceDispositions, dispositions
			}
			if f, err := trail.Fold(t.Context(), topic, rs); err != nil || f.Malformed > 0 {
				t.Fatal(err, f)
			}
		}
		for _, e := range walkTrail(t, trail, TrailFilter{From: 5, To: 6}, 1) {
			ids[first] += e.ID + " "
		}
	}
	if want := "0-1/3 3 0-1/2 2 0-1/1 1 0-1/0 0 "; ids[0] != want || ids[1] != want {
		t.Errorf("the entries are %q, want %q", ids, want)
	}
}

// TestTrailHidesCards whoever wrote them.
func TestTrailHidesCards(t *testing.T) {
	trail := openTestTrail(t, filepath.Join(t.TempDir(), "audit.db"))
	e := schemas.AuditEntry{ID: []byte("1"), At: 1, Who: []byte("ann"), What: schemas.AuditViewed, Of: []byte("/queue?text=4111111111111111"), Detail: []byte("4111 1111 1111 1111")}
	d := schemas.Disposition{ID: []byte("1"), AlertID: []byte("0-1"), TxID: []byte("t"), Kind: schemas.Noted, By: []byte("ann"), Note: []byte("4111-1111-1111-1111")}
	if _, err := trail.Fold(t.Context(), PlaceAudit, []Record{{Value: schemas.AppendAuditJSON(nil, &e)}}); err != nil {
		t.Fatal(err)
	}
	if _, err := trail.Fold(t.Context(), PlaceDispositions, []Record{{Value: schemas.AppendDispositionJSON(nil, &d)}}); err != nil {
		t.Fatal(err)
	}
	got := walkTrail(t, trail, TrailFilter{}, 9)
	if len(got) != 2 || got[0].Of != "/queue?text=411111******1111" || got[0].Detail != "411111******1111" || got[1].Detail != "411111******1111" {
		t.Errorf("%+v", got)
	}
}

func TestTrailRefusesOtherFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "view.db")
	if err := open(t, file).Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenTrail(t.Context(), file); !errors.Is(err, ErrNotView) {
		t.Errorf("a view is opened as an audit trail: %v", err)
	}
	if _, err := openTestTrail(t, filepath.Join(t.TempDir(), "a.db")).Page(t.Context(), TrailFilter{}, "rubbish!", 9); !errors.Is(err, ErrCursor) {
		t.Errorf("a cursor that is none: %v", err)
	}
}

// follows runs a trail on the world's topics until it has n entries, and returns them.
func (w *world) follows(file string, n int) []TrailEntry {
	w.t.Helper()
	trail, err := OpenTrail(w.t.Context(), file)
	w.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	c := Config{Log: slog.New(slog.NewTextHandler(&w.said, nil)), Now: time.Now, After: time.After, Topics: w.topics}
	go func() { ended <- trail.Follow(ctx, w.log, c) }()
	var p TrailPage
	w.until("the trail has its entries", func() bool {
		p, err = trail.Page(w.t.Context(), TrailFilter{}, "", 100)
		w.must(err)
		ready, _ := trail.Ready()
		return ready && len(p.Entries) == n
	})
	cancel()
	w.must(<-ended)
	w.must(trail.Close())
	return p.Entries
}

// TestTrailFollows reads real topics: it goes on where it was, comes back the same from
// nothing, and begins anew where a topic was made anew.
func TestTrailFollows(t *testing.T) {
	w := newWorld(t, 1)
	file := filepath.Join(t.TempDir(), "audit.db")
	entry := func(id int) []byte {
		return schemas.AppendAuditJSON(nil, &schemas.AuditEntry{ID: fmt.Appendf(nil, "%d", id), At: int64(id), Who: []byte("ann"), What: schemas.AuditViewed, Of: []byte("/queue")})
	}
	w.send(w.topics.Audit, entry(1), []byte("rubbish"), entry(2), entry(1))
	w.follows(file, 2)
	if !strings.Contains(w.said.String(), "offset 1") {
		t.Errorf("nothing is said of what cannot be read: %s", w.said.String())
	}
	d := schemas.Disposition{ID: []byte("x"), AlertID: []byte("0-1"), TxID: []byte("t"), Kind: schemas.Claimed, By: []byte("bob"), At: 3}
	w.send(w.topics.Dispositions, schemas.AppendDispositionJSON(nil, &d))
	w.send(w.topics.Audit, entry(2), entry(4))
	all := w.follows(file, 4)
	w.must(os.Remove(file))
	if again := w.follows(file, 4); !slices.Equal(all, again) {
		t.Errorf("from nothing it comes back as\n%v, want\n%v", again, all)
	}
	w.must(w.broker.Cluster().DeleteTopic(w.topics.Audit))
	w.must(w.log.Ensure(t.Context(), w.topics.Layouts(1)))
	w.send(w.topics.Audit, entry(9))
	if got := w.follows(file, 2); got[0].ID != "9" || got[1].Who != "bob" {
		t.Errorf("after the topic was made anew: %v", got)
	}
}
