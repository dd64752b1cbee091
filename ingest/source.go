package ingest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// The errors of a source or a ledger that is not the one it was. A person has
// to look at each of them: whichever way weir went on by itself, records could
// be passed over without a word.
var (
	ErrSourceRecreated  = errors.New("the source topic was deleted and made again")
	ErrSourcePartitions = errors.New("the source topic has another number of partitions than the ledger knows")
	ErrSourceTruncated  = errors.New("the source ends before what was decided")
	ErrSourceGone       = errors.New("source records were deleted before they were decided")
	ErrSourceCorrupt    = errors.New("source records are damaged")
	ErrSourceOldFormat  = errors.New("source records are of an old format")
	ErrGapRefused       = errors.New("the gap given up by hand is not what is missing")
	ErrLedgerRecreated  = errors.New("the ledger was deleted and made again")
	ErrUnreadable       = errors.New("the ledger holds what this version cannot read")
	ErrOtherKey         = errors.New("the ledger's tokens are of another key, and with this one every card would begin anew: --token-key-file names the ledger's key; a change of keys needs --token-key-previous-file too")
	ErrLedgerPartitions = errors.New("the ledger has another number of partitions than it began with")

	// errNewPartitions ends a session, so that the next one reads them too.
	errNewPartitions = errors.New("labels or rates have other partitions")
)

// view is what the cluster says of the topics that a shard reads.
type view struct {
	topics [numClasses]kafka.Topic
	starts [numClasses][]int64 // by partition: the first offset that is there
	ends   [numClasses][]int64
	unread []unread // records that are there and cannot be read, see Node.probe

	shard, shards int32
}

// owns reports whether a partition is one that the shard takes. Labels and rates every
// shard takes, all of them.
func (v *view) owns(c Class, p int32) bool {
	return c != Transactions || ownsPartition(p, v.shard, v.shards)
}

// examine looks at the topics, and whether a state can go on from them: with the
// gaps that it returns.
func (n *Node) examine(ctx context.Context, s *State) (*view, []schemas.Gap, error) {
	v, err := n.look(ctx)
	if err == nil {
		err = n.probe(ctx, v, s)
	}
	if err != nil {
		return nil, nil, err
	}
	gaps, err := v.check(s, n.AcceptGaps)
	return v, gaps, err
}

// look asks the cluster.
func (n *Node) look(ctx context.Context) (*view, error) {
	v := &view{shard: n.Shard, shards: n.Shards}
	for class, topic := range n.sourceTopics() {
		t, err := n.log.Describe(ctx, topic)
		if err != nil {
			return nil, fmt.Errorf("describe %s: %w", topic, err)
		}
		v.topics[class] = t
		for p := range int32(t.Partitions) {
			start, end, err := n.log.Offsets(ctx, topic, p)
			if err != nil {
				return nil, fmt.Errorf("look up the ends of %s partition %d: %w", topic, p, err)
			}
			v.starts[class], v.ends[class] = append(v.starts[class], start), append(v.ends[class], end)
		}
	}
	return v, nil
}

// check compares what is there with what the state has taken. Where records are
// missing, it returns the accepted gaps that say so, to be
// written into the ledger; without them, or with others, it is an error.
func (v *view) check(s *State, accepted []schemas.Gap) (gaps []schemas.Gap, err error) {
	t := v.topics[Transactions]
	if s.Genesis && s.TopicID != t.ID {
		return nil, fmt.Errorf("%s had id %x and has %x: %w", t.Name, s.TopicID, t.ID, ErrSourceRecreated)
	}
	if err := v.checkShard(s); err != nil {
		return nil, err
	}
	for class, t := range v.topics {
		for p := range int32(t.Partitions) {
			if !v.owns(Class(class), p) {
				continue
			}
			missing := v.missing(s, Class(class), p)
			gap, err := v.fit(missing, accepted, Class(class) == Transactions && s.Genesis && !s.knows(p))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.Name, err)
			}
			if gap != nil {
				gaps = append(gaps, *gap)
			}
		}
	}
	return gaps, v.checkEnds(s)
}

// missing returns what was deleted of a partition before it was taken, or is known
// not to be readable.
func (v *view) missing(s *State, c Class, p int32) schemas.Gap {
	next := v.next(s, c, p)
	g := schemas.Gap{Partition: p, From: next, To: max(next, v.starts[c][p]) - 1, Topic: []byte(topicName(c))}
	g.To = max(g.To, v.unreadAt(c, p, next).To)
	return g
}

