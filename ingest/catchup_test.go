package ingest

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// A payment is one row of the Handbook stream.
type payment struct {
	id, customer, terminal string
	cents                  int64
	time                   int64 // ms
	fraud                  bool
	partition              int32
}

const (
	handbookEpoch = 1522540800000 // 2018-04-01
	labelDelay    = 7 * 24 * 3600 * 1000
)

// handbookRows returns the first rows of the Handbook stream. Where it is not
// there the test is skipped, and a proof fails.
func handbookRows(t *testing.T, rows int) (list []payment) {
	t.Helper()
	folder := os.Getenv("WEIR_HANDBOOK")
	if folder == "" {
		folder = filepath.Join("..", "..", "shared", "data", "handbook")
	}
	f, err := os.Open(filepath.Join(folder, "transactions.csv.gz"))
	if err != nil {
		provable(t.Skipf, t.Fatalf)("the Handbook stream is not there (WEIR_HANDBOOK names its folder): %v", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	lines.Scan()
	for lines.Scan() && len(list) < rows {
		c := bytes.Split(lines.Bytes(), []byte(","))
		amount, errA := strconv.ParseFloat(string(c[4]), 64)
		seconds, errS := strconv.ParseInt(string(c[5]), 10, 64)
		if errA != nil || errS != nil {
			t.Fatalf("row %q: %v, %v", lines.Text(), errA, errS)
		}
		list = append(list, payment{id: string(c[0]), customer: string(c[2]), terminal: string(c[3]),
			cents: int64(math.Round(100 * amount)), time: handbookEpoch + 1000*seconds, fraud: c[7][0] == '1'})
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// preload puts the rows into the source by their customer, and a label for each
// that becomes known seven days later.
func (w *world) preload(rows []payment, partitions int) {
	w.t.Helper()
	sources := make([]feed, partitions)
	var labels feed
	var buf []byte
	for i := range rows {
		p := &rows[i]
		h := fnv.New32a()
		fmt.Fprint(h, p.customer)
		p.partition = int32(h.Sum32() % uint32(partitions))
		buf = fmt.Appendf(nil, `{"TRANSACTION_ID":%s,"TX_DATETIME":%q,"CUSTOMER_ID":%s,"TERMINAL_ID":%s,"TX_AMOUNT":%d.%02d}`,
			p.id, time.UnixMilli(p.time).UTC().Format("2006-01-02 15:04:05"), p.customer, p.terminal, p.cents/100, p.cents%100)
		sources[p.partition].add(buf, p.time)
		verdict := "genuine"
		if p.fraud {
			verdict = "fraud"
		}
		known := p.time + labelDelay
		labels.add(fmt.Appendf(nil, `{"tx_id":%q,"verdict":%q,"source":"chargeback","known_at":%q}`, p.id, verdict, time.UnixMilli(known).UTC().Format(time.RFC3339)), known)
	}
	for p := range sources {
		sources[p].send(w, w.topics.Transactions, int32(p))
	}
	labels.send(w, w.topics.Labels, 0)
}

// offline computes the vectors of the rows, in the order given, by the engine
// alone, with each label before the transactions of its time.
func offline(s *spec.Spec, rows []payment) map[string][]float32 {
	e := features.New(s, features.Options{})
	width := e.Width()
	all := make(map[string][]float32, len(rows))
	var b schemas.Batch
	b.Reset(len(s.Input.OwnText), len(s.Input.OwnNumber))
	known := 0
	for i := range rows {
		p := &rows[i]
		for ; known < len(rows) && rows[known].time+labelDelay <= p.time; known++ {
			l := schemas.Label{TxID: []byte(rows[known].id), Verdict: schemas.LabelGenuine, Source: schemas.Chargeback, Version: 1, KnownAt: rows[known].time + labelDelay}
			if rows[known].fraud {
				l.Verdict = schemas.LabelFraud
			}
			e.Label(&l)
		}
		b.Reset(len(s.Input.OwnText), len(s.Input.OwnNumber))
		k := b.Add(schemas.Place{})
		b.Tx[k] = schemas.Transaction{Time: p.time, Amount: p.cents, AmountBase: p.cents}
		b.SetBytes(k, schemas.ID, []byte(p.id))
		b.SetBytes(k, schemas.Currency, []byte("EUR"))
		b.SetBytes(k, schemas.Customer, []byte(p.customer))
		b.SetBytes(k, schemas.Terminal, []byte(p.terminal))
		x := make([]float32, width)
		e.Step(&b, x, nil)
		all[p.id] = x
	}
	return all
}

// differences counts the transactions in the ledger that have another vector
// than they should.
func (w *world) differences(want map[string][]float32) (seen, differ int) {
	w.t.Helper()
	w.eachDecision(func(d *schemas.Decision) {
		seen++
		if x := want[string(d.Text[schemas.ID])]; !sameBits(x, d.Features) {
			differ++
		}
	})
	return seen, differ
}

// eachDecision calls f with every decision that was taken, shard by shard.
func (w *world) eachDecision(f func(d *schemas.Decision)) {
	w.t.Helper()
	var e schemas.Entry
	for shard := range w.shards {
		_, end := w.ends(w.topics.Decisions, shard)
		r := kafka.NewLedgerReader(w.log, w.topics.Decisions, shard, schemas.Anchor{})
		for {
			b, err := r.Next(w.t.Context(), end)
			w.must(err)
			if b == nil {
				break
			}
			for _, v := range b.Values {
				w.must(schemas.ParseEntry(v, &e))
				if b.Taken && e.Kind == schemas.EntryDecision {
					f(&e.Decision)
				}
			}
		}
	}
}

func sameBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

// replay decides the preloaded rows and returns how many vectors differ.
func replay(t *testing.T, name string, rows []payment, partitions int, unmerged bool) int {
	t.Helper()
	w := newWorld(t, name, partitions)
	w.preload(rows, partitions)
	r := w.start(func(c *Config) { c.SnapshotDir, c.Unmerged = "", unmerged })
	w.limit = time.Duration(provable(1, 20)) * patience
	r.decided(int64(len(rows)))
	r.stop()
	seen, differ := w.differences(offline(w.spec, merged(name, rows)))
	if seen != len(rows) {
		t.Fatalf("%d decisions of %d rows", seen, len(rows))
	}
	t.Logf("%s, %d partitions, merged %v: %d of %d vectors differ", name, partitions, !unmerged, differ, seen)
	return differ
}

// merged returns the rows in the order in which they are merged.
func merged(name string, rows []payment) []payment {
	order := slices.Clone(rows)
	if name == "handbook_now" {
		// At equal times, partitions in their order.
		slices.SortStableFunc(order, func(a, b payment) int {
			return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.partition, b.partition))
		})
	}
	return order
}

// TestCatchingUpComputesWhatLiveWouldHave replays the Handbook stream, preloaded
// into one partition and more, and compares every vector with what the engine
// alone computes in the order of event time: with the book's features, whose
// terminal windows are delayed, and with terminal windows that reach up to now.
// Taking partitions as they come gives other vectors.
func TestCatchingUpComputesWhatLiveWouldHave(t *testing.T) {
	n := provable(100_000, 1<<30)
	if testing.Short() {
		n = 20_000
	}
	rows := handbookRows(t, n)
	for _, name := range []string{"handbook", "handbook_now"} {
		for _, partitions := range []int{1, 2, 8} {
			if differ := replay(t, name, rows, partitions, false); differ > 0 {
				t.Errorf("%s, %d partitions: %d vectors differ", name, partitions, differ)
			}
		}
	}
	if differ := replay(t, "handbook_now", rows, 8, true); differ == 0 {
		t.Error("taking partitions as they come changed no vector: the test shows nothing")
	}
}
