package ingest

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// simSession is the session timeout of the nodes' group, on the clock of the bubble.
const simSession = 2 * time.Second

// A simNode is a node that is started, killed, stopped and frozen: a process at a time.
type simNode struct {
	s    *sim
	name string
	dir  string // what its disk holds
	size simSize
	// The snapshots that were truncated, by name.
	spoiled map[string]bool
	proc    *simProcess // nil while none runs
	last    *simProcess // that was asked to end
}

// A simSize is how large a node's steps are.
type simSize struct {
	rows, bytes int
	snapshots   int64
}

// A simProcess is one life of a node.
type simProcess struct {
	s      *sim
	name   string
	link   *simLink
	log    *kafka.Client
	nodes  []*Node // by shard
	cancel context.CancelFunc
	done   chan struct{} // closed once nothing of it is left

	mu     sync.Mutex
	cond   *sync.Cond
	frozen bool
}

// start starts a process on what the node's disk holds.
func (n *simNode) start() {
	s := n.s
	s.lives++
	p := &simProcess{s: s, name: fmt.Sprintf("%s.%d", n.name, s.lives), done: make(chan struct{})}
	p.cond = sync.NewCond(&p.mu)
	p.link = s.net.link(p.name)
	p.log = kafka.New(kafka.Options{Brokers: s.brokers, Timeout: 3 * time.Second, Dial: p.link.dial})
	seat := &Seat{}
	for shard := range s.w.shards {
		p.nodes = append(p.nodes, NewNode(p.log, p.config(n, shard, seat)))
	}
	ctx, cancel := context.WithCancel(s.w.t.Context())
	p.cancel = cancel
	n.proc = p
	s.all = append(s.all, p)
	s.event("start %s", p.name)
	go p.run(ctx)
}

func (p *simProcess) config(n *simNode, shard int32, seat *Seat) Config {
	w := p.s.w
	if w.shards == 1 {
		seat = nil
	}
	return Config{
		Spec: w.spec, Topics: w.topics, Tokens: w.tokens(), Group: w.prefix + "g", Tenant: "bank",
		Shard: shard, Shards: w.shards, Seat: seat, Strict: p.s.strict,
		RowsMax: n.size.rows, BytesMax: n.size.bytes, SnapshotDir: n.folder(shard), SnapshotEvery: n.size.snapshots,
		Membership: kafka.GroupOptions{Session: simSession, Heartbeat: 200 * time.Millisecond},
		Codec:      kafka.Snappy, Now: time.Now, After: p.after, Probe: p.probe,
		Log:         slog.New(slog.NewTextHandler(p, &slog.HandlerOptions{ReplaceAttr: untimed})),
		Metrics:     NewMetrics(prometheus.NewRegistry()),
		OnPublished: func(places []schemas.Place, verdicts []schemas.Verdict) { p.s.acknowledged(p, places, verdicts) },
	}
}

func untimed(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// Write takes a line of the process's log.
func (p *simProcess) Write(b []byte) (int, error) {
	p.s.trace.say(p.name + " " + string(b[:len(b)-1]))
	return len(b), nil
}

func (p *simProcess) run(ctx context.Context) {
	defer close(p.done)
	defer p.log.Close()
	var all sync.WaitGroup
	defer all.Wait()
	for _, node := range p.nodes {
		all.Go(func() { p.score(ctx, node) })
	}
}

// score runs the node of a shard, and what follows the models for it.
func (p *simProcess) score(ctx context.Context, node *Node) {
	var watch sync.WaitGroup
	defer watch.Wait()
	if p.s.trust == nil {
		w := p.s.w
		node.Use(w.bundle, w32(w.t, w.bundle.Model))
	} else {
		m := NewModels(p.log, p.s.w.topics, p.s.trust)
		for node.Load(ctx, m) != nil { // whoever starts it starts it again
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
				return
			}
		}
		watch.Go(func() { _ = node.Watch(ctx, m) })
	}
	if err := node.Run(ctx); err != nil {
		p.s.fail("%s ends: %v", p.name, err)
	}
}

// after is the node's clock: nothing of it moves while the process is frozen.
func (p *simProcess) after(d time.Duration) <-chan time.Time {
	c := make(chan time.Time, 1)
	time.AfterFunc(d, func() {
		p.thawed()
		c <- time.Now()
	})
	return c
}

func (p *simProcess) thawed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.frozen {
		p.cond.Wait()
	}
}

// probe holds a frozen process up, and a running one now and then for a moment, as a
// busy machine does.
func (p *simProcess) probe(phase Phase, _ bool) {
	p.thawed()
	if d := p.s.stumble(phase); d > 0 {
		time.Sleep(d)
		p.thawed()
	}
}

// freeze stops the process, and thaw lets it go on, as SIGSTOP and SIGCONT do.
func (p *simProcess) freeze(on bool) {
	p.mu.Lock()
	p.frozen = on
	p.cond.Broadcast()
	p.mu.Unlock()
	p.link.set(up, on)
	p.link.set(down, on)
}

// kill ends a process: from here on it reaches nobody and writes nothing that is read
// again. What it had sent may arrive yet.
func (n *simNode) kill() {
	p := n.proc
	n.proc, n.last = nil, nil
	n.s.event("kill %s", p.name)
	p.link.sever(true)
	old := n.dir
	n.dir = n.s.folder()
	files, _ := filepath.Glob(filepath.Join(old, "*", "*"))
	for _, f := range files {
		if data, err := os.ReadFile(f); err == nil { // it may be renamed at this moment
			to, _ := filepath.Rel(old, f)
			n.s.w.must(os.WriteFile(filepath.Join(n.dir, to), data, 0o600))
		}
	}
	p.freeze(false)
	p.link.set(up, false)
	p.cancel()
}

// stop asks a process to end, which takes it a while.
func (n *simNode) stop() {
	p := n.proc
	n.proc, n.last = nil, p
	n.s.event("stop %s", p.name)
	p.freeze(false)
	p.cancel()
}

// spoil truncates the newest snapshots of a node that does not run, or loses all.
func (n *simNode) spoil(all bool) {
	n.s.event("spoil the snapshots of %s, all is %v", n.name, all)
	for shard := range n.s.w.shards {
		names, err := Snapshots(n.folder(shard))
		n.s.w.must(err)
		for i, name := range names {
			if all {
				n.s.w.must(os.Remove(name))
			} else if i == 0 {
				info, err := os.Stat(name)
				n.s.w.must(err)
				n.spoiled[filepath.Base(name)] = true
				n.s.w.must(os.Truncate(name, n.s.r.Int64N(info.Size())))
			}
		}
	}
}

// folder returns where a shard's snapshots are.
func (n *simNode) folder(shard int32) string { return filepath.Join(n.dir, fmt.Sprint(shard)) }

// folder makes a new one.
func (s *sim) folder() string {
	s.folders++
	dir := filepath.Join(s.w.dir, fmt.Sprint(s.folders))
	for shard := range s.w.shards {
		s.w.must(os.MkdirAll(filepath.Join(dir, fmt.Sprint(shard)), 0o700))
	}
	return dir
}

// publicKeys are whose bundles the nodes take.
func publicKeys(k ed25519.PrivateKey) []ed25519.PublicKey {
	return []ed25519.PublicKey{k.Public().(ed25519.PublicKey)}
}
