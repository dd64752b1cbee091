package main

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// An integerReader reads the ledgers of a run by the reader of the chain, and knows what
// has to be in them: it is told nothing by the scorers.
type integerReader struct {
	l       *ladder
	readers []*kafka.LedgerReader
	topic   string
	next    [ladderPartitions]int64 // the record that is to be decided next
	writers map[uint64]bool
	sums    []uint64     // of each integer's decision, all its bits
	alerts  [][]alertDue // by shard: in the order of its ledger
}

// An alertDue is an alert that a decision calls for.
type alertDue struct {
	Offset int64  // in the ledger
	TxID   string // the integer
	Action string
}

func (l *ladder) reader(run string, shards int32) *integerReader {
	r := &integerReader{l: l, topic: l.topics(run).Decisions, writers: make(map[uint64]bool), sums: make([]uint64, l.total), alerts: make([][]alertDue, shards)}
	for shard := range shards {
		r.readers = append(r.readers, kafka.NewLedgerReader(l.log, r.topic, shard, schemas.Anchor{}))
	}
	return r
}

// decided reads on to the ends of the ledgers and returns how many integers are decided.
func (r *integerReader) decided() (n int64) {
	t := r.l.t
	t.Helper()
	for shard, reader := range r.readers {
		_, end, err := r.l.log.Offsets(t.Context(), r.topic, int32(shard))
		for err == nil && reader.Position() < end {
			var b *kafka.LedgerBatch
			if b, err = reader.Next(t.Context(), end); b == nil {
				break
			}
			if b.Taken {
				r.take(shard, b)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, next := range r.next {
		n += next
	}
	return n
}

// take takes a batch of a ledger's chain: the next records of their partitions, and none
// of another shard's.
func (r *integerReader) take(shard int, b *kafka.LedgerBatch) {
	t := r.l.t
	t.Helper()
	r.writers[b.Facts.ID.Writer] = true
	for i, v := range b.Values {
		var e schemas.Entry
		if err := schemas.ParseEntry(v, &e); err != nil {
			t.Fatal(err)
		}
		if e.Kind != schemas.EntryDecision {
			continue
		}
		d := &e.Decision
		n := d.Offset*ladderPartitions + int64(d.Partition)
		next := &r.next[d.Partition]
		switch id := string(d.Text[schemas.ID]); {
		case int(d.Partition)%len(r.readers) != shard:
			t.Fatalf("shard %d decides partition %d", shard, d.Partition)
		case d.Offset != *next || d.Prev != *next-1:
			t.Fatalf("partition %d: a decision of record %d, before which it has %d, where %d is next", d.Partition, d.Offset, d.Prev, *next)
		case d.Tx.Amount != n || id != fmt.Sprint(n):
			t.Fatalf("partition %d: record %d is decided as %s of %d, it is integer %d", d.Partition, d.Offset, id, d.Tx.Amount, n)
		case d.Outcome != schemas.Scored:
			t.Fatalf("integer %d is %v", n, d.Verdict)
		}
		h := fnv.New64a()
		_, _ = h.Write(v) // it never fails
		r.sums[n] = h.Sum64()
		*next++
		if d.Action != schemas.Allow {
			r.alerts[shard] = append(r.alerts[shard], alertDue{b.Base + int64(i), fmt.Sprint(n), d.Action.String()})
		}
	}
}

// alertsBelong sees that every alert that was ever published is of a decision that was
// taken, and that who reads them by their rule has each once, in the ledger's order.
func (l *ladder) alertsBelong(r *integerReader) {
	l.t.Helper()
	topic := l.topics("ladder").Alerts
	taken, again := 0, 0
	for shard, due := range r.alerts {
		_, end, err := l.log.Offsets(l.t.Context(), topic, int32(shard))
		reader := kafka.NewReader(l.log, topic, int32(shard), 0)
		at := 0
		for err == nil {
			var records *kafka.Records
			if records, err = reader.Next(l.t.Context(), end); records == nil {
				break
			}
			for records.Next() {
				var a struct {
					Action string
					TxID   string `json:"tx_id"`
					Ledger struct{ Offset int64 }
				}
				if err := json.Unmarshal(records.Record().Value, &a); err != nil {
					l.t.Fatal(err)
				}
				got := alertDue{a.Ledger.Offset, a.TxID, a.Action}
				switch {
				case at < len(due) && got == due[at]:
					at++
				case slices.Contains(due[:at], got):
					again++
				default:
					l.t.Fatalf("shard %d: an alert %+v that no decision calls for, or not yet: %d of %d are there", shard, got, at, len(due))
				}
			}
		}
		if err != nil {
			l.t.Fatal(err)
		}
		if taken += at; at != len(due) {
			l.t.Errorf("shard %d: %d of %d alerts", shard, at, len(due))
		}
	}
	if l.t.Logf("%d alerts, each once and in order; %d came again and are passed over", taken, again); taken == 0 {
		l.t.Error("no decision called for an alert")
	}
}

// A takeOver is that of a shard, as the log of the scorer tells it.
type takeOver struct {
	by   *rung
	warm bool // a standby, and no scorer that has just started
	at   time.Time
	took time.Duration // until the first durable decision
}

// taken returns all take-overs of shards.
func (l *ladder) taken() (list []takeOver) {
	for _, n := range l.nodes {
		for _, p := range n.lives {
			for _, line := range p.lines("took over") {
				at, _ := time.Parse(time.RFC3339Nano, line["assigned"].(string))
				took := time.Duration(line["seconds"].(float64) * float64(time.Second))
				list = append(list, takeOver{by: n, warm: at.Sub(p.began) > time.Second, at: at, took: took})
			}
		}
	}
	return list
}

// after returns the first assignment of a shard after a time, or zero.
func after(list []takeOver, from time.Time) (next time.Time) {
	for _, o := range list {
		if o.at.After(from) && (next.IsZero() || o.at.Before(next)) {
			next = o.at
		}
	}
	return next
}

// disturbed says whether there was another fault in the middle of a take-over: the broker
// away, or the scorer paused; and where strict shards wait for each other, another one,
// until its shards were others'.
func (l *ladder) disturbed(o takeOver, all []takeOver) bool {
	return slices.ContainsFunc(l.absences, func(a *absence) bool {
		to := a.to
		if a.of != nil && a.of != o.by {
			if l.shards == 1 {
				return false
			}
			if next := after(all, a.from); to.IsZero() || !next.IsZero() && next.Before(to) {
				to = next
			}
		}
		return a.from.Before(o.at.Add(o.took)) && (to.IsZero() || o.at.Before(to))
	})
}

// takeOvers says how long the take-overs of warm scorers took: from the group's assignment
// to the first durable decision; and from the death of an owner to the assignment.
func (l *ladder) takeOvers() {
	l.t.Helper()
	var warm, hit, cold, assigned []time.Duration
	all := l.taken()
	for _, o := range all {
		switch {
		case !o.warm:
			cold = append(cold, o.took)
		case l.disturbed(o, all):
			hit = append(hit, o.took)
		default:
			warm = append(warm, o.took)
		}
	}
	for _, died := range l.killed {
		if next := after(all, died); !next.IsZero() {
			assigned = append(assigned, next.Sub(died))
		}
	}
	l.t.Logf("from assignment to the first decision, of a standby:   %s", spread(warm))
	l.t.Logf("the same with another fault in the middle of it:       %s", spread(hit))
	l.t.Logf("the same of one that has just started:                 %s", spread(cold))
	l.t.Logf("from SIGKILL of an owner to the assignment:            %s", spread(assigned))
}

// lines returns the log's lines with a message.
func (p *process) lines(msg string) (list []map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.log {
		if line["msg"] == msg {
			list = append(list, line)
		}
	}
	return list
}

// spread says how times are distributed.
func spread(list []time.Duration) string {
	if len(list) == 0 {
		return "none"
	}
	slices.Sort(list)
	at := func(share float64) time.Duration {
		return list[int(share*float64(len(list)-1))].Round(time.Millisecond)
	}
	return fmt.Sprintf("%d times, p50 %v, p90 %v, max %v", len(list), at(.5), at(.9), at(1))
}

// calm has one scorer decide a run in which nothing happens, of one shard.
func (l *ladder) calm(run string) *integerReader {
	l.t.Helper()
	p := l.score(run, run)
	r := l.reader(run, 1)
	p.until("the end of a calm run", func() bool { return r.decided() == l.total })
	p.stop()
	return r
}
