package ingest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// A crew is the nodes of one process, one for each shard.
type crew struct {
	w      *world
	nodes  []*Node
	cancel context.CancelFunc
	done   chan error
	left   int
}

// crew starts a process with a node for each shard. Its snapshots lie in a folder of
// its name.
func (w *world) crew(name string, change func(*Config)) *crew {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	c := &crew{w: w, cancel: cancel, done: make(chan error, w.shards), left: int(w.shards)}
	seat := &Seat{}
	for k := range w.shards {
		dir := filepath.Join(w.dir, name, fmt.Sprint(k))
		w.must(os.MkdirAll(dir, 0o700))
		c.nodes = append(c.nodes, w.node(func(cfg *Config) {
			cfg.Shard, cfg.Shards, cfg.Seat, cfg.SnapshotDir = k, w.shards, seat, dir
			if change != nil {
				change(cfg)
			}
		}))
	}
	for _, n := range c.nodes {
		go func() { c.done <- n.Run(ctx) }()
	}
	w.t.Cleanup(c.stop)
	return c
}

// stop stops the process cleanly and waits for it.
func (c *crew) stop() {
	c.cancel()
	for ; c.left > 0; c.left-- {
		if err := <-c.done; err != nil {
			c.w.t.Error(err)
		}
	}
}

// decided returns how many source records of all shards the crew has folded.
func (c *crew) decided() (sum int64) {
	for _, n := range c.nodes {
		sum += n.Status().Counts.Decisions()
	}
	return sum
}

// owns returns how many shards the crew decides.
func (c *crew) owns() (sum int) {
	for _, n := range c.nodes {
		if n.Status().Owner {
			sum++
		}
	}
	return sum
}

func (c *crew) until(what string, cond func() bool) {
	c.w.t.Helper()
	c.w.until(func() string {
		for _, n := range c.nodes {
			what += fmt.Sprintf("; shard %d: %+v", n.Shard, n.Status())
		}
		return what
	}, cond)
}

// bits returns what was decided of each source record: its features' bits.
func (w *world) bits() map[schemas.Position][]uint32 {
	w.t.Helper()
	list := make(map[schemas.Position][]uint32)
	w.eachDecision(func(d *schemas.Decision) {
		bits := make([]uint32, len(d.Features))
		for i, x := range d.Features {
			bits[i] = math.Float32bits(x)
		}
		list[schemas.Position{Partition: d.Partition, Offset: d.Offset}] = bits
	})
	return list
}

// apart counts the records whose features differ.
func apart(t testing.TB, a, b map[schemas.Position][]uint32) (n int) {
	t.Helper()
	if len(a) != len(b) {
		t.Fatalf("%d decisions and %d", len(a), len(b))
	}
	for at, x := range a {
		y, ok := b[at]
		if !ok {
			t.Fatalf("record %v is decided in one run only", at)
		}
		if fmt.Sprint(x) != fmt.Sprint(y) {
			n++
		}
	}
	return n
}

// TestShardsAreOneStream has four shards catch up with what one shard would have
// decided: exactly behind one another all features are those of the one, bit for bit;
// within the skew they may differ.
func TestShardsAreOneStream(t *testing.T) {
	const partitions = 8
	records := briefly(1500, 400)
	run := func(shards int, strict bool) map[schemas.Position][]uint32 {
		w := newShardedWorld(t, "payments", partitions, shards, broker.Options{Session: session})
		n := w.payments(records, 3, partitions)
		c := w.crew("a", func(c *Config) { c.Strict = strict })
		c.until("waits for decisions", func() bool { return c.decided() >= n })
		c.stop()
		v := w.verify()
		if v.Report.Decisions != n {
			t.Fatalf("%d decisions of %d records", v.Report.Decisions, n)
		}
		return w.bits()
	}
	one := run(1, false)
	if n := apart(t, one, run(4, true)); n > 0 {
		t.Errorf("%d of %d vectors of four strict shards differ from those of one", n, len(one))
	}
	loose := apart(t, one, run(4, false))
	t.Logf("%d of %d vectors of four shards differ from those of one", loose, len(one))
}

