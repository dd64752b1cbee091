package ingest

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/decode"
	"github.com/weir-risk/weir/ingest/decode/wireformat"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/ingest/pages"
	"github.com/weir-risk/weir/ingest/trace"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// Config says what a node works on. [Config.withDefaults] fills what is zero.
type Config struct {
	Spec *spec.Spec
	// Before are the specs from which a ledger may go on by Spec. What they decided is
	// decided once more by Spec, in memory, for the state that it would have left.
	Before   []*spec.Spec
	Features features.Options
	// StateMax is the bytes of memory that the rolling state must stay below; 0 is no
	// bound. Beyond it the node halts before the machine has no memory left; it never
	// changes what is decided.
	StateMax int64
	Tokens   *decode.Tokens // nil where the spec has no secret field
	// Wire holds the schemas of transactions in a registry's wire format; nil: they
	// are JSON. It changes what a record is read from, and no decision's content.
	Wire   *wireformat.Schemas
	Topics schemas.Topics
	Group  string // consumer group; its members share the shards out
	Tenant string

	// Shard is the partition of the ledger that the node decides, one of Shards; the
	// default is the only one. It takes the source partitions p with p mod Shards =
	// Shard. Seat is shared by the nodes of one process, one for each shard; nil where
	// there is one node.
	Shard, Shards int32
	Seat          *Seat
	// HugePages has the memory of a large state gathered into huge pages, by the system,
	// as it grows: see package pages.
	HugePages bool
	// Strict has a shard that catches up stay exactly behind the others, in merge order,
	// rather than within SkewMax of them. It changes nothing where there is one shard.
	Strict bool

	// SnapshotDir is where snapshots are kept; empty keeps none.
	SnapshotDir string
	// SnapshotEvery is the ledger records between two snapshots. Fewer make a start
	// after a crash faster, and each decision dearer; the default is 400,000, some
	// seconds of folding, or two fifths of the entities, where that is more.
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
	SkewMax time.Duration
	// AnswerWait is how soon the broker answers a fetch where it has records: a
	// partition that lags by more than SkewMax, and was asked longer ago, has none.
	// Too short a time lets partitions drift apart while a stream that runs faster
	// than it is decided is caught up with; the default is 20 ms.
	AnswerWait time.Duration
	Unmerged   bool // take partitions as they come, always: shows what the merge is for
	// WatchEvery is how often the topics are compared with what they were. A
	// shorter time sees a deleted topic sooner; the default is 5 s.
	WatchEvery time.Duration
	// AcceptGaps are the source records that an operator gives up: records that
	// were deleted before they were decided. Each is written into the ledger
	// if it is exactly what is missing; otherwise the node refuses to go on.
	AcceptGaps []schemas.Gap
	// Codec compresses the ledger's batches. weir score takes snappy where nothing
	// is said: 86 of a record's 241 bytes, as lz4's 87, in two thirds of its time.
	Codec kafka.Codec
	// Membership says how quickly a dead owner is noticed.
	Membership kafka.GroupOptions

	// WatchFor is how long after a swap, by the slot's time, the champion before it
	// scores on in the challenger's place, so that a bad swap can be rolled back with
	// RollbackKey; 0 has none of it. Without a key it is an alarm only.
	WatchFor    time.Duration
	RollbackKey ed25519.PrivateKey

	// NewScorer makes what scores with a bundle's model; nil makes those of scoring/cpu.
	// A scorer that is an io.Closer is closed when another has its place. A step that
	// has begun may use it on: it has to go on scoring.
	NewScorer func(*scoring.Bundle) (scoring.Scorer, error)

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
	// Trace sends spans of sampled transactions; nil sends none.
	Trace *trace.Tracer
}

