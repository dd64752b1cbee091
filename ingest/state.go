package ingest

import (
	"fmt"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/decode"
	"github.com/weir-risk/weir/schemas"
)

// Class says what a source partition brings. At equal times a lower class
// comes first: what is known counts for what happens at that moment.
type Class uint8

// The classes.
const (
	Rates Class = iota
	Labels
	Transactions
	numClasses
)

// Progress is how far a source partition has been taken.
type Progress struct {
	Partition int32
	Offset    int64 // of the last record taken, -1 before the first
	MaxTime   int64 // the largest event time taken so far, ms: the merge key of what follows is at least this
}

// State is the fold of a ledger: all that the next decision depends on. One
// goroutine owns it.
type State struct {
	Spec   *spec.Spec
	Engine *features.Engine
	Rates  decode.Rates
	// Progress of each class, partitions ascending; of transactions those of this shard.
	Progress [numClasses][]Progress
	Others   []Other // the other shards, ascending; none where there is one shard

	Chain      schemas.Anchor // the ledger offset after the last batch, and that batch
	Genesis    bool           // whether the ledger has begun
	TopicID    [16]byte       // of the source topic, from the genesis batch
	TokenKey   uint64         // tells the key of its tokens, see [schemas.Facts]; 0 is not known
	Before     [32]byte       // the spec that decided the last batch, where it was another; zero is Spec
	Champion   [32]byte       // the bundle that decides; zero is none
	Challenger [32]byte       // the bundle that scores beside it; zero is none
	Share      float32        // of the cards that the challenger decides for
	AlertsMark int64          // every alert of decisions up to this ledger offset is acknowledged
	DeadMark   int64          // every dead letter likewise
	Counts     Counts
}

// Counts counts the ledger's records.
type Counts struct {
	Outcomes [schemas.NumOutcomes]int64
	Reasons  [schemas.NumReasons]int64
	Alerts   int64 // decisions whose action is not allow
	Approx   int64
	Labels   int64
	Unknown  int64 // labels of transactions that are not kept
	Gaps     int64 // source records given up by hand
}

// Decisions returns the number of decisions.
func (c Counts) Decisions() int64 {
	n := int64(0)
	for _, v := range c.Outcomes {
		n += v
	}
	return n
}

// Add adds what another shard counted.
func (c *Counts) Add(o *Counts) {
	for i := range c.Outcomes {
		c.Outcomes[i] += o.Outcomes[i]
	}
	for i := range c.Reasons {
		c.Reasons[i] += o.Reasons[i]
	}
	c.Alerts, c.Approx, c.Labels = c.Alerts+o.Alerts, c.Approx+o.Approx, c.Labels+o.Labels
	c.Unknown, c.Gaps = c.Unknown+o.Unknown, c.Gaps+o.Gaps
}

// NewState returns the state before the first record of a ledger.
func NewState(s *spec.Spec, o features.Options) *State {
	return &State{Spec: s, Engine: features.New(s, o), AlertsMark: -1, DeadMark: -1}
}

// At returns the progress of a partition, made at its beginning where there is
// none. The pointer is good until the next call with a new partition.
func (s *State) At(c Class, partition int32) *Progress {
	list := s.Progress[c]
	for i := range list {
		if list[i].Partition == partition {
			return &list[i]
		}
	}
	k := len(list)
	for k > 0 && list[k-1].Partition > partition {
		k--
	}
	list = append(list, Progress{})
	copy(list[k+1:], list[k:])
	list[k] = Progress{Partition: partition, Offset: -1}
	s.Progress[c] = list
	return &list[k]
}

// count adds a decision to the counters.
func (c *Counts) count(v schemas.Verdict, a schemas.Action) {
	c.Outcomes[v.Outcome]++
	if v.Reason != schemas.NoReason {
		c.Reasons[v.Reason]++
	}
	if a != schemas.Allow {
		c.Alerts++
	}
	if v.Flags&schemas.Approximate != 0 {
		c.Approx++
	}
}

// moves reports whether a decided transaction moves its partition's merge key:
// one that could not be decoded has no time to speak of.
func moves(v schemas.Verdict) bool { return v.Outcome != schemas.Rejected }

// take notes that a transaction was decided.
func (s *State) take(p schemas.Place, v schemas.Verdict, time int64) {
	at := s.At(Transactions, p.Partition)
	at.Offset = p.Offset
	if moves(v) {
		at.MaxTime = max(at.MaxTime, time)
	}
}

// applyLabel folds one label.
func (s *State) applyLabel(l *schemas.Label) {
	at := s.At(Labels, l.Partition)
	at.Offset = l.Offset
	at.MaxTime = max(at.MaxTime, l.KnownAt)
	s.Counts.Labels++
	if s.Engine.Label(l) == features.Unknown {
		s.Counts.Unknown++
	}
}

// applyRate folds one exchange rate.
func (s *State) applyRate(r *schemas.Rate) {
	at := s.At(Rates, r.Partition)
	at.Offset = r.Offset
	at.MaxTime = max(at.MaxTime, r.Since)
	s.Rates.Set(r)
}

// applyGap folds a gap that an operator wrote: its records are passed over.
func (s *State) applyGap(g *schemas.Gap) {
	at := s.At(gapClass(g), g.Partition)
	at.Offset = max(at.Offset, g.To)
	s.Counts.Gaps += g.To - g.From + 1
}

// gapClass returns the class of the records that a gap gives up.
func gapClass(g *schemas.Gap) Class {
	for c := range numClasses {
		if name := topicName(c); name != "" && name == string(g.Topic) {
			return c
		}
	}
	return Transactions
}

// applyGenesis folds the first record of the ledger.
func (s *State) applyGenesis(g *schemas.Genesis) error {
	if s.Genesis {
		return fmt.Errorf("ledger has a second genesis record")
	}
	s.Genesis, s.TopicID = true, g.TopicID
	for _, p := range g.Start {
		s.At(Transactions, p.Partition).Offset = p.Offset - 1
	}
	return nil
}

// applyFacts folds what a batch's headers say, as far as only they say it. Source
// positions are those of its decisions: a header that lied about them would have
// records passed over. Nor can alerts be acknowledged before their decisions are:
// marks beyond the batch itself say nothing.
func (s *State) applyFacts(f *schemas.Facts, base int64) {
	s.Chain = schemas.Anchor{Offset: base + int64(f.Records), Head: f.ID}
	if f.AlertsMark < base && f.DeadMark < base {
		s.AlertsMark, s.DeadMark = max(s.AlertsMark, f.AlertsMark), max(s.DeadMark, f.DeadMark)
	}
	if f.Key != 0 {
		s.TokenKey = f.Key
	}
	if s.Before = f.Spec; f.Spec == s.Spec.Hash {
		s.Before = [32]byte{}
	}
	for _, p := range f.Labels {
		at := s.At(Labels, p.Partition)
		at.Offset = max(at.Offset, p.Offset)
	}
	for _, p := range f.Rates {
		at := s.At(Rates, p.Partition)
		at.Offset = max(at.Offset, p.Offset)
	}
}
