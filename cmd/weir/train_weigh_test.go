package main

import (
	"crypto/ed25519"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/trainer"
)

// explored is the share of what is not alerted on that is reviewed all the same.
const explored = 0.3

// An unseenWorld is one whose frauds come to light only when somebody looks. The
// champion alerts on the first column; as many frauds show in the second, of which
// it knows nothing.
func (p *past) unseenWorld(r *rand.Rand, n int, selective bool) {
	for i := range n {
		x := make([]float32, len(p.spec.Features))
		for k := range x {
			x[k] = float32(r.NormFloat64())
		}
		fraud := r.Float64() < 1/(1+math.Exp(5-2*float64(max(x[0], x[1]))))
		at, id := pastStart+int64(i)*60*dayMs/int64(n), fmt.Sprintf("t%d", i)
		d := schemas.Decision{Place: schemas.Place{Offset: int64(i), Prev: int64(i) - 1, Timestamp: at}, Tx: schemas.Transaction{Time: at, Amount: 1000, AmountBase: 1000},
			Features: x, Spec: schemas.HashPrefix(p.spec.Hash), Bundle: 5, Score: 0.5, Prob: 0.5, ReviewProb: explored}
		if x[0] > 1.2 {
			d.ReviewProb = 1
		}
		d.Text[schemas.ID], d.Text[schemas.Customer] = []byte(id), fmt.Appendf(nil, "c%d", r.IntN(2000))
		p.decisions = append(p.decisions, d)
		l := schemas.Label{TxID: []byte(id), Source: schemas.Analyst, Version: 1, Verdict: schemas.LabelGenuine, KnownAt: at + dayMs, Selected: []byte("alert"), SelectedProb: d.ReviewProb}
		if fraud {
			l.Verdict = schemas.LabelFraud
		}
		if d.ReviewProb < 1 {
			l.Selected = []byte("exploration")
		}
		if r.Float64() < float64(d.ReviewProb) {
			p.labels = append(p.labels, l)
		}
		if fraud && !selective {
			l.Source, l.Selected, l.SelectedProb = schemas.Chargeback, nil, 0
			p.labels = append(p.labels, l)
		}
	}
}

func unseen(t *testing.T, seed uint64, n int, selective bool) *past {
	s, _ := spec.Builtin("handbook")
	p := &past{t: t, spec: s}
	p.unseenWorld(rand.New(rand.NewPCG(seed, 0)), n, selective)
	return p
}

// TestWeighingSeesWhatNobodyLookedAt learns from a world where frauds come to light
// only by review. What a model expects is held against what happens in a world of
// other chances, of all transactions: a random sample. Weighed it is right; where what
// nobody looked at counts as genuine, it is not.
func TestWeighingSeesWhatNobodyLookedAt(t *testing.T) {
	notForRace(t)
	const seed, n = 7, 20_000
	t.Logf("seed %d", seed)
	t.Chdir(t.TempDir())
	unseen(t, seed, n, true).write("history.db")
	fresh := unseen(t, seed+1, n, false)
	fraud := make(map[string]bool)
	for i := range fresh.labels {
		fraud[string(fresh.labels[i].TxID)] = fraud[string(fresh.labels[i].TxID)] || fresh.labels[i].Verdict == schemas.LabelFraud
	}
	sample := trainer.NewDataset(fresh.spec.FeatureNames())
	for i := range fresh.decisions {
		d := &fresh.decisions[i]
		sample.Add(d.Features, fraud[string(d.Text[schemas.ID])], d.Tx.Time, d.Tx.AmountBase)
	}
	p := &past{t: t, spec: fresh.spec}
	// What is expected over what happens, where the champion does not alert.
	below := func(weigh string) (ratio, ap float64, rep trainReport) {
		data, rep := p.learn("history.db", 60, "--weigh", weigh, "--iterations", "30")
		key, err := trainer.LoadKey("sign.key")
		if err != nil {
			t.Fatal(err)
		}
		b, err := scoring.ReadBundle([]byte(data), []ed25519.PublicKey{key.Public().(ed25519.PublicKey)})
		if err != nil {
			t.Fatal(err)
		}
		j, err := trainer.JudgeBundle("", b, sample)
		if err != nil {
			t.Fatal(err)
		}
		expected, seen := 0.0, 0.0
		for i, prob := range j.Prob {
			if fresh.decisions[i].ReviewProb < 1 {
				expected, seen = expected+float64(prob), seen+float64(sample.Y[i])
			}
		}
		return expected / seen, trainer.AveragePrecision(j.Prob, sample.Y), rep
	}
	weighed, best, on := below("on")
	naive, less, off := below("off")
	auto, _, is := below("auto")
	t.Logf("expected over seen below the threshold: weighed %.2f, not weighed %.2f; average precision of the sample %.3f, %.3f", weighed, naive, best, less)
	if math.Abs(weighed-1) > 0.35 || naive > 0.6 || auto != weighed {
		t.Errorf("expected over seen: weighed %.2f, not weighed %.2f, left to choose %.2f", weighed, naive, auto)
	}
	if !on.History.Weighed || !is.History.Weighed || off.History.Weighed || on.History.Unseen < n/2 || off.History.Unseen != 0 {
		t.Errorf("weighed %+v, not weighed %+v, left to choose %+v", on.History, off.History, is.History)
	}
}

// TestWhatComesToLightIsNotWeighed has chargebacks for all frauds: all that is there is
// learnt from, unless somebody says otherwise; and then the frauds that came by
// themselves count once.
func TestWhatComesToLightIsNotWeighed(t *testing.T) {
	notForRace(t)
	t.Chdir(t.TempDir())
	p := unseen(t, 3, 8000, false)
	p.write("history.db")
	_, auto := p.learn("history.db", 60)
	_, on := p.learn("history.db", 60, "--weigh", "on")
	if auto.History.Weighed || auto.History.Unseen != 0 || !on.History.Weighed || on.History.Frauds != auto.History.Frauds || on.History.Genuine+on.History.Unseen != auto.History.Genuine {
		t.Errorf("left to choose %+v, weighed %+v", auto.History, on.History)
	}
	call(t, "train", "--history", "history.db", "--weigh", "perhaps", "--key", "k", "--out", "m").fails(t, exitUsage, "auto, on or off")
}
