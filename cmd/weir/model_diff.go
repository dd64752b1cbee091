package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"

	"gonum.org/v1/gonum/stat"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
)

// modelDiff is in what two bundles differ: the --json line.
type modelDiff struct {
	A       string      `json:"a"` // hashes
	B       string      `json:"b"`
	Same    bool        `json:"same"` // one content, whoever signed it
	Model   bool        `json:"same_weights"`
	Changes []diffLine  `json:"changes"` // of what they say of themselves; only what differs
	OnlyA   []string    `json:"features_only_in_a"`
	OnlyB   []string    `json:"features_only_in_b"`
	SpecA   []string    `json:"spec_lines_only_in_a"`
	SpecB   []string    `json:"spec_lines_only_in_b"`
	Facts   []diffLine  `json:"facts"` // of the trainers, also what is the same
	Scores  *scoreDiff  `json:"scores,omitempty"`
	names   [2]string   // for people
	order   bool        // the same features in another order
	bundles [2]modelRef // what is compared
}

type modelRef struct {
	bundle *scoring.Bundle
	facts  modelFacts
}

// diffLine is one thing that both say; nil where one does not.
type diffLine struct {
	What string `json:"what"`
	A    any    `json:"a"`
	B    any    `json:"b"`
}

// scoreDiff says how far the scores are apart on rows that the bundles carry.
type scoreDiff struct {
	Rows        int     `json:"rows"`
	Correlation float64 `json:"correlation"` // 0 where one of them gives all rows the same
	Mean        float64 `json:"mean_absolute_difference"`
	Most        float64 `json:"largest_difference"`
}

// diff prints what distinguishes two bundles.
func (m *modelRun) diff(ctx context.Context, e *env, a, b string) error {
	d := &modelDiff{}
	for i, what := range []string{a, b} {
		file, err := m.find(ctx, e, what)
		if err != nil {
			return err
		}
		bundle, signer, err := readAnyBundle(file)
		if err != nil {
			return err
		}
		d.names[i], d.bundles[i] = file.name, modelRef{bundle, factsOf(file.data, bundle, signer)}
	}
	if err := d.compare(); err != nil {
		return err
	}
	if !e.json {
		if err := d.print(e); err != nil {
			return err
		}
	}
	return e.report(d)
}

func (d *modelDiff) compare() error {
	a, b := &d.bundles[0], &d.bundles[1]
	d.A, d.B = a.facts.Hash, b.facts.Hash
	d.Same, d.Model = d.A == d.B, reflect.DeepEqual(a.bundle.Model, b.bundle.Model)
	d.Changes = []diffLine{}
	for _, l := range both(outline(a), outline(b)) {
		if !reflect.DeepEqual(l.A, l.B) {
			d.Changes = append(d.Changes, l)
		}
	}
	d.OnlyA, d.OnlyB = lacking(a.bundle.Features, b.bundle.Features), lacking(b.bundle.Features, a.bundle.Features)
	d.order = len(d.OnlyA)+len(d.OnlyB) == 0 && !slices.Equal(a.bundle.Features, b.bundle.Features)
	specA, specB := strings.Split(string(a.bundle.Spec.Text), "\n"), strings.Split(string(b.bundle.Spec.Text), "\n")
	d.SpecA, d.SpecB = lacking(specA, specB), lacking(specB, specA)
	d.Facts = both(flat(a.bundle.Facts), flat(b.bundle.Facts))
	if !slices.Equal(a.bundle.Features, b.bundle.Features) {
		return nil
	}
	var err error
	d.Scores, err = apart(a.bundle, b.bundle)
	return err
}

// outline is what a bundle says of itself, save its hash and its facts. Numbers
// are as JSON has them.
func outline(r *modelRef) map[string]any {
	f, p, c := &r.facts, &r.bundle.Policy, &r.bundle.Calibration
	return map[string]any{
		"name": f.Name, "signed by": f.Signer, "bytes": f.Bytes, "spec": f.Spec, "spec hash": f.SpecHash, "features": len(f.Features),
		"inputs": f.Inputs, "hidden layers": strings.Trim(fmt.Sprint(f.Hidden), "[]"), "members": f.Members,
		"calibration": f.Calibration, "calibration a": c.A, "calibration b": c.B, "calibration c": c.C,
		"ranks by": f.Rank, "review from": p.Review, "block from": p.Block, "explores": p.Explore,
		"self-test rows": f.SelfTest, "rows of reasons": f.Background,
	}
}

