package rules

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/trainer"
)

// A bank pays two hundred times a second, until it is told otherwise.
type bank struct {
	t       *testing.T
	log     *kafka.Client
	topics  schemas.Topics
	stopped atomic.Bool // nothing is sent
	garbage atomic.Bool // one in five is none, one in five has a currency without a rate
	late    atomic.Bool // each lies in the producer for two seconds
	large   atomic.Bool // all are worth an alert
	sent    int
	wg      sync.WaitGroup
}

// pay sends until the test ends.
func (b *bank) pay() {
	b.wg.Go(func() { // ends with the test, which waits
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-b.t.Context().Done():
				return
			case <-tick.C:
			}
			if !b.stopped.Load() {
				b.send()
			}
		}
	})
}

func (b *bank) send() {
	var w kafka.BatchWriter
	now := time.Now()
	stamp := now
	if b.late.Load() {
		stamp = now.Add(-2 * time.Second)
	}
	for range 10 {
		b.sent++
		amount, currency := 5, "EUR"
		if b.sent%20 == 0 || b.large.Load() {
			amount = 9000
		}
		value := []byte("no payment at all")
		if kind := b.sent % 5; !b.garbage.Load() || kind > 0 {
			if b.garbage.Load() && kind == 1 {
				currency = "JPY"
			}
			value = fmt.Appendf(nil, `{"id":"t%d","time":"%s","customer":"C%d","merchant":"M%[4]d","device":"D%[3]d","country":"BE","currency":"%[5]s","amount":%[6]d}`,
				b.sent, stamp.UTC().Format(time.RFC3339), b.sent%97, b.sent%11, currency, amount)
		}
		w.Append(nil, value, stamp.UnixMilli(), nil)
	}
	b.produce(b.topics.Transactions, &w)
}

// produce appends records to a topic. While the broker is away they are lost, which is
// nobody's concern here.
func (b *bank) produce(topic string, w *kafka.BatchWriter) {
	if batch, err := w.Finish(kafka.None); err == nil {
		_, _ = b.log.Produce(b.t.Context(), topic, 0, batch)
	}
}

// badLabels sends labels that cannot be read.
func (b *bank) badLabels(n int) {
	var w kafka.BatchWriter
	for range n {
		w.Append(nil, []byte("no label"), time.Now().UnixMilli(), nil)
	}
	b.produce(b.topics.Labels, &w)
}

// A shop makes bundles. Whatever their network says, the amount decides: they alert on
// large payments, or on everything, and promise one in twenty.
type shop struct {
	t    *testing.T
	bank *bank
	key  ed25519.PrivateKey
	last string // hash of the champion
}

func (s *shop) bundle(seed uint64, everything bool, key ed25519.PrivateKey) ([]byte, *scoring.Bundle) {
	s.t.Helper()
	sp, _ := spec.Builtin("payments")
	names := sp.FeatureNames()
	b := &scoring.Bundle{Name: fmt.Sprint("bundle ", seed), Spec: scoring.SpecText{Name: sp.Name, Text: sp.Text, Hash: sp.Hash}, Features: names,
		Model: trainer.RandomModel(seed, len(names), 8, 1), Calibration: scoring.Calibration{Kind: scoring.Platt, A: 1e-6, B: 1e-6},
		Policy: scoring.Policy{Rank: scoring.ByAmount, Review: 1e4, Explore: .01, ExploreKey: [16]byte{1}},
		Facts:  json.RawMessage(`{"held_out":{"rows":10000,"reviewed":500}}`)}
	if everything {
		b.Policy.Review = 0
	}
	r := rand.New(rand.NewPCG(seed, 1))
	rows := make([]float32, 16*len(names))
	for i := range rows {
		rows[i] = r.Float32()
	}
	scorer, err := cpu.New(b.Model)
	if err == nil {
		err = b.SetSelfTest(scorer, scoring.Matrix{Data: rows, Rows: 16, Cols: len(names)})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	data, read, err := trainer.Seal(b, key)
	if err != nil {
		s.t.Fatal(err)
	}
	return data, read
}

// promote makes a new bundle champion.
func (s *shop) promote(seed uint64, everything bool) {
	s.t.Helper()
	data, b := s.bundle(seed, everything, s.key)
	slot := ingest.Slot{By: "test", Reason: "test", Previous: s.last}
	if err := ingest.PublishBundle(s.t.Context(), s.bank.log, s.bank.topics, data, b.Hash, "champion", slot, s.key, time.Now()); err != nil {
		s.t.Fatal(err)
	}
	s.last = hex.EncodeToString(b.Hash[:])
}

// stranger publishes a bundle that somebody else signed.
func (s *shop) stranger() {
	s.t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	data, b := s.bundle(99, false, key)
	if err := ingest.PublishBundle(s.t.Context(), s.bank.log, s.bank.topics, data, b.Hash, "champion", ingest.Slot{By: "nobody", Reason: "test"}, key, time.Now()); err != nil {
		s.t.Fatal(err)
	}
}

// A browser is somebody at the desk.
type browser struct {
	t      *testing.T
	client http.Client
	url    string
}

const password = "correct horse battery staple"

func open(t *testing.T, url string) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, http.Client{Jar: jar, Timeout: 20 * time.Second}, url}
}

// post sends a form and returns the status.
func (b *browser) post(path string, form url.Values) int {
	resp, err := b.client.PostForm(b.url+path, form)
	return b.status(resp, err)
}

func (b *browser) get(path string) int {
	resp, err := b.client.Get(b.url + path)
	return b.status(resp, err)
}

func (b *browser) status(resp *http.Response, err error) int {
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// enters logs in.
func (b *browser) enters(name string) *browser {
	b.t.Helper()
	b.post("/login", url.Values{"name": {name}, "password": {password}})
	resp, err := b.client.Get(b.url + "/queue")
	if code := b.status(resp, err); code != http.StatusOK || resp.Request.URL.Path != "/queue" { // else it leads to the log-in
		b.t.Fatalf("%s is not let in: %d", name, code)
	}
	return b
}
