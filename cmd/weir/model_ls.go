package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/scoring"
)

// modelLine is one bundle of the topic, or one that a slot points at and that is
// not there.
type modelLine struct {
	Bundle     string `json:"bundle"`
	Name       string `json:"name,omitempty"`
	Spec       string `json:"spec,omitempty"`
	Champion   bool   `json:"champion"`
	Challenger bool   `json:"challenger"`
	Refused    string `json:"refused,omitempty"` // the name, as weir_models_refused_total has it
	Cause      string `json:"cause,omitempty"`
}

// modelSlot is what a slot says.
type modelSlot struct {
	Bundle   string  `json:"bundle"`
	By       string  `json:"by"`
	Reason   string  `json:"reason"`
	Previous string  `json:"previous,omitempty"`
	Share    float64 `json:"share,omitempty"` // of the cards that the challenger decides for
}

// modelRefusal is a record of the topic that is not taken.
type modelRefusal struct {
	Slot    string `json:"slot,omitempty"`
	Refused string `json:"refused"`
	Cause   string `json:"cause"`
}

// list prints the bundles of the topic, what serves, and what is refused: the same
// checks as a scorer's, by the spec that is given, or each by its own.
func (m *modelRun) list(ctx context.Context, e *env) error {
	if err := m.open(ctx, e, nil); err != nil {
		return err
	}
	lines := []modelLine{}
	for _, hash := range m.models.Bundles() {
		l, err := m.line(ctx, hash)
		if err != nil {
			return err
		}
		lines = append(lines, l)
	}
	slots := make(map[string]modelSlot)
	for _, name := range []string{championSlot, challengerSlot} {
		s, ok := m.models.Slots[name]
		if !ok {
			continue
		}
		slots[name] = modelSlot{s.Bundle, s.By, s.Reason, s.Previous, s.Share}
		if hash := m.models.Hash(name); s.Bundle != "" && !slices.ContainsFunc(lines, func(l modelLine) bool { return l.Bundle == s.Bundle }) {
			l, err := m.line(ctx, hash)
			if err != nil {
				return err
			}
			lines = append(lines, l)
		}
	}
	refused := []modelRefusal{}
	for _, r := range m.models.Refused {
		refused = append(refused, modelRefusal{r.Slot, ingest.RefusalName(r.Err), r.Err.Error()})
		fmt.Fprintf(e.stderr, "refused, %s: %v\n", ingest.RefusalName(r.Err), r.Err)
	}
	if !e.json {
		if err := printModels(e, lines, slots); err != nil {
			return err
		}
	}
	return e.report(map[string]any{"bundles": lines, "slots": slots, "refused": refused})
}

// line looks at one bundle.
func (m *modelRun) line(ctx context.Context, hash [32]byte) (modelLine, error) {
	l := modelLine{Bundle: hex.EncodeToString(hash[:]), Champion: hash == m.models.Hash(championSlot), Challenger: hash == m.models.Hash(challengerSlot)}
	var want [32]byte
	if m.spec != "" {
		s, err := loadSpec(m.spec)
		if err != nil {
			return l, err
		}
		want = s.Hash
	}
	data, err := m.models.File(ctx, hash)
	if err == nil {
		var b *scoring.Bundle
		if b, _, err = readAnyBundle(bundleFile{l.Bundle, data}); err == nil {
			l.Name, l.Spec = b.Name, b.Spec.Name
			if m.spec == "" {
				want = b.Spec.Hash
			}
		}
		_, _, err = m.models.Open(ctx, hash, want)
	}
	if errors.Is(err, ingest.ErrModelsAway) {
		return l, err
	}
	if err != nil {
		l.Refused, l.Cause = ingest.RefusalName(err), err.Error()
	}
	return l, ctx.Err()
}

func printModels(e *env, lines []modelLine, slots map[string]modelSlot) error {
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "BUNDLE\tNAME\tSPEC\tSTATE")
	for _, l := range lines {
		var state []string
		for _, k := range []struct {
			in   bool
			name string
		}{{l.Champion, championSlot}, {l.Challenger, challengerSlot}} {
			if s := slots[k.name]; k.in {
				what := k.name
				if s.Share > 0 {
					what += fmt.Sprintf(" of %g %% of cards", 100*s.Share)
				}
				state = append(state, fmt.Sprintf("%s, by %s: %s", what, s.By, s.Reason))
			}
		}
		if l.Refused != "" {
			state = append(state, fmt.Sprintf("refused, %s: %s", l.Refused, l.Cause))
		}
		fmt.Fprintf(w, "%.16s\t%s\t%s\t%s\n", l.Bundle, l.Name, l.Spec, strings.Join(state, "; "))
	}
	return w.Flush()
}
