package main

import (
	"encoding/csv"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
)

// TestReasonsOfATrainedNetwork explains the alerts of a network of the payments spec:
// the groups add up to the decision's distance from the background, and replacing
// the first group moves the score more than replacing another one.
func TestReasonsOfATrainedNetwork(t *testing.T) {
	if testing.Short() {
		t.Skip("learns a network")
	}
	dir, got := trained(t, "--family", "network", "--epochs", "6", "--ripe", "5d")
	got.succeeds(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	callWith(t, "", testTokenKey, "features", "--labels", in("labels.jsonl"), "--rates", in("rates.jsonl"), "--output", in("x.csv"), in("tx.jsonl")).succeeds(t)
	b, _, err := readAnyBundle(bundleFile{"", []byte(content(t, in("model.weir")))})
	if err != nil {
		t.Fatal(err)
	}
	s, _ := spec.Builtin("payments")
	x, _ := csvVectors(t, content(t, in("x.csv")))
	f := faithful(t, s, b, x)
	t.Logf("%d alerts, %.3g off at most; the first of %d groups moves %.1f %% of scores more than another", f.alerts, f.off, len(s.Groups()), 100*f.share())
	if f.alerts < 100 || f.off > 1e-4 || f.share() < 0.95 {
		t.Errorf("%+v", f)
	}
}

// faith is how far the reasons of alerts can be believed.
type faith struct {
	alerts int
	right  float64 // of alerts, by another group drawn at random
	off    float64 // of the sum of groups, at most
}

// share is the chance that the first group of an alert moves its score more than
// another group, drawn at random.
func (f *faith) share() float64 { return f.right / float64(f.alerts) }

// faithful explains the 100 highest of rows and mixes features by hand.
func faithful(t *testing.T, s *spec.Spec, b *scoring.Bundle, x scoring.Matrix) (f faith) {
	t.Helper()
	const alerts = 100
	explainer := explainerOf(t, s, b)
	scorer, err := cpu.New(b.Model)
	if err != nil {
		t.Fatal(err)
	}
	logits := func(m scoring.Matrix) []float64 {
		p, list := make([]float32, m.Rows), make([]float64, m.Rows)
		if err := scorer.Score(m, p); err != nil {
			t.Fatal(err)
		}
		for i, p := range p {
			list[i] = math.Log(float64(p)) - math.Log1p(-float64(p))
		}
		return list
	}
	mean := func(list []float64) (m float64) {
		for _, v := range list {
			m += v / float64(len(list))
		}
		return m
	}
	// The rows that explanations compare with are every fourth of 256.
	back := scoring.Matrix{Rows: scoring.ReasonRows, Cols: x.Cols}
	n := len(b.Background) / x.Cols
	for i := range back.Rows {
		at := i * n / back.Rows * x.Cols
		back.Data = append(back.Data, b.Background[at:at+x.Cols]...)
	}
	usual := mean(logits(back))
	own := logits(x)
	order := make([]int, x.Rows)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return int(math.Copysign(1, own[j]-own[i])) })
	without := func(row []float32, group string) float64 {
		mixed := scoring.Matrix{Rows: back.Rows, Cols: x.Cols, Data: slices.Clone(back.Data)}
		for i := range mixed.Data {
			if c := i % x.Cols; s.Features[c].Group != group {
				mixed.Data[i] = row[c]
			}
		}
		return mean(logits(mixed))
	}
	for _, i := range order[:min(alerts, len(order))] {
		row := x.Data[i*x.Cols : (i+1)*x.Cols]
		reasons, err := explainer.Explain(row, len(s.Groups()), false)
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.
		for _, r := range reasons {
			sum += float64(r.Logit)
		}
		f.off = max(f.off, math.Abs(sum-(own[i]-usual)))
		f.alerts++
		first := math.Abs(own[i] - without(row, reasons[0].Group))
		for _, other := range reasons[1:] {
			if first > math.Abs(own[i]-without(row, other.Group)) {
				f.right += 1 / float64(len(reasons)-1)
			}
		}
	}
	return f
}

func explainerOf(t *testing.T, s *spec.Spec, b *scoring.Bundle) *scoring.Explainer {
	t.Helper()
	var texts []scoring.FeatureText
	for i := range s.Features {
		texts = append(texts, scoring.FeatureText{Group: s.Features[i].Group, Text: s.Features[i].Text})
	}
	x, err := scoring.NewExplainer(b, func(m *scoring.Model) (scoring.Scorer, error) { return cpu.New(m) }, texts)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// csvVectors reads what weir features wrote, and whose vectors they are.
func csvVectors(t *testing.T, text string) (x scoring.Matrix, ids []string) {
	t.Helper()
	lines, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	x = scoring.Matrix{Rows: len(lines) - 1, Cols: len(lines[0]) - 1}
	for _, line := range lines[1:] {
		ids = append(ids, line[0])
		for _, cell := range line[1:] {
			v := math.NaN()
			if cell != "" {
				if v, err = strconv.ParseFloat(cell, 32); err != nil {
					t.Fatal(err)
				}
			}
			x.Data = append(x.Data, float32(v))
		}
	}
	return x, ids
}
