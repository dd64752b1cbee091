package ingest

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/schemas"
)

// damage changes the stored bytes of the batch that holds an offset, in the files
// of the embedded broker, which hands them out as they are.
func (w *world) damage(topic string, partition int32, offset int64, change func(batch []byte)) {
	w.t.Helper()
	names, err := filepath.Glob(filepath.Join(w.data, "partitions", fmt.Sprintf("%s-%d", topic, partition), "*.dat"))
	w.must(err)
	for _, name := range names {
		b, err := os.ReadFile(name)
		w.must(err)
		for at := 0; at < len(b); {
			size := 12 + int(binary.BigEndian.Uint32(b[at+8:]))
			first := int64(binary.BigEndian.Uint64(b[at:]))
			if last := first + int64(binary.BigEndian.Uint32(b[at+23:])); first <= offset && offset <= last {
				change(b[at : at+size])
				f, err := os.OpenFile(name, os.O_WRONLY, 0)
				w.must(err)
				defer f.Close()
				_, err = f.WriteAt(b[at:at+size], int64(at))
				w.must(err)
				return
			}
			at += size
		}
	}
	w.t.Fatalf("%s partition %d offset %d is in none of %d files", topic, partition, offset, len(names))
}

func flipBit(b []byte) { b[len(b)-5] ^= 4 }

// longer makes a batch say that more of it is to come than there is.
func longer(b []byte) { b[8] ^= 1 }

// oldFormat writes messages of format 0 or 1 over a batch, as brokers before 0.11
// did; the last one is as long as it takes.
func oldFormat(format byte) func(b []byte) {
	return func(b []byte) {
		be := binary.BigEndian
		first, count := be.Uint64(b), uint64(be.Uint32(b[57:]))
		head := 26 + 8*int(format)
		for i := range count {
			n := head
			if i == count-1 {
				n = len(b)
			}
			m := b[:n]
			be.PutUint64(m, first+i)
			be.PutUint32(m[8:], uint32(n-12))
			m[16], m[17] = format, 0
			if format == 1 {
				be.PutUint64(m[18:], 1)
			}
			be.PutUint32(m[head-8:], 1<<32-1) // no key
			be.PutUint32(m[head-4:], uint32(n-head))
			be.PutUint32(m[12:], crc32.ChecksumIEEE(m[16:]))
			b = b[n:]
		}
	}
}

// labels sends labels of transactions that nobody knows, as one batch.
func (w *world) labels(n int) {
	var f feed
	for i := range n {
		f.add(fmt.Appendf(nil, `{"tx_id":"unknown%d","verdict":"fraud","source":"chargeback","known_at":"2020-01-01T00:00:00Z"}`, i), w.saved.times[0])
	}
	f.send(w, w.topics.Labels, 0)
}

