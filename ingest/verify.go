package ingest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"slices"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// Finding is one thing that is wrong with a ledger.
type Finding struct {
	Kind      string `json:"kind"`            // "lost", "doubled", "different", "chain"
	Topic     string `json:"topic,omitempty"` // "labels" or "rates"; empty is the source, or the ledger
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"` // in the source, or in the ledger where Ledger is set
	Ledger    bool   `json:"ledger"`
	What      string `json:"what"`
}

func (f Finding) String() string {
	topic := f.Topic
	switch {
	case f.Ledger:
		topic = "ledger"
	case topic == "":
		topic = "source"
	}
	return fmt.Sprintf("%s: %s partition %d offset %d: %s", f.Kind, topic, f.Partition, f.Offset, f.What)
}

// Report is what a verification found.
type Report struct {
	SourceRecords int64 `json:"source_records"`
	Decisions     int64 `json:"decisions"`
	Scored        int64 `json:"scored"`
	Degraded      int64 `json:"degraded"`
	Unscored      int64 `json:"unscored"`
	Duplicate     int64 `json:"duplicate"`
	Rejected      int64 `json:"rejected"`
	Approximate   int64 `json:"approximate"`
	// Float16 are scores of float16 arithmetic that are within its bound of what they are in
	// float32, and Difference the largest that they are apart: their bits cannot be
	// compared. Those that are not within are different.
	Float16    int64   `json:"float16"`
	Difference float64 `json:"float16_difference"`
	Lost       int64   `json:"lost"`
	Doubled    int64   `json:"doubled"`
	Different  int64   `json:"different"`
	Gaps       int64   `json:"gaps"`
	Labels     int64   `json:"labels"`
	Batches    int64   `json:"batches"`
	Dropped    int64   `json:"dropped"` // batches that the reader drops: resent, or of a loser
	// Specs are what the ledger was decided by, one after the other.
	Specs []SpecRun `json:"specs"`
	// First are the first findings, at most maxFindings; empty, and no null, for none.
	First []Finding `json:"findings"`
}

// add adds what was found of another shard.
func (r *Report) add(o *Report) {
	for _, n := range [...]struct{ sum, more *int64 }{{&r.SourceRecords, &o.SourceRecords}, {&r.Decisions, &o.Decisions}, {&r.Scored, &o.Scored},
		{&r.Degraded, &o.Degraded}, {&r.Unscored, &o.Unscored}, {&r.Duplicate, &o.Duplicate}, {&r.Rejected, &o.Rejected},
		{&r.Approximate, &o.Approximate}, {&r.Float16, &o.Float16}, {&r.Lost, &o.Lost}, {&r.Doubled, &o.Doubled},
		{&r.Different, &o.Different}, {&r.Gaps, &o.Gaps}, {&r.Batches, &o.Batches}, {&r.Dropped, &o.Dropped}} {
		*n.sum += *n.more
	}
	r.Difference = max(r.Difference, o.Difference)
	r.Labels = max(r.Labels, o.Labels) // each shard takes all
	for _, s := range o.Specs {
		if !slices.ContainsFunc(r.Specs, func(have SpecRun) bool { return have.Hash == s.Hash }) {
			r.Specs = append(r.Specs, s)
		}
	}
	r.First = append(r.First, o.First...)
	r.First = r.First[:min(len(r.First), maxFindings)]
}

// SpecRun says by which spec a ledger was decided from an offset on.
type SpecRun struct {
	Shard  int32  `json:"shard,omitempty"`
	Name   string `json:"name"`
	Hash   string `json:"hash"`
	Offset int64  `json:"offset"`
}

// maxFindings bounds the findings that are kept with their place.
const maxFindings = 20

// OK reports whether nothing is wrong.
func (r *Report) OK() bool {
	return r.Lost == 0 && r.Doubled == 0 && r.Different == 0 && len(r.First) == 0
}

