package ingest

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// halved is a back end that scores every second batch in float16 arithmetic, as far off
// as that may be, or a part of it.
type halved struct {
	scoring.Scorer
	bound *scoring.HalfBound
	part  float64
	calls int
}

func (s *halved) Half() bool { return s.calls%2 == 1 }

func (s *halved) Score(x scoring.Matrix, out []float32) error {
	err := s.Scorer.Score(x, out)
	if s.calls++; s.Half() {
		for i := range x.Rows {
			// Towards the middle, where there is room.
			out[i] -= float32(math.Copysign(s.part*s.bound.Of(x.Data[i*x.Cols:(i+1)*x.Cols]), float64(out[i])-.5))
		}
	}
	return err
}

// halfWorld decides a stream by a champion and a challenger that score in float16
// arithmetic every now and then, each off by a part of its bound. The challenger decides
// for a share of the cards.
func halfWorld(t *testing.T, ofChampion, ofChallenger float64, share float32) *world {
	w := newWorld(t, "payments", 2)
	w.challenge()
	n := w.payments(briefly(1200, 500), 11, 2)
	w.runNode(n, func(c *Config) { c.RowsMax = 40 }, func(_ context.Context, n *Node) {
		n.Use(w.bundle, &halved{w32(t, w.bundle.Model), scoring.NewHalfBound(w.bundle.Model), ofChampion, 0})
		rival := &halved{w32(t, w.shadow.Model), scoring.NewHalfBound(w.shadow.Model), ofChallenger, 1}
		n.serve(challenger, serving{bundle: w.shadow, scorer: rival, offset: -1, share: share})
	})
	return w
}

// TestFloat16DecisionsSaySo has champion and challenger score in float16 arithmetic by
// turns: each decision says which of its scores is, and no other; verification holds
// those to their bound and the rest to the bit, and counts them.
func TestFloat16DecisionsSaySo(t *testing.T) {
	for _, share := range []float32{0, .5} {
		saysSo(t, halfWorld(t, .9, .5, share), share)
	}
}

func saysSo(t *testing.T, w *world, share float32) {
	t.Helper()
	champion, rival, score := w32(t, w.bundle.Model), w32(t, w.shadow.Model), make([]float32, 1)
	var said [4]int
	rivals := 0
	for _, e := range w.entries() {
		d := &e.Decision
		if e.Kind != schemas.EntryDecision || d.Outcome != schemas.Scored {
			continue
		}
		said[d.Arithmetic]++
		decides, beside := champion, rival
		if d.Bundle == w.shadow.Prefix() {
			decides, beside = rival, champion
			rivals++
		}
		for _, c := range []struct {
			scoring.Scorer
			got  float32
			half bool
		}{{decides, d.Score, d.Arithmetic&schemas.Float16 != 0}, {beside, d.ChallengerScore, d.Arithmetic&schemas.ChallengerFloat16 != 0}} {
			w.must(c.Score(scoring.Matrix{Data: d.Features, Rows: 1, Cols: len(d.Features)}, score))
			if (c.got != score[0]) != c.half {
				t.Fatalf("offset %d, %v: a score of %g, in float32 %g", d.Offset, d.Arithmetic, c.got, score[0])
			}
		}
	}
	if said[schemas.Float16] < 100 || said[schemas.ChallengerFloat16] < 100 || (rivals > 100) != (share > 0) {
		t.Errorf("decisions by arithmetic: %v, by the challenger: %d", said, rivals)
	}
	r := w.verify().Report
	if r.Float16 != int64(said[1]+said[2]+2*said[3]) || r.Difference <= 0 || r.Difference > 1 {
		t.Errorf("%d scores of %v, off by %g at most", r.Float16, said, r.Difference)
	}
}

// TestFloat16BeyondItsBound has scores that no float16 arithmetic gives, and records of
// some that say more than they may.
func TestFloat16BeyondItsBound(t *testing.T) {
	for _, part := range [][2]float64{{1.2, 0}, {0, 1.2}} {
		r := halfWorld(t, part[0], part[1], 0).audit().Report
		if r.OK() || r.Different < 100 || !strings.Contains(r.First[0].What, "further apart than float16 arithmetic can be") {
			t.Errorf("off by %g: %+v", part, r)
		}
	}
	w := halfWorld(t, .5, .5, 0)
	topic := w.topics.Decisions
	for name, forge := range map[string]func(d *schemas.Decision){
		"probability: ":                      func(d *schemas.Decision) { d.Prob = flip(d.Prob) },
		"score: ":                            func(d *schemas.Decision) { d.Arithmetic &^= schemas.Float16 },
		"score: recorded NaN":                func(d *schemas.Decision) { d.Score = float32(math.NaN()) },
		"action: ":                           func(d *schemas.Decision) { d.Action = (d.Action + 1) % schemas.NumActions },
		"challenger's score: ":               func(d *schemas.Decision) { d.ChallengerScore = flip(d.ChallengerScore) },
		"feature " + w.spec.Features[3].Name: func(d *schemas.Decision) { d.Features[3] = flip(d.Features[3]) },
	} {
		w.topics.Decisions = topic
		f := &forger{t: t, batches: w.batches()}
		f.aimAt(func(d *schemas.Decision) bool { return d.Arithmetic == schemas.Float16 })
		f.decision(forge)
		w.topics.Decisions = "forged." + strings.ReplaceAll(strings.NewReplacer(": ", "", "'", "").Replace(name), " ", "_")
		w.write(f)
		if r := w.audit().Report; r.Different == 0 || !slices.ContainsFunc(r.First, func(f Finding) bool { return strings.Contains(f.What, name) }) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// TestFloat16IsRecomputed makes receipts of such decisions: they say by how much float16
// arithmetic may be off, and that what follows from the score has the recorded bits.
func TestFloat16IsRecomputed(t *testing.T) {
	w := halfWorld(t, .9, .9, .3)
	batches := w.batches()
	r := w.recomputer(w.past(batches))
	seen := 0
	for _, at := range scoredAt(t, batches, schemas.Scored)[:100] {
		checks, err := r.Decision(t.Context(), 0, at)
		if strings.Contains(equal(t, at, checks, err), "is of float16 arithmetic, which allows") {
			seen++
		}
	}
	if seen < 20 {
		t.Errorf("%d of 100 receipts speak of float16", seen)
	}
	beyond := halfWorld(t, 1.2, 0, 0)
	batches = beyond.batches()
	r, seen = beyond.recomputer(beyond.past(batches)), 0
	for _, at := range scoredAt(t, batches, schemas.Scored)[:50] {
		checks, err := r.Decision(t.Context(), 0, at)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range checks {
			if c.Result == Different && strings.Contains(c.Words, "further apart than float16") {
				seen++
			}
		}
	}
	if seen < 20 {
		t.Errorf("%d of 100 checks find scores that no float16 arithmetic gives", seen)
	}
}