// flat returns a JSON object's values by their paths.
func flat(text json.RawMessage) map[string]any {
	out := make(map[string]any)
	var walk func(path string, v any)
	walk = func(path string, v any) {
		inner, ok := v.(map[string]any)
		if !ok {
			out[path] = v
			return
		}
		for key, v := range inner {
			walk(strings.TrimPrefix(path+"."+key, "."), v)
		}
	}
	var all map[string]any
	if json.Unmarshal(text, &all) == nil {
		walk("", all)
	}
	return out
}

// both puts two maps side by side, by name.
func both(a, b map[string]any) []diffLine {
	all := maps.Clone(a)
	maps.Copy(all, b)
	list := []diffLine{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, diffLine{name, a[name], b[name]})
	}
	return list
}

// lacking returns what is in a and not in b.
func lacking(a, b []string) []string {
	list := []string{}
	for _, s := range a {
		if !slices.Contains(b, s) && strings.TrimSpace(s) != "" {
			list = append(list, s)
		}
	}
	return list
}

// apart scores the rows that two bundles of the same features carry with both.
func apart(a, b *scoring.Bundle) (*scoreDiff, error) {
	rows := slices.Concat(a.Background, b.Background, a.SelfTestRows, b.SelfTestRows)
	x := scoring.Matrix{Data: rows, Rows: len(rows) / len(a.Features), Cols: len(a.Features)}
	d := &scoreDiff{Rows: x.Rows}
	var scores [2][]float64
	for i, bundle := range []*scoring.Bundle{a, b} {
		s, err := cpu.New(bundle.Model)
		if err != nil {
			return nil, err
		}
		out := make([]float32, x.Rows)
		if err := s.Score(x, out); err != nil {
			return nil, fmt.Errorf("score %d rows: %w", x.Rows, err)
		}
		for _, v := range out {
			scores[i] = append(scores[i], float64(v))
		}
	}
	for i := range x.Rows {
		apart := math.Abs(scores[0][i] - scores[1][i])
		d.Mean += apart / float64(x.Rows)
		d.Most = max(d.Most, apart)
	}
	if r := stat.Correlation(scores[0], scores[1], nil); r == r {
		d.Correlation = r
	}
	return d, nil
}

func (d *modelDiff) print(e *env) error {
	e.printf("a  %s\n   %s\nb  %s\n   %s\n\n", d.names[0], d.A, d.names[1], d.B)
	if d.Same {
		e.printf("The same content.\n")
		return nil
	}
	if d.Model {
		e.printf("The network is the same.\n\n")
	}
	if err := printSides(e, "", d.Changes); err != nil {
		return err
	}
	for _, l := range []struct {
		title string
		names []string
	}{{"Features only in a", d.OnlyA}, {"Features only in b", d.OnlyB}, {"Lines of the spec only in a", d.SpecA}, {"Lines of the spec only in b", d.SpecB}} {
		if len(l.names) > 0 {
			e.printf("\n%s:\n  %s\n", l.title, strings.Join(l.names, "\n  "))
		}
	}
	if d.order {
		e.printf("\nThe features are the same, in another order.\n")
	}
	if s := d.Scores; s != nil {
		e.printf("\nOn the %s that they carry, their scores correlate by %.4f and are apart by %.4f in the mean, %.4f at most.\n",
			several(s.Rows, "row"), s.Correlation, s.Mean, s.Most)
	}
	if len(d.Facts) == 0 {
		return nil
	}
	e.printf("\nWhat their trainers say:\n")
	return printSides(e, "  ", d.Facts)
}

// printSides prints lines side by side, with the change of what are numbers.
func printSides(e *env, indent string, lines []diffLine) error {
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	for _, l := range lines {
		a, okA := number(l.A)
		b, okB := number(l.B)
		change := ""
		if okA && okB && a != b {
			change = fmt.Sprintf("%+.4g", b-a)
		}
		fmt.Fprintf(w, "%s%s\t%s\t%s\t%s\n", indent, l.What, side(l.A), side(l.B), change)
	}
	return w.Flush()
}

// number returns a number as one that can be subtracted.
func number(v any) (float64, bool) {
	switch x := v.(type) {
	case int:
		return float64(x), true
	case float32:
		return float64(x), true
	case float64:
		return x, true
	}
	return 0, false
}

// sideMost is the longest text that a side of a table shows.
const sideMost = 24

func side(v any) string {
	if v == nil {
		return "-"
	}
	text := fmt.Sprint(v)
	if x, ok := number(v); ok {
		text = fmt.Sprintf("%.6g", x)
	}
	if len(text) > sideMost {
		text = text[:sideMost-2] + ".."
	}
	return text
}
