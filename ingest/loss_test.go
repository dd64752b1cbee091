package ingest

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/schemas"
)

// TestALedgerThatWouldLoseRecordsIsSaid has ledgers of several settings, and
// snapshots of several ages.
func TestALedgerThatWouldLoseRecordsIsSaid(t *testing.T) {
	w := newWorld(t, "payments", 1)
	const hour = "3600000"
	compacted, timeOnly, tooShort := "is compacted", "no snapshot that could stand", "less time than the oldest snapshot"
	for i, c := range []struct {
		policy, retention string
		snapshots         []time.Duration // their ages, newest first
		said              []string
	}{
		{"delete", "-1", nil, nil},
		{"delete", "-1", []time.Duration{time.Hour}, nil},
		{"compact", hour, nil, []string{compacted}},
		{"compact,delete", "-1", nil, []string{compacted}},
		{"compact,delete", hour, nil, []string{compacted, timeOnly}},
		{"delete", hour, nil, []string{timeOnly}},
		{"delete", hour, []time.Duration{time.Minute, 50 * time.Minute}, nil},
		{"delete", hour, []time.Duration{time.Minute, 70 * time.Minute}, []string{tooShort}},
	} {
		var log bytes.Buffer
		w.logTo = &log
		topic := fmt.Sprintf("%sledger%d", w.prefix, i)
		w.must(w.log.Ensure(t.Context(), []schemas.Layout{{Topic: topic, Partitions: 1,
			Config: map[string]string{"cleanup.policy": c.policy, "retention.ms": c.retention}}}))
		n := w.node(func(n *Config) { n.Topics.Decisions, n.SnapshotDir = topic, t.TempDir() })
		for k, age := range c.snapshots {
			name := filepath.Join(n.SnapshotDir, fmt.Sprintf("%d%s", 9-k, snapshotSuffix))
			w.must(os.WriteFile(name, nil, 0o600))
			w.must(os.Chtimes(name, time.Time{}, time.Now().Add(-age)))
		}
		for range 2 { // once only
			f, err := n.restore(t.Context())
			w.must(err)
			f.close()
		}
		text := log.String()
		if strings.Count(text, "remedy=") != len(c.said) || strings.Count(text, "topic="+topic) != len(c.said) {
			t.Errorf("%s, %s, %v: %q, want %q", c.policy, c.retention, c.snapshots, text, c.said)
		}
		for _, words := range c.said {
			if !strings.Contains(text, words) {
				t.Errorf("%s, %s, %v: no %q in %q", c.policy, c.retention, c.snapshots, words, text)
			}
		}
	}
}

// TestTheLedgerIsMadeToKeepAll sees what the broker makes of the layout by which weir
// makes the ledger's topic, and that a start with it warns of nothing.
func TestTheLedgerIsMadeToKeepAll(t *testing.T) {
	w := newWorld(t, "payments", 1)
	want := map[string]string{"cleanup.policy": "delete", "retention.ms": "-1", "max.message.bytes": "4194304"}
	got, err := w.log.Settings(t.Context(), w.topics.Decisions, "cleanup.policy", "retention.ms", "max.message.bytes", "nothing")
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("the ledger is made with %v, %v; want %v", got, err, want)
	}
	var log bytes.Buffer
	w.logTo = &log
	w.runUntil(w.payments(20, 3, 1), nil)
	if strings.Contains(log.String(), "remedy") {
		t.Errorf("a start warns: %s", &log)
	}
}
