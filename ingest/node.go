package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/decode"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// Config says what a node works on. [Config.withDefaults] fills what is zero.
type Config struct {
	Spec     *spec.Spec
	Features features.Options
	Tokens   *decode.Tokens // nil where the spec has no secret field
	Topics   schemas.Topics
	Group    string // consumer group; its members share the shards out
	Tenant   string

	// SnapshotDir is where snapshots are kept; empty keeps none.
	SnapshotDir string
	// SnapshotEvery is the ledger records between two snapshots. Fewer make a
	// start faster and pause the stream more often; the default, 2 million, is
	// about ten seconds of folding at start.
	SnapshotEvery int64
	KeyCheck      uint64 // tells the deployment's key without telling it

	// RowsMax bounds a step. More rows would not make a row cheaper, and the
	// first row of a step waits for the last; the default is 4096.
	RowsMax int
	// BytesMax bounds what a step writes; it must fit the topic's
	// max.message.bytes. The default is 900 kB, under Kafka's own default.
	BytesMax int
	// FetchWait is how long a fetch may wait for records at the broker. It ends
	// as soon as there is one, so it costs nothing live; the default is 500 ms.
	FetchWait time.Duration
	// FetchBytes bounds one fetch; the default is 1 MiB.
	FetchBytes int
	// SkewMax is the backlog of event time beyond which partitions are merged
	// in order rather than taken as they come; the default is 1 s.
	SkewMax  time.Duration
	Unmerged bool // take partitions as they come, always: shows what the merge is for
	Codec    kafka.Codec
	// Membership says how quickly a dead owner is noticed.
	Membership kafka.GroupOptions

	Now     func() time.Time
	After   func(time.Duration) <-chan time.Time
	Log     *slog.Logger
	Metrics *Metrics
	// Probe, if set, is told what the node enters and leaves, by several
	// goroutines; tests kill there.
	Probe func(p Phase, in bool)
	// OnPublished, if set, is called with every durable step: where its source
	// records were and what became of them. It must not keep the slices.
	OnPublished func(places []schemas.Place, verdicts []schemas.Verdict)
}

func (c Config) withDefaults() Config {
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	def(&c.RowsMax, 4096)
	def(&c.BytesMax, 900_000)
	def(&c.FetchBytes, 1<<20)
	if c.SnapshotEvery == 0 {
		c.SnapshotEvery = 2_000_000
	}
	if c.FetchWait == 0 {
		c.FetchWait = 500 * time.Millisecond
	}
	if c.SkewMax == 0 {
		c.SkewMax = time.Second
	}
	if c.Group == "" {
		c.Group = "weir-score"
	}
	return c
}

// Node is one `weir score`: a standby that folds the ledger as it is written
// until the group gives it the shard, then the owner that decides.
type Node struct {
	Config
	log *kafka.Client

	// Set at the start of each session, read by its goroutines.
	sourceID [16]byte
	ends     [numClasses]map[int32]int64

	refused [32]byte // the champion that was refused last; of the goroutine that watches

	mu       sync.Mutex
	champion *scoring.Bundle
	scorer   scoring.Scorer
	status   Status
}

// Status is what a node says of itself.
type Status struct {
	Ready  bool   // caught up: what arrives now is decided now
	Owner  bool   // this node decides
	Reason string // why it is not ready
	Counts Counts
	Ledger int64 // offset up to which the state is folded
}

// NewNode returns a node over an open client; the caller closes the client
// after [Node.Run] has returned.
func NewNode(log *kafka.Client, c Config) *Node {
	return &Node{Config: c.withDefaults(), log: log, status: Status{Reason: "starting"}}
}

// Use makes the node decide with a bundle from its next step on.
func (n *Node) Use(b *scoring.Bundle, s scoring.Scorer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.champion, n.scorer = b, s
	n.Metrics.Model.Reset()
	if b != nil {
		n.Metrics.Model.WithLabelValues(hex32(b.Hash)).Set(1)
	}
}

func (n *Node) bundle() (*scoring.Bundle, scoring.Scorer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.champion, n.scorer
}

// Champion returns the hash of the bundle that decides from the next step on;
// zero is none.
func (n *Node) Champion() [32]byte {
	if b, _ := n.bundle(); b != nil {
		return b.Hash
	}
	return [32]byte{}
}

// Status returns what the node says of itself now.
func (n *Node) Status() Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.status
}

func (n *Node) set(f func(*Status)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(&n.status)
}

// Run works until the context ends, which is a clean stop and no error. What a
// person has to mend halts the node: it stays up, says why in its log, its
// metrics and its readiness, and tries again.
func (n *Node) Run(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		err := n.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		n.set(func(s *Status) { s.Ready, s.Owner = false, false })
		switch {
		case errors.Is(err, kafka.ErrLostShard):
			n.Log.Info("shard was given to another member")
		case errors.Is(err, ErrOverwritten):
			n.Metrics.Corrections.Inc()
			n.Log.Warn("state is rebuilt from the ledger", "cause", err)
		default:
			n.halt(err)
			if err := n.pause(ctx, attempt+6); err != nil {
				return nil
			}
			continue
		}
		attempt = 0
	}
}

