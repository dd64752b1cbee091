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
	const still = ".list tbody td:not([data-since], [data-until])" // of a list whose times go on
	before, head := liv.texts(still), openAlerts(t, liv)
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
	if !slices.Equal(liv.texts(still), before) {
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

// TestTimesGoOn leaves the queue and a case open: ages and what is left go on, with no new
// page, and nothing stands elsewhere for it.
func TestTimesGoOn(t *testing.T) {
	ida := analyst(t, "ida", "analyst")
	ida.visit("/queue")
	const times = "[...document.querySelectorAll('[data-since], [data-ago], [data-until]')]"
	const places = "JSON.stringify([...document.querySelectorAll('main *')].filter(e => !e.matches('time, [data-ago], :has(time, [data-ago])')).map(e => { const r = e.getBoundingClientRect(); return [r.x, r.y, r.width, r.height] }))"
	at := js[string](ida, places)
	later := func(hours int, wait string, until string) {
		t.Helper()
		js[any](ida, fmt.Sprintf(`(real => { Date.now = () => real() + %d * 3600e3 })(document.realNow ??= Date.now), null`, hours))
		js[any](ida, `(real => { window.setTimeout = (f, ms) => { document.waits = ms; return real(f, ms) } })(document.realTimeout ??= setTimeout), null`)
		ida.until("document.waits == " + wait + " && " + times + ".every(e => /" + until + "/.test(e.innerText))")
	}
	later(0, "1000", "^(\\d+ (s|min)|\\d+ min left)$")
	later(3, "1000", "^(3 h|2 h late)$")
	if now := js[string](ida, places); now != at {
		t.Errorf("it has moved:\n%s\n%s", at, now)
	}
	if !js[bool](ida, times+".filter(e => 'until' in e.dataset).every(e => e.classList.contains('late') && getComputedStyle(e).color != getComputedStyle(document.body).color)") {
		t.Error("what is late is not said to be")
	}
	later(24*10, "1000", "^(10 days|9 days late)$")
	ida.visit("/queue?status=open")
	ida.press(".list .row")
	at = js[string](ida, places)
	later(3, "1000", "^(\\d+ (h|days) ago|2 h late)$")
	if now := js[string](ida, places); now != at {
		t.Errorf("it has moved:\n%s\n%s", at, now)
	}
	ida.still()
	later(24*10, "60000", "^(\\d+ days ago|9 days late)$")
}

// openAlerts is how many the queue says are open.
func openAlerts(t *testing.T, b *tab) (n int) {
	t.Helper()
	if _, err := fmt.Sscanf(strings.ReplaceAll(b.text("h1 small"), ",", ""), "%d open", &n); err != nil {
		t.Fatal(err)
	}
	return n
}
