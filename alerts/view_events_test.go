package alerts

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weir-risk/weir/schemas"
)

// TestWhatHappenedFollowsFromTheTopics reads what happened in random portions from
// views that were folded in random ones, and holds it to the rule of states.
func TestWhatHappenedFollowsFromTheTopics(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 11))
		l := randomLogs(r, 60, 150)
		want := l.happened(t)
		for range 2 {
			v, _ := l.play(t, r, filepath.Join(t.TempDir(), "view.db"))
			ends, err := v.Ends(t.Context())
			if err != nil || len(ends) != 3 {
				t.Fatal(ends, err)
			}
			got := make(map[Place][]string)
			for p, end := range ends {
				for at := int64(-1); at < end; {
					list, last, err := v.Since(t.Context(), p, at, 1+r.IntN(7))
					if err != nil {
						t.Fatal(err)
					}
					if last == at { // what was not readable stands behind the last one
						break
					}
					at = last
					for _, h := range list {
						got[p] = append(got[p], h.text())
					}
				}
			}
			for p := range ends {
				if !slices.Equal(got[p], want[p]) {
					t.Fatalf("seed %d, %v:\n%q\nwant\n%q", seed, p, got[p], want[p])
				}
			}
		}
	}
}

func (h *Happening) text() string {
	if h.Action == nil {
		return h.AlertID
	}
	return fmt.Sprintf("%s %s %v", h.AlertID, h.Action.ID, h.Decided)
}

// happened is what the logs say by the rule alone.
func (l *logs) happened(t *testing.T) map[Place][]string {
	t.Helper()
	want := make(map[Place][]string)
	for shard, rs := range l.alerts {
		p, mark := Place{PlaceAlerts, int32(shard)}, int64(-1)
		for _, r := range rs {
			var a schemas.Alert
			if schemas.ParseAlert(r.Value, &a) == nil && a.Shard == p.Partition && a.Offset > mark {
				mark = a.Offset
				want[p] = append(want[p], string(a.ID))
			}
		}
	}
	states, seen := make(map[string]State), make(map[string]bool)
	for _, r := range l.dispositions {
		var d schemas.Disposition
		if schemas.ParseDisposition(r.Value, &d) != nil || seen[string(d.ID)] {
			continue
		}
		if _, err := parseID(string(d.AlertID)); err != nil {
			continue
		}
		seen[string(d.ID)] = true
		next, _, label, err := states[string(d.AlertID)].Apply(&d)
		if err == nil {
			states[string(d.AlertID)] = next
			h := Happening{AlertID: string(d.AlertID), Action: &d, Decided: label}
			p := Place{Topic: PlaceDispositions}
			want[p] = append(want[p], h.text())
		}
	}
	return want
}
