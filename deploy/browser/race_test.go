package browser

import (
	"strings"
	"sync"
	"testing"
)

// TestTwoRaceForOneAlert lets two analysts take the same alert at once, again and again:
// one of them has it, by the log's order, and the other one is told who.
func TestTwoRaceForOneAlert(t *testing.T) {
	const rounds = 12
	two := []*tab{analyst(t, "ada", "analyst"), analyst(t, "ben", "analyst")}
	two[0].visit("/queue?status=open")
	paths := js[[]string](two[0], "[...document.querySelectorAll('.list .row')].map(a => a.pathname)")
	if len(paths) < rounds {
		t.Fatalf("%d alerts are open", len(paths))
	}
	won := make(map[string]int)
	for _, path := range paths[:rounds] {
		both(t, two, func(b *tab) { b.visit(path) })
		both(t, two, func(b *tab) { b.press("button[value=claimed]") })
		id := strings.TrimPrefix(path, "/alerts/")
		winner := did(t, "dispositions", "alert_id", id, "by", 1)[0]
		won[winner]++
		for _, b := range two {
			b.shows("with " + winner)
			told := b.text(".told")
			if b.name == winner && told != "" || b.name != winner && !strings.Contains(told, winner) {
				t.Errorf("%s has it, and %s is told %q", winner, b.name, told)
			}
		}
	}
	t.Logf("won: %v", won)
}

// both lets two do the same at once.
func both(t *testing.T, two []*tab, do func(*tab)) {
	t.Helper()
	var wg sync.WaitGroup
	for _, b := range two {
		wg.Go(func() { do(b) })
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}
