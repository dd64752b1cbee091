package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/history"
)

// historyFlags say where the history is kept.
type historyFlags struct{ url, passwordFile, ca string }

func addHistory(fs *flag.FlagSet) *historyFlags {
	h := &historyFlags{}
	fs.StringVar(&h.url, "history", "", "`URL` of the history: clickhouse://[USER@]HOST:PORT/DATABASE, or a file of SQLite\n(history.db in the data folder if not given); ?secure=true speaks TLS")
	fs.StringVar(&h.url, "clickhouse", "", "`URL`, the same as --history")
	fs.StringVar(&h.passwordFile, "history-password-file", "", "`FILE` that holds ClickHouse's password; or the environment variable\n"+history.PasswordVariable)
	fs.StringVar(&h.ca, "history-ca", "", "PEM `FILE` of authorities to trust for TLS, besides the system's")
	return h
}

// open opens the history, which needs not be reachable yet.
func (h *historyFlags) open(ctx context.Context, e *env, data string) (history.Store, error) {
	return h.openAs(ctx, e, data, false)
}

// openAs does as open; later is as history.Options have it.
func (h *historyFlags) openAs(ctx context.Context, e *env, data string, later bool) (history.Store, error) {
	url := h.url
	if url == "" {
		if err := os.MkdirAll(data, 0o700); err != nil {
			return nil, fmt.Errorf("make the folder of the history: %w", err)
		}
		url = filepath.Join(data, "history.db")
	}
	password, _ := e.lookup(history.PasswordVariable)
	return history.Open(ctx, url, history.Options{Password: password, PasswordFile: h.passwordFile, Later: later, CAFile: h.ca})
}

// record makes the role of a recorder into an open store.
func (s *service) record(store history.Store) (role, *ingest.Recorder) {
	r := ingest.NewRecorder(s.client, store, ingest.RecorderConfig{Topics: s.topics, Now: time.Now, After: time.After, Log: s.log,
		Metrics: ingest.NewRecorderMetrics(s.registry), Trace: s.trace})
	tellReady(s.registry, roleRecord, func() bool { return r.Status().Ready })
	return role{"record", func(ctx context.Context) error {
		// A store that is away keeps only the history waiting: scoring goes on.
		for {
			applied, err := store.Migrate(ctx)
			if err == nil {
				for _, name := range applied {
					s.log.Info("history migrated", "migration", name)
				}
				return recordToTheEnd(ctx, r)
			}
			if ctx.Err() != nil {
				return nil
			}
			if history.Classify(err) == history.Stop {
				return err
			}
			s.log.Warn("history is away", "cause", err)
			if sleep(ctx, 2*time.Second) != nil {
				return nil
			}
		}
	}}, r
}

// recordMax is how long a stop waits for the history to have what was decided.
// What it does not have then, the next start writes.
const recordMax = 5 * time.Second

// recordToTheEnd runs a recorder until the context ends and the history has come
// to the end of the log, where that takes no longer than recordMax.
func recordToTheEnd(ctx context.Context, r *ingest.Recorder) error {
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- r.Run(inner) }() // ends with inner, and is waited for
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	// What the scorer decided last is in the log within moments, and a recorder
	// that has nothing to do looks for more five times a second.
	for stopped := time.Now(); time.Since(stopped) < recordMax; {
		_ = sleep(inner, 300*time.Millisecond)
		if st := r.Status(); st.Ready && st.Lag == 0 && time.Since(stopped) > 500*time.Millisecond {
			break
		}
	}
	stop()
	return <-ended
}

var recordCommand = &command{
	name: "record", summary: "write ledger, labels, alerts and dispositions into the history", json: true,
	about: `Follows the topics and writes them into ClickHouse, or a file of SQLite, in blocks
that a retry writes again as they were, so that nothing is there twice. While the
history is away it waits; the log keeps what comes. The schema is brought up to
date first. There should be one recorder a history. Where no broker answers at the start
it waits for one, alive and not ready; a wrong password, certificate or right ends it.`,
	examples: []string{
		"weir record --kafka 127.0.0.1:9092 --history clickhouse://127.0.0.1:9000/weir",
		"weir record --kafka 127.0.0.1:9092 --history weir.db",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		service, h, notes := addService(fs), addHistory(fs), addNotes(fs)
		return func(ctx context.Context, e *env, _ []string) error {
			s, err := service.open(ctx, e, 8, recordRights, roleRecord)
			if err != nil {
				return err
			}
			defer s.close()
			store, err := h.open(ctx, e, service.data)
			if err != nil {
				return err
			}
			defer store.Close()
			what, r := s.record(store)
			what.name = ""
			at, stop, err := service.serveMetrics(s.log, s.registry, func() (bool, any) {
				st := r.Status()
				return st.Ready, map[string]any{"ready": st.Ready, "reason": st.Reason, "ledger_offset": st.Position, "lag": st.Lag}
			})
			if err != nil {
				return err
			}
			defer stop()
			s.log.Info("serves metrics", "address", at)
			if err := together(ctx, what, s.watch(store, r, *notes), role{"", s.reloads.run}); err != nil {
				return err
			}
			st := r.Status()
			if !e.json {
				e.printf("recorded up to ledger offset %s, %s records behind\n", thousands(st.Position), thousands(st.Lag))
			}
			return e.report(map[string]any{"ledger_offset": st.Position, "lag": st.Lag})
		}
	},
}
