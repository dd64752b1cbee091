package ingest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/weir-risk/weir/schemas"
)

// A forgery is a change of a ledger that verification must find.
type forgery struct {
	name string
	// forge changes the batches; k and i name a decision in the middle that was
	// scored.
	forge func(f *forger)
	kind  string // of the finding
	want  string // what some finding says of it; P and O stand for its place
}

// A forger rewrites a ledger.
type forger struct {
	t       *testing.T
	batches []ledgerBatch
	k, i    int // a scored decision in the middle
	entry   schemas.Entry
	loose   bool // the chain is left as it was forged
}

// decision changes the decision in the middle.
func (f *forger) decision(change func(d *schemas.Decision)) { f.at(f.k, f.i, change) }

func (f *forger) at(k, i int, change func(d *schemas.Decision)) {
	if err := schemas.ParseEntry(f.batches[k].values[i], &f.entry); err != nil || f.entry.Kind != schemas.EntryDecision {
		f.t.Fatalf("record %d of batch %d is no decision: %v", i, k, err)
	}
	d := f.entry.Decision
	d.Features = slices.Clone(d.Features)
	change(&d)
	f.batches[k].values[i] = schemas.AppendDecision(nil, &d)
}

func (f *forger) middle() *ledgerBatch { return &f.batches[f.k] }

// find returns the place of a record of a kind after the middle.
func (f *forger) find(kind schemas.EntryKind) (k, i int) {
	for k := f.k; k < len(f.batches); k++ {
		for i, v := range f.batches[k].values {
			if err := schemas.ParseEntry(v, &f.entry); err == nil && f.entry.Kind == kind {
				return k, i
			}
		}
	}
	f.t.Fatalf("no record of kind %d", kind)
	return 0, 0
}

func (f *forger) cut(k, i int) {
	b := &f.batches[k]
	b.values = slices.Delete(b.values, i, i+1)
}

