package browser

import (
	"strconv"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// TestKeysAlone works without a mouse, from the log-in to the verdict.
func TestKeysAlone(t *testing.T) {
	if err := w.account("kim", "analyst"); err != nil {
		t.Fatal(err)
	}
	kim := open(t, "kim")
	kim.visit("/login")
	kim.until("document.activeElement.id == 'name'")
	kim.keys("kim" + kb.Tab + password)
	kim.leave(func() { kim.keys(kb.Enter) })
	for kim.focus("getAttribute('href')") != "/queue" {
		kim.keys(kb.Tab)
	}
	kim.focused("the link to the queue")
	kim.leave(func() { kim.keys(kb.Enter) })

	// The list: down, down, up is the second line.
	for i, key := range []string{"j", "j", "k", "j"} {
		kim.keys(key)
		want := []int{0, 1, 0, 1}[i]
		if got := kim.focus("closest('tr').sectionRowIndex"); got != strconv.Itoa(want) {
			t.Errorf("after %d keys the line is %s, want %d", i+1, got, want)
		}
		kim.focused("a line of the queue")
	}
	kim.keys("/")
	kim.until("document.activeElement.name == 'text'")
	kim.focused("the search")
	kim.keys("jk" + kb.Escape)
	if got := js[string](kim, "document.querySelector('input[name=text]').value"); got != "jk" {
		t.Errorf("keys in a field do what they do elsewhere: it holds %q", got)
	}
	kim.keys("j")
	for kim.focus("closest('tr').querySelector('.state').className") != "state open" {
		kim.keys("j") // others are at work too
	}
	kim.keys("y")
	kim.until("document.querySelector('#said').innerText.startsWith('Copied ')")
	line := kim.pasted("input[name=text]")
	kim.keys(kb.Escape)
	kim.keys("kj") // which line the focus was on is known by the page
	kim.leave(func() { kim.keys(kb.Enter) })
	id := kim.alert()
	if line != id {
		t.Errorf("%q was copied of the line that leads to %s", line, id)
	}
	copies(kim, id)

	// Help, over the page, in which no key does anything.
	kim.keys("?")
	kim.until("document.querySelector('dialog[open]')?.innerText.includes('close it as fraud')")
	kim.keys("f" + kb.Escape)
	kim.until("!document.querySelector('dialog[open]')")

	kim.turns("c")
	kim.shows("with kim")
	kim.keys("a")
	kim.until("document.activeElement.name == 'note'")
	kim.focused("the note")
	kim.turns("f g e u n" + kb.Enter) // as one writes
	kim.shows("kim noted")
	kim.keys(kb.Escape + "r")
	kim.focused("the reason")
	kim.keys(kb.Escape)
	kim.turns("2f")
	kim.shows("kim said fraud: card lost or stolen")
	kim.turns("u")
	kim.shows("kim took the last action back", "with kim")
	kim.turns("g")
	kim.until("document.querySelector('.verdict .state.genuine')")
	actions(t, id, "claimed", "noted", "closed_fraud", "undone", "closed_genuine")
	labels(t, id, "fraud", "none", "genuine")

	kim.turns("n")
	kim.until("location.pathname != '/alerts/" + id + "'")
	hard := kim.alert()
	kim.shows("with kim")
	kim.turns("e")
	kim.shows("escalated")
	actions(t, hard, "claimed", "escalated")
	kim.turns("z")
	kim.shows("snoozed until")
	kim.turns("q")
	kim.until("location.pathname == '/queue'")
}

// copies copies the id of a case, once where the page may use the clipboard and once where
// it may not, as without TLS.
func copies(b *tab, id string) {
	b.t.Helper()
	for _, by := range []string{"0", "Object.defineProperty(navigator, 'clipboard', {value: undefined})"} {
		js[any](b, by+", document.querySelector('#note').value = 'not copied', document.querySelector('main').focus(), document.querySelector('#said').textContent = '', null")
		b.keys("y")
		b.until("document.querySelector('#said').innerText == 'Copied " + id + "'")
		if got := b.pasted("#note"); got != id {
			b.t.Errorf("%s has copied %q, want %s", b.name, got, id)
		}
		js[any](b, "document.querySelector('#note').value = '', document.activeElement.blur(), null")
	}
}

// turns presses keys of which the last brings a page.
func (b *tab) turns(keys string) {
	b.t.Helper()
	b.leave(func() { b.keys(keys) })
}

// focus is something about the element that has the focus.
func (b *tab) focus(what string) string {
	b.t.Helper()
	return js[string](b, "String((() => { try { return document.activeElement."+what+" } catch { return '' } })())")
}

// focused fails unless one can see where the focus is.
func (b *tab) focused(where string) {
	b.t.Helper()
	if !js[bool](b, `(e => e != document.body && e.matches(":focus-visible") && getComputedStyle(e).outlineStyle != "none" && parseFloat(getComputedStyle(e).outlineWidth) >= 2)(document.activeElement)`) {
		b.t.Errorf("%s: one cannot see that the focus is on %s", b.name, where)
	}
}
