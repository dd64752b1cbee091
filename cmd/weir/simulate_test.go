package main

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// lastLine decodes the JSON that a command ends with.
func lastLine(t *testing.T, stdout string, v any) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	last := lines[len(lines)-1]
	if err := json.Unmarshal([]byte(last), v); err != nil {
		t.Fatalf("%v in %q", err, stdout)
	}
	// A program that goes through a list has to find one, though it be empty.
	if strings.Contains(last, ":null") {
		t.Errorf("a list is null: %s", last)
	}
}

// TestSimulateFiles writes a bank's days, which the features command then reads.
func TestSimulateFiles(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	bank := []string{"simulate", "--customers", "100", "--days", "20", "--fraud-share", "0.03", "--labels", in("l"), "--rates", in("r"), "--truth", in("t")}
	var done simulated
	lastLine(t, call(t, append(bank, "--json", "--output", in("x"))...).succeeds(t).stdout, &done)
	lines := func(name string) int { return strings.Count(content(t, in(name)), "\n") }
	if done.Transactions < 3000 || lines("x") != done.Transactions || lines("l") != done.Labels || done.Frauds < 20 || lines("r") != 5 {
		t.Errorf("%+v, but %d transactions, %d labels, %d rates", done, lines("x"), lines("l"), lines("r"))
	}
	// Records that were sent twice are one fraud.
	if n := lines("t"); n > done.Frauds || n < done.Frauds*9/10 {
		t.Errorf("%d frauds written of %d", n, done.Frauds)
	}
	call(t, append(bank, "--output", in("same"))...).succeeds(t)
	call(t, append(bank, "--output", in("other"), "--seed", "2")...).succeeds(t)
	if a, b, c := content(t, in("x")), content(t, in("same")), content(t, in("other")); a != b || a == c {
		t.Error("the seed does not say what the bytes are")
	}
	var f featuresReport
	lastLine(t, callWith(t, "", testTokenKey, "features", "--json", "--labels", in("l"), "--rates", in("r"), "--output", in("f"), in("x")).succeeds(t).stdout, &f)
	if f.Rows != int64(done.Transactions) || f.Written < f.Rows*8/10 || f.Labels == 0 || f.NotScored["no_rate"] > 0 {
		t.Errorf("%+v", f)
	}
}

// TestSimulateStops ends a file cleanly when the context ends.
func TestSimulateStops(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	var stdout, stderr bytes.Buffer
	path := filepath.Join(t.TempDir(), "x.zst")
	if code := run(ctx, []string{"simulate", "--output", path}, &env{stdout: &stdout, stderr: &stderr}); code != exitOK || !strings.Contains(stdout.String(), "stopped before") {
		t.Errorf("exit code %d\n%s%s", code, &stdout, &stderr)
	}
	in, err := openInput(t.Context(), &env{}, path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	l := newLines(in, 1<<16)
	if line, err := l.next(); err != nil || !json.Valid(line) {
		t.Errorf("%q, %v", line, err)
	}
}

func TestSimulateFailure(t *testing.T) {
	f := func(word string, args ...string) {
		t.Helper()
		call(t, append([]string{"simulate"}, args...)...).fails(t, exitUsage, word)
	}
	f("--output")
	f("--output", "--output", "x", "--kafka", "127.0.0.1:1")
	f("--live", "--output", "x", "--live")
	f("--rate", "--kafka", "127.0.0.1:1", "--live", "--rate", "5")
	f("--rate", "--kafka", "127.0.0.1:1", "--rate", "-5")
	f("--days", "--output", "x", "--days", "0")
	f("Customers", "--output", "x", "--customers", "0")
	f("--json", "--output", "-", "--json")
	call(t, "simulate", "--output", filepath.Join(t.TempDir(), "no", "x")).fails(t, exitFailed, "create output")
}

// TestSimulateKafka sends a bank's days to a broker, each customer's payments to
// the partition that Kafka's own clients would choose.
func TestSimulateKafka(t *testing.T) {
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	send := func(args ...string) (done simulated) {
		t.Helper()
		args = append([]string{"simulate", "--kafka", b.Addr(), "--json", "--customers", "50", "--partitions", "3"}, args...)
		lastLine(t, call(t, args...).succeeds(t).stdout, &done)
		return done
	}
	first := send("--days", "20", "--fraud-share", "0.03")
	log := kafka.New(kafka.Options{Brokers: []string{b.Addr()}})
	defer log.Close()
	topics := schemas.DefaultTopics("")
	count := func(topic string, partitions int32, see func(p int32, r *kafka.Record)) (n int) {
		t.Helper()
		for p := range partitions {
			_, end, err := log.Offsets(t.Context(), topic, p)
			if err != nil {
				t.Fatal(err)
			}
			r := kafka.NewReader(log, topic, p, kafka.Earliest)
			for n0 := int64(0); n0 < end; {
				records, err := r.Next(t.Context(), math.MaxInt64)
				if err != nil {
					t.Fatal(err)
				}
				for records.Next() {
					see(p, records.Record())
					n0++
					n++
				}
			}
			r.Close()
		}
		return n
	}
	n := count(topics.Transactions, 3, func(p int32, r *kafka.Record) {
		if want := partitionOf(r.Key, 3); int(p) != want {
			t.Fatalf("customer %s is in partition %d, not %d", r.Key, p, want)
		}
	})
	labels := count(topics.Labels, 1, func(_ int32, r *kafka.Record) {
		var l schemas.Label
		if err := schemas.ParseLabel(r.Value, &l); err != nil {
			t.Fatal(err)
		}
	})
	rates := count(topics.Rates, 1, func(int32, *kafka.Record) {})
	if n != first.Transactions || labels != first.Labels || labels == 0 || rates != 5 || first.Stopped {
		t.Errorf("%+v; the topics hold %d transactions, %d labels and %d rates", first, n, labels, rates)
	}
	second := send("--days", "1", "--rate", "100000", "--topic-prefix", "other.")
	if n := count("other.transactions", 3, func(int32, *kafka.Record) {}); n != second.Transactions || n == 0 {
		t.Errorf("%+v; the topic holds %d", second, n)
	}
}

// TestSimulateLive stops when its context ends, with what it counted sent.
func TestSimulateLive(t *testing.T) {
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	ctx, stop := context.WithCancel(t.Context())
	log := kafka.New(kafka.Options{Brokers: []string{b.Addr()}})
	defer log.Close()
	if err := log.Ensure(t.Context(), []schemas.Layout{{Topic: "transactions", Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the test's context at the latest; stops the bank at its first record
		defer stop()
		r := kafka.NewReader(log, "transactions", 0, 0)
		for {
			if records, err := r.Next(t.Context(), math.MaxInt64); err != nil || records.Next() {
				return
			}
		}
	}()
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"simulate", "--kafka", b.Addr(), "--live", "--customers", "100000", "--tx-per-day", "1000", "--json"}, &env{stdout: &stdout, stderr: &stderr, lookup: func(string) (string, bool) { return "", false }})
	if code != exitOK {
		t.Fatalf("exit code %d\n%s", code, &stderr)
	}
	var done simulated
	lastLine(t, stdout.String(), &done)
	_, end, err := log.Offsets(t.Context(), "transactions", 0)
	if err != nil || end != int64(done.Transactions) || !done.Stopped {
		t.Errorf("%+v, the topic holds %d (%v)", done, end, err)
	}
}