var forgeries = []forgery{
	{"a decision is dropped", func(f *forger) { f.cut(f.k, f.i) }, "lost", "source partition P offset O"},
	{"a decision is doubled", func(f *forger) {
		b := f.middle()
		b.values = slices.Insert(b.values, f.i, b.values[f.i])
	}, "doubled", "source partition P offset O"},
	{"two decisions are swapped", func(f *forger) {
		b := f.middle()
		b.values[f.i], b.values[f.i+1] = b.values[f.i+1], b.values[f.i]
	}, "", "partition P offset O"},
	{"a batch is dropped, the chain mended", func(f *forger) { f.batches = slices.Delete(f.batches, f.k, f.k+1) }, "lost", "source partition P offset O"},
	{"a batch is dropped, the chain torn", func(f *forger) { f.loose, f.batches = true, slices.Delete(f.batches, f.k, f.k+1) }, "lost", "is not in the ledger"},
	{"a batch is doubled, the chain mended", func(f *forger) { f.batches = slices.Insert(f.batches, f.k, f.batches[f.k]) }, "doubled", "decided again"},
	{"two batches are swapped, the chain mended", func(f *forger) {
		f.batches[f.k], f.batches[f.k+1] = f.batches[f.k+1], f.batches[f.k]
	}, "", "source partition P offset O"},
	{"the newest batch is dropped", func(f *forger) { f.batches = f.batches[:len(f.batches)-1] }, "lost", "is not in the ledger"},
	{"a bit of a feature", func(f *forger) { f.decision(func(d *schemas.Decision) { d.Features[3] = flip(d.Features[3]) }) }, "different", "source partition P offset O: feature "},
	{"a bit of a score", func(f *forger) { f.decision(func(d *schemas.Decision) { d.Score = flip(d.Score) }) }, "different", "source partition P offset O: score"},
	{"a bit of a probability", func(f *forger) { f.decision(func(d *schemas.Decision) { d.Prob = flip(d.Prob) }) }, "different", "source partition P offset O: probability"},
	{"a bit of a rank", func(f *forger) { f.decision(func(d *schemas.Decision) { d.Rank = flip(d.Rank) }) }, "different", "source partition P offset O: rank"},
	{"a bit of a threshold", func(f *forger) { f.decision(func(d *schemas.Decision) { d.Threshold = flip(d.Threshold) }) }, "different", "source partition P offset O: threshold"},
	{"a bit of a bundle's hash", func(f *forger) { f.decision(func(d *schemas.Decision) { d.Bundle ^= 1 }) }, "different", "source partition P offset O: bundle"},
	{"a bit of a challenger's hash", func(f *forger) { f.decision(func(d *schemas.Decision) { d.Challenger ^= 1 }) }, "different", "source partition P offset O: challenger: "},
	{"a bit of a challenger's score", func(f *forger) {
		f.decision(func(d *schemas.Decision) { d.ChallengerScore = flip(d.ChallengerScore) })
	}, "different", "source partition P offset O: challenger's score"},
	{"a challenger is left out", func(f *forger) {
		f.decision(func(d *schemas.Decision) { d.Challenger, d.ChallengerScore = 0, 0 })
	}, "different", "source partition P offset O: challenger"},
	{"a bit of a spec's hash", func(f *forger) { f.decision(func(d *schemas.Decision) { d.Spec ^= 1 }) }, "different", "source partition P offset O: spec"},
	{"an outcome: unscored", func(f *forger) {
		f.decision(func(d *schemas.Decision) {
			d.Verdict, d.Features = schemas.Verdict{Outcome: schemas.Unscored, Reason: schemas.NoRate}, nil
		})
	}, "different", "source partition P offset O: outcome"},
	{"an outcome: rejected", func(f *forger) {
		f.decision(func(d *schemas.Decision) {
			*d = schemas.Decision{Place: d.Place, Verdict: schemas.Verdict{Outcome: schemas.Rejected, Reason: schemas.BadJSON}, Tenant: d.Tenant, Spec: d.Spec, Engine: d.Engine}
		})
	}, "different", "source partition P offset O: outcome"},
	{"an outcome: the model failed", func(f *forger) {
		f.decision(func(d *schemas.Decision) {
			d.Verdict = schemas.Verdict{Outcome: schemas.Degraded, Reason: schemas.ModelFailed}
			d.Score, d.Prob, d.Rank, d.Threshold, d.ReviewProb, d.Bundle, d.Features = 0, 0, 0, 0, 0, 0, nil
		})
	}, "different", "source partition P offset O"},
	{"an action", func(f *forger) {
		f.decision(func(d *schemas.Decision) { d.Action = (d.Action + 1) % schemas.NumActions })
	}, "different", "source partition P offset O: action"},
	{"an amount", func(f *forger) { f.decision(func(d *schemas.Decision) { d.Tx.Amount ^= 1 }) }, "different", "source partition P offset O: transaction"},
	{"an amount, its base amount and the feature", func(f *forger) {
		f.decision(func(d *schemas.Decision) {
			d.Tx.Amount++
			d.Tx.AmountBase++
		})
	}, "different", "source partition P offset O"},
	{"a time", func(f *forger) { f.decision(func(d *schemas.Decision) { d.Tx.Time ^= 1 }) }, "different", "source partition P offset O"},
	{"a Kafka timestamp", func(f *forger) { f.decision(func(d *schemas.Decision) { d.Timestamp ^= 1 }) }, "different", "source partition P offset O: Kafka timestamp"},
	{"a text that no feature reads", func(f *forger) {
		f.decision(func(d *schemas.Decision) { d.Text[schemas.Country] = []byte("XX") })
	}, "different", "source partition P offset O: country"},
	{"a position: one ahead", func(f *forger) { f.decision(func(d *schemas.Decision) { d.Offset++ }) }, "", "offset O"},
	{"a position: another partition", func(f *forger) { f.decision(func(d *schemas.Decision) { d.Partition ^= 1 }) }, "", "partition P offset O"},
	{"a position: none there", func(f *forger) { f.decision(func(d *schemas.Decision) { d.Partition = 77 }) }, "different", "partition 77 offset O"},
	{"a predecessor", func(f *forger) { f.decision(func(d *schemas.Decision) { d.Prev-- }) }, "chain", "source partition P offset O"},
	{"a label is dropped", func(f *forger) { f.cut(f.find(schemas.EntryLabel)) }, "lost", "labels partition 0"},
	{"a label is another", func(f *forger) {
		k, i := f.find(schemas.EntryLabel)
		l := f.entry.Label
		l.Verdict = schemas.LabelFraud + schemas.LabelGenuine - l.Verdict
		f.batches[k].values[i] = schemas.AppendLabelEntry(nil, &l)
	}, "different", "labels partition 0"},
	{"a record of nonsense", func(f *forger) { f.middle().values[f.i] = []byte{0xff, 1, 2} }, "", "partition P offset O"},
	{"a fact: a source position", func(f *forger) { f.middle().facts.Sources[0].Offset++ }, "chain", "ledger partition 0 offset B"},
	{"a fact: a label position", func(f *forger) { f.middle().facts.Labels[0].Offset = -1 }, "chain", "ledger partition 0 offset B"},
	{"a fact: the bundle", func(f *forger) { f.middle().facts.Bundle[31] ^= 1 }, "different", "ledger partition 0 offset B"},
	{"a fact: the engine", func(f *forger) { f.middle().facts.Engine[31] ^= 1 }, "different", "ledger partition 0 offset B"},
	{"a fact: the anchor", func(f *forger) { f.loose, f.middle().facts.Anchor.Offset = true, f.middle().facts.Anchor.Offset+1 }, "chain", "ledger partition 0 offset B"},
	{"a fact: the alerts mark", func(f *forger) { f.middle().facts.AlertsMark = 1 << 40 }, "chain", "ledger partition 0 offset B"},
	{"a gap over what is there", func(f *forger) {
		if err := schemas.ParseEntry(f.middle().values[f.i], &f.entry); err != nil {
			f.t.Fatal(err)
		}
		d := &f.entry.Decision
		f.middle().values[f.i] = schemas.AppendGapEntry(nil, &schemas.Gap{Partition: d.Partition, From: d.Offset, To: d.Offset, By: []byte("me")})
	}, "lost", "source partition P offset O"},
}

