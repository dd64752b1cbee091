package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/pprof"
	"sync"
	"time"

	"os"

	"github.com/weir-risk/weir/schemas"
)

// restart is the process of weir bench restart: a node that says how far it is when, once
// until source records are decided, and goes on until it is killed.
func (r *benchWork) restart(ctx context.Context, e *env) error {
	since := time.Unix(0, r.since)
	t := startTimes{Process: time.Since(since).Seconds()}
	var profile *os.File
	if r.profile != "" {
		var err error
		if profile, err = os.Create(r.profile); err == nil {
			err = pprof.StartCPUProfile(profile)
		}
		if err != nil {
			return fmt.Errorf("write the profile: %w", err)
		}
	}
	b, err := r.readBundle()
	if err != nil {
		return err
	}
	scorer, _, err := benchScorer(ctx, e, r.device, b)
	if err != nil {
		return err
	}
	var once sync.Once
	n, err := benchNode(e, r.client, r.kafka.topics(), r.spec, r.codec, b, scorer, func(places []schemas.Place, _ []schemas.Verdict) {
		if places[len(places)-1].Offset < r.until-1 {
			return
		}
		once.Do(func() {
			t.Decision = time.Since(since).Seconds()
			u := usageNow()
			t.CPU, t.RSS = u.CPUSeconds, u.RSS
			if profile != nil {
				pprof.StopCPUProfile()
				_ = profile.Close() // a profile that is cut off shows itself
			}
			line, _ := json.Marshal(t) // numbers always can be
			e.printf("%s\n", line)
		})
	})
	if err != nil {
		return err
	}
	n.SnapshotDir, n.Group = r.data, n.Group+"-"+r.group
	n.Log = slog.New(&stages{Handler: n.Log.Handler(), reached: func(message string) {
		now := time.Since(since).Seconds()
		switch message {
		case "snapshot read":
			t.Snapshot = now
		case "ledger folded":
			t.Folded = now
		case "decides":
			t.Owner = now
		}
	}})
	return n.Run(ctx)
}

// stages tells of each message of a log, whatever its level.
type stages struct {
	slog.Handler
	reached func(message string)
}

// Enabled implements [slog.Handler].
func (*stages) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements [slog.Handler].
func (s *stages) Handle(ctx context.Context, r slog.Record) error {
	s.reached(r.Message)
	if !s.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return s.Handler.Handle(ctx, r)
}
