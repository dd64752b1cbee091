package schemas

// Outcome is what became of a transaction.
type Outcome uint8

// The outcomes, with the numbers they have in the ledger.
const (
	Scored    Outcome = iota // a model scored it, on whatever device
	Degraded                 // decided by the fallback rules because no model could
	Unscored                 // decodable, barred from scoring by a named reason
	Duplicate                // a repeated transaction id
	Rejected                 // not decodable; not folded; dead letter
	NumOutcomes
)

// Action is what weir advises.
type Action uint8

// The actions, with the numbers they have in the ledger.
const (
	Allow Action = iota
	Review
	Block
	NumActions
)

// Flags are facts about a decision that the outcome does not say.
type Flags uint8

// The flags.
const (
	Approximate Flags = 1 << iota // an entity was over its budget; left out of the comparison of bits
	Late                          // the event came behind its entity's newest
	Explored                      // sent to review by the exploration share
	FoldOnly                      // of a type that the spec folds and does not score
)

// Arithmetic is how the scores of a decision were computed: a set of what was not
// computed in the exact order of scoring/doc.go, which is the same on any device.
type Arithmetic uint8

// The arithmetics.
const (
	Float32           Arithmetic = 0 // all in that order
	Float16           Arithmetic = 1 // Score on tensor cores, within scoring.HalfBound
	ChallengerFloat16 Arithmetic = 2 // ChallengerScore likewise
)

// String says it as receipts do.
func (a Arithmetic) String() string {
	switch a {
	case Float32:
		return "float32, in the order of its definition"
	case Float16:
		return "float16"
	case ChallengerFloat16:
		return "float32, in the order of its definition; the challenger's score float16"
	}
	return "float16, the challenger's score too"
}

// Decision is the ledger's record of one transaction. Its slices alias the
// buffer it was parsed from, or the batch it was made of; whoever keeps one
// copies it.
type Decision struct {
	Place
	Verdict
	Tx       Transaction
	Tenant   []byte
	Text     [NumText][]byte
	OwnText  [][]byte  // the spec's own text fields, in spec order
	Own      []float64 // the spec's own numeric fields, in spec order; NaN absent
	PrevCard []byte    // the card's token under the previous key, during a key change

	Features  []float32 // the feature vector, in spec order; empty where none was computed
	Score     float32   // the model's raw output, a probability before calibration
	Prob      float32   // calibrated
	Threshold float32   // on Rank
	Rank      float32   // the bundle's rank key
	Action    Action
	// ReviewProb is the probability with which a decision like this one was
	// sent to review: 1 above the threshold, the exploration share below it.
	ReviewProb float32
	Arithmetic Arithmetic

	// Bundle, Spec and Engine are the first eight bytes, big-endian, of the
	// SHA-256 hashes; the batch's [Facts] hold them whole. 0 is none.
	Bundle, Spec, Engine uint64
	// Challenger is the bundle that scored beside the one that decided, 0 where none
	// did, and ChallengerScore its raw output. Where a challenger decides for the card
	// it is the champion's.
	Challenger      uint64
	ChallengerScore float32
}

// EntryKind says what a ledger record is.
type EntryKind uint8

// The kinds of ledger records, with their numbers in the oneof of decision.proto.
const (
	EntryDecision EntryKind = iota + 1
	EntryLabel              // a label took effect
	EntryRate               // an exchange rate took effect
	EntryBundle             // a slot took another bundle
	EntryGap                // source records were given up by hand
	EntryGenesis            // the ledger begins
	EntrySpec               // it goes on by another spec
	EntrySync               // the other shards' ledgers were folded, and nothing was decided
)

// Entry is one record of the ledger; the field that Kind names is set.
type Entry struct {
	Kind     EntryKind
	Decision Decision
	Label    Label
	Rate     Rate
	Bundle   BundleTaken
	Gap      Gap
	Genesis  Genesis
	Spec     SpecTaken
}

// Rate is a dated exchange rate: one minor unit of Currency is Num/Den minor
// units of the base currency from Since (ms) on.
type Rate struct {
	Currency []byte
	Since    int64
	Num, Den int64
	// Partition and Offset are the record's place in the rates topic.
	Partition int32
	Offset    int64
}

// BundleTaken says that a slot holds another bundle from here on.
type BundleTaken struct {
	Slot   []byte // "champion" or "challenger"
	Hash   [32]byte
	Offset int64 // of the slot record in models; -1 where the bundle came from a file
	// Share is the part of the cards whose payments the challenger decides, by hash;
	// 0 and it decides nothing.
	Share float32
}

// Gap says that the records FROM..TO (inclusive) of a partition are not in the
// ledger, and who said so.
type Gap struct {
	Partition int32
	From, To  int64
	By        []byte
	Topic     []byte // "labels" or "rates"; empty is the source
}

// Genesis is the first record of a ledger.
type Genesis struct {
	TopicID [16]byte // of the source topic; zero where the broker gives none
	Topic   []byte
	Start   []Position // the first offset of each source partition
	Spec    SpecTaken  // by which it is decided; ledgers of earlier versions do not say
}

// SpecTaken says that the ledger is decided by another spec from here on.
type SpecTaken struct {
	Name []byte
	Text []byte // canonical: its SHA-256 is the spec's hash
	// Before is the hash of the spec before it; zero where the ledger begins.
	Before [32]byte
}

// Position is a place in a partition.
type Position struct {
	Partition int32
	Offset    int64
}

// BatchID names a batch of the ledger: the writer's 64 random bits and the
// batch's number in that writer's sequence, from 1. The zero BatchID is what
// the genesis batch extends.
type BatchID struct {
	Writer   uint64
	Sequence uint64
}

// Anchor is a place from which the ledger can be read: at Offset the last
// batch taken was Head.
type Anchor struct {
	Offset int64
	Head   BatchID
}

// Facts are the facts of a step: record headers on the first record of its
// batch.
type Facts struct {
	ID, Extends BatchID
	// Sources is the last offset decided of each source partition after this
	// batch; Labels and Rates likewise; partitions ascending.
	Sources, Labels, Rates []Position
	Bundle, Spec, Engine   [32]byte
	// AlertsMark is the ledger offset up to which (inclusive) every alert is
	// acknowledged; DeadMark likewise for dead letters; -1 is none.
	AlertsMark, DeadMark int64
	Anchor               Anchor
	Records              uint32
	// Key tells the deployment's token key without telling it, in the batches from
	// which on tokens are made with another key than before, the genesis batch among
	// them; 0 says nothing.
	Key uint64
	// Shards is, where there is more than one shard, up to which ledger offset
	// (inclusive) each of the others was folded before this batch; -1 is nothing.
	// Partition is the shard; ascending.
	Shards []Position
}
