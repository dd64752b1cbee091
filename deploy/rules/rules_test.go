package rules

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// rulesFile, the pages and the dashboards, from here.
const (
	rulesFile  = "../prometheus/rules.yaml"
	pages      = "../runbooks"
	dashboards = "../grafana"
)

// rule is one alert.
type rule struct {
	Alert       string
	Expr        string
	For         string
	Labels      map[string]string
	Annotations map[string]string
}

// ruleFile is a file of them.
type ruleFile struct {
	Groups []struct {
		Name  string
		Rules []rule
	}
}

func readRules(t *testing.T) (list []rule) {
	t.Helper()
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	var f ruleFile
	if err := yaml.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	for _, g := range f.Groups {
		list = append(list, g.Rules...)
	}
	if len(list) < 30 {
		t.Fatalf("%d rules", len(list))
	}
	return list
}

// TestRules holds every rule to what weir exports, to its form, and to its page.
func TestRules(t *testing.T) {
	all, err := exported()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range readRules(t) {
		names = append(names, r.Alert+".md")
		if err := verifyRule(all, &r); err != nil {
			t.Errorf("%s: %v", r.Alert, err)
		}
	}
	found, err := filepath.Glob(pages + "/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range found {
		found[i] = filepath.Base(name)
	}
	if slices.Sort(names); !slices.Equal(names, found) {
		t.Errorf("rules want the pages\n%q, there are\n%q", names, found)
	}
	if len(slices.Compact(names)) != len(found) {
		t.Error("two rules have one name")
	}
}

func verifyRule(all map[string]metric, r *rule) error {
	has, err := verify(all, r.Expr)
	if err != nil {
		return err
	}
	for _, name := range []string{"summary", "description", "runbook_url"} {
		if r.Annotations[name] == "" {
			return fmt.Errorf("no %s", name)
		}
		if err := verifyText(r.Annotations[name], has); err != nil {
			return err
		}
	}
	if s := r.Labels["severity"]; s != "critical" && s != "warning" {
		return fmt.Errorf("severity %q", s)
	}
	if want := "deploy/runbooks/" + r.Alert + ".md"; r.Annotations["runbook_url"] != want {
		return fmt.Errorf("the page is %s, not %s", want, r.Annotations["runbook_url"])
	}
	page, err := os.ReadFile(filepath.Join(pages, r.Alert+".md"))
	if err != nil {
		return err
	}
	at := 0
	for _, section := range []string{"# " + r.Alert, "## What it means", "## How to look", "## What to do", "## How to know that it is over"} {
		i := strings.Index(string(page[at:]), section+"\n")
		if i < 0 {
			return fmt.Errorf("its page lacks %q, or has it elsewhere", section)
		}
		at += i + len(section)
	}
	return nil
}

// TestEveryRuleIsUnitTested finds for each rule a test of promtool's where it fires, and
// one where it does not.
func TestEveryRuleIsUnitTested(t *testing.T) {
	var text string
	for _, name := range []string{"rules_test.yaml", "rules_days_test.yaml"} {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(rulesFile), name))
		if err != nil {
			t.Fatal(err)
		}
		text += string(b)
	}
	for _, r := range readRules(t) {
		fires := strings.Count(text, "alertname: "+r.Alert+"\n        exp_alerts:\n")
		quiet := strings.Count(text, "alertname: "+r.Alert+"\n        exp_alerts: []\n")
		if fires == 0 || quiet == 0 {
			t.Errorf("%s fires in %d tests, and is quiet in %d", r.Alert, fires, quiet)
		}
	}
}