func (c Config) withDefaults() Config {
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	c.Shards = max(c.Shards, 1)
	def(&c.RowsMax, 4096)
	def(&c.BytesMax, 900_000)
	def(&c.FetchBytes, 1<<20)
	if c.FetchWait == 0 {
		c.FetchWait = 500 * time.Millisecond
	}
	if c.SkewMax == 0 {
		c.SkewMax = time.Second
	}
	if c.AnswerWait == 0 {
		c.AnswerWait = 20 * time.Millisecond
	}
	if c.WatchEvery == 0 {
		c.WatchEvery = watchEvery
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

	// What tells the keys of tokens, see [decode.Tokens.Checks]; 0 where there are none.
	tokenKey, previousKey uint64

	ledgerID [16]byte  // of the ledger's topic, as first seen; of the goroutine that owns
	assigned time.Time // when the group gave the shard to this node last; of the goroutine that owns

	trust []ed25519.PublicKey // whose bundles are taken, set by Load
	// When the state was measured last, how many entities it had, and whether it was
	// nearly as large as it may be; of the goroutine that folds or owns.
	measured time.Time
	entities int
	nearly   bool

	pages   *pages.Gatherer     // nil where memory stays as it is
	lookout lookout             // of the goroutine that folds or owns
	warned  bool                // of how the ledger may lose records; of the goroutine that restores
	away    bool                // Kafka, and the log says so; of the same goroutine
	early   bool                // the ledger refused this host's time; of the same goroutine
	refused [numSlots]bundleRef // what was refused last of each slot; of the goroutine that watches

	committing chan struct{}   // holds who commits
	committed  map[int32]int64 // offsets by partition, of whoever commits

	mu         sync.Mutex
	stuck      *schemas.Gap     // what could not be read when the last ownership ended so
	passedOver map[string]int64 // labels and rates that could not be read, by topic
	served     [numSlots]serving
	status     Status
	due        *sentence          // a roll-back
	decided    []schemas.Position // of the source, durable
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
	c = c.withDefaults()
	c.Metrics.StateMax.Set(float64(c.StateMax))
	for _, topic := range []string{c.Topics.Labels, c.Topics.Rates} {
		c.Metrics.Malformed.WithLabelValues(topic)
	}
	n := &Node{Config: c, log: log, status: Status{Reason: "starting"}, lookout: newLookout(c.Spec),
		committing: make(chan struct{}, 1), committed: make(map[int32]int64)}
	if decode.NeedsTokens(c.Spec) {
		n.tokenKey, n.previousKey = c.Tokens.Checks()
	}
	return n
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
// metrics and its readiness, and tries again. So it does while Kafka is away, and
// calls nobody.
func (n *Node) Run(ctx context.Context) error {
	if n.HugePages {
		n.pages = pages.NewGatherer()
		var g sync.WaitGroup
		g.Go(func() { n.pages.Run(ctx, n.After) })
		defer g.Wait()
	}
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
		case errors.Is(err, ErrNobodyDecides):
			n.Log.Warn("joins the group again", "cause", err)
		case errors.Is(err, errNewPartitions):
			n.Log.Info("begins again", "cause", err)
		case haltReason(err) == otherReason && kafka.Away(err):
			n.await(err)
			if err := n.pause(ctx, attempt); err != nil {
				return nil
			}
			continue
		default:
			n.alarm("halted", err)
			n.early = n.early || errors.Is(err, kafka.ErrClockAhead)
			if err := n.pause(ctx, attempt+6); err != nil {
				return nil
			}
			continue
		}
		attempt = 0
	}
}

// await says that Kafka is waited for: in the log once, and in the readiness until it is
// there. What halted the node before stays in the metric: nobody knows that it is over.
func (n *Node) await(err error) {
	n.Metrics.Retries.Inc()
	if !n.away {
		n.away = true
		n.Log.Warn("waits for Kafka", "cause", err)
	}
	n.set(func(s *Status) { s.Reason = "waits for Kafka: " + err.Error() })
}

// alarm says what a person has to mend: the log, the metric and the readiness
// say the same. Who sees the metric finds the cause in the readiness.
func (n *Node) alarm(what string, err error) {
	name := haltReason(err)
	n.set(func(s *Status) { s.Ready, s.Reason = false, err.Error() })
	n.Metrics.halted(name)
	n.Log.Error(what, "reason", name, "cause", err)
}

// calm takes an alarm back.
func (n *Node) calm() {
	n.Metrics.halted("")
	n.set(func(s *Status) { s.Ready, s.Reason = true, "" })
}

// haltReason returns the value of weir_halted's label.
func haltReason(err error) string {
	for _, r := range haltReasons {
		if errors.Is(err, r.target) {
			return r.name
		}
	}
	return otherReason
}

// otherReason is the value of weir_halted's label for what has no name.
const otherReason = "error"

