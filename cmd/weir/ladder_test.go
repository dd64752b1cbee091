package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
)

// integersSpec is of transactions that are integers: number n has the id and the amount
// n, and the time n seconds after the first.
const integersSpec = `spec integers
base EUR
field id = $.id
field time = $.t as ms
field amount = $.n minor
field currency = "EUR"
field customer = $.c
field terminal = $.d
scored authorisation
home customer dedup 1h
late 1h
amount / mean(amount) by customer over all as ratio
hour(time) as hour
count() by terminal over 20s
count() by customer over 10m
count() by terminal over 5m
distinct(terminal) by customer over 2m
sum(amount) by terminal over 30m
since_last() by customer
fallback review when count() by customer over 1m > 5
`

// ladderPartitions are the partitions of the integers: number n is record n/8 of
// partition n%8.
const ladderPartitions = 8

// A ladder is three scorers of one group over the integers, which are there before the
// scorers are, so that the order of the merge is that of the numbers whatever happens.
type ladder struct {
	*crashWorld
	shards int32
	broker *brokerProcess // nil on a real Kafka
	back   time.Time      // when the broker is started again; zero: it is there
	nodes  []*rung
	spared *rung  // is paused, and neither killed nor stopped; nil: none is spared
	rows   string // of a step, at most
	counts map[string]int

	killed   []time.Time // owners
	absences []*absence
	noticed  []time.Duration
	progress int64 // as last seen
}

// A rung is one scorer, with the processes that it was.
type rung struct {
	name   string
	p      *process
	lives  []*process
	due    time.Time // when it is started or woken again; zero: it runs
	paused bool
	asked  bool // to end
}

// An absence is a time at which a scorer, or the broker (nil), does nothing.
type absence struct {
	of       *rung
	from, to time.Time // zero: it is not over
}

// away notes an absence that begins.
func (l *ladder) away(of *rung) {
	l.absences = append(l.absences, &absence{of: of, from: time.Now()})
}

// here notes that one is over.
func (l *ladder) here(of *rung) {
	for _, a := range l.absences {
		if a.of == of && a.to.IsZero() {
			a.to = time.Now()
		}
	}
}

func newLadder(t *testing.T, shards int32) *ladder {
	brokers, l := os.Getenv("WEIR_KAFKA"), &ladder{shards: shards, rows: "4", counts: make(map[string]int)}
	if brokers == "" {
		l.broker = brokerIn(t, filepath.Join(t.TempDir(), "broker"))
		brokers = l.broker.addr
	}
	l.crashWorld = newCrashWorld(t, brokers)
	l.model = 5 // as the integers are, so that there are alerts
	l.spec = filepath.Join(l.dir, "integers.spec")
	if err := os.WriteFile(l.spec, []byte(integersSpec), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two", "three"} {
		l.nodes = append(l.nodes, &rung{name: name})
	}
	return l
}

// integers makes the topics of a run, whose ledger has so many shards, and puts n integers
// into them.
func (l *ladder) integers(n int, run string, shards int32) {
	l.t.Helper()
	topics := l.topics(run)
	if err := l.log.Ensure(l.t.Context(), topics.Sharded(ladderPartitions, int(shards))); err != nil {
		l.t.Fatal(err)
	}
	first := l.now - int64(n)*1000
	for p := range ladderPartitions {
		var w kafka.BatchWriter
		for i := p; i < n; i += ladderPartitions {
			w.Append(nil, fmt.Appendf(nil, `{"id":"%d","n":%d,"t":%d,"c":"c%d","d":"d%d"}`, i, i, first+int64(i)*1000, i*7919%97, i*104729%13), l.now, nil)
			if w.Len() < 512<<10 && i+ladderPartitions < n {
				continue
			}
			batch, err := w.Finish(kafka.Snappy)
			if err == nil {
				_, err = l.log.Produce(l.t.Context(), topics.Transactions, int32(p), batch)
			}
			if err != nil {
				l.t.Fatal(err)
			}
			w.Reset()
		}
	}
	l.champion(topics)
	l.total = int64(n)
}

func (l *ladder) start(r *rung) {
	l.t.Helper()
	data := filepath.Join(l.dir, r.name)
	if err := os.MkdirAll(data, 0o700); err != nil {
		l.t.Fatal(err)
	}
	r.p = start(l.t, append(l.flags("ladder", data), "--kafka", l.brokers, "--rows-max", l.rows, "--strict")...)
	l.here(r)
	r.lives, r.due, r.asked = append(r.lives, r.p), time.Time{}, false
}

// end is how far the ledgers are written; while the broker is away, how far they were.
func (l *ladder) end() int64 {
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Second)
	defer cancel()
	sum := int64(0)
	for shard := range l.shards {
		_, end, err := l.log.Offsets(ctx, l.topics("ladder").Decisions, shard)
		if err != nil {
			return l.progress
		}
		sum += end
	}
	l.progress = sum
	return sum
}

