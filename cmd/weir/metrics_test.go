package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// listedMetrics returns what weir metrics --json lists, by name.
func listedMetrics(t *testing.T) map[string]metric {
	t.Helper()
	var list struct{ Metrics []metric }
	if err := json.Unmarshal([]byte(call(t, "metrics", "--json").succeeds(t).stdout), &list); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]metric)
	for _, m := range list.Metrics {
		all[m.Name] = m
	}
	return all
}

var (
	typeLine   = regexp.MustCompile(`(?m)^# TYPE (\w+) (\w+)$`)
	sampleLine = regexp.MustCompile(`(?m)^(\w+)(?:\{(.*)\})? \S+$`)
	labelText  = regexp.MustCompile(`(\w+)="((?:[^"\\]|\\.)*)"`)
)

// TestMetricsListsWhatIsExported compares what all roles export while they run with what
// weir metrics lists: names, types, labels and their values, both ways.
func TestMetricsListsWhatIsExported(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	up := inBackground(t, "up", "--data", filepath.Join(data, "up"), "--listen", "127.0.0.1:0", "--web", "127.0.0.1:0", "--train-every", "24h")
	up.until("all roles ready", func() bool {
		_, text := up.get("/metrics")
		return strings.Count(text, "\nweir_ready{") == 4 && !strings.Contains(text, "\"} 0\nweir_ready") && strings.Contains(text, "\nweir_desk_lag{")
	})
	_, text := up.get("/metrics")
	isProper(t, text)
	all := listedMetrics(t)
	seen := make(map[string]bool)
	for _, m := range typeLine.FindAllStringSubmatch(text, -1) {
		seen[m[1]] = true
		if all[m[1]].Type != m[2] {
			t.Errorf("%s is a %s, listed as %q", m[1], m[2], all[m[1]].Type)
		}
	}
	for _, s := range sampleLine.FindAllStringSubmatch(text, -1) {
		m, ok := all[s[1]]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, cut := strings.CutSuffix(s[1], suffix); cut && !ok {
				m = all[base]
			}
		}
		for _, l := range labelText.FindAllStringSubmatch(s[2], -1) {
			values, ok := m.Labels[l[1]]
			if builtin := l[1] == "le" || l[1] == "quantile"; !builtin && (!ok || len(values) > 0 && !slices.Contains(values, l[2])) {
				t.Errorf("%s: %s=%q is not listed: %q", m.Name, l[1], l[2], values)
			}
		}
	}
	for name, m := range all {
		open := strings.HasPrefix(name, "weir_gpu_") // there is none
		for _, values := range m.Labels {
			open = open || len(values) == 0 // not there before something of outside is
		}
		if later := []string{"weir_alert_rate", "weir_score_psi", "weir_watch_alert_share"}; !open && !seen[name] && !slices.Contains(later, name) {
			t.Errorf("%s is listed, and not exported", name)
		}
	}
}

// TestMetricsAreDocumented compares weir metrics with the lists in comments, both ways.
func TestMetricsAreDocumented(t *testing.T) {
	documented := make(map[string]string)
	for _, name := range []string{"metrics.go", "device_metrics.go", "train_role.go", "../../ingest/metrics.go", "../../ingest/trace/trace.go", "../../ingest/record_metrics.go", "../../alerts/desk/metrics.go"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if !strings.HasPrefix(line, "//\tweir_") {
				continue
			}
			list, _, _ := strings.Cut(line[3:], "  ")
			for _, m := range regexp.MustCompile(`(weir_\w+)(?:\{([\w,]+)\})?`).FindAllStringSubmatch(list, -1) {
				labels := slices.Sorted(strings.SplitSeq(m[2], ","))
				documented[m[1]] = strings.Join(labels, ",")
			}
		}
	}
	for name, m := range listedMetrics(t) {
		labels, ok := documented[name]
		if delete(documented, name); strings.HasPrefix(name, "weir_") && (!ok || labels != strings.Join(slices.Sorted(maps.Keys(m.Labels)), ",")) {
			t.Errorf("%s{%v} is documented with {%s}", name, slices.Sorted(maps.Keys(m.Labels)), labels)
		}
	}
	for name := range documented {
		t.Errorf("%s is documented, and not listed", name)
	}
}
