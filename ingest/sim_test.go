package ingest

import (
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// A sim is a simulation: brokers, nodes, a network, a stream, and a seed that decides
// what becomes of them.
type sim struct {
	w       *world
	seed    uint64
	r       *rand.Rand // of who does what when; the root goroutine's
	net     *simNet
	trace   *simTrace
	cluster *kfake.Cluster
	brokers []string
	nodes   []*simNode
	all     []*simProcess
	lives   int
	folders int
	rest    []simRecord         // of the stream, not yet written
	due     []simDue            // in order of time
	strict  bool                // the shards decide in one order
	parts   int                 // of the source
	trust   []ed25519.PublicKey // nil: the bundle comes from a file
	others  []simBundle         // what the champion's slot may point at

	mu      sync.Mutex
	luck    *rand.Rand // of what brokers and processes draw
	faulty  bool
	looks   bool               // somebody looks on
	fault   map[string]float64 // how often a broker answers so
	acks    map[[2]int64]simAck
	failed  bool
	written int64 // source records
}

// A simBundle is a bundle's file.
type simBundle struct {
	data   []byte
	bundle *scoring.Bundle
}

type simAck struct {
	by      string
	verdict schemas.Verdict
}

// simParts are dear to make and the same in every simulation.
var simParts = sync.OnceValue(func() (parts struct {
	spec    *spec.Spec
	bundles []simBundle
}) {
	t := &testing.T{} // nothing of it fails
	parts.spec, _ = spec.Builtin("payments")
	w := &world{t: t}
	w.use(parts.spec)
	for i := range uint64(3) {
		data, b := w.sealed(i, testKey(t, 1))
		parts.bundles = append(parts.bundles, simBundle{data, b})
	}
	return parts
})

// newSim makes the brokers and topics of a seed, and writes what a stream begins with.
func newSim(t *testing.T, dir string, seed uint64, trace *simTrace) *sim {
	s := &sim{seed: seed, r: rand.New(rand.NewPCG(seed, 1)), luck: rand.New(rand.NewPCG(seed, 2)), trace: trace,
		fault: make(map[string]float64), acks: make(map[[2]int64]simAck)}
	s.net = newSimNet(rand.New(rand.NewPCG(seed, 3)), trace)
	brokers := 1 + s.r.IntN(3)
	var err error
	s.cluster, err = kfake.NewCluster(kfake.NumBrokers(brokers), kfake.ClusterID("weir"), kfake.ListenFn(s.net.listen),
		kfake.GroupMinSessionTimeout(simSession))
	if err != nil {
		t.Fatal(err)
	}
	s.brokers = s.cluster.ListenAddrs()
	parts := simParts()
	s.parts = 2 + s.r.IntN(3)
	s.w = &world{t: t, shards: s.shards(), prefix: "s.", dir: dir, spec: parts.spec, bundle: parts.bundles[0].bundle}
	defer s.look()()
	for _, b := range parts.bundles[1:] {
		s.w.older = append(s.w.older, b.bundle)
	}
	s.w.topics = schemas.DefaultTopics(s.w.prefix)
	layouts := s.w.topics.Sharded(s.parts, int(s.w.shards))
	for i := range layouts {
		if layouts[i].Config == nil {
			layouts[i].Config = map[string]string{"retention.ms": "-1"}
		}
	}
	s.w.must(s.w.log.Ensure(t.Context(), layouts))
	if s.r.IntN(3) == 0 {
		s.others, s.trust = parts.bundles, publicKeys(testKey(t, 1))
		s.w.publish("champion", s.others[0].data, s.w.bundle.Hash, testKey(t, 1))
	}
	for i := range 2 + s.r.IntN(2) {
		size := simSize{rows: 1 + s.r.IntN(40), bytes: 4000 + s.r.IntN(60_000), snapshots: int64(20 + s.r.IntN(150))}
		s.nodes = append(s.nodes, &simNode{s: s, name: fmt.Sprintf("node%d", i), dir: s.folder(), size: size, spoiled: make(map[string]bool)})
	}
	s.injectFaults()
	return s
}

// look gives whoever looks on a client that remembers no leader, over a link without
// faults, to whose end brokers answer well.
func (s *sim) look() (end func()) {
	set := func(looks bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.looks = looks
	}
	set(true)
	if s.w.log != nil {
		s.w.log.Close()
	}
	l := s.net.link("onlooker")
	l.clean = true
	s.w.log = kafka.New(kafka.Options{Brokers: s.brokers, Dial: l.dial})
	return func() { set(false) }
}

// shards draws how many shards the ledger has: one, most often.
func (s *sim) shards() int32 {
	if s.r.IntN(3) > 0 {
		return 1
	}
	s.strict = s.r.IntN(2) == 0
	return 2
}

func (s *sim) event(format string, args ...any) { s.trace.line(fmt.Sprintf(format, args...)) }

// fail fails the test, and goes on: what comes after may say why.
func (s *sim) fail(format string, args ...any) {
	s.mu.Lock()
	s.failed = true
	s.mu.Unlock()
	s.trace.say("FAILURE: " + fmt.Sprintf(format, args...))
	s.w.t.Errorf(format, args...)
}

// acknowledged notes what a process says is durable: nothing is so twice.
func (s *sim) acknowledged(p *simProcess, places []schemas.Place, verdicts []schemas.Verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, at := range places {
		key := [2]int64{int64(at.Partition), at.Offset}
		if was, ok := s.acks[key]; ok {
			s.w.t.Errorf("%s and %s both acknowledge record %d of partition %d", was.by, p.name, at.Offset, at.Partition)
		}
		s.acks[key] = simAck{p.name, verdicts[i]}
	}
}

// close ends everything, so that the bubble may.
func (s *sim) close() {
	for _, n := range s.nodes {
		if n.proc != nil {
			n.kill()
		}
	}
	for _, p := range s.all {
		<-p.done
	}
	s.w.log.Close()
	s.cluster.Close()
	time.Sleep(time.Minute) // what waits for a deadline sees it
}

// runSeed runs the simulation of a seed and returns the hash of its trace, which it
// shows where that is asked for, or where the seed fails: the end of it then.
func runSeed(t *testing.T, seed uint64, show bool) (hash uint64) {
	trace := &simTrace{hash: 14695981039346656037, whole: show}
	simParts()
	dir := simFolder(t)
	cryptotest.SetGlobalRandom(t, seed)
	defer func() {
		if show || t.Failed() {
			t.Log(strings.Join(trace.lines, "\n"))
		}
		if t.Failed() {
			t.Logf("seed %d failed: %s", seed, simReplay(seed))
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		seedRuntime(seed)
		defer seedRuntime(0)
		s := newSim(t, dir, seed, trace)
		defer s.close()
		s.run()
	})
	return trace.hash
}

// simFolder is where disks are: in memory where there is such a place.
func simFolder(t *testing.T) string {
	const memory = "/dev/shm"
	if _, err := os.Stat(memory); err != nil {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(memory, "weir-sim-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func simEnv(name string, otherwise uint64) uint64 {
	n, err := strconv.ParseUint(os.Getenv(name), 10, 64)
	if err != nil {
		return otherwise
	}
	return n
}

// TestSimulation runs the whole of a stream in memory, seed by seed: see deploy/dst.
func TestSimulation(t *testing.T) {
	embedded(t)
	asked, seeds := simEnv("WEIR_SEED", 1), simEnv("WEIR_SEEDS", uint64(briefly(4, 1)))
	for seed := simBlock(asked); seed < asked+seeds; seed++ {
		ok := t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			hash := runSeed(t, seed, os.Getenv("WEIR_TRACE") != "" && seed >= asked)
			if seed >= asked {
				simSay("seed %d trace %016x", seed, hash)
			}
		})
		if !ok {
			return
		}
	}
}
