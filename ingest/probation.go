package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// The bounds of a champion on probation. A share of alerts between half and twice of
// what the held-out days promised is as it should be. Beyond that a sequential test
// adds up evidence, transaction by transaction, and one of independent transactions
// that is within the bounds passes evidenceMax with a probability below 1e-6 in a
// window, on either side, however often it is looked at: by Ville's inequality.
const (
	probationWindow = 50_000             // transactions after which counting begins anew
	promiseMax      = 3                  // times the previous champion's promise; what is promised beyond is not believed
	evidenceMax     = 13.815510557964274 // ln 1e6
)

// A probation counts, after a swap, what the new champion and the one before it
// would alert on of the same transactions. The owner's loop uses it.
type probation struct {
	bundles  [numSlots]*scoring.Bundle // the previous champion in the challenger's place
	promised [numSlots]float64
	rows     int
	alerts   [numSlots]int
	said     bool // of this window
}

// A finding is what a probation came to.
type finding uint8

const (
	nothing finding = iota
	guilty          // the champion left its bounds and the previous one did not
	drifted         // both left them
)

// on begins a probation of these bundles, where it is not the one that goes on.
func (p *probation) on(now, before *scoring.Bundle) {
	if p.bundles == [numSlots]*scoring.Bundle{now, before} {
		return
	}
	*p = probation{bundles: [numSlots]*scoring.Bundle{now, before}}
	p.promised = [numSlots]float64{promise(now), promise(before)}
	if a, b := p.promised[champion], p.promised[challenger]; b == 0 {
		p.promised[challenger] = a
	} else if a == 0 || a > promiseMax*b {
		p.promised[champion] = promiseMax * b
	}
}

// promise returns the share of the held-out transactions that a bundle's training
// sent to review; 0 where the bundle does not say.
func promise(b *scoring.Bundle) float64 {
	var facts struct {
		Held struct{ Rows, Reviewed float64 } `json:"held_out"`
	}
	if json.Unmarshal(b.Facts, &facts) != nil || !(facts.Held.Rows > 0) {
		return 0
	}
	return min(max(facts.Held.Reviewed, 1)/facts.Held.Rows, 1)
}

// count takes in the transactions of a step that both scored, and says what it
// comes to so far.
func (p *probation) count(rows *schemas.Batch, scores *[numSlots][]float32) finding {
	if p.rows >= probationWindow {
		p.rows, p.alerts, p.said = 0, [numSlots]int{}, false
	}
	for i := range rows.Verdict {
		if rows.Verdict[i].Outcome != schemas.Scored {
			continue
		}
		p.rows++
		for k, b := range p.bundles {
			// Exploration is no alert: it is the same under any model.
			r := b.Decide(scores[k][i], rows.Tx[i].AmountBase, nil)
			if r.Rank >= r.Threshold {
				p.alerts[k]++
			}
		}
	}
	return p.find()
}

// find says what was counted comes to, once in a window.
func (p *probation) find() finding {
	now, before := p.evidence(champion), p.evidence(challenger)
	switch {
	case p.said || now < evidenceMax:
		return nothing
	case before >= evidenceMax:
		p.said = true
		return drifted
	case before <= 0:
		p.said = true
		return guilty
	}
	return nothing // it is not clear yet whether the previous one moved too
}

// evidence returns the larger of the logarithms of two likelihood ratios: of four
// times the promised share against twice, and of a quarter against half.
func (p *probation) evidence(k slot) float64 {
	hit, miss, share := float64(p.alerts[k]), float64(p.rows-p.alerts[k]), p.promised[k]
	ratio := func(null, other float64) float64 {
		if null <= 0 || null >= .9 {
			return 0 // more than nearly all, or less than nothing, is not to be had
		}
		return hit*math.Log(other/null) + miss*math.Log((1-other)/(1-null))
	}
	return max(ratio(2*share, min(4*share, .99)), ratio(share/2, share/4))
}

func (p *probation) String() string {
	share := func(k slot) float64 { return 100 * float64(p.alerts[k]) / float64(p.rows) }
	return fmt.Sprintf("of %d transactions it alerts on %.3g %%, promised %.3g %%; the champion before it on %.3g %%, promised %.3g %%",
		p.rows, share(champion), 100*p.promised[champion], share(challenger), 100*p.promised[challenger])
}

// A sentence is a roll-back that is due: of the champion to the one before it.
type sentence struct {
	of, to [32]byte
	why    string
}

// tryChampion has a step's scores looked at while the previous champion shadows.
func (o *owner) tryChampion() {
	d, n := o.decider, o.node
	now, before := d.serves[champion].bundle, d.serves[challenger].bundle
	if now == nil || before == nil || !d.serves[challenger].past {
		return
	}
	p := &o.trial
	if p.on(now, before); p.promised[champion] == 0 {
		return // neither says what it promised
	}
	found := p.count(&o.work.rows, &d.scores)
	if p.rows > 0 {
		for k := range numSlots {
			n.Metrics.WatchShare.WithLabelValues(watched[k]).Set(float64(p.alerts[k]) / float64(p.rows))
		}
	}
	switch found {
	case drifted:
		n.Metrics.WatchAlarms.WithLabelValues("drift").Inc()
		n.Log.Error("alerts left the bounds under the champion and under the one before it: drift or an attack, not rolled back", "bundle", hex32(now.Hash), "seen", p.String())
	case guilty:
		n.mu.Lock()
		n.due = &sentence{now.Hash, before.Hash, p.String()}
		n.mu.Unlock()
	}
}

// rollBack carries out a roll-back that is due: one signed record of models, which
// every node follows. Without a key it is an alarm.
func (n *Node) rollBack(ctx context.Context, m *Models) {
	n.mu.Lock()
	due := n.due
	n.due = nil
	n.mu.Unlock()
	switch {
	case due == nil || m.Champion() != due.of || !n.Status().Owner:
		return // nothing to do, or others did something already
	case len(n.RollbackKey) == 0:
		n.Metrics.WatchAlarms.WithLabelValues("no_key").Inc()
		n.Log.Error("the champion left the bounds and the one before it did not; it is not rolled back: there is no key to sign that with", "bundle", hex32(due.of), "seen", due.why)
		return
	}
	now := n.Now()
	s := m.After(champion.String())
	// Without Previous nobody is on probation next, and nothing goes to and fro.
	s.Bundle, s.Previous = hex32(due.to), ""
	s.By, s.Reason = "weir score", fmt.Sprintf("rolled back from %.8x: %s", due.of, due.why)
	err := m.Point(ctx, champion.String(), s, n.RollbackKey, now)
	switch {
	case err == nil:
		n.Metrics.Rollbacks.Inc()
		n.Log.Error("champion rolled back", "bundle", hex32(due.of), "to", hex32(due.to), "seen", due.why)
	case RefusalName(err) != "error": // others were faster, or nobody trusts the key
		n.Log.Error("champion not rolled back", "bundle", hex32(due.of), "cause", err)
	default:
		n.retried(err)
		n.mu.Lock()
		n.due = due
		n.mu.Unlock()
		return
	}
	n.fill(ctx, m)
}

// predecessor returns the bundle that was champion before this one while it is on
// probation; zero is none.
func (n *Node) predecessor(m *Models) (hash [32]byte) {
	s := m.Slots[champion.String()]
	if age := n.Now().Sub(time.UnixMilli(s.Time)); s.Time == 0 || s.Previous == s.Bundle || age >= n.WatchFor {
		return hash
	}
	return parseHash(s.Previous)
}