// owner returns the scorer that began to decide last, and knows of no loss, nil where none
// that runs has.
func (l *ladder) owner() (owner *rung) {
	var latest time.Time
	for _, r := range l.nodes {
		if at := r.p.when("decides"); at.After(latest) && r.due.IsZero() && !r.p.lost().After(at) {
			owner, latest = r, at
		}
	}
	return owner
}

// when returns the time of the last line of the log with a message, zero where there is
// none.
func (p *process) when(msg string) time.Time {
	text, _ := p.said(msg)["time"].(string)
	at, _ := time.Parse(time.RFC3339Nano, text)
	return at
}

// lost returns when the process noticed last that it is the owner no more.
func (p *process) lost() (at time.Time) {
	for _, msg := range []string{"shard was given to another member", "state is rebuilt from the ledger", "halted"} {
		if when := p.when(msg); when.After(at) {
			at = when
		}
	}
	return at
}

// decides returns the shards that the process decides, by its log.
func (p *process) decides() map[any]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	its := make(map[any]bool)
	for _, line := range p.log {
		switch line["msg"] {
		case "decides":
			its[line["shard"]] = true
		case "shard was given to another member", "state is rebuilt from the ledger", "halted":
			delete(its, line["shard"])
		}
	}
	return its
}

// bring starts and wakes what is due.
func (l *ladder) bring() {
	l.t.Helper()
	if l.broker != nil && !l.back.IsZero() && time.Now().After(l.back) {
		l.broker.start()
		l.back = time.Time{}
		l.here(nil)
	}
	for _, r := range l.nodes {
		switch now := time.Now(); {
		case r.due.IsZero():
			if !r.asked && !r.p.alive() {
				l.t.Fatalf("weir ended by itself:\n%s", r.p.logged())
			}
		case now.Before(r.due):
		case r.paused:
			_ = r.p.cmd.Process.Signal(syscall.SIGCONT)
			l.here(r)
			r.due, r.paused = time.Time{}, false
		case !r.p.alive():
			if r.asked {
				r.p.stop() // which fails where it did not end well
			}
			l.start(r)
		case now.After(r.due.Add(30 * time.Second)):
			l.t.Fatalf("30 s after SIGTERM it runs:\n%s", r.p.logged())
		}
	}
}

// between is a random time.
func (l *ladder) between(least, most time.Duration) time.Duration {
	return least + time.Duration(l.r.Int64N(int64(most-least)))
}

// fault does something to a scorer or to the broker, and reports what; empty where the one
// that was drawn is in the middle of another.
func (l *ladder) fault() string {
	r, owner := l.nodes[l.r.IntN(len(l.nodes))], l.owner()
	if owner != nil && l.r.IntN(2) == 0 {
		r = owner
	}
	draw := l.r.IntN(100)
	if draw < 6 && l.broker != nil && l.back.IsZero() {
		l.away(nil)
		l.broker.kill()
		l.back = time.Now().Add(l.between(0, 400*time.Millisecond))
		return "broker killed"
	}
	if !r.due.IsZero() || r.p.when("serves metrics").IsZero() {
		return ""
	}
	now := time.Now()
	switch {
	case draw < 60 && r == l.spared:
		return ""
	case draw < 40:
		if r == owner {
			l.killed = append(l.killed, now)
		}
		l.away(r)
		r.p.kill()
		r.due = now.Add(l.between(0, 1500*time.Millisecond))
		return "killed"
	case draw < 60:
		l.away(r)
		_ = r.p.cmd.Process.Signal(syscall.SIGTERM)
		r.asked = true
		r.due = now.Add(l.between(0, 500*time.Millisecond))
		return "stopped"
	case draw < 75:
		l.pause(r, l.between(20*time.Millisecond, 600*time.Millisecond))
		return "paused, briefly"
	case draw < 90:
		l.pause(r, l.between(1200*time.Millisecond, 2500*time.Millisecond))
		return "paused for longer than its session"
	case r == owner && l.back.IsZero():
		l.overtaken(r)
		return "paused until another decides"
	}
	return ""
}

func (l *ladder) pause(r *rung, d time.Duration) {
	l.away(r)
	_ = r.p.cmd.Process.Signal(syscall.SIGSTOP)
	r.due, r.paused = time.Now().Add(d), true
}