// next returns the offset at which a partition is to be gone on with. A ledger
// begins with what there is, and so do labels and rates.
func (v *view) next(s *State, c Class, p int32) int64 {
	next := s.next(c, p)
	if c == Transactions && !s.Genesis || c != Transactions && next == 0 {
		next = max(next, v.starts[c][p])
	}
	return next
}

// fit returns the accepted gap that gives up exactly what is missing, nil where
// nothing is. A partition that the ledger does not know yet is taken in by a
// gap, be it empty: it says who wanted it. One that lies ahead is not yet due if it
// gives up what cannot be read.
func (v *view) fit(missing schemas.Gap, accepted []schemas.Gap, unknown bool) (*schemas.Gap, error) {
	for i := range accepted {
		g := &accepted[i]
		switch {
		case g.Partition != missing.Partition || gapClass(g) != gapClass(&missing):
		case g.From == missing.From && g.To == missing.To && (unknown || g.To >= g.From):
			return g, nil
		case g.From > missing.From && v.unreadAt(gapClass(g), g.Partition, g.From).To == g.To:
		case g.To >= missing.From:
			what := fmt.Sprintf("%d to %d are", missing.From, missing.To)
			if missing.To < missing.From {
				what = "nothing is"
			}
			return nil, fmt.Errorf("partition %d: %d to %d were given up, %s missing: %w", g.Partition, g.From, g.To, what, ErrGapRefused)
		}
	}
	flag, here := gapFlag(&missing), v.unreadAt(gapClass(&missing), missing.Partition, missing.From)
	switch {
	case unknown:
		return nil, fmt.Errorf("partition %d is not in the ledger; %s takes it in: %w", missing.Partition, flag, ErrSourcePartitions)
	case missing.To >= missing.From && here.cause != nil:
		return nil, here.error()
	case missing.To >= missing.From:
		return nil, fmt.Errorf("partition %d: offsets %d to %d; %s gives them up: %w", missing.Partition, missing.From, missing.To, flag, ErrSourceGone)
	}
	return nil, nil
}

// gapFlag returns the flag that gives up what is missing.
func gapFlag(g *schemas.Gap) string {
	topic := string(g.Topic)
	if topic != "" {
		topic += "/"
	}
	return fmt.Sprintf("--accept-gap %s%d:%d-%d", topic, g.Partition, g.From, g.To)
}

// checkEnds sees that no topic ends before what was taken of it.
func (v *view) checkEnds(s *State) error {
	for class, t := range v.topics {
		if k := len(s.Progress[class]); k > 0 && t.Partitions <= int(s.Progress[class][k-1].Partition) {
			return fmt.Errorf("%s has %d partitions, the ledger knows partition %d: %w", t.Name, t.Partitions, s.Progress[class][k-1].Partition, ErrSourcePartitions)
		}
		for p := range int32(t.Partitions) {
			if !v.owns(Class(class), p) {
				continue
			}
			if next, end := s.next(Class(class), p), v.ends[class][p]; next > end {
				return fmt.Errorf("%s partition %d ends at %d where %d is next: %w", t.Name, p, end, next, ErrSourceTruncated)
			}
		}
	}
	return nil
}

// checkShard sees that the ledger has as many shards as when it began: with another
// number the same partition would be another shard's, and be decided twice.
func (v *view) checkShard(s *State) error {
	if n := v.topics[Transactions].Partitions; int(v.shards) > n {
		return fmt.Errorf("%s has %d partitions, too few for %d shards: %w", v.topics[Transactions].Name, n, v.shards, ErrLedgerPartitions)
	}
	for _, p := range s.Progress[Transactions] {
		if !v.owns(Transactions, p.Partition) {
			return fmt.Errorf("shard %d of %d has decided partition %d of %s, which is not its own: %w", v.shard, v.shards, p.Partition, v.topics[Transactions].Name, ErrLedgerPartitions)
		}
	}
	return nil
}

// knows reports whether the ledger has a source partition.
func (s *State) knows(partition int32) bool {
	return slices.ContainsFunc(s.Progress[Transactions], func(p Progress) bool { return p.Partition == partition })
}

// next returns the offset after the last one taken of a partition.
func (s *State) next(c Class, partition int32) int64 {
	for _, p := range s.Progress[c] {
		if p.Partition == partition {
			return p.Offset + 1
		}
	}
	return 0
}

// begin gives the state every partition that there is. What was deleted before
// the ledger began, or before the first label or rate was taken, is no gap.
func (v *view) begin(s *State) {
	for class, t := range v.topics {
		for p := range int32(t.Partitions) {
			if !v.owns(Class(class), p) {
				continue
			}
			at := s.At(Class(class), p)
			if at.Offset < 0 && (Class(class) != Transactions || !s.Genesis) {
				at.Offset = v.starts[class][p] - 1
			}
		}
	}
}