// TestWhatCannotBeReadIsGivenUpByHand damages two batches of a topic, or makes
// them of an old format. A node decides all that comes before, halts by name and
// says what would give them up; less, more and what can be read is refused; and
// with the gap in the ledger the stream goes on.
func TestWhatCannotBeReadIsGivenUpByHand(t *testing.T) {
	t.Parallel() // it mostly waits
	embedded(t)
	for _, c := range []struct {
		reason, topic string
		change        func([]byte)
	}{
		{"source_corrupt", "", flipBit}, {"source_corrupt", "labels", flipBit},
		{"source_corrupt", "", longer},
		{"source_old_format", "", oldFormat(1)}, {"source_old_format", "", oldFormat(0)},
		{"source_old_format", "labels", oldFormat(1)},
	} {
		t.Log(c.reason, c.topic)
		w := newWorldOn(t, "payments", 2, broker.Options{Dir: t.TempDir()})
		n := w.payments(60, 41, 2)
		topic, send := w.topics.Transactions, w.sendAgain
		if c.topic == "labels" {
			topic, send = w.topics.Labels, w.labels
		}
		_, from := w.ends(topic, 0)
		send(7)
		send(5)
		send(3)
		w.damage(topic, 0, from+8, c.change)
		w.damage(topic, 0, from, c.change)
		bad := schemas.Gap{Topic: []byte(c.topic), Partition: 0, From: from, To: from + 11, By: []byte("test")}
		accept := func(g schemas.Gap) func(*Config) { return func(o *Config) { o.AcceptGaps = []schemas.Gap{g} } }
		// What the other partition holds may be behind it in the order of the merge.
		r := w.start(nil)
		r.halted(c.reason)
		if s := r.node.Status(); !strings.Contains(s.Reason, gapFlag(&bad)) {
			t.Errorf("%q does not name %s", s.Reason, gapFlag(&bad))
		}
		r.stop()
		_, end := w.ends(w.topics.Decisions, 0)
		state := w.foldAll(end)
		if next := state.next(gapClass(&bad), 0); next != from {
			t.Errorf("offset %d is next, want %d", next, from)
		}
		lost := n - state.Counts.Decisions()
		if c.topic == "" {
			lost += 15 // labels that are not yet taken are nobody's loss
		}
		if v := w.audit(); v.Report.Lost != lost || v.Report.Different+v.Report.Doubled != 0 {
			t.Errorf("before, where %d are lost: %+v", lost, v.Report)
		}
		less, more, good := bad, bad, bad
		less.To, more.To = less.To-1, more.To+1
		good.From, good.To = bad.To+1, bad.To+3
		for _, g := range []schemas.Gap{less, more, good} {
			r := w.start(accept(g))
			r.halted("gap_refused")
			r.stop()
		}
		if c.topic == "" {
			n += 3
		}
		r = w.start(accept(bad))
		r.decided(n)
		r.until("goes on", func(s Status) bool { return s.Ready && s.Owner })
		r.stop()
		n += w.more(5)
		r = w.start(nil) // the gap is in the ledger
		r.decided(n)
		r.stop()
		if v := w.verify(); v.Report.Gaps != 12 || v.Report.Decisions != n {
			t.Errorf("verified: %+v", v.Report)
		}
	}
}

// TestAGapThatLiesAheadIsTakenInItsPlace gives up what cannot be read before
// anything is decided: it goes into the ledger when it is due.
func TestAGapThatLiesAheadIsTakenInItsPlace(t *testing.T) {
	embedded(t)
	w := newWorldOn(t, "payments", 1, broker.Options{Dir: t.TempDir()})
	n := w.payments(60, 42, 1)
	w.sendAgain(7)
	n += w.more(5)
	w.damage(w.topics.Transactions, 0, 60, flipBit)
	r := w.start(func(c *Config) { c.AcceptGaps = []schemas.Gap{{Partition: 0, From: 60, To: 66, By: []byte("test")}} })
	r.decided(n)
	r.stop()
	if v := w.verify(); v.Report.Gaps != 7 || v.Report.Decisions != n {
		t.Errorf("verified: %+v", v.Report)
	}
}

// TestDecidedRecordsThatRot has a batch damaged after it was decided: the scorer
// goes on, and a verification says that it cannot compare.
func TestDecidedRecordsThatRot(t *testing.T) {
	embedded(t)
	w := newWorldOn(t, "payments", 1, broker.Options{Dir: t.TempDir()})
	n := w.payments(60, 43, 1)
	n += w.more(7)
	r := w.start(nil)
	r.decided(n)
	r.stop()
	w.damage(w.topics.Transactions, 0, 60, flipBit)
	n += w.more(5)
	r = w.start(nil)
	r.decided(n)
	r.stop()
	v := w.audit()
	if v.Report.Different != 7 || v.Report.Lost+v.Report.Doubled != 0 || !strings.Contains(v.Report.First[0].What, "cannot be read any more") {
		t.Errorf("verified: %+v", v.Report)
	}
}

// TestADamagedLedgerHalts damages a batch of decisions that a start has to read.
func TestADamagedLedgerHalts(t *testing.T) {
	embedded(t)
	w := newWorldOn(t, "payments", 1, broker.Options{Dir: t.TempDir()})
	n := w.payments(60, 44, 1)
	r := w.start(nil)
	r.decided(n)
	r.stop()
	_, end := w.ends(w.topics.Decisions, 0)
	w.damage(w.topics.Decisions, 0, end-1, flipBit)
	w.more(5)
	r = w.start(func(c *Config) { c.SnapshotDir = "" })
	r.halted("ledger_corrupt")
	r.stop()
}
