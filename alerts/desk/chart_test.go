package desk

import (
	"encoding/xml"
	"io"
	"math"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// TestChartsStayWithinThemselves draws numbers of all sizes, and none: nothing stands
// outside of its picture or is no number, and what is written is XML.
func TestChartsStayWithinThemselves(t *testing.T) {
	const first = 1_777_000_000_000
	seeds := uint64(300)
	if testing.Short() {
		seeds = 30
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 1))
		n := r.IntN(40)
		size := math.Exp(r.Float64() * 30)
		var values []float64
		var parts []share
		model := shownModel{&Model{}, "<Champion>", "champion"}
		for i := range n {
			values = append(values, math.Floor(r.Float64()*size)*float64(r.IntN(2)))
			k := r.Int64N(5)
			parts = append(parts, share{k, (k + r.Int64N(5)) * int64(r.IntN(3))})
			parts[i].K = min(parts[i].K, parts[i].N)
			e := &ModelEstimate{r.Float64() * size, -1, size * 100}
			if r.IntN(3) > 0 { // a day may know nothing, or not be there
				model.Days = append(model.Days, ModelDay{Day: first + int64(i)*dayMs, Precision: e, Calibration: e, ScorePSI: &e.Value, Decisions: int64(r.IntN(2)), AlertRate: r.Float64()})
			}
		}
		rows := []string{"<a>", "b", `"c"&`}[:1+r.IntN(3)]
		kinds := []series{{Name: "<x>", Class: "open"}, {Name: "y", Class: "claimed"}, {Name: "z", Class: "late"}}
		for k := range kinds {
			for range rows {
				kinds[k].Values = append(kinds[k].Values, int64(r.Float64()*size)*r.Int64N(2))
			}
		}
		drawn := []*chart{bars("b", "t<", first, values, "fraud", brief), shares("s", "t<", first, parts), stacks("k", "t<", rows, kinds)}
		for _, c := range charts([]shownModel{model, {model.Model, "Challenger", "challenger"}}) {
			drawn = append(drawn, c.chart)
		}
		for _, c := range drawn {
			inside := func(x, y float64) {
				t.Helper()
				if !(x >= 0 && x <= c.Width && y >= 0 && y <= c.Height) {
					t.Fatalf("seed %d: %v, %v is outside of %s", seed, x, y, c.ID)
				}
			}
			for _, b := range c.Bars {
				inside(b.X, b.Y)
				inside(b.X+b.Width-.2, b.Y+b.Height-.2)
			}
			for _, p := range c.Points {
				inside(p.X, p.Y)
			}
			for _, w := range c.Texts {
				inside(w.X, w.Y)
			}
			wellFormed(t, string(c.SVG()))
		}
	}
}

// wellFormed fails unless a picture is XML with a title and a description, and its
// texts are texts.
func wellFormed(t *testing.T, svg string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(svg))
	names := make(map[string]int)
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v in %s", err, svg)
		}
		if e, ok := token.(xml.StartElement); ok {
			names[e.Name.Local]++
		}
	}
	if names["svg"] != 1 || names["title"] == 0 || names["desc"] != 1 || names["a"]+names["x"] > 0 || strings.Contains(svg, "NaN") || strings.Contains(svg, " style=") {
		t.Fatalf("%v in %s", names, svg)
	}
}

// TestBarsAreAsLongAsTheirNumbers, and the kinds of a stack are each named once.
func TestBarsAreAsLongAsTheirNumbers(t *testing.T) {
	kinds := []series{{"open", "open", []int64{60, 10}}, {"claimed", "claimed", []int64{30, 0}}, {"snoozed", "snoozed", []int64{0, 1}}}
	c := stacks("k", "t", []string{"young", "old"}, kinds)
	// The fourth is one of the key: snoozed has no room for its name.
	if len(c.Bars) != 5 || math.Abs(c.Bars[0].Width/c.Bars[1].Width-6) > .1 || c.Bars[2].X < c.Bars[0].X+c.Bars[0].Width-.2 || c.Bars[3].Y != c.Bars[1].Y {
		t.Errorf("%+v", c.Bars)
	}
	var texts []string
	for _, w := range c.Texts {
		texts = append(texts, w.Text)
	}
	if got := strings.Join(texts, "|"); got != "60 open|10|30 claimed|snoozed|young|90|old|11" {
		t.Errorf("%s", got)
	}
	b := bars("b", "t", 0, []float64{10, 40}, "fraud", brief)
	if math.Abs(b.Bars[1].Height/b.Bars[0].Height-4) > .05 || b.Desc != "50 in 2 days, most on 2 Jan: 40." {
		t.Errorf("%+v: %s", b.Bars, b.Desc)
	}
}

// TestFillsCarryText: the colours of charts are told from their ground, and what is
// written on them can be read, in both themes.
func TestFillsCarryText(t *testing.T) {
	var themes [2]map[string]string
	for _, file := range []string{"desk.css", "chart.css", "pages.css"} {
		css, err := staticFiles.ReadFile("static/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for i, block := range regexp.MustCompile(`:root \{[^}]*\}`).FindAllString(string(css), -1) {
			if themes[i] == nil {
				themes[i] = make(map[string]string)
			}
			for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6})`).FindAllStringSubmatch(block, -1) {
				themes[i][m[1]] = m[2]
			}
		}
	}
	for i, colours := range themes {
		f := func(on, under string, least float64) {
			t.Helper()
			a, b := luminance(t, colours[on]), luminance(t, colours[under])
			if c := (max(a, b) + .05) / (min(a, b) + .05); c < least {
				t.Errorf("theme %d: %s on %s has %.2f, at least %.1f is wanted", i, on, under, c, least)
			}
		}
		for _, kind := range []string{"open", "claimed", "snoozed", "escalated"} {
			f("text", "fill-"+kind, 4.5)
		}
		f("edge", "ground", 3)
		f("bar-late", "ground", 3)
		f("fraud", "ground", 3)
		f("accent", "fill-open", 3)
	}
}

func TestBriefNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 999: "999", 1000: "1k", 1500: "1.5k", 12345: "12k", 1e6: "1M", 2.5e9: "2.5bn"} {
		if got := brief(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
	for _, most := range []float64{0, 1, 3, 9, 10, 11, 4999, 5001, 1e9 + 1} {
		if got := ceiling(most); got < most || got > max(2, most*2.5) {
			t.Errorf("an axis to %v ends at %v", most, got)
		}
	}
	if count(1234567) != "1,234,567" || count(0) != "0" {
		t.Error(count(1234567), count(0))
	}
}
