package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// A shown is a page that is looked at, by the one who may see every page but for those of
// which another sees more, or else.
type shown struct {
	name, path string
	by         *tab // nil for that one
}

// boss may see every page there is.
func boss(t *testing.T, name string) *tab {
	t.Helper()
	return analyst(t, name, "analyst,supervisor,model-owner,auditor")
}

// pages are those that the header links, whatever they are, and those that it does not.
func pages(t *testing.T, b *tab) (list []shown) {
	t.Helper()
	list = append(list, shown{"login", "/login", open(t, "a stranger")}, shown{"start", "/", nil}, shown{"problem", "/nothing-here", nil},
		shown{"queue-empty", "/queue?text=nothing+has+this", nil})
	b.visit("/")
	for _, path := range js[[]string](b, "[...document.querySelectorAll('header a[href]')].map(a => a.getAttribute('href'))") {
		if name := strings.Trim(strings.ReplaceAll(path, "/", "-"), "-"); name != "" {
			list = append(list, shown{name, path, nil})
		}
	}
	if len(list) < 6 {
		t.Fatalf("the header links too little: %v", list)
	}
	// A case that somebody works on, one that is closed, and one that another has.
	b.visit("/queue?status=open")
	b.press(".list .row")
	theirs := b.path()
	other := analyst(t, b.name+"2", "analyst")
	other.visit(theirs)
	other.press("button[value=claimed]")
	other.fill("#note", "Customer does not answer; tried twice.")
	other.press("button[value=noted]")
	b.press("[data-key=n]")
	closed := b.path()
	b.choose("#reason", "card_testing")
	b.press("button[value=closed_fraud]")
	b.press("[data-key=n]")
	list = append(list, shown{"case-theirs", theirs, nil}, shown{"case-closed", closed, nil}, shown{"case", b.path(), nil},
		shown{"look", strings.Replace(closed, "/alerts/", "/second-looks/", 1), other}, shown{"person", "/supervisor/people/" + other.name, nil})
	for _, part := range []string{"features", "receipt", "print"} {
		list = append(list, shown{part, closed + "/" + part, nil})
	}
	return list
}

// look opens a page, at a width and in a theme.
func (b *tab) look(p shown, width int64, theme string) {
	b.t.Helper()
	b.theme(theme)
	b.do(chromedp.EmulateViewport(width, map[int64]int64{390: 844, 1440: 900}[width]))
	b.visit(p.path)
	if p.name == "problem" {
		for _, said := range b.errors() {
			if !strings.Contains(said, "404") {
				b.t.Errorf("%s: %s", p.name, said)
			}
		}
	}
	for _, said := range b.errors() {
		b.t.Errorf("%s, %d wide, %s: the browser says: %s", p.name, width, theme, said)
	}
}

// eachLook calls do for every page in both themes and widths, with the browser that
// shows it.
func eachLook(t *testing.T, name string, do func(b *tab, p shown, width int64, theme string)) {
	t.Helper()
	b := boss(t, name)
	for _, p := range pages(t, b) {
		on := b
		if p.by != nil {
			on = p.by
		}
		for _, theme := range []string{"light", "dark"} {
			for _, width := range []int64{1440, 390} {
				on.look(p, width, theme)
				do(on, p, width, theme)
			}
		}
	}
}

// TestLooks has every page looked at as a machine can, in both themes and widths: axe-core
// finds nothing that would keep somebody from using it, nothing sticks out at the side, the browser complains of
// nothing (as of what the policy lets no page do).
func TestLooks(t *testing.T) {
	axe, err := os.ReadFile(os.Getenv("WEIR_AXE"))
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	eachLook(t, "max", func(b *tab, p shown, width int64, theme string) {
		looked++
		if wide := js[int64](b, "document.documentElement.scrollWidth"); wide > width {
			t.Errorf("%s, %s: is %d wide on a screen of %d: %s", p.name, theme, wide, width, js[string](b, sticksOut))
		}
		if (strings.HasPrefix(p.name, "case") || p.name == "look") && !js[bool](b, "(r => r.height > 0 && r.top > 0 && r.bottom <= innerHeight)(document.querySelector('.acts').getBoundingClientRect())") {
			t.Errorf("%s, %d wide: the actions are out of sight", p.name, width)
		}
		js[bool](b, string(axe)+"\ntrue")
		for _, f := range js[[]finding](b, axeRun) {
			if f.Impact == "serious" || f.Impact == "critical" {
				t.Errorf("%s, %d wide, %s: %s: %s\n\t%s", p.name, width, theme, f.Impact, f.Help, strings.Join(f.At, "\n\t"))
			}
		}
	})
	if looked < 4*18 {
		t.Errorf("only %d looks", looked)
	}
}