// Verifier recomputes a ledger from its own records: it feeds the decoded
// transactions, in the ledger's order, to the very step that made them, and
// compares the bytes.
type Verifier struct {
	Report  Report
	state   *State
	options features.Options
	past    pastSpecs
	decider Decider
	bundles func(hash, spec [32]byte) (*scoring.Bundle, scoring.Scorer, error)
	// refold folds the ledger before an offset into a state of another spec.
	refold func(f *Folder, s *State, before int64) error
	// meet folds the other shards up to the positions in a batch's facts; nil where
	// there are none. beside are those, before anything of them is folded.
	meet    func(s *State, at []schemas.Position) error
	beside  []Other
	entry   schemas.Entry
	work    work
	out     output
	values  [][]byte // the recorded bytes of what is in work
	offsets []int64
	shard   int32
	anchors []schemas.Anchor // after the last batches taken
}

// NewVerifier returns a verifier of one shard. Bundles finds a bundle of a spec and a
// scorer that holds its model by the bundle's hash. Where the ledger was decided by
// other specs than s, it is to hold their texts, or before does.
func NewVerifier(s *spec.Spec, o features.Options, shard int32,
	bundles func(hash, spec [32]byte) (*scoring.Bundle, scoring.Scorer, error), before ...*spec.Spec) *Verifier {
	v := &Verifier{Report: Report{Specs: []SpecRun{}, First: []Finding{}}, state: NewState(s, o), options: o, bundles: bundles, shard: shard}
	v.past.add(s)
	v.past.add(before...)
	v.decider.engine, v.decider.claims = schemas.HashPrefix(EngineHash), &claims{}
	v.reset()
	return v
}

func (v *Verifier) reset() {
	in := &v.state.Spec.Input
	v.work.reset(len(in.OwnText), len(in.OwnNumber))
	v.out.reset()
	v.decider.claims.rows = v.decider.claims.rows[:0]
	v.values, v.offsets = v.values[:0], v.offsets[:0]
}

// State returns the fold of what was verified so far.
func (v *Verifier) State() *State { return v.state }

// Dropped counts a batch that the reader of the chain dropped.
func (v *Verifier) Dropped() { v.Report.Dropped++ }

// Batch verifies one taken batch of the ledger. An error means that the ledger
// cannot be read at all; what is wrong with it is in the report.
func (v *Verifier) Batch(facts *schemas.Facts, base int64, values [][]byte) error {
	if err := v.turn(facts, base, values); err != nil {
		return err
	}
	if v.meet != nil {
		if err := v.meet(v.state, facts.Shards); err != nil {
			return err
		}
	}
	v.Report.Batches++
	for i, value := range values {
		if err := v.record(base+int64(i), value); err != nil {
			return err
		}
	}
	v.flush()
	v.checkFacts(facts, base, len(values))
	v.checkAnchor(facts, base)
	v.state.applyFacts(facts, base)
	return nil
}

// turn goes on by the spec of a batch, where it is another than of the one before: with
// the state that it would have left, had it decided all that was decided so far.
func (v *Verifier) turn(facts *schemas.Facts, base int64, values [][]byte) error {
	if facts.Spec == v.state.Spec.Hash && len(v.Report.Specs) > 0 {
		return nil
	}
	for _, value := range values[:min(len(values), 2)] {
		if schemas.ParseEntry(value, &v.entry) == nil {
			v.past.learn(&v.entry)
		}
	}
	s := v.past.specs[schemas.HashPrefix(facts.Spec)]
	if s == nil {
		return fmt.Errorf("ledger offset %d was decided with spec %.8x, which is not at hand: give the spec that the ledger names", base, facts.Spec)
	}
	v.Report.Specs = append(v.Report.Specs, SpecRun{v.shard, s.Name, hex32(s.Hash), base})
	state := NewState(s, v.options)
	state.Others = copyOthers(nil, v.beside)
	if v.state.Chain.Offset > 0 {
		f := Folder{past: v.past}
		if err := v.refold(&f, state, base); err != nil {
			return fmt.Errorf("fold the ledger up to offset %d by spec %.8x (%s): %w", base, s.Hash, s.Name, err)
		}
	}
	v.state = state
	v.reset()
	return nil
}

