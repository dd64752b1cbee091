package rules

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"go.yaml.in/yaml/v3"
)

// board is what is looked at of a dashboard's JSON.
type board struct {
	UID, Title    string
	SchemaVersion int
	Panels        []panel
	Annotations   struct {
		List []struct {
			Datasource source
			Expr       string
		}
	}
}

type source struct{ Type, UID string }

type panel struct {
	ID          int
	Type, Title string
	GridPos     struct{ X, Y, W, H int }
	Datasource  source
	Targets     []struct {
		Expr, LegendFormat, RefID string
		Datasource                source
	}
}

func readBoards(t *testing.T) (list []board) {
	t.Helper()
	names, err := filepath.Glob(dashboards + "/*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d dashboards, %v", len(names), err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if problem := strict(text); problem != "" {
			t.Errorf("%s: %s", name, problem)
		}
		var b board
		if err := json.Unmarshal(text, &b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		list = append(list, b)
	}
	return list
}

// strict reads a dashboard by Grafana's own types, which know no fields beside theirs, and
// says what is wrong; empty where nothing is.
func strict(text []byte) string {
	var d dashboard.Dashboard
	if err := d.UnmarshalJSONStrict(text); err != nil && err.Error() != "" { // it returns an empty list too
		return err.Error()
	}
	if err := d.Validate(); err != nil {
		return err.Error()
	}
	return ""
}

// TestDashboards holds every dashboard to Grafana's schema, to the data source that is
// provisioned, and every expression to what weir exports.
func TestDashboards(t *testing.T) {
	all, err := exported()
	if err != nil {
		t.Fatal(err)
	}
	from := provisioned(t)
	uids := map[string]bool{}
	for _, b := range readBoards(t) {
		if b.UID == "" || uids[b.UID] || b.SchemaVersion < 36 {
			t.Errorf("%s: uid %q, schema %d", b.Title, b.UID, b.SchemaVersion)
		}
		uids[b.UID] = true
		for _, problem := range overlaps(b.Panels) {
			t.Errorf("%s: %s", b.Title, problem)
		}
		for _, a := range b.Annotations.List {
			if _, err := verify(all, a.Expr); a.Expr != "" && (err != nil || a.Datasource != from) {
				t.Errorf("%s: annotation from %v: %v", b.Title, a.Datasource, err)
			}
		}
		for _, p := range b.Panels {
			if p.Type == "row" {
				continue
			}
			if p.Datasource != from || len(p.Targets) == 0 {
				t.Errorf("%s, %s: %d targets from %v, want %v", b.Title, p.Title, len(p.Targets), p.Datasource, from)
			}
			var refs []string
			for _, q := range p.Targets {
				has, err := verify(all, q.Expr)
				if err == nil {
					err = verifyText(q.LegendFormat, has)
				}
				if err != nil || q.Datasource != from || slices.Contains(refs, q.RefID) {
					t.Errorf("%s, %s: %s from %v: %v", b.Title, p.Title, q.RefID, q.Datasource, err)
				}
				refs = append(refs, q.RefID)
			}
		}
	}
}

// provisioned returns the one data source that there is.
func provisioned(t *testing.T) source {
	t.Helper()
	text, err := os.ReadFile(dashboards + "/provisioning/datasources/prometheus.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var f struct{ Datasources []source }
	if err := yaml.Unmarshal(text, &f); err != nil || len(f.Datasources) != 1 {
		t.Fatalf("%d data sources, %v", len(f.Datasources), err)
	}
	return f.Datasources[0]
}

// overlaps returns what is wrong with where panels lie.
func overlaps(panels []panel) (problems []string) {
	ids := map[int]bool{}
	for i, p := range panels {
		a := p.GridPos
		if p.ID == 0 || ids[p.ID] || p.Title == "" {
			problems = append(problems, "the id or the title of "+p.Title+" is missing, or there twice")
		}
		ids[p.ID] = true
		if a.W < 1 || a.H < 1 || a.X < 0 || a.Y < 0 || a.X+a.W > 24 {
			problems = append(problems, p.Title+" lies outside")
		}
		for _, q := range panels[:i] {
			b := q.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				problems = append(problems, p.Title+" lies on "+q.Title)
			}
		}
	}
	return problems
}

// TestStrictRefuses plants a field that Grafana does not know, and one of another type.
func TestStrictRefuses(t *testing.T) {
	text, err := os.ReadFile(dashboards + "/history.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{{`"gridPos": {`, `"gridpos": {`}, {`"schemaVersion": 39`, `"schemaVersion": "39"`}, {`"uid": "weir-history",`, `"uid": "weir-history", "colour": "red",`}} {
		bad := strings.Replace(string(text), change[0], change[1], 1)
		if bad == string(text) || strict([]byte(bad)) == "" {
			t.Errorf("%s is taken", change[1])
		}
	}
}

// TestOverlapsAreFound plants panels that lie on each other, and outside.
func TestOverlapsAreFound(t *testing.T) {
	at := func(id, x, y, w, h int) panel {
		p := panel{ID: id, Title: "p"}
		p.GridPos.X, p.GridPos.Y, p.GridPos.W, p.GridPos.H = x, y, w, h
		return p
	}
	if got := overlaps([]panel{at(1, 0, 0, 8, 8), at(2, 8, 0, 8, 8), at(3, 0, 8, 24, 1)}); len(got) != 0 {
		t.Errorf("%q", got)
	}
	for _, bad := range [][]panel{{at(1, 0, 0, 8, 8), at(2, 7, 7, 8, 8)}, {at(1, 20, 0, 8, 8)}, {at(1, 0, 0, 8, 8), at(1, 8, 0, 8, 8)}} {
		if len(overlaps(bad)) == 0 {
			t.Errorf("%v is taken", bad)
		}
	}
}
