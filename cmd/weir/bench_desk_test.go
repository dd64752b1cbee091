package main

import "testing"

func TestBenchDeskReports(t *testing.T) {
	got := benchJSON(t, "desk", "--alerts", "3000", "--closed", "0.5", "--payments", "2000", "--analysts", "2", "--pace", "20ms", "--seconds", "1", "--flat-out", "0.5", "--json")
	positive(t, got, "alerts", "closed", "payments", "fold_seconds", "rss_bytes")
	if got["errors"] != 0.0 {
		t.Errorf("%v errors", got["errors"])
	}
	for _, phase := range []string{"paced", "flat_out"} {
		pages := 0.0
		for _, x := range got[phase].([]any) {
			page := x.(map[string]any)
			pages += page["pages"].(float64)
			if page["page"] == "case" {
				positive(t, page, "pages", "per_s", "bytes_mean", "bytes_max")
				positive(t, page["server_ms"].(map[string]any), "p50", "p99", "max")
				positive(t, page["browser_ms"].(map[string]any), "p50", "p99", "max")
			}
		}
		if pages < 5 {
			t.Errorf("%s: %v pages", phase, pages)
		}
	}
}