// TestShardsAreSharedOut has two processes share four shards, one of them leave and come
// back, and a third start from nothing.
func TestShardsAreSharedOut(t *testing.T) {
	const partitions = 8
	w := newShardedWorld(t, "payments", partitions, 4, broker.Options{Session: session})
	n := w.payments(600, 5, partitions)
	hasty := func(c *Config) {
		c.SnapshotEvery, c.Membership = 50, kafka.GroupOptions{Session: session}
		c.FetchWait = 20 * time.Millisecond
	}
	a := w.crew("a", hasty)
	a.until("owns all", func() bool { return a.owns() == 4 && a.decided() == n })
	b := w.crew("b", hasty)
	b.until("shares", func() bool { return a.owns() == 2 && b.owns() == 2 && b.decided() == n })
	n += w.payments(600, 6, partitions)
	b.until("decides beside another", func() bool { return a.decided() == n && b.decided() == n })
	a.stop()
	b.until("takes over", func() bool { return b.owns() == 4 })
	n += w.payments(600, 7, partitions)
	b.until("decides alone", func() bool { return b.decided() == n })
	a = w.crew("a", hasty)
	a.until("comes back", func() bool { return a.owns() == 2 && a.decided() == n })
	c := w.crew("c", hasty)
	c.until("joins as the third", func() bool { return a.owns()+b.owns()+c.owns() == 4 && c.owns() >= 1 && c.decided() == n })
	a.stop()
	b.stop()
	c.stop()
	if v := w.verify(); v.Report.Decisions != n {
		t.Errorf("%d decisions of %d records", v.Report.Decisions, n)
	}
	if w.checkAlerts() == 0 {
		t.Error("there is no alert")
	}
}

// TestAShardsSnapshotIsOfItsShards passes over what is of another shard, or of another
// number of them.
func TestAShardsSnapshotIsOfItsShards(t *testing.T) {
	w := newShardedWorld(t, "payments", 4, 2, broker.Options{Session: session})
	n := w.payments(200, 5, 4)
	c := w.crew("a", func(c *Config) { c.SnapshotEvery = 20 })
	c.until("decides", func() bool { return c.decided() == n })
	c.stop()
	names, err := Snapshots(filepath.Join(w.dir, "a", "1"))
	w.must(err)
	if len(names) == 0 {
		t.Fatal("there is no snapshot")
	}
	for _, x := range []struct {
		shard, shards int32
		used          bool
	}{{1, 2, true}, {0, 2, false}, {0, 1, false}, {1, 3, false}} {
		n := w.node(func(c *Config) { c.Shard, c.Shards, c.SnapshotDir = x.shard, x.shards, filepath.Join(w.dir, "a", "1") })
		s, err := n.newestSnapshot(t.Context())
		w.must(err)
		if (s.Chain.Offset > 0) != x.used {
			t.Errorf("shard %d of %d begins at %d with the snapshot of shard 1 of 2", x.shard, x.shards, s.Chain.Offset)
		}
		if x.used && len(s.Others) != 1 || x.used && s.Others[0].Chain.Offset == 0 {
			t.Errorf("the snapshot knows of the other shard: %+v", s.Others)
		}
	}
}

