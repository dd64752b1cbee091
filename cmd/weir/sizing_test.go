package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/weir-risk/weir/ingest/broker"
)

// sizingOff is how far a number of deploy/SIZING.md may be from what is measured.
const sizingOff = 0.15

// sizes reads the numbers of deploy/SIZING.md: of each row of its tables that begins with
// a name in backticks, the number behind.
func sizes(t *testing.T) map[string]float64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "SIZING.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]float64)
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|[^|]*\\| ([0-9,.]+) \\|").FindAllStringSubmatch(string(text), -1) {
		n, err := strconv.ParseFloat(strings.ReplaceAll(row[2], ",", ""), 64)
		if _, twice := all[row[1]]; twice || err != nil {
			t.Fatalf("the row %s of SIZING.md: %v", row[0], err)
		}
		all[row[1]] = n
	}
	return all
}

// TestSizingArithmetic computes the tables of deploy/SIZING.md again from its own numbers.
func TestSizingArithmetic(t *testing.T) {
	one := sizes(t)
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "SIZING.md"))
	if err != nil {
		t.Fatal(err)
	}
	amount := func(cell string) float64 {
		number, unit, _ := strings.Cut(strings.TrimSpace(cell), " ")
		n, err := strconv.ParseFloat(strings.ReplaceAll(number, ",", ""), 64)
		by, known := map[string]float64{"GB": 1e9, "TB": 1e12, "million": 1e6, "a second": 1}[unit]
		if err != nil || !known {
			t.Fatalf("%q is no amount", cell)
		}
		return n * by
	}
	rows := regexp.MustCompile(`(?m)^\| ([0-9,]+ a second) \|(.*) \|$`).FindAllStringSubmatch(string(text), -1)
	for _, row := range rows {
		cells, daily := strings.Split(row[2], "|"), 86_400*amount(row[1])
		var want []float64
		if len(cells) == 8 {
			for _, each := range []float64{one["decisions"], one["history.clickhouse"]} {
				for _, days := range []float64{1, 30, 90, 400} {
					want = append(want, daily*each*days)
				}
			}
		} else {
			entities := amount(cells[0])
			for _, days := range []float64{61, 8} {
				want = append(want, entities*one["state.entity"]+daily*days*one["state.payment"])
			}
			want, cells = append(want, daily*61*one["snapshot"]*4), cells[1:]
		}
		for i, cell := range cells {
			if math.Abs(amount(cell)-want[i]) > 0.04*want[i] {
				t.Errorf("%s, column %d says %s, the arithmetic gives %.1f GB", row[1], i, cell, want[i]/1e9)
			}
		}
	}
	if len(rows) != 6 {
		t.Errorf("%d rows of examples", len(rows))
	}
}

// sizing holds numbers of the page to what is measured.
type sizing struct {
	*crashWorld
	said map[string]float64
	used map[string]bool
}

func (s *sizing) check(name string, is float64) {
	s.t.Helper()
	s.used[name] = true
	s.t.Logf("%-20s %8.2f, SIZING.md %8.2f", name, is, s.said[name])
	if math.Abs(is-s.said[name]) > sizingOff*is {
		s.t.Errorf("%s is %.2f, and SIZING.md says %.2f", name, is, s.said[name])
	}
}

// TestSizing holds the numbers of deploy/SIZING.md to runs: a simulated bank's payments
// through scorer and recorder, on the embedded broker, and through the engine alone.
func TestSizing(t *testing.T) {
	if testing.Short() {
		t.Skip("it counts bytes, of which races change nothing")
	}
	folder := t.TempDir()
	b, err := broker.Start(broker.Options{Dir: folder, Session: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	t.Setenv("WEIR_SEED", "1")
	s := &sizing{newCrashWorld(t, b.Addr()), sizes(t), make(map[string]bool)}
	const payments, run = 15_000, "sizing"
	s.snapshotEvery = 10 * payments
	s.load(payments, 4, run)
	// As few as 1,000 payments a second make of a step.
	p := start(t, append(s.flags(run, filepath.Join(s.dir, "one")), "--kafka", s.brokers, "--rows-max", "20")...)
	p.until("the end of the stream", func() bool { return s.sourceDecided(run) == payments })
	p.stop()
	s.check("snapshot", onDisk(t, filepath.Join(s.dir, "one", "snapshots", "*.weirsnap"))/payments)
	file := filepath.Join(s.dir, "history.db")
	s.recorded(run, file)
	s.check("history.sqlite", onDisk(t, file)/payments)
	if url := clickhouseDatabase(t); url != "" {
		s.recorded(run, url)
		s.check("history.clickhouse", clickhouseBytes(t, url)/payments)
	}
	topic := func(name string) float64 {
		return onDisk(t, filepath.Join(folder, "partitions", s.prefix(run)+name+"-*", "*.dat"))
	}
	s.check("decisions", topic("decisions")/payments)
	s.check("alerts", topic("alerts")/s.count(s.topics(run).Alerts))
	s.check("labels", topic("labels")/s.count(s.topics(run).Labels))
	s.state()
	for name := range s.said {
		if !s.used[name] && (name != "history.clickhouse" || os.Getenv("WEIR_CLICKHOUSE") != "") {
			t.Errorf("nothing measures %s of SIZING.md", name)
		}
	}
}

// onDisk sums the files of a pattern.
func onDisk(t testing.TB, pattern string) (n float64) {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no file is %s (%v)", pattern, err)
	}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		n += float64(info.Size())
	}
	return n
}

