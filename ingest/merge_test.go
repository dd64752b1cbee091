package ingest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-risk/weir/schemas"
)

// TestMergeOrderDoesNotDependOnArrival feeds the same partitions to the merger
// in chunks cut and delivered at random: catching up, the order taken is always
// that of the merge keys.
func TestMergeOrderDoesNotDependOnArrival(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		logs := randomLogs(r)
		want := sortedByKey(logs)
		for trial := range 3 {
			got := mergeAtRandom(t, logs, r, 1+r.IntN(8))
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d trial %d: took %v, want %v", seed, trial, got, want)
			}
		}
	}
}

// TestUnmergedOrderDependsOnArrival shows that the test above can fail.
func TestUnmergedOrderDependsOnArrival(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		logs := randomLogs(r)
		want := sortedByKey(logs)
		unmerged = true
		got := mergeAtRandom(t, logs, r, 3)
		unmerged = false
		if !slices.Equal(got, want) {
			return
		}
	}
	t.Fatal("taking partitions as they come never changed the order")
}

var unmerged bool // only for the test above

// A log is one source partition: the times of its records.
type sourceLog struct {
	class     Class
	partition int32
	times     []int64
}

func randomLogs(r *rand.Rand) []sourceLog {
	var logs []sourceLog
	for p := range 1 + r.IntN(4) {
		logs = append(logs, sourceLog{class: Transactions, partition: int32(p)})
	}
	logs = append(logs, sourceLog{class: Labels}, sourceLog{class: Rates})
	for i := range logs {
		at := int64(0)
		for range r.IntN(30) {
			at += r.Int64N(4000)
			late := int64(0)
			if r.IntN(5) == 0 {
				late = r.Int64N(9000)
			}
			logs[i].times = append(logs[i].times, at-late)
		}
	}
	return logs
}

// name is how the tests write a record down.
func name(c Class, p int32, offset int64) string { return fmt.Sprintf("%d/%d/%d", c, p, offset) }

func sortedByKey(logs []sourceLog) []string {
	type item struct {
		key    int64
		class  Class
		p      int32
		offset int64
	}
	var all []item
	for _, l := range logs {
		key := int64(0)
		for o, at := range l.times {
			key = max(key, at)
			all = append(all, item{key, l.class, l.partition, int64(o)})
		}
	}
	slices.SortFunc(all, func(a, b item) int {
		for _, d := range []int64{a.key - b.key, int64(a.class) - int64(b.class), int64(a.p) - int64(b.p), a.offset - b.offset} {
			if d != 0 {
				return int(max(-1, min(1, d)))
			}
		}
		return 0
	})
	var names []string
	for _, i := range all {
		names = append(names, name(i.class, i.p, i.offset))
	}
	return names
}

// mergeAtRandom delivers the logs in random chunks and returns the order taken.
func mergeAtRandom(t *testing.T, logs []sourceLog, r *rand.Rand, rows int) []string {
	m := &merger{skew: 1000, unmerged: unmerged, arrived: make(chan *chunk, 64)}
	next := make([]int, len(logs))
	keys := make([]int64, len(logs))
	for _, l := range logs {
		n := int64(len(l.times))
		m.cursors = append(m.cursors, &cursor{class: l.class, partition: l.partition, high: n, start: n})
	}
	free := make(chan *chunk, 1024)
	w := work{rowsMax: rows, bytesMax: 1 << 20}
	var got []string
	for {
		if !deliver(m, logs, next, keys, r, free) {
			// Everything has arrived: take what is left and stop.
			for {
				w.reset(0, 0)
				if m.drain(&w); w.records() == 0 {
					return got
				}
				got = append(got, taken(&w)...)
				m.release()
			}
		}
		w.reset(0, 0)
		m.drain(&w)
		got = append(got, taken(&w)...)
		m.release()
	}
}

// drain takes what may be taken now, without waiting.
func (m *merger) drain(w *work) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = m.receive(ctx, false, nil)
	for !w.full() {
		first, second := m.least()
		if first == nil {
			return
		}
		if wait, _ := m.mustWait(first); wait {
			return
		}
		m.run(w, first, second)
	}
}

