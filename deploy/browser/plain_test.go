package browser

import (
	"testing"
)

// TestWithoutScript reads and decides in a browser that runs no script.
func TestWithoutScript(t *testing.T) {
	if err := w.account("pat", "analyst"); err != nil {
		t.Fatal(err)
	}
	pat := open(t, "pat")
	pat.without()
	pat.enter()
	pat.press(`nav a[href="/queue"]`)
	filter(t, pat)
	pat.press(".list .row")
	id := pat.alert()
	pat.press("button[value=claimed]")
	pat.shows("with pat")
	if len(pat.texts(".reasons b")) == 0 {
		t.Error("the page does not say why")
	}
	pat.fill("#note", "without a script")
	pat.press("button[value=noted]")
	pat.shows("without a script")
	pat.press("button[value=closed_fraud]")
	pat.until("document.querySelector('.verdict .state.fraud')")
	pat.press("button[value=undone]")
	pat.shows("with pat")
	pat.press("button[value=snoozed]")
	pat.shows("snoozed until")
	actions(t, id, "claimed", "noted", "closed_fraud", "undone", "snoozed")
	labels(t, id, "fraud", "none")
	pat.press(".acts [data-key=n]")
	pat.shows("with pat")
	if pat.alert() == id {
		t.Error("next is the same")
	}
	pat.press("button[value=released]")
	pat.shows("pat put it back")
	pat.press(`a[href="/keys"]`)
	pat.shows("close it as fraud")
	pat.press(".who button")
	pat.until("location.pathname == '/login'")
}

// TestPagesWithoutScript opens every page in a browser that runs no script: each says
// what it is, and none needs more.
func TestPagesWithoutScript(t *testing.T) {
	b := boss(t, "una")
	list := pages(t, b)
	b.without()
	for _, p := range list {
		if p.by != nil {
			continue
		}
		b.look(p, 1440, "light")
		if js[int](b, "document.querySelectorAll('h1').length") != 1 || len(b.text("main")) < 20 {
			t.Errorf("%s says too little: %q", p.name, b.text("main"))
		}
	}
}
