package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/weir-risk/weir/alerts/desk"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/history"
)

// openDeskHistory opens the history that a desk looks payments up in: the one that the
// flags name, or the one that is in the data folder; nil where there is neither. It
// needs not be reachable yet.
func openDeskHistory(ctx context.Context, e *env, h *historyFlags, data string) (history.Store, error) {
	if h.url == "" {
		if _, err := os.Stat(filepath.Join(data, "history.db")); err != nil {
			return nil, nil // the pages say so
		}
	}
	return h.open(ctx, e, data)
}

// withHistory gives a desk a history, if there is one.
func withHistory(o *desk.Options, store history.Store, sp *spec.Spec) {
	o.Sources = sp.Sources[:]
	if store != nil {
		o.History = store
	}
}