// deliver hands one random chunk of a random log over; false at the end of all.
func deliver(m *merger, logs []sourceLog, next []int, keys []int64, r *rand.Rand, free chan *chunk) bool {
	var open []int
	for i, l := range logs {
		if next[i] < len(l.times) {
			open = append(open, i)
		}
	}
	if len(open) == 0 {
		return false
	}
	i := open[r.IntN(len(open))]
	c := &chunk{cursor: m.cursors[i], free: free, high: int64(len(logs[i].times))}
	c.reset(0, 0)
	for range 1 + r.IntN(5) {
		if next[i] == len(logs[i].times) {
			break
		}
		keys[i] = max(keys[i], logs[i].times[next[i]])
		place := schemas.Place{Partition: logs[i].partition, Offset: int64(next[i])}
		switch logs[i].class {
		case Transactions:
			c.rows.Add(place)
		case Labels:
			c.labels = append(c.labels, schemas.Label{Place: place})
		case Rates:
			c.rates = append(c.rates, schemas.Rate{Offset: place.Offset})
		}
		c.keys, c.last = append(c.keys, keys[i]), append(c.last, place.Offset)
		next[i]++
	}
	c.end = int64(next[i])
	m.arrived <- c
	return true
}

func taken(w *work) []string {
	var names []string
	for _, r := range w.order {
		for i := r.from; i < r.to; i++ {
			switch r.class {
			case Transactions:
				names = append(names, name(r.class, w.rows.Place[i].Partition, w.rows.Place[i].Offset))
			case Labels:
				names = append(names, name(r.class, 0, w.labels[i].Offset))
			case Rates:
				names = append(names, name(r.class, 0, w.rates[i].Offset))
			}
		}
	}
	return names
}

// TestALaggingPartitionIsGivenTheTimeOfAnAnswer has a partition that lags and was
// asked just now: what comes later waits for the answer, as long as a broker with
// records needs for it; a partition that was asked long ago has none.
func TestALaggingPartitionIsGivenTheTimeOfAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := &cursor{class: Transactions, partition: 1}, &cursor{class: Transactions, partition: 2}
		m := &merger{
			cursors: []*cursor{one, two}, arrived: make(chan *chunk, 4),
			skew: 1000, answers: 20 * time.Millisecond, now: time.Now, after: time.After,
		}
		free := make(chan *chunk, 8)
		chunkAt := func(c *cursor, key int64) *chunk {
			x := &chunk{cursor: c, free: free}
			x.reset(0, 0)
			x.rows.Add(schemas.Place{Partition: c.partition, Offset: key})
			x.keys, x.last = append(x.keys, key), append(x.last, key)
			return x
		}
		take := func() (string, time.Duration) {
			w := work{rowsMax: 1, bytesMax: 1 << 20}
			w.reset(0, 0)
			began := time.Now()
			if err := m.take(t.Context(), &w); err != nil {
				t.Fatal(err)
			}
			m.release()
			return taken(&w)[0], time.Since(began)
		}
		check := func(want string, waited time.Duration) {
			t.Helper()
			if got, took := take(); got != want || took != waited {
				t.Errorf("took %s after %v, want %s after %v", got, took, want, waited)
			}
		}
		// Both are at 10,000; the first goes on to 50,000, and the second was asked now.
		one.last, two.last = 10_000, 10_000
		one.asked.Store(time.Now().UnixNano())
		two.asked.Store(time.Now().UnixNano())
		m.arrived <- chunkAt(one, 50_000)
		go func() {
			time.Sleep(5 * time.Millisecond)
			m.arrived <- chunkAt(two, 20_000)
		}()
		check(name(Transactions, 2, 20_000), 5*time.Millisecond)
		// It has nothing more: the first waits until it would have answered.
		two.asked.Store(time.Now().UnixNano())
		check(name(Transactions, 1, 50_000), m.answers)
		// And no longer after that.
		m.arrived <- chunkAt(one, 90_000)
		check(name(Transactions, 1, 90_000), 0)
		// A clock that was set back makes it no longer than for one that was asked now.
		two.asked.Store(time.Now().Add(5 * time.Hour).UnixNano())
		m.arrived <- chunkAt(one, 90_050)
		check(name(Transactions, 1, 90_050), m.answers)
		// Within the skew nobody waits.
		two.last = 89_500
		two.asked.Store(time.Now().UnixNano())
		m.arrived <- chunkAt(one, 90_100)
		check(name(Transactions, 1, 90_100), 0)
	})
}
