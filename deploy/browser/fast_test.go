package browser

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
)

// far puts the desk far away: each answer takes so much longer.
func (b *tab) far(latency time.Duration) {
	b.t.Helper()
	call(b, network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{
		MatchedNetworkConditions: []*network.Conditions{{Latency: float64(latency.Milliseconds()), DownloadThroughput: -1, UploadThroughput: -1}}})
}

// TestTheNextCaseIsThere decides on cases of a desk that is far away: keys do not wait
// for it, and the next case is shown within 100 ms of its key.
func TestTheNextCaseIsThere(t *testing.T) {
	sam := analyst(t, "sam", "analyst")
	sam.visit("/queue")
	sam.press("[data-key=n]")
	sam.far(300 * time.Millisecond)
	var took []float64
	for range 3 {
		id := sam.alert()
		sam.until("performance.getEntriesByType('resource').some(e => e.name.endsWith(document.querySelector('[data-next]').dataset.next) && e.responseEnd)")
		js[bool](sam, `addEventListener("keydown", () => {
			const began = performance.now(), main = document.querySelector("main");
			const o = new MutationObserver(() => { if (document.querySelector("main") != main) { document.took = performance.now() - began; o.disconnect() } });
			document.took = 0;
			o.observe(document.body, {childList: true});
		}, {capture: true}), true`)
		sam.keys("f")
		sam.until("document.querySelector('.verdict .state').innerText == 'fraud, being sent'")
		sam.keys("n")
		sam.until("location.pathname != '/alerts/" + id + "' && document.took")
		took = append(took, js[float64](sam, "document.took"))
		sam.until("document.querySelector('.verdict .state').innerText == 'with sam'")
		actions(t, id, "claimed", "closed_fraud")
	}
	// The verdict before can be taken back on the page of the next case.
	id := sam.alert()
	sam.keys("gn")
	sam.until("location.pathname != '/alerts/" + id + "' && document.querySelector('.acts [data-key=u]')?.innerText.startsWith('Undo genuine, ')")
	sam.keys("u")
	sam.until("location.pathname == '/alerts/" + id + "' && document.querySelector('.verdict .state').innerText == 'with sam'")
	actions(t, id, "claimed", "closed_genuine", "undone")
	labels(t, id, "genuine", "none")
	if slices.Min(took) > 100 {
		t.Errorf("the next case was there after %.0f ms", took)
	}
	t.Logf("the next case was there after %.0f ms", took)
}

// TestWhatDoesNotCountIsTold decides on a case that a supervisor has closed meanwhile,
// and goes on before the answer is there: it is told all the same. The verdict is not: it
// is a second look now, which is given once the first can be undone no more.
func TestWhatDoesNotCountIsTold(t *testing.T) {
	tim, joe := analyst(t, "tim", "analyst"), analyst(t, "joe", "supervisor")
	tim.visit("/queue")
	tim.press("[data-key=n]")
	id := tim.alert()
	joe.visit("/alerts/" + id)
	joe.press("button[value=closed_genuine]")
	tim.until("performance.getEntriesByType('resource').some(e => e.name.endsWith(document.querySelector('[data-next]').dataset.next) && e.responseEnd)")
	tim.far(300 * time.Millisecond)
	tim.keys("fn")
	tim.until("document.querySelector('.told')?.innerText.startsWith('joe ') && document.readyState == 'complete'")
	if want := "/second-looks/" + id; !strings.HasPrefix(tim.path(), want+"?") {
		t.Errorf("tim is told of another alert, at %s", tim.path())
	}
	if strings.Contains(tim.text("main"), "said genuine") || len(tim.texts(".state")) > 0 {
		t.Errorf("the page tells the first verdict: %s", tim.text("main"))
	}
	tim.turns("f")
	tim.shows("It was closed a moment ago")
	tim.visit("/queue?status=genuine")
	if js[bool](tim, "!!document.querySelector('.list a[href=\"/alerts/"+id+"\"]')") {
		t.Error("the list of what is genuine tells the first verdict")
	}
}

// TestWhatGoesWrongIsSaid sends what the desk refuses, and then acts without a session:
// a script in between hides neither.
func TestWhatGoesWrongIsSaid(t *testing.T) {
	ron := analyst(t, "ron", "analyst")
	ron.visit("/queue")
	ron.press("[data-key=n]")
	path := ron.path()
	js[string](ron, "document.querySelector('#note').value = 'n'.repeat(5000)")
	ron.press("button[value=noted]")
	ron.shows("The form was not understood, so nothing was done.")
	for _, said := range ron.errors() {
		if !strings.Contains(said, "400") {
			t.Error(said)
		}
	}
	ron.visit(path)
	call(ron, network.ClearBrowserCookies, cdp.Empty{})
	ron.press("button[value=closed_fraud]")
	ron.until("location.pathname == '/login'")
	ron.errors() // of the fetch that leads there, if any
	id := strings.TrimPrefix(path, "/alerts/")
	actions(t, id, "claimed")
}