// haltReasons are its other values.
var haltReasons = []struct {
	name   string
	target error
}{
	{"ledger_truncated", ErrTruncated},
	{"ledger_recreated", ErrLedgerRecreated},
	{"ledger_trimmed", kafka.ErrTrimmed},
	{"ledger_partitions", ErrLedgerPartitions},
	{"ledger_corrupt", kafka.ErrLedgerCorrupt},
	{"ledger_unreadable", ErrUnreadable},
	{"ledger_spec", ErrOtherSpec},
	{"ledger_key", ErrOtherKey},
	{"source_recreated", ErrSourceRecreated},
	{"source_partitions", ErrSourcePartitions},
	{"source_truncated", ErrSourceTruncated},
	{"source_gone", ErrSourceGone},
	{"source_corrupt", ErrSourceCorrupt},
	{"source_old_format", ErrSourceOldFormat},
	{"gap_refused", ErrGapRefused},
	{"offset_gone", kafka.ErrOffsetOutOfRange},
	{"topic_gone", kafka.ErrUnknownTopic},
	{"too_large", kafka.ErrTooLarge},
	{"clock_ahead", kafka.ErrClockAhead},
	{"state_full", ErrStateFull},
	{"schema_registry", wireformat.ErrRegistry},
}

// session is one membership: restore, join, stand by, own. Whoever joins has every
// member join again, and a member that is slow at that loses what it holds; so one that
// halts, and begins a session every few seconds, joins nothing before it could take over.
func (n *Node) session(ctx context.Context) (err error) {
	f, err := n.prepare(ctx)
	if err != nil {
		if ctx.Err() == nil {
			n.Seat.resign()
		}
		return err
	}
	defer f.close()
	n.enter(Joining)
	member, leave, err := n.join(ctx)
	if err != nil {
		return fmt.Errorf("join group %s: %w", n.Group, err)
	}
	defer func() {
		leave(ctx.Err() != nil || errors.Is(err, kafka.ErrLostShard) || errors.Is(err, ErrOverwritten) || errors.Is(err, errNewPartitions))
	}()
	held, err := n.standBy(ctx, f, member)
	if err != nil {
		return err
	}
	// held ends with ErrLostShard as its cause when the group takes the shard away.
	v, gaps, err := n.examine(held, f.state)
	if err != nil {
		return err
	}
	v.begin(f.state)
	if err := n.resume(held, f.state); err != nil {
		return err
	}
	n.leave(Joining)
	n.Metrics.Owner.Set(1)
	n.calm()
	defer n.Metrics.Owner.Set(0)
	defer n.blind()
	n.Log.Info("decides", "ledger_offset", f.state.Chain.Offset, "unsettled", len(f.pending))
	n.set(func(s *Status) { s.Owner = true })
	err = n.own(held, f, v, gaps, func() {
		n.Metrics.Owner.Set(0)
		n.set(func(s *Status) { s.Owner = false })
		leave(true)
	})
	// The shard that own leaves ends held too, which is not why the ownership ended.
	if cause := context.Cause(held); errors.Is(cause, kafka.ErrLostShard) && ctx.Err() == nil {
		return cause
	}
	return err
}

// prepare restores the state, and sees that the node could go on from it.
func (n *Node) prepare(ctx context.Context) (*fold, error) {
	if err := n.tryClock(ctx); err != nil {
		return nil, err
	}
	f, err := n.restore(ctx)
	if err != nil {
		return nil, err
	}
	if _, _, err = n.examine(ctx, f.state); err == nil {
		err = f.tell()
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// tryClock sees whether the ledger takes this host's time, where it has refused it: by a
// record that extends nothing, which every reader of the ledger drops. A broker does not say
// what time it has. To try by deciding would take the shard from whoever can.
func (n *Node) tryClock(ctx context.Context) error {
	if !n.early {
		return nil
	}
	var b kafka.BatchWriter
	b.Append(nil, nil, n.Now().UnixMilli(), nil)
	bytes, err := b.Finish(kafka.None)
	if err == nil {
		_, err = n.log.Produce(ctx, n.Topics.Decisions, n.Shard, bytes)
	}
	if err != nil {
		return fmt.Errorf("try the clock on %s: %w", n.Topics.Decisions, err)
	}
	n.early = false
	n.Log.Info("the ledger takes this host's time again")
	return nil
}

func (n *Node) sourceTopics() [numClasses]string {
	return [numClasses]string{Rates: n.Topics.Rates, Labels: n.Topics.Labels, Transactions: n.Topics.Transactions}
}
