package rules

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// metric is one that weir metrics lists.
type metric struct {
	Name, Type string
	Labels     map[string][]string
}

// weir builds it once and returns its path; WEIR_BINARY names one that is built.
var weir = sync.OnceValues(func() (string, error) {
	if name := os.Getenv("WEIR_BINARY"); name != "" {
		return name, nil
	}
	folder, err := os.MkdirTemp("", "weir")
	if err != nil {
		return "", err
	}
	name := filepath.Join(folder, "weir")
	build := exec.Command("go", "build", "-o", name, "./cmd/weir")
	build.Dir, build.Stderr = "../..", os.Stderr
	return name, build.Run()
})

// exported are the metrics that weir exports, by name.
var exported = sync.OnceValues(func() (map[string]metric, error) {
	name, err := weir()
	if err != nil {
		return nil, err
	}
	text, err := exec.Command(name, "metrics", "--json").Output()
	if err != nil {
		return nil, err
	}
	var list struct{ Metrics []metric }
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, err
	}
	all := map[string]metric{"up": {Name: "up", Type: "gauge"},
		"ALERTS": {Name: "ALERTS", Type: "gauge", Labels: map[string][]string{"alertname": nil, "alertstate": {"pending", "firing"}}}}
	for _, m := range list.Metrics {
		if m.Name == "weir_owner" { // and all of a scorer's, where the ledger has several shards
			m.Labels = map[string][]string{"shard": nil}
		}
		all[m.Name] = m
		if m.Type == "histogram" {
			delete(all, m.Name) // nothing may name it without one of its parts
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				p := metric{Name: m.Name + part, Type: "counter", Labels: maps.Clone(m.Labels)}
				if p.Labels == nil {
					p.Labels = make(map[string][]string)
				}
				if part == "_bucket" {
					p.Labels["le"] = nil
				}
				all[p.Name] = p
			}
		}
	}
	return all, nil
})

// target are the labels that Prometheus gives to what it scrapes.
var target = map[string][]string{"job": {"weir"}, "instance": nil}

// growth are the functions that counters are read by, and gauges are not.
var growth = []string{"rate", "irate", "increase"}

// verify holds an expression to what is exported, and returns the labels that its result
// may have.
func verify(all map[string]metric, text string) (map[string]bool, error) {
	text = strings.ReplaceAll(text, "$__rate_interval", "5m")
	e, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	parser.Inspect(e, func(n parser.Node, path []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok && err == nil {
			err = verifySelector(all, s, path, seen)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	known := func(what string, list []string) {
		for _, l := range list {
			if !seen[l] && err == nil {
				err = fmt.Errorf("%s names the label %s, which nothing in the expression has", what, l)
			}
		}
	}
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.AggregateExpr:
			known(n.Op.String(), n.Grouping)
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				known("matching", append(slices.Clone(n.VectorMatching.MatchingLabels), n.VectorMatching.Include...))
			}
		}
		return nil
	})
	return seen, err
}

func verifySelector(all map[string]metric, s *parser.VectorSelector, path []parser.Node, seen map[string]bool) error {
	m, ok := all[s.Name]
	if !ok {
		return fmt.Errorf("weir exports no metric %q", s.Name)
	}
	grows := slices.ContainsFunc(path, func(n parser.Node) bool {
		c, ok := n.(*parser.Call)
		return ok && slices.Contains(growth, c.Func.Name)
	})
	if grows != (m.Type == "counter") {
		return fmt.Errorf("%s is a %s: a counter is read by %v, and nothing else is", m.Name, m.Type, growth)
	}
	known := maps.Clone(target)
	maps.Copy(known, m.Labels)
	for l := range known {
		seen[l] = true
	}
	for _, by := range s.LabelMatchers {
		if by.Name == labels.MetricName {
			continue
		}
		values, ok := known[by.Name]
		if !ok {
			return fmt.Errorf("%s has no label %s", m.Name, by.Name)
		}
		if m.Name == "ALERTS" {
			continue
		}
		for _, v := range alternatives(by) {
			if !slices.Contains(values, v) {
				return fmt.Errorf("%s never has %s=%q; known are %q", m.Name, by.Name, v, values)
			}
		}
	}
	return nil
}

// alternatives are the values that a matcher names.
func alternatives(m *labels.Matcher) []string {
	if m.Type == labels.MatchRegexp || m.Type == labels.MatchNotRegexp {
		return strings.Split(m.Value, "|") // with any other sign of a pattern it is no value
	}
	return []string{m.Value}
}

// inBraces finds the labels that a text names.
var inBraces = regexp.MustCompile(`\{\{ *(?:\$labels\.)?(\w+) *\}\}`)

// verifyText sees that a text names no label that a result has not.
func verifyText(text string, has map[string]bool) error {
	for _, m := range inBraces.FindAllStringSubmatch(text, -1) {
		if !has[m[1]] {
			return fmt.Errorf("%q names the label %s, which the result does not have", text, m[1])
		}
	}
	return nil
}

// TestVerifyRefuses plants a mistake of each kind.
func TestVerifyRefuses(t *testing.T) {
	all, err := exported()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		`sum(`,
		`weir_nothing > 0`,
		`rate(weir_decisions[5m])`,
		`weir_halted{why="state_full"}`,
		`weir_halted{reason="tired"}`,
		`weir_halted{reason=~"state_full|tired"}`,
		`weir_halted{reason=~"state_.*"}`,
		`rate(weir_decisions_total{outcome="lost"}[5m])`,
		`weir_model_info{slot="second"}`,
		`weir_ready{role="cook"}`,
		`up{job="other"}`,
		`weir_alerts_total > 1`,
		`rate(weir_owner[5m])`,
		`histogram_quantile(0.9, rate(weir_step_seconds[5m]))`,
		`weir_step_seconds_bucket`,
		`sum by (colour) (weir_owner)`,
		`weir_owner and on (colour) weir_halted`,
		`weir_source_lag{topic="labels"}`,
	} {
		if _, err := verify(all, text); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
	for _, text := range []string{`weir_halted{reason="state_full"} == 1`, `sum by (reason) (rate(weir_decisions_total{outcome="rejected",reason=~"bad_json|bad_id"}[$__rate_interval]))`} {
		if _, err := verify(all, text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	if verifyText("{{instance}} {{colour}}", target1()) == nil || verifyText("{{ $labels.instance }}", target1()) != nil {
		t.Error("texts are not held to the result's labels")
	}
}

func target1() map[string]bool { return map[string]bool{"instance": true, "job": true} }
