package ingest

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
)

// reasonsMax is how many groups of features an alert names: an analyst reads no
// more at a glance.
const reasonsMax = 3

// explainers give the reasons of alerts: a pure function of a decision, the
// bundle that made it, whichever decides now, and whether they are quick. The
// follower's goroutine uses them.
type explainers struct {
	node  *Node
	known []explainer // of the bundles that decided last, newest first

	spare time.Duration // that comparing in full may take
	at    time.Time     // when that was said

	list  []schemas.AlertReason
	words [][]byte
	line  []byte // what list holds; where it grows, what was cut from it stays as it was
}

// explainersMax bounds the explainers that are kept. Alerts that wait for
// publication were decided by the champion or the one before it.
const explainersMax = 4

// Alerts are compared with the whole background, which takes some 11 ms each by the
// network that the trainer fits, for as long as that takes no more than reasonsShare
// of the processors, which is 50 a second on twelve of them; a machine that was quiet
// has reasonsBurst in hand. Beyond that, as in an attack, and while transactions wait to
// be decided, reasons are quick: they may not take from scoring what it needs.
const (
	reasonsShare = 0.05
	reasonsBurst = time.Second
)

// quick tells whether the next alert gets quick reasons; behind says that others
// wait, for it or to be decided.
func (e *explainers) quick(behind bool) bool {
	now := e.node.Now()
	if e.at.IsZero() {
		e.at, e.spare = now, reasonsBurst
	}
	earned := time.Duration(float64(max(now.Sub(e.at), 0)) * reasonsShare * float64(runtime.GOMAXPROCS(0))) // a clock may be set back
	e.at, e.spare = now, min(e.spare+earned, reasonsBurst)
	if behind || e.spare <= 0 {
		e.node.Metrics.Quick.Inc()
		return true
	}
	return false
}

// spend takes the time since quick was asked from what reasons may take.
func (e *explainers) spend() { e.spare -= max(e.node.Now().Sub(e.at), 0) }

// An explainer is of one bundle.
type explainer struct {
	bundle uint64 // prefix of its hash
	*scoring.Explainer
	words []scoring.Words // of each feature
}

// reasons returns why a decision calls for an alert, nil where rules decided or
// the bundle cannot say, and whether they are quick; behind says that others wait,
// for it or to be decided. They are good until the next call.
func (e *explainers) reasons(ctx context.Context, d *schemas.Decision, behind bool) (list []schemas.AlertReason, quick bool) {
	if d.Bundle == 0 || len(d.Features) == 0 {
		return nil, false
	}
	x := e.of(ctx, d.Bundle)
	if x.Explainer == nil {
		return nil, false
	}
	quick = e.quick(behind)
	found, err := x.Explain(d.Features, reasonsMax, quick)
	if err != nil {
		return nil, false // of another width: no bundle of this spec
	}
	if !quick {
		e.spend()
	}
	e.list, e.words, e.line = e.list[:0], e.words[:0], e.line[:0]
	for _, r := range found {
		at := len(e.line)
		e.line = append(e.line, r.Group...)
		group := e.line[at:]
		from := len(e.words)
		for _, u := range r.Features {
			at := len(e.line)
			e.line = x.words[u.Feature].Append(e.line, u)
			e.words = append(e.words, e.line[at:])
		}
		e.list = append(e.list, schemas.AlertReason{Group: group, Logit: r.Logit, Words: e.words[from:len(e.words):len(e.words)]})
	}
	return e.list, quick
}

// of returns the explainer of a bundle.
func (e *explainers) of(ctx context.Context, bundle uint64) *explainer {
	for i := range e.known {
		if e.known[i].bundle == bundle {
			return &e.known[i]
		}
	}
	x := explainer{bundle: bundle}
	b, err := e.node.lookUp(ctx, bundle)
	if err == nil {
		newScorer := func(m *scoring.Model) (scoring.Scorer, error) { return cpu.New(m) }
		x.Explainer, err = scoring.NewExplainer(b, newScorer, texts(e.node.Spec))
	}
	if err != nil {
		// The alert matters more than its reasons.
		e.node.Log.Warn("alerts go without reasons", "bundle", fmt.Sprintf("%016x", bundle), "cause", err)
	}
	for i := range e.node.Spec.Features {
		x.words = append(x.words, scoring.NewWords(e.node.Spec.Features[i].Text))
	}
	e.known = append([]explainer{x}, e.known[:min(len(e.known), explainersMax-1)]...)
	return &e.known[0]
}

// texts is what reasons say of a spec's features.
func texts(s *spec.Spec) []scoring.FeatureText {
	list := make([]scoring.FeatureText, len(s.Features))
	for i := range list {
		list[i] = scoring.FeatureText{Group: s.Features[i].Group, Text: s.Features[i].Text}
	}
	return list
}

// lookUp finds a bundle by the prefix of its hash: one that serves, or one that
// models holds.
func (n *Node) lookUp(ctx context.Context, prefix uint64) (*scoring.Bundle, error) {
	for _, s := range n.serves() {
		if s.bundle != nil && s.bundle.Prefix() == prefix {
			return s.bundle, nil
		}
	}
	m := NewModels(n.log, n.Topics, n.trust)
	if err := m.Read(ctx); err != nil {
		return nil, fmt.Errorf("read the models: %w", err)
	}
	for _, hash := range m.Bundles() {
		if schemas.HashPrefix(hash) == prefix {
			b, _, err := m.Open(ctx, hash, n.Spec.Hash)
			return b, err
		}
	}
	return nil, ErrNoBundle
}