// watch looks every few seconds whether the topics are still those that the
// ownership began with: nobody fetches a partition that nobody knows of, and
// batches are sent to the ledger by its name. It runs in a goroutine of its own,
// which [owner] waits for.
func (o *owner) watch(ctx context.Context) error {
	n := o.node
	for alarmed := false; ; {
		select {
		case <-n.after(n.WatchEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
		err := n.compare(ctx, o.view)
		if err == nil {
			err = n.checkLedger(ctx, o.saver.at.Load(), o.publish.at.Load().Offset)
		}
		if err == nil {
			if err := n.commit(ctx); err != nil && ctx.Err() == nil {
				n.retried(err) // with the next offsets; a dashboard is late, no decision is
			}
			err = o.measureLag(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, kafka.ErrTrimmed):
			// What this node holds is the only fold of what was deleted: it goes
			// on, and writes a snapshot if it may.
			alarmed = true
			n.alarm("ledger cannot be folded again", err)
			o.wanted.Store(true)
		case err == nil && alarmed:
			alarmed = false
			n.calm()
		case err == nil:
		case kafka.Classify(err) == kafka.Stop || final(err):
			return err
		default:
			n.retried(err) // the cluster is away: whoever fetches finds out too
		}
	}
}

// measureLag says what waits in the source. A fetcher says so with each answer, and has
// none while what it brought cannot be decided: the lag would stand still as it grows.
func (o *owner) measureLag(ctx context.Context) error {
	n := o.node
	for _, c := range o.merge.cursors {
		if c.class != Transactions {
			continue
		}
		_, end, err := n.log.Offsets(ctx, n.Topics.Transactions, c.partition)
		if err != nil {
			return fmt.Errorf("look up the end of %s: %w", n.Topics.Transactions, err)
		}
		n.Metrics.Lag.WithLabelValues(strconv.Itoa(int(c.partition))).Set(float64(max(0, end-c.fetched.Load())))
	}
	return nil
}

// final reports whether an error is one that trying again does not mend.
func final(err error) bool {
	return slices.ContainsFunc([]error{ErrSourceRecreated, ErrSourcePartitions, ErrLedgerRecreated, ErrLedgerPartitions, ErrTruncated, errNewPartitions},
		func(target error) bool { return errors.Is(err, target) })
}

// compare compares the topics with what they were.
func (n *Node) compare(ctx context.Context, was *view) error {
	for class, topic := range n.sourceTopics() {
		t, err := n.log.Describe(ctx, topic)
		if err != nil {
			return fmt.Errorf("describe %s: %w", topic, err)
		}
		old := was.topics[class]
		switch {
		case t.ID != old.ID:
			return fmt.Errorf("%s had id %x and has %x: %w", topic, old.ID, t.ID, ErrSourceRecreated)
		case t.Partitions != old.Partitions && Class(class) == Transactions:
			return fmt.Errorf("%s had %d partitions and has %d: %w", topic, old.Partitions, t.Partitions, ErrSourcePartitions)
		case t.Partitions != old.Partitions:
			return fmt.Errorf("%s had %d partitions and has %d: %w", topic, old.Partitions, t.Partitions, errNewPartitions)
		}
	}
	return nil
}

// checkLedger sees that the ledger is the one that this node has known, and
// that it can still be folded: from saved, the newest position that a snapshot
// was written at, to end, the last one acknowledged.
func (n *Node) checkLedger(ctx context.Context, saved, end int64) error {
	topic := n.Topics.Decisions
	t, err := n.log.Describe(ctx, topic)
	if err != nil {
		return fmt.Errorf("describe %s: %w", topic, err)
	}
	if t.Partitions != int(n.Shards) {
		return fmt.Errorf("%s has %d partitions, this node was started for %d: %w", topic, t.Partitions, n.Shards, ErrLedgerPartitions)
	}
	if n.ledgerID == [16]byte{} {
		n.ledgerID = t.ID
	}
	if t.ID != n.ledgerID {
		return fmt.Errorf("%s had id %x and has %x: %w", topic, n.ledgerID, t.ID, ErrLedgerRecreated)
	}
	start, stop, err := n.log.Offsets(ctx, topic, n.Shard)
	switch {
	case err != nil:
		return fmt.Errorf("look up the ends of %s: %w", topic, err)
	case stop < end:
		return fmt.Errorf("%s ends at %d where %d is next: %w", topic, stop, end, ErrTruncated)
	case start > saved:
		return fmt.Errorf("%s begins at %d, the newest snapshot is at %d: %w", topic, start, saved, kafka.ErrTrimmed)
	}
	return nil
}

// warnOfLoss says once where the ledger's topic is set to delete what a start, or a
// proof, needs. Nothing is lost yet, so that it is no reason to halt; where records
// are gone, checkLedger finds out.
func (n *Node) warnOfLoss(ctx context.Context) error {
	if n.warned {
		return nil
	}
	const policy, retention = cleanupPolicy, retentionMs
	topic := n.Topics.Decisions
	set, err := n.log.Settings(ctx, topic, policy, retention)
	if err != nil {
		return err
	}
	n.warned = true
	if strings.Contains(set[policy], "compact") {
		n.Log.Warn("the ledger is compacted: decisions are deleted whose key comes again, and what is left can neither be folded nor proved",
			"topic", topic, policy, set[policy], "remedy", policy+"=delete")
	}
	ms, err := strconv.ParseInt(set[retention], 10, 64)
	if err != nil || ms < 0 || set[policy] == "compact" {
		return nil // no bound, or none that this client may see
	}
	oldest, err := oldestSnapshot(n.SnapshotDir)
	if err != nil {
		return err
	}
	kept := time.Duration(min(ms, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
	switch {
	case oldest.IsZero():
		n.Log.Warn("the ledger is kept for a time only, and there is no snapshot that could stand for what is deleted",
			"topic", topic, "kept", kept, "remedy", retention+"=-1")
	case n.Now().Sub(oldest) > kept:
		n.Log.Warn("the ledger is kept for less time than the oldest snapshot: there is no way back to that one",
			"topic", topic, "kept", kept, "snapshot", oldest, "remedy", retention+"=-1")
	}
	return nil
}

// checkState sees that the ledger's tokens are of this node's key, or of the one
// that it changes from, and its decisions of this node's spec, or of one that it goes
// on from. A ledger of an earlier version does not say the key.
func (n *Node) checkState(s *State) error {
	if k := s.TokenKey; k != 0 && n.tokenKey != 0 && k != n.tokenKey && k != n.previousKey {
		return fmt.Errorf("%s at offset %d: %w", n.Topics.Decisions, s.Chain.Offset, ErrOtherKey)
	}
	return n.checkSpec(s.Before, s.Chain.Offset)
}

// checkSpec sees that this node may go on where another spec decided the last batch,
// which ends at an offset; zero is none, or this node's.
func (n *Node) checkSpec(before [32]byte, at int64) error {
	if before == [32]byte{} || before == n.Spec.Hash {
		return nil
	}
	i := slices.IndexFunc(n.Before, func(s *spec.Spec) bool { return s.Hash == before })
	if i < 0 {
		return fmt.Errorf("%s was decided with spec %.8x up to offset %d, this is %.8x (%s): %w", n.Topics.Decisions, before, at, n.Spec.Hash, n.Spec.Name, ErrOtherSpec)
	}
	if err := n.Spec.Follow(n.Before[i]); err != nil {
		return fmt.Errorf("spec %s (%.8x) cannot go on where %s (%.8x) decided: %w: %w", n.Spec.Name, n.Spec.Hash, n.Before[i].Name, before, err, ErrOtherSpec)
	}
	return nil
}

// checkLast does as checkSpec before a ledger is folded that ends at an offset, which
// may take hours: a spec that was changed by mistake is to be known at once.
func (n *Node) checkLast(ctx context.Context, end int64) error {
	topic := n.Topics.Decisions
	start, _, err := n.log.Offsets(ctx, topic, n.Shard)
	if err != nil || start == end {
		return err
	}
	// The last batch may be a loser's. Its anchor is on the chain all the same.
	facts, err := kafka.FactsAt(ctx, n.log, topic, n.Shard, end-1)
	switch {
	case unreadable(err) != nil:
		return nil // whoever folds it finds out
	case err != nil:
		return err
	case facts.ID == (schemas.BatchID{}) || facts.Anchor.Offset < start:
		return nil
	}
	r := kafka.NewLedgerReader(n.log, topic, n.Shard, facts.Anchor)
	defer r.Close()
	last, at := [32]byte{}, int64(0)
	for r.Position() < end {
		b, err := r.Next(ctx, end)
		if err != nil {
			return err
		}
		if b == nil {
			break
		}
		if b.Taken {
			last, at = b.Facts.Spec, r.Position()
		}
	}
	return n.checkSpec(last, at)
}

// watchEvery is the default of Config.WatchEvery.
const watchEvery = 5 * time.Second
