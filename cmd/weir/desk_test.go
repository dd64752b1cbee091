package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// firstMatch keeps what a service logs, and hands out the first match of a pattern.
type firstMatch struct {
	mu      sync.Mutex
	text    bytes.Buffer
	pattern *regexp.Regexp
	found   chan string
}

func (m *firstMatch) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.text.Write(b)
	if at := m.pattern.FindSubmatch(m.text.Bytes()); at != nil {
		select {
		case m.found <- string(at[1]):
		default: // once
		}
	}
	return len(b), nil
}

// runDesk starts weir desk on a broker and returns where its pages are, and what stops it
// as Ctrl-C does.
func runDesk(t *testing.T, brokers string, args ...string) (at string, stop func()) {
	t.Helper()
	log := &firstMatch{pattern: regexp.MustCompile(`serves the desk" address=(http://\S+)`), found: make(chan string, 1)}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	e := &env{stdin: strings.NewReader(""), stdout: log, stderr: log, lookup: func(string) (string, bool) { return "", false }}
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, append([]string{"desk", "--kafka", brokers, "--web", "127.0.0.1:0", "--listen", "127.0.0.1:0"}, args...), e)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if code := <-ended; code != exitOK {
			t.Errorf("exit code %d\n%s", code, &log.text)
		}
	})
	select {
	case at = <-log.found:
	case code := <-ended:
		t.Fatalf("the desk ends with %d\n%s", code, &log.text)
	}
	t.Cleanup(stop)
	return at, stop
}

// TestDesk starts weir desk, logs somebody in whom weir user made, looks at the queue,
// and stops it as Ctrl-C does.
func TestDesk(t *testing.T) {
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	data := t.TempDir()
	call(t, "desk", "--kafka", b.Addr(), "--data", data, "--web", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--trust", filepath.Join(data, "none.pem")).
		fails(t, exitFailed, "none.pem")
	callWith(t, testPassword, nil, "user", "add", "ann", "--role", "analyst", "--data", data).succeeds(t)
	at, stop := runDesk(t, b.Addr(), "--data", data)
	visit(t, at, "ann").sees("/queue", "No open alerts.")
	stop()
}

// TestTheDeskFindsAHistoryThatComesLater has a history made while a desk runs: the case
// then shows what was paid, and the desk was not started anew.
func TestTheDeskFindsAHistoryThatComesLater(t *testing.T) {
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	data := t.TempDir()
	callWith(t, testPassword, nil, "user", "add", "ann", "--role", "analyst", "--data", data).succeeds(t)
	at, _ := runDesk(t, b.Addr(), "--data", data)
	ann := visit(t, at, "ann")
	log := kafka.New(kafka.Options{Brokers: []string{b.Addr()}})
	t.Cleanup(log.Close)
	decided := func(offset, amount int64) *schemas.Decision {
		d := &schemas.Decision{Action: schemas.Review, Prob: .5, Tx: schemas.Transaction{Time: time.Now().UnixMilli() - 1000 + offset, Amount: amount, AmountBase: amount}}
		d.Text[schemas.ID], d.Text[schemas.Card], d.Text[schemas.Currency] = fmt.Appendf(nil, "tx-%d", offset), []byte("c1"), []byte("EUR")
		return d
	}
	before, this := decided(0, 1234), decided(1, 90000)
	var w kafka.BatchWriter
	w.Append(nil, schemas.AppendAlertJSON(nil, this, 0, 1, nil, false), time.Now().UnixMilli(), nil)
	batch, err := w.Finish(kafka.None)
	if err == nil {
		_, err = log.Produce(t.Context(), "alerts", 0, batch)
	}
	if err != nil {
		t.Fatal(err)
	}
	for a, _ := ann.ask("GET", "/alerts/0-1", nil); a.StatusCode != http.StatusOK; a, _ = ann.ask("GET", "/alerts/0-1", nil) {
		if sleep(t.Context(), time.Millisecond) != nil {
			t.Fatal("the desk has no alert")
		}
	}
	ann.sees("/alerts/0-1/history", "There is no history yet", "900.00 EUR")
	if _, err := os.Stat(filepath.Join(data, "history.db")); err == nil {
		t.Error("the desk has made a history")
	}
	store, err := history.Open(t.Context(), filepath.Join(data, "history.db"), history.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if _, err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	var block history.Block
	block.Reset(history.Ledger, 0, "transactions", history.Position{})
	block.AddBatch(0, 1, &schemas.Facts{ID: schemas.BatchID{Writer: 1, Sequence: 1}, Records: 2}, [][]byte{schemas.AppendDecision(nil, before), schemas.AppendDecision(nil, this)})
	if err := store.Write(t.Context(), &block); err != nil {
		t.Fatal(err)
	}
	if page := ann.sees("/alerts/0-1/history", "12.34 EUR", "1 payment without alert"); strings.Contains(page, "There is no history") {
		t.Errorf("the page says that there is none:\n%s", page)
	}
}

// TestDeskKeepsPasswordsOffTheNetwork: what other machines can reach needs TLS.
func TestDeskKeepsPasswordsOffTheNetwork(t *testing.T) {
	call(t, "desk", "--kafka", "127.0.0.1:1", "--web", "0.0.0.0:8464").fails(t, exitUsage, "--web 0.0.0.0:8464", "--tls-cert")
	call(t, "desk", "--kafka", "127.0.0.1:1", "--tls-cert", "a.pem").fails(t, exitUsage, "belong together")
	call(t, "desk", "--kafka", "127.0.0.1:1", "--within", "0s").fails(t, exitUsage, "--within")
	call(t, "desk", "--kafka", "127.0.0.1:1", "--second-looks", "5").fails(t, exitUsage, "--second-looks 5")
}