// flip flips the last bit of a number.
func flip(x float32) float32 { return math.Float32frombits(math.Float32bits(x) ^ 1) }

// TestVerificationFindsEveryForgery rewrites a good ledger with one thing
// changed, the chain and the facts made to fit again unless they are what is
// changed, and sees that the change is found with its place.
func TestVerificationFindsEveryForgery(t *testing.T) {
	w := newWorld(t, "payments", 2)
	w.challenge()
	n := w.payments(briefly(1500, 400), 3, 2)
	w.runUntil(n, func(c *Config) { c.RowsMax = maxFindings - 2 }) // a lost batch is found whole
	w.verify()
	topic := w.topics.Decisions
	for number, c := range forgeries {
		w.topics.Decisions = topic
		f := &forger{t: t, batches: w.batches()}
		f.aim()
		if err := schemas.ParseEntry(f.middle().values[f.i], &f.entry); err != nil {
			t.Fatal(err)
		}
		p, o, b := f.entry.Decision.Partition, f.entry.Decision.Offset, f.middle().base
		c.forge(f)
		w.topics.Decisions = fmt.Sprintf("forged.%d", number)
		w.write(f)
		v := w.audit()
		want := strings.NewReplacer("P", fmt.Sprint(p), "O", fmt.Sprint(o), "B", fmt.Sprint(b)).Replace(c.want)
		found := slices.ContainsFunc(v.Report.First, func(f Finding) bool {
			return strings.Contains(f.String(), want) && (c.kind == "" || f.Kind == c.kind)
		})
		if v.Report.OK() || !found {
			t.Errorf("%s: OK is %v, want a finding of kind %q that says %q, got %v", c.name, v.Report.OK(), c.kind, want, v.Report.First)
		}
	}
}

// TestAFaithfulCopyVerifies shows that what the test above writes is found fault
// with for nothing but its forgery.
func TestAFaithfulCopyVerifies(t *testing.T) {
	w := newWorld(t, "payments", 2)
	n := w.payments(1500, 3, 2)
	w.runUntil(n, func(c *Config) { c.RowsMax = maxFindings - 2 }) // a lost batch is found whole
	f := &forger{t: t, batches: w.batches()}
	w.topics.Decisions = "copied"
	w.write(f)
	w.verify()
}

// aim finds a scored decision in the middle that is followed by another of its
// partition, and that is not far ahead of the other one: put there, it must leave
// room among the findings for its own.
func (f *forger) aim() {
	var next schemas.Entry
	var ends [2]int64 // of each partition, before the decision
	for f.k = range f.batches {
		values := f.batches[f.k].values
		for f.i = range values {
			if schemas.ParseEntry(values[f.i], &f.entry) != nil {
				f.t.Fatal("the ledger does not parse")
			}
			if f.entry.Kind != schemas.EntryDecision {
				continue
			}
			d := &f.entry.Decision
			ends[d.Partition] = d.Offset + 1
			if f.k < len(f.batches)/2 || f.i == 0 || f.i+1 == len(values) || d.Outcome != schemas.Scored || d.Offset > ends[d.Partition^1]+maxFindings/2 {
				continue
			}
			if schemas.ParseEntry(values[f.i+1], &next) != nil {
				f.t.Fatal("the ledger does not parse")
			}
			if next.Kind == schemas.EntryDecision && next.Decision.Partition == d.Partition {
				return
			}
		}
	}
	f.t.Fatal("no such decision")
}

// write writes the batches into the ledger's topic, with a chain and a number of
// records that fit.
func (w *world) write(f *forger) {
	w.t.Helper()
	if err := w.log.Ensure(w.t.Context(), []schemas.Layout{{Topic: w.topics.Decisions, Partitions: 1}}); err != nil {
		w.t.Fatal(err)
	}
	var at schemas.Anchor
	for k := range f.batches {
		b := &f.batches[k]
		facts := copyFacts(&b.facts)
		facts.Records = uint32(len(b.values))
		if !f.loose {
			facts.ID = schemas.BatchID{Writer: 7, Sequence: uint64(k + 1)}
			facts.Extends, facts.Anchor = at.Head, at
		}
		base := w.append(w.topics.Decisions, &facts, b.values)
		at = schemas.Anchor{Offset: base + int64(facts.Records), Head: facts.ID}
	}
}

// TestVerificationBesideAScorer verifies again and again while a node decides.
func TestVerificationBesideAScorer(t *testing.T) {
	w := newWorld(t, "payments", 2)
	n := w.payments(3000, 27, 2)
	r := w.start(func(c *Config) { c.RowsMax = 50 })
	r.until("begins", func(s Status) bool { return s.Counts.Decisions() > 0 })
	for done := false; !done; {
		done = r.node.Status().Counts.Decisions() >= n
		if v := w.verify(); v.Report.SourceRecords < n {
			t.Fatalf("%+v", v.Report)
		}
		if !done {
			w.sendAgain(3)
			n += 3
		}
	}
	r.stop()
}