// record takes one ledger record in.
func (v *Verifier) record(offset int64, value []byte) error {
	if err := schemas.ParseEntry(value, &v.entry); err != nil {
		v.different(v.shard, offset, true, "does not parse: "+err.Error())
		return nil
	}
	e := &v.entry
	switch e.Kind {
	case schemas.EntryDecision:
		v.decided(offset, value)
	case schemas.EntryLabel:
		// The record outlives this call, the parsed texts alias it.
		v.work.labels = append(v.work.labels, e.Label)
		v.queue(Labels, len(v.work.labels), offset, value)
	case schemas.EntryRate:
		v.work.rates = append(v.work.rates, e.Rate)
		v.queue(Rates, len(v.work.rates), offset, value)
	case schemas.EntryBundle:
		v.flush()
		return v.use(offset, &e.Bundle)
	default:
		v.flush()
		v.past.learn(e)
		if hash := sha256.Sum256(e.Spec.Text); e.Kind == schemas.EntrySpec && hash != v.state.Spec.Hash {
			v.different(v.shard, offset, true, fmt.Sprintf("says that the ledger goes on by spec %.8x, its batch was decided by %.8x", hash, v.state.Spec.Hash))
		}
		if err := v.state.apply(e); err != nil {
			return fmt.Errorf("ledger offset %d: %w", offset, err)
		}
		v.Report.Gaps = v.state.Counts.Gaps
	}
	return nil
}

// use takes the bundle that a slot took.
func (v *Verifier) use(offset int64, b *schemas.BundleTaken) error {
	v.state.applyBundle(b)
	s := serving{share: b.Share}
	if b.Hash != [32]byte{} {
		var err error
		if s.bundle, s.scorer, err = v.bundles(b.Hash, v.state.Spec.Hash); err != nil {
			return fmt.Errorf("bundle %.8x taken at ledger offset %d: %w", b.Hash, offset, err)
		}
	}
	for k := range numSlots {
		if k.String() == string(b.Slot) {
			v.decider.serves[k] = s
		}
	}
	return nil
}

func (v *Verifier) queue(c Class, n int, offset int64, value []byte) {
	if k := len(v.work.order); k > 0 && v.work.order[k-1].class == c {
		v.work.order[k-1].to = n
	} else {
		v.work.order = append(v.work.order, run{class: c, from: n - 1, to: n})
	}
	v.values, v.offsets = append(v.values, value), append(v.offsets, offset)
}

// decided queues a decision for recomputation, as the transaction it was before
// the engine saw it.
func (v *Verifier) decided(offset int64, value []byte) {
	d := &v.entry.Decision
	v.Report.Decisions++
	v.place(d)
	v.outcome(d)
	// A model that failed cannot be made to fail again: such decisions are
	// recomputed without one.
	if d.Outcome == schemas.Degraded && d.Reason == schemas.ModelFailed {
		v.flush()
		defer func(s serving) {
			v.flush()
			v.decider.serves[champion] = s
		}(v.decider.serves[champion])
		v.decider.serves[champion].scorer = failed{}
	}
	v.decider.tenant = append(v.decider.tenant[:0], d.Tenant...)
	if d.Outcome != schemas.Rejected {
		d.Verdict = schemas.Verdict{}
	}
	v.work.rows.AddDecision(d)
	v.decider.claims.add(d)
	v.queue(Transactions, v.work.rows.Len(), offset, value)
}

// failed stands for a back end that could not score.
type failed struct{}

func (failed) Score(scoring.Matrix, []float32) error { return fmt.Errorf("the model failed then") }

// place checks that the source records of a partition follow one another.
func (v *Verifier) place(d *schemas.Decision) {
	last := v.lastQueued(d.Partition)
	switch {
	case d.Offset <= last:
		v.Report.Doubled++
		v.find(Finding{Kind: "doubled", Partition: d.Partition, Offset: d.Offset, What: fmt.Sprintf("decided again; %d was decided before", last)})
	case d.Prev != last:
		v.find(Finding{Kind: "chain", Partition: d.Partition, Offset: d.Offset, What: fmt.Sprintf("says that %d came before it, but the last decision was of %d", d.Prev, last)})
	}
}

// lastQueued returns the last offset of a partition that was decided.
func (v *Verifier) lastQueued(partition int32) int64 {
	for i := v.work.rows.Len() - 1; i >= 0; i-- {
		if v.work.rows.Place[i].Partition == partition {
			return v.work.rows.Place[i].Offset
		}
	}
	return v.state.At(Transactions, partition).Offset
}

