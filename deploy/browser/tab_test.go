package browser

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// A tab is one page of somebody's browser, which shares nothing with anybody else's.
type tab struct {
	t    *testing.T
	name string
	ctx  context.Context

	mu   sync.Mutex
	said []string // errors and violations of the policy
}

// open opens a browser of its own at nothing.
func open(t *testing.T, name string) *tab {
	t.Helper()
	b := &tab{t: t, name: name}
	ctx, cancel := chromedp.NewContext(w.browser, chromedp.WithNewBrowserContext(), chromedp.WithListener(b.listen))
	t.Cleanup(cancel)
	b.ctx = ctx
	if err := chromedp.Do(ctx); err != nil { // without a time limit, which would be the tab's
		t.Fatal(err)
	}
	b.do(chromedp.EmulateViewport(1440, 900))
	t.Cleanup(func() {
		for _, text := range b.errors() {
			t.Errorf("%s's browser says: %s", name, text)
		}
	})
	return b
}

// analyst is the browser of somebody new who is logged in.
func analyst(t *testing.T, name, roles string) *tab {
	t.Helper()
	if err := w.account(name, roles); err != nil {
		t.Fatal(err)
	}
	b := open(t, name)
	b.enter()
	return b
}

// enter logs in by the page for it.
func (b *tab) enter() {
	b.t.Helper()
	b.visit("/login")
	b.fill("#name", b.name)
	b.fill("#password", password)
	b.click("main button")
	b.until("document.querySelector('.who')")
}

// listen collects what the browser complains about.
func (b *tab) listen(event any) {
	var text string
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text = e.ExceptionDetails.Text
		if x := e.ExceptionDetails.Exception; x != nil {
			text += " " + x.Description
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" || e.Type == "assert" {
			text = fmt.Sprint(e.Type, " ", e.Args)
		}
	case *log.EventEntryAdded: // the policy's violations are among them
		if e.Entry.Level == "error" || e.Entry.Level == "warning" {
			text = e.Entry.Text + " " + e.Entry.URL
		}
	}
	if text != "" {
		b.mu.Lock()
		b.said = append(b.said, text)
		b.mu.Unlock()
	}
}

// errors returns what the browser has complained about since it was asked last.
func (b *tab) errors() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	said := b.said
	b.said = nil
	return said
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, within)
	defer cancel()
	if b.t.Failed() && ctx.Err() != nil {
		b.t.FailNow()
	}
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%s: %v", b.name, err)
	}
}

// visit opens a page of the desk.
func (b *tab) visit(path string) {
	b.t.Helper()
	b.leave(func() {
		if r := call(b, page.Navigate, page.NavigateParams{URL: w.desk + path}); r.ErrorText != "" {
			b.t.Fatalf("%s: open %s: %s", b.name, path, r.ErrorText)
		}
	})
}

// js evaluates an expression in the page.
func js[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := eval[T](b, expression)
	if err != nil {
		b.t.Fatalf("%s: %s: %v", b.name, expression, err)
	}
	return v
}

func eval[T any](b *tab, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(b.ctx, within)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// until waits until an expression holds, in this page or the one that comes.
func (b *tab) until(expression string) {
	b.t.Helper()
	err := wait(func() (bool, error) {
		ok, err := eval[bool](b, "!!("+expression+")")
		return ok && err == nil, nil // a page that goes away has no answer
	}, "%s", expression)
	if err != nil {
		b.t.Fatalf("%s at %s: %v\n%s", b.name, js[string](b, "location.href"), err, b.text("main"))
	}
}

// shows waits until the page's content has all texts.
func (b *tab) shows(texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		b.until("document.querySelector('main')?.innerText.includes(" + strconv.Quote(text) + ")")
	}
}

// text is what can be read of an element; empty where there is none.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return js[string](b, "document.querySelector("+strconv.Quote(selector)+")?.innerText ?? ''")
}

// texts are what can be read of all of them.
func (b *tab) texts(selector string) []string {
	b.t.Helper()
	return js[[]string](b, "[...document.querySelectorAll("+strconv.Quote(selector)+")].map(e => e.innerText)")
}

