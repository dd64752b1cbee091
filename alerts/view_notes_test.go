package alerts

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-risk/weir/schemas"
)

// TestNotesAreFound searches for words of notes, in views that were folded in random
// portions, one of them emptied in between.
func TestNotesAreFound(t *testing.T) {
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 23))
		l := randomLogs(r, 40, 120)
		v, _ := l.play(t, r, filepath.Join(t.TempDir(), "view.db"))
		all := items(t, v, l)
		for text, word := range map[string]string{"übung 3": " 3", "UBUNG": "Übung", "called about u": "Called", "Üb": "Übung", "about Übung 7": " 7",
			`"übung" 3`: " 3", "bung": "\x00", "übung called": "\x00", `" OR called`: "\x00", "note:called": "\x00", "-": "\x00", `"`: "\x00", "*": "\x00", "\x00": "\x00", "NEAR(": "\x00"} {
			var want []string
			for i := range all {
				if noted(t, v, &all[i], word) {
					want = append(want, string(all[i].ID))
				}
			}
			statuses := []Status{Open, Claimed, Snoozed, ProposedFraud, ProposedGenuine, Fraud, Genuine}
			list, _, err := v.Items(t.Context(), Filter{Text: text, Statuses: statuses}, 0, "", 1000)
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			var got []string
			for i := range list {
				got = append(got, string(list[i].ID))
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("seed %d, %q: %d found, want %d", seed, text, len(got), len(want))
			}
		}
	}
}

// noted reports whether a note of an alert holds a text.
func noted(t *testing.T, v *View, x *Item, text string) bool {
	t.Helper()
	list, err := v.Actions(t.Context(), string(x.ID))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(list, func(a Action) bool { return a.Kind == schemas.Noted && strings.Contains(string(a.Note), text) })
}