func (v *Verifier) outcome(d *schemas.Decision) {
	r := &v.Report
	switch d.Outcome {
	case schemas.Scored:
		r.Scored++
	case schemas.Degraded:
		r.Degraded++
	case schemas.Unscored:
		r.Unscored++
	case schemas.Duplicate:
		r.Duplicate++
	case schemas.Rejected:
		r.Rejected++
	}
	if d.Flags&schemas.Approximate != 0 {
		r.Approximate++
	}
}

// flush recomputes what is queued and compares.
func (v *Verifier) flush() {
	if v.work.records() == 0 {
		return
	}
	v.decider.step(v.state, &v.work, &v.out)
	v.Report.Labels = v.state.Counts.Labels
	v.Report.Float16, v.Report.Difference = v.decider.claims.accepted, v.decider.claims.largest
	for i, want := range v.values {
		if got := v.out.record(i); !bytes.Equal(got, want) {
			v.explain(v.offsets[i], want, got)
		}
	}
	v.reset()
}

// explain says in what a recomputed record differs from the recorded one.
func (v *Verifier) explain(offset int64, want, got []byte) {
	var w, g schemas.Entry
	if schemas.ParseEntry(want, &w) != nil || schemas.ParseEntry(got, &g) != nil || w.Kind != schemas.EntryDecision {
		v.different(v.shard, offset, true, "the recorded bytes differ from the recomputed ones")
		return
	}
	a, b := &w.Decision, &g.Decision
	if a.Flags&schemas.Approximate != 0 && b.Flags&schemas.Approximate != 0 {
		return
	}
	v.different(a.Partition, a.Offset, false, fmt.Sprintf("%s (ledger offset %d)", difference(v.state.Spec, a, b), offset))
}

// difference names the first thing in which two decisions differ.
func difference(s *spec.Spec, a, b *schemas.Decision) string {
	f := func(what string, recorded, recomputed any) string {
		return fmt.Sprintf("%s: recorded %v, recomputed %v", what, recorded, recomputed)
	}
	if a.Verdict != b.Verdict {
		return f("outcome", a.Verdict, b.Verdict)
	}
	for i := range min(len(a.Features), len(b.Features)) {
		if math.Float32bits(a.Features[i]) != math.Float32bits(b.Features[i]) {
			return f("feature "+s.Features[i].Name, a.Features[i], b.Features[i])
		}
	}
	if len(a.Features) != len(b.Features) {
		return f("number of features", len(a.Features), len(b.Features))
	}
	for _, p := range []struct {
		name string
		a, b float32
	}{{"score", a.Score, b.Score}, {"probability", a.Prob, b.Prob}, {"rank", a.Rank, b.Rank}, {"threshold", a.Threshold, b.Threshold}, {"review probability", a.ReviewProb, b.ReviewProb},
		{"challenger's score", a.ChallengerScore, b.ChallengerScore}} {
		if math.Float32bits(p.a) != math.Float32bits(p.b) {
			if a.Arithmetic != b.Arithmetic {
				return f(p.name, p.a, p.b) + ", further apart than float16 arithmetic can be"
			}
			return f(p.name, p.a, p.b)
		}
	}
	switch {
	case a.Action != b.Action:
		return f("action", a.Action, b.Action)
	case a.Bundle != b.Bundle:
		return f("bundle", fmt.Sprintf("%016x", a.Bundle), fmt.Sprintf("%016x", b.Bundle))
	case a.Challenger != b.Challenger:
		return f("challenger", fmt.Sprintf("%016x", a.Challenger), fmt.Sprintf("%016x", b.Challenger))
	case a.Arithmetic != b.Arithmetic:
		return f("arithmetic", a.Arithmetic, b.Arithmetic)
	case a.Spec != b.Spec || a.Engine != b.Engine:
		return f("spec and engine", fmt.Sprintf("%016x %016x", a.Spec, a.Engine), fmt.Sprintf("%016x %016x", b.Spec, b.Engine))
	case a.Tx != b.Tx:
		return f("transaction", a.Tx, b.Tx)
	}
	return "the recorded bytes differ from the recomputed ones"
}

