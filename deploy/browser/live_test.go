package browser

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestWhatArrivesWaits looks at the queue while the bank goes on paying: the list stays
// as it is, a line says how many are new, and a click on it shows them.
func TestWhatArrivesWaits(t *testing.T) {
	liv := analyst(t, "liv", "analyst")
	liv.visit("/queue")
	before, head := liv.texts(".list tbody tr"), openAlerts(t, liv)
	js[bool](liv, "scrollTo(0, 200), true")
	at := js[float64](liv, "document.querySelector('.list').getBoundingClientRect().top")
	if liv.text(".news") != "" {
		t.Fatalf("something is new before anything came: %q", liv.text(".news"))
	}
	raised, err := w.count("weir_alerts_total")
	if err != nil {
		t.Fatal(err)
	}
	w.arrive(t, 3)
	now, err := w.count("weir_alerts_total")
	if err != nil {
		t.Fatal(err)
	}
	came := int(now - raised)
	liv.until(fmt.Sprintf("document.querySelector('.news a').innerText.startsWith('%d new')", came))
	if !slices.Equal(liv.texts(".list tbody tr"), before) {
		t.Error("the list has moved")
	}
	if top := js[float64](liv, "document.querySelector('.list').getBoundingClientRect().top"); top != at {
		t.Errorf("the list was at %g and is at %g", at, top)
	}
	liv.press(".news a")
	if got := openAlerts(t, liv); got != head+came {
		t.Errorf("%d were open, %d came, and %d are", head, came, got)
	}
	if liv.text(".news") != "" {
		t.Error("what is shown is new still")
	}
}

// openAlerts is how many the queue says are open.
func openAlerts(t *testing.T, b *tab) (n int) {
	t.Helper()
	if _, err := fmt.Sscanf(strings.ReplaceAll(b.text("h1 small"), ",", ""), "%d open", &n); err != nil {
		t.Fatal(err)
	}
	return n
}