// TestVerifyFindsWhatAShardHadNotSeen forges what a batch says of the other shard.
func TestVerifyFindsWhatAShardHadNotSeen(t *testing.T) {
	w := newShardedWorld(t, "payments", 4, 2, broker.Options{Session: session})
	n := w.payments(300, 5, 4)
	c := w.crew("a", func(c *Config) { c.RowsMax = 20 })
	c.until("decides", func() bool { return c.decided() == n })
	c.stop()
	w.verify()
	// A copy of the ledger in which shard 1 claims to have seen less of shard 0.
	from, to := w.topics.Decisions, w.topics.Decisions+"-forged"
	w.must(w.log.Ensure(t.Context(), []schemas.Layout{{Topic: to, Partitions: 2}}))
	forged := 0
	for shard := range int32(2) {
		for _, b := range w.batchesOf(shard) {
			if shard == 1 && forged == 0 && b.facts.Shards[0].Offset > 150 {
				b.facts.Shards[0].Offset -= 100
				forged++
			}
			w.appendTo(to, shard, &b.facts, b.values)
		}
	}
	w.topics.Decisions = to
	v := w.audit()
	w.topics.Decisions = from
	if forged == 0 || v.Report.OK() {
		t.Errorf("%d forged, and verify finds %+v", forged, v.Report)
	}
}

// ledgers returns what the chain of each shard takes.
func (w *world) ledgers() (list [][]ledgerBatch) {
	w.t.Helper()
	for shard := range w.shards {
		list = append(list, w.batchesOf(shard))
	}
	return list
}

// TestShardsAreProvedFromTheHistory verifies what three shards decided from their history
// alone, and recomputes decisions of each: nothing differs. Where the history says that a
// shard had seen less of another, or lacks what it had seen, it does.
func TestShardsAreProvedFromTheHistory(t *testing.T) {
	w := newShardedWorld(t, "payments", 6, 3, broker.Options{Session: session})
	n := w.payments(briefly(900, 300), 5, 6)
	c := w.crew("a", func(c *Config) { c.RowsMax = 20 })
	c.until("decides", func() bool { return c.decided() == n })
	c.stop()
	ledger := w.ledgers()
	past := w.past(ledger...)
	v, err := w.verifyPast(past)
	w.must(err)
	if !v.Report.OK() || v.Report.Decisions != n {
		t.Fatalf("%+v", v.Report)
	}
	r := w.recomputer(past)
	for shard, batches := range ledger {
		list := scoredAt(t, batches, schemas.Scored, schemas.Unscored)
		for i := 1; i < len(list); i += len(list)/12 + 1 {
			checks, err := r.Decision(t.Context(), int32(shard), list[i])
			if words := equal(t, list[i], checks, err); !strings.Contains(words, "from the whole ledger before it") {
				t.Fatal(words)
			}
		}
	}
	half := len(ledger[1]) / 2
	if _, err := w.verifyPast(w.past(ledger[0], ledger[1][:half], ledger[2])); !errors.Is(err, ErrTruncated) {
		t.Errorf("without half of a shard: %v", err)
	}
	seen := ledger[1][half].facts.Shards
	if seen[0].Partition != 0 || seen[0].Offset < 60 {
		t.Fatalf("half-way shard 1 has seen %v", seen)
	}
	seen[0].Offset -= 60
	if v, err := w.verifyPast(w.past(ledger...)); err == nil && v.Report.OK() {
		t.Error("a forged position is not found")
	}
}

