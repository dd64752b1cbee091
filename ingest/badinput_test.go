package ingest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/decode/decodetest"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// arrival is the Kafka timestamp of these tests' records: 2026-01-02T03:04:06Z.
const arrival = 1767323046000

// A bad is a record that no decoder takes, at its place.
type bad struct {
	decodetest.Case
	partition int32
	offset    int64
}

// badInput sends the malformed records among good ones, and at last one that is
// larger than any topic takes uncompressed.
func (w *world) badInput() (list []bad, n int64) {
	w.t.Helper()
	cases, err := decodetest.Read("decode/testdata/malformed.txt")
	w.must(err)
	if len(cases) < 40 {
		w.t.Fatalf("%d malformed records, want 40 or more", len(cases))
	}
	cases = append(cases, decodetest.Case{Check: "huge", Reason: schemas.Oversize, Value: append([]byte(`{"card":{"pan":"4000001234567899"}}`), bytes.Repeat([]byte(" "), 3<<20)...)})
	var feeds [2]feed
	for i, c := range cases {
		p := i % 2
		good := fmt.Sprintf(`{"id":"good%d","time":"2026-01-02T03:04:05Z","amount":"1.50","currency":"EUR","customer":"c1","card":{"pan":"4000001234567899"}}`, i)
		feeds[p].add([]byte(good), arrival)
		list = append(list, bad{Case: c, partition: int32(p), offset: int64(len(feeds[p].values))})
		feeds[p].add(c.Value, arrival)
		n += 2
	}
	for p := range feeds {
		feeds[p].send(w, w.topics.Transactions, int32(p))
	}
	return list, n
}

// TestBadInput has every malformed record go through the broker. Each has its
// reason in the ledger and in the dead-letter topic, which holds its bytes where
// the spec says so and otherwise where it lies and what it hashes to; the stream
// goes on; and no card number is anywhere but where it may be.
func TestBadInput(t *testing.T) {
	text, err := os.ReadFile("decode/testdata/malformed.spec")
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"reference", "bytes"} {
		t.Log(mode)
		w := newWorld(t, "payments", 2)
		s, err := spec.Parse("malformed", []byte(strings.Replace(string(text), "future 5m\n", "future 5m\ndlq "+mode+"\n", 1)))
		w.must(err)
		w.use(s)
		// The dead letters' topic has fewer partitions than the source.
		w.topics.DLQ += ".one"
		w.must(w.log.Ensure(t.Context(), []schemas.Layout{{Topic: w.topics.DLQ, Partitions: 1}}))
		var log bytes.Buffer
		w.logTo = &log
		list, n := w.badInput()
		r := w.start(nil)
		r.decided(n)
		r.until("publishes the dead letters", func(Status) bool { return testutil.ToFloat64(r.node.Metrics.Dead) >= float64(len(list)) })
		r.stop()
		w.logTo = t.Output()
		w.checkReasons(list, n)
		w.checkLetters(list, mode == "bytes")
		if r := w.verify().Report; r.Rejected != int64(len(list)) {
			t.Fatalf("%+v", r)
		}
		may := map[string]bool{w.topics.Transactions: true, w.topics.DLQ: mode == "bytes"}
		for _, topic := range []string{w.topics.Decisions, w.topics.Alerts, w.topics.DLQ} {
			if found := w.cards(topic); found > 0 != may[topic] {
				t.Errorf("%s: %d records with a card number", topic, found)
			}
		}
		if hasCard(log.Bytes()) {
			t.Error("a card number is in the log")
		}
	}
}

func hasCard(b []byte) bool { return bytes.Contains(b, []byte("40000012345")) }

// cards counts the records of a topic that hold a card number.
func (w *world) cards(topic string) (found int) {
	for _, r := range w.records(topic, 0) {
		in := hasCard(r.Key) || hasCard(r.Value)
		for _, h := range r.Headers {
			in = in || hasCard(h.Key) || hasCard(h.Value)
		}
		if in {
			found++
		}
	}
	return found
}

func (w *world) checkReasons(list []bad, n int64) {
	w.t.Helper()
	type place struct {
		p int32
		o int64
	}
	got := make(map[place]schemas.Verdict)
	var e schemas.Entry
	for _, v := range w.ledger() {
		w.must(schemas.ParseEntry(v, &e))
		if e.Kind == schemas.EntryDecision {
			got[place{e.Decision.Partition, e.Decision.Offset}] = e.Decision.Verdict
		}
	}
	if int64(len(got)) != n {
		w.t.Errorf("%d decisions, want %d", len(got), n)
	}
	for _, b := range list {
		if v := got[place{b.partition, b.offset}]; v.Outcome != schemas.Rejected || v.Reason != b.Reason {
			w.t.Errorf("%s: %v %v, want rejected %v", b.Check, v.Outcome, v.Reason, b.Reason)
		}
	}
}

func header(r *kafka.Record, key string) string {
	for _, h := range r.Headers {
		if string(h.Key) == key {
			return string(h.Value)
		}
	}
	return ""
}

