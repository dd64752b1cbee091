package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/schemas"
)

// A measurement starts this binary again as its own processes.
func init() {
	if os.Getenv(roleEnv) != "" {
		main()
	}
}

// benchJSON runs weir bench and returns its last line, parsed.
func benchJSON(t *testing.T, args ...string) map[string]any {
	t.Helper()
	var out bytes.Buffer
	e := &env{stdin: strings.NewReader(""), stdout: &out, stderr: t.Output(), lookup: func(name string) (string, bool) {
		if name == "WEIR_HANDBOOK" { // nothing is there: the simulated bank makes the stream
			return filepath.Join(t.TempDir(), "none"), true
		}
		return "", false
	}}
	if code := run(t.Context(), append([]string{"bench"}, args...), e); code != exitOK {
		t.Fatalf("exit code %d, output %s", code, out.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var got map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &got); err != nil {
		t.Fatalf("the last line is %q: %v", lines[len(lines)-1], err)
	}
	return got
}

// positive fails the test unless all keys of m are numbers above 0.
func positive(t *testing.T, m map[string]any, keys ...string) {
	t.Helper()
	for _, k := range keys {
		if v, ok := m[k].(float64); !ok || v <= 0 {
			t.Errorf("%s is %v in %v", k, m[k], m)
		}
	}
}

func TestBenchPeersFindsWeirRight(t *testing.T) {
	got := benchJSON(t, "peers", "--records", "4000", "--runs", "1", "--json")
	for _, name := range []string{"weir", "go_batched"} {
		f, ok := got[name].(map[string]any)
		if !ok {
			t.Fatalf("no %s in %v", name, got)
		}
		positive(t, f, "cpu_us_per_tx", "tx_per_s", "right_share", "rss_bytes")
		if share := f["right_share"].(float64); name == "weir" && share != 1 || share < 0.98 {
			t.Errorf("%s: %v of the scores are right", name, share)
		}
	}
}

func TestBenchPipelineReports(t *testing.T) {
	got := benchJSON(t, "pipeline", "--warm", "2000", "--seconds", "0.2", "--json")
	positive(t, got, "tx_per_s", "cpu_us_per_tx", "allocs_per_tx", "rss_bytes")
}

func TestBenchLatencyDecidesWhatItSends(t *testing.T) {
	got := benchJSON(t, "latency", "--rate", "3000", "--warm", "0.1", "--seconds", "0.5", "--json")
	positive(t, got, "rate", "p50_ms", "p99_ms", "p999_ms", "max_ms", "sent")
	if got["sent"] != got["decided"] {
		t.Errorf("sent %v, decided %v", got["sent"], got["decided"])
	}
}

func TestBenchListsItsKinds(t *testing.T) {
	f := func(args []string, want string, code int) {
		t.Helper()
		var out, problems bytes.Buffer
		e := &env{stdout: &out, stderr: &problems, lookup: func(string) (string, bool) { return "", false }}
		if got := run(t.Context(), args, e); got != code || !strings.Contains(out.String()+problems.String(), want) {
			t.Errorf("weir %s: exit code %d, %q", args, got, out.String()+problems.String())
		}
	}
	for _, k := range benchKinds() {
		f([]string{"bench"}, "weir "+k.name, exitOK)
		f([]string{"bench", strings.TrimPrefix(k.name, "bench "), "--help"}, k.summary, exitOK)
	}
	f([]string{"bench", "speed"}, `no measurement "speed"`, exitUsage)
	f([]string{"bench", "peers", "--runs", "0"}, "one run", exitUsage)
	f([]string{"bench", "peers", "more"}, `"more" is not expected`, exitUsage)
}

// TestStreamOfTheHandbooksFile reads a file as the Handbook's authors write it.
func TestStreamOfTheHandbooksFile(t *testing.T) {
	e := &env{lookup: func(string) (string, bool) { return "", false }}
	if _, err := loadHandbook(e, filepath.Join(t.TempDir(), "none.csv.gz"), 1); err == nil {
		t.Error("a file that is not there was read")
	}
	s, err := simulateHandbook(50)
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.rows {
		if i > 0 && s.rows[i].time < s.rows[i-1].time {
			t.Fatalf("row %d is earlier than the one before it", i)
		}
	}
}

func TestBenchFeaturesComparesWithAMap(t *testing.T) {
	got := benchJSON(t, "features", "--entities", "500", "--rows", "2000", "--runs", "1", "--json")
	update, _ := got["update"].(map[string]any)
	positive(t, update, "times_the_map")
	for _, key := range []string{"cpu_ns_per_key", "map_cpu_ns_per_key"} {
		s, _ := update[key].(map[string]any)
		positive(t, s, "median", "min", "max")
	}
	if late, _ := got["late"].([]any); len(late) != 4 {
		t.Errorf("late events: %v", got["late"])
	}
	memory, _ := got["memory"].(map[string]any)
	positive(t, memory, "kept", "accounted_bytes", "bytes_per_kept")
	if memory["entities"] != 500.0 || memory["kept"] != 15_000.0 {
		t.Errorf("memory: %v", memory)
	}
}

// TestMapEngineIsRight holds the engine that weir's is measured against to the same
// features: one that did less would be no comparison.
func TestMapEngineIsRight(t *testing.T) {
	s, err := fiveWindows("36h")
	if err != nil {
		t.Fatal(err)
	}
	engine, others := features.New(s, features.Options{}), mapEngine()
	g := newKeyStream(40, 20, 0)
	var b schemas.Batch
	want, got := make([]float32, keyRows*engine.Width()), make([]float32, keyRows*engine.Width())
	for range 10 {
		g.fill(&b)
		engine.Step(&b, want, nil)
		others(&b, got)
		for i := range want {
			if d := want[i] - got[i]; d > want[i]*1e-6 || -d > want[i]*1e-6 {
				t.Fatalf("row %d, %s: the map has %v, the engine %v", i/engine.Width(), s.Features[i%engine.Width()].Name, got[i], want[i])
			}
		}
	}
}

func TestBenchScoreReports(t *testing.T) {
	got := benchJSON(t, "score", "--networks", "8,16,1", "--rows", "1,64", "--seconds", "0.01", "--runs", "2", "--json")
	batches, _ := got["batches"].([]any)
	if len(batches) != 2 {
		t.Fatalf("batches: %v", got)
	}
	for _, x := range batches {
		positive(t, x.(map[string]any), "rows", "rows_per_s", "gflop_per_s")
	}
}

func TestBenchConsumeReadsAll(t *testing.T) {
	got := benchJSON(t, "consume", "--records", "20000", "--runs", "1", "--compression", "lz4", "--json")
	positive(t, got, "ratio", "weir_records_per_s", "bytes_per_record")
}

// TestBenchRestartDecidesAsAnUndisturbedNode goes through two starts over a small state.
func TestBenchRestartDecidesAsAnUndisturbedNode(t *testing.T) {
	got := benchJSON(t, "restart", "--customers", "300", "--terminals", "200", "--tail", "600", "--runs", "2", "--json")
	positive(t, got, "snapshot_bytes", "rss_bytes")
	for _, key := range []string{"process_s", "read_s", "fold_s", "join_s", "decide_s", "total_s"} {
		s, _ := got[key].(map[string]any)
		positive(t, s, "median")
	}
	if got["right"] != 2.0 || got["entities"] != 500.0 || got["payments"] != 9_601.0 {
		t.Errorf("%v", got)
	}
}