// path is the address of the page, without where the desk is.
func (b *tab) path() string {
	b.t.Helper()
	return js[string](b, "location.pathname + location.search")
}

// click presses the mouse on what can be seen: what lies over it would get the click.
func (b *tab) click(selector string) {
	b.t.Helper()
	b.until("document.querySelector(" + strconv.Quote(selector) + ")")
	at := js[[]float64](b, `(() => {
		const e = document.querySelector(`+strconv.Quote(selector)+`);
		e.scrollIntoView({block: "nearest"});
		const r = e.getBoundingClientRect(), x = r.x + r.width / 2, y = r.y + r.height / 2;
		const there = document.elementFromPoint(x, y);
		return e.contains(there) || there?.contains(e) ? [x, y] : [];
	})()`)
	if len(at) == 0 {
		b.t.Fatalf("%s at %s: %s cannot be clicked", b.name, b.path(), selector)
	}
	b.do(chromedp.MouseClickXY(at[0], at[1]))
}

// leave does something that brings another page, or this one anew, and waits until that
// is there.
func (b *tab) leave(do func()) {
	b.t.Helper()
	js[bool](b, "(document.querySelector('main') ?? document.body).leaving = true")
	do()
	b.until("!(document.querySelector('main') ?? document.body).leaving && document.readyState == 'complete'")
}

// press is click where a page follows.
func (b *tab) press(selector string) {
	b.t.Helper()
	b.leave(func() { b.click(selector) })
}

// keys presses keys, one after another, as a keyboard does: what a page prevents at the
// press is not written.
func (b *tab) keys(keys string) {
	b.t.Helper()
	for _, key := range keys {
		k := kb.Keys[key]
		e := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: k.Key, Code: k.Code, Text: k.Text, UnmodifiedText: k.Unmodified,
			NativeVirtualKeyCode: k.Native, WindowsVirtualKeyCode: k.Windows}
		call(b, input.DispatchKeyEvent, e)
		e.Type, e.Text, e.UnmodifiedText = input.DispatchKeyEventTypeKeyUp, "", ""
		call(b, input.DispatchKeyEvent, e)
	}
}

// pasted is what a field holds once the clipboard was pasted into it, in place of what it
// held.
func (b *tab) pasted(selector string) string {
	b.t.Helper()
	js[bool](b, "(e => { e.focus(); e.select(); return true })(document.querySelector("+strconv.Quote(selector)+"))")
	call(b, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: "v", Code: "KeyV", Commands: []string{"paste"}})
	call(b, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyUp, Key: "v", Code: "KeyV"})
	return js[string](b, "document.querySelector("+strconv.Quote(selector)+").value")
}

// fill writes into an input what was not there.
func (b *tab) fill(selector, text string) {
	b.t.Helper()
	js[bool](b, "(e => { e.focus(); e.select(); return true })(document.querySelector("+strconv.Quote(selector)+"))")
	b.keys(text)
}

// choose selects one of a list.
func (b *tab) choose(selector, value string) {
	b.t.Helper()
	if !js[bool](b, "(e => { e.value = "+strconv.Quote(value)+"; return e.value === "+strconv.Quote(value)+" })(document.querySelector("+strconv.Quote(selector)+"))") {
		b.t.Fatalf("%s has no %q", selector, value)
	}
}

// without switches scripts off.
func (b *tab) without() {
	b.t.Helper()
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
}

// theme has pages light or dark.
func (b *tab) theme(name string) {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
}

// still has pages know that whoever reads them wants nothing to move.
func (b *tab) still() {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}}})
}

func call[P, R any](b *tab, command cdp.Command[P, R], p P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, within)
	defer cancel()
	r, err := chromedp.Call(ctx, command, p)
	if err != nil {
		b.t.Fatalf("%s: %s: %v", b.name, command.Method, err)
	}
	return r
}

// alert is the id in an alert's address.
func (b *tab) alert() string {
	b.t.Helper()
	id, found := strings.CutPrefix(js[string](b, "location.pathname"), "/alerts/")
	if !found {
		b.t.Fatalf("%s is at %s, which is no alert", b.name, b.path())
	}
	return id
}