// finding is what axe-core has against a page.
type finding struct {
	Impact, Help string
	At           []string
}

const axeRun = `axe.run(document, {resultTypes: ["violations"]}).then(r => r.violations.map(v => ({Impact: v.impact ?? "", Help: v.help,
	At: v.nodes.slice(0, 5).map(n => n.html.slice(0, 160) + " " + (n.any[0]?.message ?? n.all[0]?.message ?? n.none[0]?.message ?? ""))})))`

// sticksOut names the innermost elements that reach beyond the screen.
const sticksOut = `[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1 && ![...e.children].some(c => c.getBoundingClientRect().right > innerWidth + 1)).slice(0, 5).map(e => e.outerHTML.slice(0, 120)).join("\n")`

// TestScreenshots takes a picture of each page as it is on the screen, and of the whole
// of it, for people to look at. It is not a test of anything.
func TestScreenshots(t *testing.T) {
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		t.Skip("SCREENSHOTS names no folder to put them in; make screenshots does")
	}
	taken := 0
	eachLook(t, "maria", func(b *tab, p shown, width int64, theme string) {
		for _, whole := range []bool{false, true} {
			name := p.name + "-" + strconv.FormatInt(width, 10) + "-" + theme
			if whole {
				name += "-whole"
			}
			if whole && js[bool](b, "document.documentElement.scrollHeight <= innerHeight") {
				continue // it is the same picture
			}
			shot := call(b, page.CaptureScreenshot, page.CaptureScreenshotParams{CaptureBeyondViewport: &whole})
			if err := os.WriteFile(filepath.Join(folder, name+".png"), shot.Data, 0o644); err != nil {
				t.Fatal(err)
			}
			taken++
		}
	})
	fmt.Printf("%d screenshots in %s\n", taken, folder)
}

// TestTheQueueIsDense counts what an analyst sees on a laptop, and how.
func TestTheQueueIsDense(t *testing.T) {
	b := analyst(t, "ned", "analyst")
	b.visit("/queue")
	const rows = "[...document.querySelectorAll('.list tbody tr')]"
	if n := js[int](b, rows+".filter(r => r.getBoundingClientRect().bottom <= innerHeight).length"); n < 25 {
		t.Errorf("%d lines are seen at once, want 25", n)
	}
	for _, h := range js[[]float64](b, rows+".map(r => r.getBoundingClientRect().height)") {
		if h < 27 || h > 29 {
			t.Errorf("a line is %g high, want 28", h)
		}
	}
	if rights := js[[]float64](b, "[...new Set("+rows+".map(r => Math.round(r.querySelector('.row').getBoundingClientRect().right)))]"); len(rights) != 1 {
		t.Errorf("amounts end at %v", rights)
	}
}

// TestThePolicyHolds puts script into a page, as markup that got into it would: it does
// not run, and the browser says so, which the other tests listen for.
func TestThePolicyHolds(t *testing.T) {
	b := analyst(t, "eve", "analyst")
	for _, inject := range []string{
		`document.body.append(Object.assign(document.createElement("script"), {textContent: "window.ran = 1"}))`,
		`document.body.append(Object.assign(document.createElement("script"), {src: "data:text/javascript,window.ran=1"}))`,
		`document.body.insertAdjacentHTML("beforeend", "<img src=/x onerror='window.ran = 1'>")`,
		`setTimeout("window.ran = 1")`,
	} {
		b.visit("/queue")
		_, _ = eval[any](b, "void ("+inject+")") // some throw
		err := wait(func() (bool, error) {
			return strings.Contains(strings.Join(b.errors(), " "), "Content Security Policy"), nil
		}, "word of a violation after %s", inject)
		if err != nil {
			t.Error(err)
		}
		if js[bool](b, "!!window.ran") {
			t.Errorf("it runs: %s", inject)
		}
	}
	b.visit("/queue")
	b.errors()
}
