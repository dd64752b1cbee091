package main

import (
	"context"

	"github.com/weir-risk/weir/alerts/desk"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/history"
)

// openDeskHistory opens the history that a desk looks payments up in: the one that the
// flags name, or the one in the data folder. It may appear, or answer, while the desk
// runs: until then the pages say so.
func openDeskHistory(ctx context.Context, e *env, h *historyFlags, data string) (history.Store, error) {
	return h.openAs(ctx, e, data, true)
}

// withHistory gives a desk a history, if there is one.
func withHistory(o *desk.Options, store history.Store, sp *spec.Spec) {
	o.Sources = sp.Sources[:]
	if store != nil {
		o.History = store
	}
}
