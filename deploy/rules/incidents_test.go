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
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

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
	t         *testing.T
	log       *kafka.Client
	topics    schemas.Topics
	stopped   atomic.Bool // nothing is sent
	garbage   atomic.Bool // one in five is none, one in five has a currency without a rate
	late      atomic.Bool // each lies in the producer for two seconds
	large     atomic.Bool // all are worth an alert
	unlabeled atomic.Bool // nobody says what became of the payments
	hurries   atomic.Bool // a day by its clock takes a second and a quarter
	sent      int
	now       time.Time    // by its clock
	days      atomic.Int64 // for which it has hurried
	wg        sync.WaitGroup
}

// The bank's clock begins so long ago that it stays behind life until the test ends.
const (
	bankBegins = -200 * 24 * time.Hour
	bankTick   = 25 * time.Millisecond
	bankHurry  = 30 * time.Minute // for a tick
)

// pay sends until the test ends.
func (b *bank) pay() {
	b.now = time.Now().Add(bankBegins).Truncate(24 * time.Hour)
	b.wg.Go(func() { // ends with the test, which waits
		tick := time.NewTicker(bankTick)
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
	var w, labels kafka.BatchWriter
	if b.hurries.Load() {
		before := b.now.Truncate(24 * time.Hour)
		if b.now = b.now.Add(bankHurry); b.now.Truncate(24 * time.Hour).After(before) {
			b.days.Add(1)
		}
	} else {
		b.now = b.now.Add(bankTick)
	}
	now, at := time.Now(), b.now.UTC().Format(time.RFC3339)
	stamp := now
	if b.late.Load() {
		stamp = now.Add(-2 * time.Second)
	}
	verdicts := 0
	for range 5 {
		b.sent++
		amount, currency, verdict := 5+b.sent%7, "EUR", "genuine"
		if b.sent%20 == 0 {
			amount, verdict = 9000, "fraud"
		}
		if b.large.Load() {
			amount = 9000
		}
		value := []byte("no payment at all")
		if kind := b.sent % 5; !b.garbage.Load() || kind > 0 {
			if b.garbage.Load() && kind == 1 {
				currency = "JPY"
			}
			value = fmt.Appendf(nil, `{"id":"t%d","time":"%s","customer":"C%d","merchant":"M%[4]d","device":"D%[3]d","country":"BE","currency":"%[5]s","amount":%[6]d}`,
				b.sent, at, b.sent%97, b.sent%11, currency, amount)
		}
		w.Append(nil, value, stamp.UnixMilli(), nil)
		if amount == 9000 && !b.unlabeled.Load() {
			labels.Append(nil, fmt.Appendf(nil, `{"tx_id":"t%d","verdict":"%s","source":"analyst","known_at":"%s"}`, b.sent, verdict, at), now.UnixMilli(), nil)
			verdicts++
		}
	}
	b.produce(b.topics.Transactions, &w)
	if verdicts > 0 {
		b.produce(b.topics.Labels, &labels)
	}
}

// ledgerTakes has the broker take what is appended to the ledger, or refuse it again and
// again by an error that may pass: everything is older than it may be.
func (b *bank) ledgerTakes(broker string, them bool) {
	b.t.Helper()
	oldest := map[bool]string{true: "9223372036854775807", false: "0"}[them]
	client := &kafkago.Client{Addr: kafkago.TCP(broker)}
	answer, err := client.IncrementalAlterConfigs(b.t.Context(), &kafkago.IncrementalAlterConfigsRequest{
		Resources: []kafkago.IncrementalAlterConfigsRequestResource{{ResourceType: kafkago.ResourceTypeTopic, ResourceName: b.topics.Decisions,
			Configs: []kafkago.IncrementalAlterConfigsRequestConfig{{Name: "message.timestamp.before.max.ms", Value: oldest, ConfigOperation: kafkago.ConfigOperationSet}}}}})
	if err == nil {
		err = answer.Resources[0].Error
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// vectors are those of the ledger's last decisions that have one.
func (b *bank) vectors(last int) (rows [][]float32) {
	b.t.Helper()
	_, end, err := b.log.Offsets(b.t.Context(), b.topics.Decisions, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	r := kafka.NewLedgerReader(b.log, b.topics.Decisions, 0, schemas.Anchor{})
	defer r.Close()
	var entry schemas.Entry
	for r.Position() < end {
		batch, err := r.Next(b.t.Context(), end)
		if err != nil {
			b.t.Fatal(err)
		}
		if batch == nil {
			break
		}
		for _, v := range batch.Values {
			if err := schemas.ParseEntry(v, &entry); err != nil {
				b.t.Fatal(err)
			}
			if entry.Kind == schemas.EntryDecision && len(entry.Decision.Features) > 0 {
				rows = append(rows, slices.Clone(entry.Decision.Features))
			}
		}
	}
	return rows[max(0, len(rows)-last):]
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
// large payments, or on everything, and promise one in twenty. What their days of
// training looked like they have from the ledger's last days, once there are any.
type shop struct {
	t    *testing.T
	bank *bank
	key  ed25519.PrivateKey
	days [][]float32 // of training
	last string      // hash of the champion
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
	for c, name := range names {
		if name != "amount" { // the score tells whether amounts are as they were, and nothing else
			clear(b.Model.Inputs[c].Slope)
		}
	}
	scorer, err := cpu.New(b.Model)
	if err == nil && len(s.days) > 0 {
		b.Profile, err = profile(names, scorer, s.days)
	}
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

// profile says how the amounts of rows lie, and their scores. Of other columns it says no
// more than how often there is none: within minutes a bank's habits do not settle.
func profile(names []string, scorer scoring.Scorer, rows [][]float32) (*scoring.Profile, error) {
	ones, scores := slices.Repeat([]float32{1}, len(rows)), make([]float32, len(rows))
	x := scoring.Matrix{Data: slices.Concat(rows...), Rows: len(rows), Cols: len(rows[0])}
	if err := scorer.Score(x, scores); err != nil {
		return nil, err
	}
	p := &scoring.Profile{Score: scoring.NewMargin(scores, ones)}
	for c := range x.Cols {
		column := make([]float32, len(rows))
		for i, r := range rows {
			if column[i] = r[c]; names[c] != "amount" && r[c] == r[c] {
				column[i] = 0
			}
		}
		p.Features = append(p.Features, scoring.NewMargin(column, ones))
	}
	return p, nil
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

// token asks by a token.
func (b *browser) token(path, token string) int {
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.url+path, nil)
	if err != nil {
		return 0
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := b.client.Do(r)
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
