package main

import (
	"context"
	"path/filepath"
	"time"

	"github.com/weir-risk/weir/alerts"
)

// trail opens who saw and did what, a fold of its own in the data folder, and what
// follows the topics into it. The caller closes it when that has ended.
func (s *service) trail(ctx context.Context) (*alerts.Trail, role, error) {
	t, err := alerts.OpenTrail(ctx, filepath.Join(s.flags.data, "audit-view.db"))
	c := alerts.Config{Log: s.log, Now: time.Now, After: time.After, Topics: s.topics}
	return t, role{"", func(ctx context.Context) error { return t.Follow(ctx, s.client, c) }}, err
}