// count counts a topic's records.
func (s *sizing) count(topic string) float64 {
	s.t.Helper()
	_, end, err := s.log.Offsets(s.t.Context(), topic, 0)
	if err != nil || end == 0 {
		s.t.Fatalf("%s ends at %d: %v", topic, end, err)
	}
	return float64(end)
}

// recorded has a recorder write a run into a history, to the end.
func (s *sizing) recorded(run, where string) {
	s.t.Helper()
	p := start(s.t, "record", "--kafka", s.brokers, "--topic-prefix", s.prefix(run), "--history", where, "--data", filepath.Join(s.dir, "record"), "--listen", "127.0.0.1:0", "--log", "json", "--json")
	p.until("address", func() bool { return p.said("serves metrics") != nil })
	ready := "http://" + p.said("serves metrics")["address"].(string) + "/readyz"
	end := s.decided(run)
	p.until("all recorded", func() bool {
		var st struct {
			Offset int64 `json:"ledger_offset"`
			Lag    int64 `json:"lag"`
		}
		_, body := get(s.t, ready)
		return json.Unmarshal([]byte(body), &st) == nil && st.Offset >= end && st.Lag == 0
	})
	p.stop()
}

// clickhouseBytes is what a database takes on disk once its parts are merged.
func clickhouseBytes(t testing.TB, url string) float64 {
	t.Helper()
	o, err := clickhouse.ParseDSN(url)
	if err != nil {
		t.Fatal("WEIR_CLICKHOUSE is no URL")
	}
	conn, err := clickhouse.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, table := range []string{"decisions", "batches", "alerts", "labels"} {
		if err := conn.Exec(t.Context(), "OPTIMIZE TABLE "+table+" FINAL"); err != nil {
			t.Fatal(err)
		}
	}
	var n uint64
	if err := conn.QueryRow(t.Context(), "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase()").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return float64(n)
}

// state measures what the engine holds of two banks, one with few payments for each
// entity and one with many, and compares it with what the page's two numbers make of them.
func (s *sizing) state() {
	s.t.Helper()
	for _, bank := range []struct{ customers, days string }{{"5000", "5"}, {"4000", "20"}} {
		tx, rates := filepath.Join(s.dir, "tx.jsonl"), filepath.Join(s.dir, "rates.jsonl")
		t := s.t.(*testing.T)
		call(t, "simulate", "--customers", bank.customers, "--days", bank.days, "--seed", "1", "--output", tx, "--rates", rates).succeeds(t)
		var r replayCounts
		lastLine(t, call(t, "features", "--input", tx, "--rates", rates, "--from", "2100-01-01", "--token-key-file", filepath.Join(s.dir, "token.key"),
			"--output", os.DevNull, "--json").succeeds(t).stdout, &r)
		said := s.said["state.entity"]*float64(r.Entities) + s.said["state.payment"]*float64(r.Rows)
		s.used["state.entity"], s.used["state.payment"] = true, true
		s.t.Logf("state of %d entities and %d payments: %.1f MB, SIZING.md makes it %.1f", r.Entities, r.Rows, r.StateMB, said/1e6)
		if math.Abs(said/1e6-r.StateMB) > sizingOff*r.StateMB {
			s.t.Errorf("the state of %d entities and %d payments takes %.1f MB, SIZING.md makes it %.1f", r.Entities, r.Rows, r.StateMB, said/1e6)
		}
	}
}