// checkFacts compares the headers of a batch with the state after it.
func (v *Verifier) checkFacts(f *schemas.Facts, base int64, records int) {
	if int(f.Records) != records {
		v.find(Finding{Kind: "chain", Partition: v.shard, Offset: base, Ledger: true, What: fmt.Sprintf("header says %d records, the batch has %d", f.Records, records)})
	}
	want := positions(nil, v.state.Progress[Transactions])
	if !slices.Equal(want, f.Sources) {
		v.find(Finding{Kind: "chain", Partition: v.shard, Offset: base, Ledger: true, What: fmt.Sprintf("header says source positions %v, its decisions %v", f.Sources, want)})
	}
	if others := shardPositions(nil, v.state.Others); !slices.Equal(others, f.Shards) {
		v.find(Finding{Kind: "chain", Partition: v.shard, Offset: base, Ledger: true, What: fmt.Sprintf("header says positions %v of the other shards, whose batches end at %v", f.Shards, others)})
	}
	v.checkProgress("label", f.Labels, v.state.Progress[Labels], base)
	v.checkProgress("rate", f.Rates, v.state.Progress[Rates], base)
	if f.AlertsMark >= base || f.DeadMark >= base {
		v.find(Finding{Kind: "chain", Partition: v.shard, Offset: base, Ledger: true, What: fmt.Sprintf("header says that alerts up to %d and dead letters up to %d are acknowledged, which it lies before", f.AlertsMark, f.DeadMark)})
	}
	if f.Bundle != v.state.Champion {
		v.different(v.shard, base, true, fmt.Sprintf("bundle in the header is %.8x, the ledger took %.8x", f.Bundle, v.state.Champion))
	}
	if f.Engine != EngineHash {
		v.different(v.shard, base, true, fmt.Sprintf("engine in the header is %.8x, this is %.8x", f.Engine, EngineHash))
	}
}

// anchorsKept is how far back a batch's anchor may lie: an owner has two steps
// on their way, and one that was resent may be some more behind.
const anchorsKept = 64

// checkAnchor sees that the ledger can be read from the anchor of a batch.
func (v *Verifier) checkAnchor(f *schemas.Facts, base int64) {
	if len(v.anchors) == 0 {
		v.anchors = append(v.anchors, schemas.Anchor{})
	}
	if !slices.Contains(v.anchors, f.Anchor) {
		v.find(Finding{Kind: "chain", Partition: v.shard, Offset: base, Ledger: true, What: fmt.Sprintf("anchor in the header is %v, which none of the last batches ended at", f.Anchor)})
	}
	if len(v.anchors) == anchorsKept {
		v.anchors = append(v.anchors[:0], v.anchors[1:]...)
	}
	v.anchors = append(v.anchors, schemas.Anchor{Offset: base + int64(f.Records), Head: f.ID})
}

// checkProgress compares positions of labels or rates in a header with the
// records taken. Some may be further on: they could not be read.
func (v *Verifier) checkProgress(what string, header []schemas.Position, taken []Progress, base int64) {
	for _, p := range taken {
		i := slices.IndexFunc(header, func(h schemas.Position) bool { return h.Partition == p.Partition })
		if i < 0 || header[i].Offset < p.Offset {
			v.find(Finding{Kind: "chain", Partition: v.shard, Offset: base, Ledger: true, What: fmt.Sprintf("header says %s positions %v, its records say %d of partition %d", what, header, p.Offset, p.Partition)})
		}
	}
}

func (v *Verifier) different(partition int32, offset int64, ledger bool, what string) {
	v.Report.Different++
	v.find(Finding{Kind: "different", Partition: partition, Offset: offset, Ledger: ledger, What: what})
}

func (v *Verifier) find(f Finding) {
	if len(v.Report.First) < maxFindings {
		v.Report.First = append(v.Report.First, f)
	}
}

// differs notes a record of the source, of labels or of rates that the ledger
// has otherwise.
func (v *Verifier) differs(c Class, partition int32, offset int64, what string) {
	v.Report.Different++
	v.find(Finding{Kind: "different", Topic: topicName(c), Partition: partition, Offset: offset, What: what})
}

func topicName(c Class) string { return [numClasses]string{Rates: "rates", Labels: "labels"}[c] }

// Source counts a record that the ledger was made from.
func (v *Verifier) Source(c Class) {
	if c == Transactions {
		v.Report.SourceRecords++
	}
}
