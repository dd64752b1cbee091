package desk

import (
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestStaticFiles are served under the name of their hash, for good, to anybody.
func TestStaticFiles(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	page := b.get("/login").body
	found := regexp.MustCompile(`/static/[^"]+`).FindAllString(page, -1)
	if len(found) < 2 {
		t.Fatalf("the page names %q", found)
	}
	for _, target := range found {
		a := b.get(target).is(t, http.StatusOK)
		if a.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" || !regexp.MustCompile(`\.[0-9a-f]{16}\.(css|js|svg)$`).MatchString(target) {
			t.Errorf("%s: %v", target, a.Header)
		}
	}
	for ext, want := range map[string]string{".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"} {
		for _, target := range found {
			if got := b.get(target).Header.Get("Content-Type"); strings.HasSuffix(target, ext) && got != want {
				t.Errorf("%s is %q", target, got)
			}
		}
	}
	if _, err := w.server.assets.path("nothing.css"); err == nil {
		t.Error("a file that is not there has a path")
	}
}

// TestPagesNeedNoInlineCode: the policy lets no browser run or apply what stands in
// the page itself, so a template that has some is broken, or somebody's markup.
func TestPagesNeedNoInlineCode(t *testing.T) {
	inline := regexp.MustCompile(`(?i)<style|<script(?:>|[^>]*[^>]>[^<])|\sstyle\s*=|\son[a-z]+\s*=|javascript:`)
	f := func(text string, want bool) {
		t.Helper()
		if inline.MatchString(text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
	f(`<script src="{{asset "a.js"}}" defer></script>`, false)
	f(`<script>x</script>`, true)
	f(`<p style="x">`, true)
	f(`<p onclick="x">`, true)
	files, err := templateFiles.ReadDir("templates")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := templateFiles.ReadFile("templates/" + file.Name())
		if err != nil {
			t.Fatal(err)
		}
		if found := inline.Find(text); found != nil {
			t.Errorf("%s: %s", file.Name(), found)
		}
	}
}

// TestPagesAreWhole: a title of its own, a language, one h1, labels of what is typed.
func TestPagesAreWhole(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	b := w.browser()
	for name, a := range map[string]answer{"login": b.get("/login"), "problem": b.get("/nothing"), "start": b.enters("ann").get("/")} {
		for _, want := range []string{"<!doctype html>", `<html lang="en">`, `name="viewport"`, `<main id="main" data-now="17`, "</html>"} {
			if !strings.Contains(a.body, want) {
				t.Errorf("%s has no %s", name, want)
			}
		}
		if strings.Count(a.body, "<h1") != 1 || strings.Contains(a.body, "<title> ") {
			t.Errorf("%s: no title, or not one h1", name)
		}
		for _, id := range regexp.MustCompile(`<input id="([^"]+)"`).FindAllStringSubmatch(a.body, -1) {
			if !strings.Contains(a.body, fmt.Sprintf(`<label for="%s"`, id[1])) {
				t.Errorf("%s: %s has no label", name, id[1])
			}
		}
	}
}

// TestContrast computes the contrast of the colours on the grounds they stand on, as
// WCAG 2.2 has it: 4.5 for text, 3 for lines that mean something.
func TestContrast(t *testing.T) {
	css, err := staticFiles.ReadFile("static/desk.css")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile(`:root \{[^}]*\}`).FindAllString(string(css), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d lists of properties", len(blocks))
	}
	for i, block := range blocks {
		colours := make(map[string]string)
		for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`).FindAllStringSubmatch(block, -1) {
			colours[m[1]] = m[2]
		}
		f := func(on, under string, least float64) {
			t.Helper()
			a, b := luminance(t, colours[on]), luminance(t, colours[under])
			if c := (max(a, b) + .05) / (min(a, b) + .05); c < least {
				t.Errorf("theme %d: %s on %s has %.2f, at least %.1f is wanted", i, on, under, c, least)
			}
		}
		for _, under := range []string{"ground", "raised"} {
			f("text", under, 4.5)
			f("faint", under, 4.5)
			f("accent", under, 4.5)
			f("wrong", under, 4.5)
			f("edge", under, 3)
		}
		f("on-accent", "accent", 4.5)
	}
}

// luminance is the relative luminance of a colour of six hexadecimal digits.
func luminance(t *testing.T, colour string) (l float64) {
	t.Helper()
	n, err := strconv.ParseUint(colour, 16, 32)
	if err != nil || len(colour) != 6 {
		t.Fatalf("colour %q: %v", colour, err)
	}
	for i, weight := range []float64{.2126, .7152, .0722} {
		c := float64(n>>(16-8*i)&255) / 255
		if c <= .04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+.055)/1.055, 2.4)
		}
		l += weight * c
	}
	return l
}