// overtaken stops an owner until another has its shard, and wakes it: it must see that it
// is the owner no more, and say so.
func (l *ladder) overtaken(r *rung) {
	l.t.Helper()
	since := time.Now() // what others took over before was not its own
	l.pause(r, time.Hour)
	its := r.p.decides() // of four shards, others may take over one of a scorer that was killed before
	other := func() bool {
		l.bring()
		return slices.ContainsFunc(l.nodes, func(o *rung) bool {
			return o != r && o.due.IsZero() && slices.ContainsFunc(o.p.lines("took over"), func(line map[string]any) bool {
				at, _ := time.Parse(time.RFC3339Nano, line["time"].(string))
				return its[line["shard"]] && at.After(since)
			})
		})
	}
	l.wait("another takes over from one that is paused", other)
	woken := time.Now()
	r.due = woken
	l.bring()
	r.p.until("notice of a lost shard", func() bool { return r.p.lost().After(since) })
	l.noticed = append(l.noticed, max(0, r.p.lost().Sub(woken)))
	if l.shards == 1 && r.p.metric("weir_owner") != 0 {
		l.t.Errorf("a scorer that has lost its shard says that it decides:\n%s", r.p.logged())
	}
}

// wait waits until f holds, whatever the processes do.
func (l *ladder) wait(what string, f func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			for _, r := range l.nodes {
				l.t.Logf("%s:\n%s", r.name, r.p.logged())
			}
			l.t.Fatalf("no progress after 60 s: %s", what)
		}
	}
}

// climb does so many faults, one each time that share more integers are decided or a
// random time is over, and lets the scorers come to the end.
func (l *ladder) climb(faults int) {
	l.t.Helper()
	for _, r := range l.nodes {
		l.start(r)
	}
	for k := 0; k < faults; k++ {
		// One in ten waits for the stream: it has to go on while there are faults.
		next, least := time.Now().Add(l.between(0, 300*time.Millisecond)), l.share*int64(k)
		l.wait("decisions between faults", func() bool {
			l.bring()
			end := l.end()
			return time.Now().After(next) && (k%10 != 0 || end >= least) || end >= least+10*l.share
		})
		what := l.fault()
		if what == "" {
			k--
			continue
		}
		l.counts[what]++
	}
	if l.end() >= l.total {
		l.t.Errorf("all %d integers were decided before the last fault", l.total)
	}
}

// finish ends what goes on, lets the scorers come to the end, and ends them.
func (l *ladder) finish(r *integerReader) {
	l.t.Helper()
	for _, n := range l.nodes {
		if !n.due.IsZero() {
			n.due = time.Now()
		}
	}
	if !l.back.IsZero() {
		l.back = time.Now()
	}
	last := l.progress
	for decided := int64(-1); decided < l.total; {
		l.wait(fmt.Sprintf("%d of %d integers are decided", decided, l.total), func() bool { l.bring(); return l.end() > last || r.decided() == l.total })
		last, decided = l.progress, r.decided()
	}
	for _, n := range l.nodes {
		l.wait("a scorer is back", func() bool { l.bring(); return n.due.IsZero() && n.p.said("serves metrics") != nil })
		n.asked = true
		n.p.stop()
	}
}

// TestLadder has three scorers of one group decide integers while one after another is
// killed, stopped, paused and started again, and the broker too. Each integer is decided
// once, in the order of its partition, with the bits that it has in a run of one shard in
// which nothing happens; alerts are of decisions that were taken, each once and in order.
func TestLadder(t *testing.T) {
	for _, shards := range []int32{1, 4} {
		t.Run(fmt.Sprintf("L=%d", shards), func(t *testing.T) { newLadder(t, shards).prove() })
	}
}

// prove is the whole of it.
func (l *ladder) prove() {
	l.t.Helper()
	faults := sizeOf(1000, 100, briefly(10, 5)/int(min(2, l.shards)))
	if l.broker == nil {
		faults = min(faults, 100)
	}
	if n, err := strconv.Atoi(os.Getenv("WEIR_FAULTS")); err == nil {
		faults = n
	}
	// Four strict shards decide one integer after the other, across the processes.
	l.share = 200 / int64(l.shards)
	l.snapshotEvery = 3 * l.share
	l.integers(int(l.share)*(faults+12), "ladder", l.shards)
	l.integers(int(l.share)*(faults+12), "calm", 1)
	l.climb(faults)
	r := l.reader("ladder", l.shards)
	l.finish(r)
	if got := r.decided(); got != l.total {
		l.t.Errorf("%d of %d integers are decided once", got, l.total)
	}
	for _, what := range slices.Sorted(maps.Keys(l.counts)) {
		l.t.Logf("%-40s %4d times", what, l.counts[what])
	}
	l.takeOvers()
	l.t.Logf("one that was paused notices that it lost its shard:     %s", spread(l.noticed))
	report := l.verified(l.brokers, "ladder")
	if report.Gaps != 0 {
		l.t.Errorf("%d gaps", report.Gaps)
	}
	l.t.Logf("%d batches of %d writers are in the chain, %d were dropped", report.Batches, len(r.writers), report.Dropped)
	l.alertsBelong(r)
	calm := l.calm("calm")
	if l.shards == 1 {
		l.compare("ladder", "calm")
	}
	for n, sum := range r.sums {
		if sum != calm.sums[n] {
			l.t.Errorf("integer %d is decided with other bits than in a run in which nothing happens", n)
			break
		}
	}
}
