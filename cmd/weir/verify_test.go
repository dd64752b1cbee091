package main

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/weir-risk/weir/schemas"
)

// TestReportsOfNothing asks for what is not there yet: each list is an empty one.
func TestReportsOfNothing(t *testing.T) {
	log, address := brokerWith(t, "transactions")
	if err := log.Ensure(t.Context(), schemas.DefaultTopics("").Layouts(1)); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "sign.key")
	if _, _, err := loadOrMakeKey(key); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		list string
		args []string
	}{
		{"findings", []string{"verify", "--kafka", address, "--data", t.TempDir(), "--trust", key + ".pub", "--json"}},
		{"bundles", []string{"model", "ls", "--kafka", address, "--trust", key + ".pub", "--json"}},
		{"problems", []string{"check", "--json"}},
	} {
		var report map[string]json.RawMessage
		lastLine(t, call(t, c.args...).succeeds(t).stdout, &report)
		if got := string(report[c.list]); got != "[]" {
			t.Errorf("%q: %s are %q, want []", c.args, c.list, got)
		}
	}
}
