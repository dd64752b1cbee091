package ingest

import (
	"context"
	"fmt"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
)

// reasonsMax is how many groups of features an alert names: an analyst reads no
// more at a glance.
const reasonsMax = 3

// explainers give the reasons of alerts: a pure function of a decision, the
// bundle that made it, whichever decides now, and how many rows it is compared
// with. The follower's goroutine uses them.
type explainers struct {
	node  *Node
	known []explainer // of the bundles that decided last, newest first

	full, at float64 // alerts that may be compared in full now, and when that was said, in s

	list  []schemas.AlertReason
	words [][]byte
	line  []byte // what list holds; where it grows, what was cut from it stays as it was
}

// explainersMax bounds the explainers that are kept. Alerts that wait for
// publication were decided by the champion or the one before it.
const explainersMax = 4

// Alerts are compared with all rows of the background, which takes some 15 ms
// each, while they come no faster than a desk works through them; beyond that, as
// in an attack, with reasonRowsFew, which takes less than one: reasons may take a
// fifth of a processor from scoring, and no more.
const (
	reasonsPerSecond = 10
	reasonsBurst     = 50
	reasonRowsFew    = 1
)

// rows is how many rows of the background the next alert is compared with;
// behind says that others wait for it.
func (e *explainers) rows(behind bool) int {
	now := float64(e.node.Now().UnixMilli()) / 1000
	if e.at == 0 {
		e.at, e.full = now, reasonsBurst
	}
	e.full = min(e.full+max(now-e.at, 0)*reasonsPerSecond, reasonsBurst) // a clock may be set back
	e.at = now
	if behind || e.full < 1 {
		e.node.Metrics.Brief.Inc()
		return reasonRowsFew
	}
	e.full--
	return scoring.ReasonRows
}

// An explainer is of one bundle.
type explainer struct {
	bundle uint64 // prefix of its hash
	*scoring.Explainer
	words []scoring.Words // of each feature
}

// reasons returns why a decision calls for an alert, nil where rules decided or
// the bundle cannot say; behind says that others wait for it. They are good until
// the next call.
func (e *explainers) reasons(ctx context.Context, d *schemas.Decision, behind bool) []schemas.AlertReason {
	if d.Bundle == 0 || len(d.Features) == 0 {
		return nil
	}
	x := e.of(ctx, d.Bundle)
	if x.Explainer == nil {
		return nil
	}
	found, err := x.Explain(d.Features, reasonsMax, e.rows(behind))
	if err != nil {
		return nil // of another width: no bundle of this spec
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
	return e.list
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
