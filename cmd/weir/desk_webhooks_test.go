package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// heard keeps what a webhook was sent, and is away at times.
type heard struct {
	mu     sync.Mutex
	alerts map[string]int    // how often each was told
	ids    map[string]string // webhook-id: the message
	wrong  string
}

func (h *heard) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var m struct {
		Type string
		Data struct {
			AlertID string `json:"alert_id"`
		}
	}
	if err != nil || json.Unmarshal(body, &m) != nil {
		return // cut off in the middle
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	id := r.Header.Get("webhook-id")
	if before, ok := h.ids[id]; ok && before != string(body) {
		h.wrong = fmt.Sprintf("%s is two messages: %s and %s", id, before, body)
	}
	h.ids[id] = string(body)
	h.alerts[m.Data.AlertID]++
}

// count is how many alerts were told, and how often in all.
func (h *heard) count() (alerts, times int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.alerts {
		times += n
	}
	return len(h.alerts), times
}

// raise publishes alerts as a scorer does.
func raiseIn(t *testing.T, log *kafka.Client, topic string, from, n int64) {
	t.Helper()
	var w kafka.BatchWriter
	for offset := from; offset < from+n; offset++ {
		d := schemas.Decision{Action: schemas.Review, Tx: schemas.Transaction{Time: time.Now().UnixMilli(), Amount: 100, AmountBase: 100}}
		d.Text[schemas.ID] = fmt.Appendf(nil, "tx-%d", offset)
		w.Append(schemas.AppendAlertID(nil, 0, offset), schemas.AppendAlertJSON(nil, &d, 0, offset, nil, false), time.Now().UnixMilli(), nil)
	}
	batch, err := w.Finish(kafka.None)
	if err == nil {
		_, err = log.Produce(t.Context(), topic, 0, batch)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestKilledDeskTellsAll kills weir desk while it tells a webhook of alerts, and takes
// its view away besides: it tells of each, and twice only with the same webhook-id.
func TestKilledDeskTellsAll(t *testing.T) {
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	log := kafka.New(kafka.Options{Brokers: []string{b.Addr()}})
	t.Cleanup(log.Close)
	topics := schemas.DefaultTopics("")
	if err := log.Ensure(t.Context(), topics.Layouts(1)); err != nil {
		t.Fatal(err)
	}
	h := &heard{alerts: make(map[string]int), ids: make(map[string]string)}
	receiver := httptest.NewServer(h)
	defer receiver.Close()
	data := t.TempDir()
	secret := filepath.Join(data, "secret")
	if err := os.WriteFile(secret, []byte(testPassword), 0o600); err != nil {
		t.Fatal(err)
	}
	call(t, "user", "add", "sue", "--role", "supervisor", "--password-file", secret, "--data", data).succeeds(t)
	args := []string{"desk", "--kafka", b.Addr(), "--data", data, "--web", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--webhooks-allow", "127.0.0.0/8", "--log", "json"}
	p := start(t, args...)
	p.until("an address", func() bool { return p.said("serves the desk") != nil })
	tell(t, p, receiver.URL)
	r, raised := rand.New(rand.NewPCG(3, 3)), int64(0)
	for round := range 4 {
		n := 20 + r.Int64N(30)
		raiseIn(t, log, topics.Alerts, raised, n)
		before, _ := h.count()
		until := min(before+r.IntN(int(n)), int(raised+n))
		raised += n
		p.until("messages", func() bool { now, _ := h.count(); return now >= until })
		p.kill()
		if round == 2 {
			for _, name := range []string{"desk-view.db", "desk-view.db-wal", "desk-view.db-shm"} {
				_ = os.Remove(filepath.Join(data, name)) // the last two may not be there
			}
		}
		p = start(t, args...)
	}
	p.until("the last message", func() bool { now, _ := h.count(); return now == int(raised) })
	p.stop()
	alerts, times := h.count()
	if h.wrong != "" || alerts != int(raised) || len(h.ids) != alerts {
		t.Errorf("%d alerts, %d told of, %d messages: %s", raised, alerts, len(h.ids), h.wrong)
	}
	t.Logf("%d alerts, told %d times", alerts, times)
}

// tell sets a webhook up at a desk.
func tell(t *testing.T, p *process, to string) {
	t.Helper()
	at, ok := p.said("serves the desk")["address"].(string)
	if !ok {
		t.Fatal("the desk says no address")
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	in, err := client.PostForm(at+"/login", url.Values{"name": {"sue"}, "password": {testPassword}})
	if err != nil || len(in.Cookies()) != 1 {
		t.Fatal(in, err)
	}
	defer in.Body.Close()
	var said bytes.Buffer
	p.until("a webhook", func() bool { // until the desk has caught up
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at+"/webhooks", bytes.NewBufferString(url.Values{"url": {to}, "event": {"alert.raised"}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.AddCookie(in.Cookies()[0])
		a, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		said.Reset()
		_, _ = said.ReadFrom(a.Body)
		return a.StatusCode == http.StatusOK
	})
	if !bytes.Contains(said.Bytes(), []byte("whsec_")) {
		t.Fatalf("no secret: %s", &said)
	}
}