// TestShardsGoOnByAnotherSpec changes the spec of two shards in the middle of a stream:
// the ledgers are proved from the log and from the history, and decisions of either spec
// are recomputed.
func TestShardsGoOnByAnotherSpec(t *testing.T) {
	w := newShardedWorld(t, "payments", 4, 2, broker.Options{Session: session})
	w.use(firstSpec(t))
	n := w.payments(briefly(900, 300), 5, 4)
	c := w.crew("a", func(c *Config) { c.RowsMax = 20 })
	c.until("decides by the first spec", func() bool { return c.decided() == n })
	c.stop()
	accept := w.goOnBy(secondSpec(t))
	n += w.payments(briefly(900, 300), 6, 4)
	c = w.crew("b", func(c *Config) { accept(c); c.RowsMax = 20 })
	c.until("decides by the second spec", func() bool { return c.decided() == n })
	c.stop()
	if v := w.verify(); v.Report.Decisions != n || len(v.Report.Specs) != 2 {
		t.Errorf("%+v", v.Report)
	}
	ledger := w.ledgers()
	past := w.past(ledger...)
	v, err := w.verifyPast(past)
	w.must(err)
	if !v.Report.OK() || v.Report.Decisions != n || len(v.Report.Specs) != 2 {
		t.Errorf("from the history: %+v", v.Report)
	}
	r, same := w.recomputer(past), 0
	for shard, batches := range ledger {
		list := scoredAt(t, batches, schemas.Scored)
		for i := 1; i < len(list); i += len(list)/8 + 1 {
			checks, err := r.Decision(t.Context(), int32(shard), list[i])
			w.must(err)
			for _, c := range checks {
				if c.Result == Different { // some are approximate: what is paid again is late
					t.Errorf("shard %d ledger offset %d, %s: %s", shard, list[i], c.What, c.Words)
				}
				if c.Result == Equal && strings.Contains(c.Words, "from the whole ledger before it") {
					same++
				}
			}
		}
	}
	if same < 4 {
		t.Errorf("the features of %d decisions are compared", same)
	}
}

// TestShardsCatchUp has three processes that start cold catch up with the Handbook
// stream, and the one that decides most leave half-way: with one shard, and with four
// that are exactly behind one another, every vector is what the engine computes in the
// order of event time. Within the skew some differ.
func TestShardsCatchUp(t *testing.T) {
	if testing.Short() {
		t.Skip("the other tests of shards do the same to fewer records")
	}
	// Some of ten days, so that labels come too, or all.
	rows := handbookRows(t, provable(100_000, 1<<30))
	if every := provable(40, 1); every > 1 {
		thin := rows[:0]
		for i := 0; i < len(rows); i += every {
			thin = append(thin, rows[i])
		}
		rows = thin
	}
	for _, name := range []string{"handbook", "handbook_now"} {
		for _, c := range []struct {
			shards int
			strict bool
		}{{1, false}, {4, true}, {4, false}} {
			differ := replayShards(t, name, rows, c.shards, c.strict)
			t.Logf("%s, %d shards, strict %v: %d of %d vectors differ", name, c.shards, c.strict, differ, len(rows))
			if differ > 0 && (c.shards == 1 || c.strict) {
				t.Errorf("%s, %d shards, strict %v: %d vectors differ", name, c.shards, c.strict, differ)
			}
		}
	}
}

// replayShards decides the rows by three processes and returns how many vectors differ.
func replayShards(t *testing.T, name string, rows []payment, shards int, strict bool) int {
	t.Helper()
	w := newShardedWorld(t, name, 8, shards, broker.Options{Session: session})
	w.preload(rows, 8)
	w.limit = time.Duration(provable(2, 240)) * patience
	var crews []*crew
	for _, folder := range []string{"a", "b", "c"} {
		crews = append(crews, w.crew(folder, func(c *Config) {
			c.Strict, c.Membership, c.SnapshotDir = strict, kafka.GroupOptions{Session: session}, ""
		}))
	}
	sum := func() int64 { return crews[1].decided() }
	crews[1].until("decides the first half", func() bool { return sum() >= int64(len(rows)/2) })
	busiest := slices.MaxFunc(crews, func(a, b *crew) int { return a.owns() - b.owns() })
	busiest.stop()
	left := slices.DeleteFunc(slices.Clone(crews), func(c *crew) bool { return c == busiest })
	left[0].until("decides the rest", func() bool { return left[0].decided() >= int64(len(rows)) })
	for _, c := range left {
		c.stop()
	}
	seen, differ := w.differences(offline(w.spec, merged(name, rows)))
	if v := w.verify(); seen != len(rows) {
		t.Fatalf("%d decisions of %d rows: %+v", seen, len(rows), v.Report)
	}
	return differ
}