// halt says why the node does not go on.
func (n *Node) halt(err error) {
	name := "error"
	for label, target := range haltReasons {
		if errors.Is(err, target) {
			name = label
		}
	}
	n.Metrics.Halted.Reset()
	n.Metrics.Halted.WithLabelValues(name).Set(1)
	n.Log.Error("halted", "reason", name, "cause", err)
	n.set(func(s *Status) { s.Reason = err.Error() })
}

// haltReasons are the values of weir_halted's label.
var haltReasons = map[string]error{
	"ledger_truncated":  ErrTruncated,
	"source_recreated":  ErrSourceRecreated,
	"source_partitions": ErrSourcePartitions,
	"ledger_partitions": ErrLedgerPartitions,
	"offset_gone":       kafka.ErrOffsetOutOfRange,
	"topic_gone":        kafka.ErrUnknownTopic,
}

// session is one membership: restore, stand by, own.
func (n *Node) session(ctx context.Context) error {
	n.enter(Joining)
	member, err := kafka.Join(ctx, n.log, n.Group, n.Topics.Decisions, n.Membership)
	if err != nil {
		return fmt.Errorf("join group %s: %w", n.Group, err)
	}
	defer member.Close()
	f, err := n.restore(ctx)
	if err != nil {
		return err
	}
	defer f.close()
	held, err := n.standBy(ctx, f, member)
	if err != nil {
		return err
	}
	// held ends with ErrLostShard as its cause when the group takes the shard away.
	if err := n.prepare(held, f.state); err != nil {
		return err
	}
	n.leave(Joining)
	n.Metrics.Owner.Set(1)
	n.Metrics.Halted.Reset()
	defer n.Metrics.Owner.Set(0)
	n.Log.Info("decides", "shard", f.shard, "ledger_offset", f.state.Chain.Offset, "unsettled", len(f.pending))
	n.set(func(s *Status) { s.Owner, s.Ready, s.Reason = true, true, "" })
	err = n.own(held, f.shard, f.state, f.followUps())
	if cause := context.Cause(held); cause != nil && ctx.Err() == nil {
		return cause
	}
	return err
}

// prepare looks at the source before deciding begins: which partitions there
// are, where they end, and whether what is needed is still there.
func (n *Node) prepare(ctx context.Context, s *State) error {
	for class, topic := range n.sourceTopics() {
		t, err := n.log.Describe(ctx, topic)
		if err != nil {
			return fmt.Errorf("describe %s: %w", topic, err)
		}
		if Class(class) == Transactions {
			if err := n.checkSource(s, t); err != nil {
				return err
			}
		}
		n.ends[class] = make(map[int32]int64)
		for p := range int32(t.Partitions) {
			start, end, err := n.log.Offsets(ctx, topic, p)
			if err != nil {
				return fmt.Errorf("look up the ends of %s partition %d: %w", topic, p, err)
			}
			at := s.At(Class(class), p)
			if at.Offset < 0 && at.Offset+1 < start && (Class(class) != Transactions || !s.Genesis) {
				at.Offset = start - 1
			}
			if at.Offset+1 < start || at.Offset+1 > end {
				return fmt.Errorf("%s partition %d holds offsets %d to %d, the next to decide is %d: %w", topic, p, start, end-1, at.Offset+1, kafka.ErrOffsetOutOfRange)
			}
			n.ends[class][p] = end
		}
	}
	return nil
}

// The errors of a source or a ledger that is not the one it was.
var (
	ErrSourceRecreated  = errors.New("the source topic was deleted and made again")
	ErrSourcePartitions = errors.New("the source topic has another number of partitions than the ledger knows")
	ErrLedgerPartitions = errors.New("the ledger has another number of partitions than it began with")
)

func (n *Node) checkSource(s *State, t kafka.Topic) error {
	n.sourceID = t.ID
	if !s.Genesis {
		return nil
	}
	if s.TopicID != t.ID {
		return fmt.Errorf("%s had id %x and has %x: %w", t.Name, s.TopicID, t.ID, ErrSourceRecreated)
	}
	if known := len(s.Progress[Transactions]); known != t.Partitions {
		return fmt.Errorf("%s has %d partitions, the ledger began with %d: %w", t.Name, t.Partitions, known, ErrSourcePartitions)
	}
	return nil
}

func (n *Node) sourceTopics() [numClasses]string {
	return [numClasses]string{Rates: n.Topics.Rates, Labels: n.Topics.Labels, Transactions: n.Topics.Transactions}
}