func (w *world) checkLetters(list []bad, whole bool) {
	w.t.Helper()
	letters := make(map[string]kafka.Record)
	for _, r := range w.records(w.topics.DLQ, 0) {
		letters[header(&r, "weir-partition")+":"+header(&r, "weir-offset")] = r
	}
	if len(letters) != len(list) {
		w.t.Errorf("%d dead letters, want %d", len(letters), len(list))
	}
	for _, b := range list {
		r, ok := letters[strconv.Itoa(int(b.partition))+":"+strconv.FormatInt(b.offset, 10)]
		if !ok {
			w.t.Errorf("%s: no dead letter", b.Check)
			continue
		}
		if header(&r, "weir-reason") != b.Reason.String() || header(&r, "weir-topic") != w.topics.Transactions {
			w.t.Errorf("%s: headers %q", b.Check, r.Headers)
		}
		if sum := fmt.Sprintf("%x", sha256.Sum256(b.Value)); header(&r, "weir-sha256") != sum {
			w.t.Errorf("%s: hash %s, want %s", b.Check, header(&r, "weir-sha256"), sum)
		}
		want := b.Value
		if !whole || len(want) > 1<<20 {
			want = nil
		}
		if !bytes.Equal(r.Value, want) || len(r.Key) > 0 {
			w.t.Errorf("%s: the letter holds %d bytes, want %d", b.Check, len(r.Value), len(want))
		}
	}
}

// TestBadLabelsAndRates sends labels and rates that cannot be read, or must not
// be taken, among good ones, and nothing but those at the end. They are counted
// once, hold up nothing, and are not in the log.
func TestBadLabelsAndRates(t *testing.T) {
	w := newWorld(t, "payments", 1)
	n := w.payments(800, 15, 1)
	var log bytes.Buffer
	w.logTo = &log
	label := func(id, known, more string) []byte {
		return fmt.Appendf(nil, `{"tx_id":%q,"verdict":"fraud","source":"chargeback","known_at":%q%s}`, id, known, more)
	}
	at := w.saved.times[len(w.saved.times)-1]
	known := "2024-01-01T00:00:00Z"
	var labels, rates feed
	for _, v := range [][]byte{
		label("unknown-1", known, ""),
		[]byte("{"), nil, []byte(`{"4000001234567899":1}`), []byte(`{"tx_id":"4000001234567899","verdict":"4000001234567899"}`),
		label("ahead", "2199-01-01T00:00:00Z", ""),
		label("long", known, `,"fraud_type":"`+strings.Repeat("x", 900_000)+`"`),
		label("unknown-2", known, `,"selected_probability":0.5`),
		label("card", known, `,"selected_probability":"4000001234567899x"`),
		label("chosen", known, `,"selected":"chance"`),
		label("number", known, `,"card":"4000001234567899"`),
		label("almost", known, `,"card":"4000001234567899x"`),
		label("token", known, `,"time":"2023-12-31T00:00:00Z","merchant":"m1","card":"k1.Fb6NvWJfuLTeWmL8zP1oWw.400000.7899"`),
	} {
		labels.add(v, at)
	}
	for _, v := range [][]byte{[]byte(`{"currency":"USD","since":"4000001234567899","rate":"1"}`), []byte(`{"currency":"4000001234567899"}`), nil} {
		rates.add(v, at)
	}
	_, start := w.ends(w.topics.Labels, 0)
	labels.send(w, w.topics.Labels, 0)
	rates.send(w, w.topics.Rates, 0)
	const malformed = 9
	r := w.start(nil)
	r.decided(n)
	counted := func(r *running) float64 {
		return testutil.ToFloat64(r.node.Metrics.Malformed.WithLabelValues(w.topics.Labels))
	}
	r.until("counts malformed labels", func(Status) bool { return counted(r) == malformed })
	w.sendAgain(5) // a step, whose facts say how far labels are
	r.decided(n + 5)
	r.stop()
	if log := log.Bytes(); hasCard(log) {
		t.Error("a card number is in the log")
	}
	w.logTo = t.Output()

	_, end := w.ends(w.topics.Labels, 0)
	b := w.batches()
	last := b[len(b)-1].facts
	if got := last.Labels[0].Offset; got != end-1 {
		t.Errorf("labels are taken up to %d, want %d", got, end-1)
	}
	if _, end := w.ends(w.topics.Rates, 0); last.Rates[0].Offset != end-1 {
		t.Errorf("rates are taken up to %d, want %d", last.Rates[0].Offset, end-1)
	}
	_, ledgerEnd := w.ends(w.topics.Decisions, 0)
	whole := w.foldAll(ledgerEnd)
	if c := whole.Counts; c.Unknown < 3 || c.Labels != end-malformed {
		t.Errorf("%d of %d labels are of unknown transactions, want 3 and %d from offset %d on", c.Unknown, c.Labels, end-malformed, start)
	}
	r = w.start(nil)
	w.sendAgain(5)
	r.decided(n + 10)
	r.stop()
	if got := counted(r); got != 0 {
		t.Errorf("%v labels were read again", got)
	}
	w.verify()
}
