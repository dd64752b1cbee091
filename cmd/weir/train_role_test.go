package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-risk/weir/trainer"
)

// TestTrainRoleGoesOn has runs of all results follow one another, one of them longer
// than the period, and a stop in the midst of the last.
func TestTrainRoleGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		reg := prometheus.NewRegistry()
		var log bytes.Buffer
		r := &trainRole{every: 24 * time.Hour, log: slog.New(slog.NewTextHandler(&log, nil)), metrics: newTrainMetrics(reg)}
		runs := []struct {
			at, takes time.Duration // at is hours after the start
			rep       *trainReport
			err       error
		}{
			{at: 0, takes: time.Hour, rep: &trainReport{gateReport: gateReport{Published: true, Reason: "better"}}},
			{at: 24 * time.Hour, takes: time.Minute, err: errors.New("the history is away")},
			{at: 48 * time.Hour, takes: time.Minute, rep: &trainReport{gateReport: gateReport{Reason: "3 rows", code: exitTooFew}}},
			{at: 72 * time.Hour, takes: 30 * time.Hour, rep: &trainReport{gateReport: gateReport{Reason: "worse", code: exitNotBetter}}},
			{at: 102 * time.Hour, takes: time.Minute, rep: &trainReport{gateReport: gateReport{Published: true}}},
			{at: 126 * time.Hour, takes: time.Minute},
		}
		n := 0
		r.once = func(ctx context.Context) (*trainReport, error) {
			run := runs[n]
			if got := time.Since(began); got != run.at {
				t.Errorf("run %d begins after %v, want %v", n, got, run.at)
			}
			if n++; n == len(runs) {
				cancel()
				return nil, ctx.Err()
			}
			time.Sleep(run.takes)
			return run.rep, run.err
		}
		if err := r.run(ctx); err != nil || n != len(runs) {
			t.Errorf("%d runs, %v", n, err)
		}
		want := trainStatus{Runs: 5, Published: 2, NotBetter: 1, TooFew: 1, Failed: 1, Last: trainPublished}
		st := r.status()
		st.At, st.Next = "", ""
		if st != want {
			t.Errorf("%+v, want %+v", st, want)
		}
		if got := testutil.ToFloat64(r.metrics.runs.WithLabelValues(trainPublished)); got != 2 {
			t.Errorf("%v runs were published", got)
		}
		failed, last := testutil.ToFloat64(r.metrics.at.WithLabelValues(trainFailed)), testutil.ToFloat64(r.metrics.at.WithLabelValues(trainPublished))
		if failed != float64(began.Add(24*time.Hour+time.Minute).Unix()) || last <= failed || testutil.ToFloat64(r.metrics.seconds) != 60 {
			t.Errorf("the last failed at %v, the last was published at %v and took %v", failed, last, testutil.ToFloat64(r.metrics.seconds))
		}
		for _, words := range []string{"the history is away", "result=too_few_labels reason=\"3 rows\"", "was stopped"} {
			if !strings.Contains(log.String(), words) {
				t.Errorf("the log does not say %q:\n%s", words, &log)
			}
		}
	})
}

// roleUntil runs weir until its stdout or log has said a text so often, and returns
// what it said and its report.
func roleUntil(t *testing.T, text string, times int, args ...string) (said string, st trainStatus) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout bytes.Buffer
	log := &stopAt{text: text, times: times, stop: cancel}
	e := &env{stdin: strings.NewReader(""), stdout: &stdout, stderr: log, lookup: func(string) (string, bool) { return "", false }}
	if code := run(ctx, append(args, "--json", "--listen", "127.0.0.1:0"), e); code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, &stdout, log)
	}
	lastLine(t, stdout.String(), &st)
	return log.String(), st
}

// TestTrainEvery runs the role over a history: it publishes, says too few labels with
// their counts, and goes on where there is no history.
func TestTrainEvery(t *testing.T) {
	notForRace(t)
	w := newTrainWorld(t)
	said, st := roleUntil(t, "msg=trained", 2, append(w.args, "--iterations", "8", "--every", "1s")...)
	if st.Published != 1 || st.NotBetter != 1 || st.Failed != 0 || !strings.Contains(said, "it is the champion itself") {
		t.Errorf("%+v\n%s", st, said)
	}
	if w.slots(t).Champion() == [32]byte{} {
		t.Error("no champion is published")
	}
	said, st = roleUntil(t, "msg=trained", 1, append(w.args, "--ripe", "2d", "--days", "3", "--every", "24h")...)
	if st.TooFew != 1 || !strings.Contains(said, "frauds to ") || !strings.Contains(said, "younger than 2d are left out") {
		t.Errorf("%+v\n%s", st, said)
	}
	if said, st = roleUntil(t, "training failed", 2, append(w.args, "--history", "none.db", "--every", "1s")...); st.Failed != 2 {
		t.Errorf("%+v\n%s", st, said)
	}
	w.train("--every", "24h", "--as-of", "2026-01-01").fails(t, exitUsage, "--as-of")
	w.train("--every", "0s").fails(t, exitUsage, "1s or longer")
	call(t, "train", "--out", "x", "--labels", "l", "--every", "24h", "f").fails(t, exitUsage, "--history")
}

// TestUpTrains has weir up train from a history that is empty yet.
func TestUpTrains(t *testing.T) {
	notForRace(t)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout bytes.Buffer
	log := &stopAt{text: "msg=trained", times: 1, stop: cancel}
	e := &env{stdin: strings.NewReader(""), stdout: &stdout, stderr: log, lookup: func(string) (string, bool) { return "", false }}
	if code := run(ctx, []string{"up", "--data", dir, "--train-every", "24h", "--listen", "127.0.0.1:0", "--web", "127.0.0.1:0"}, e); code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, &stdout, log)
	}
	if !strings.Contains(log.String(), "result=too_few_labels") || !strings.Contains(log.String(), "has no decision") {
		t.Errorf("it said\n%s", log)
	}
	call(t, "up", "--data", dir, "--train-every", "24h", "--train-family", "forest").fails(t, exitUsage, "--train-every", "forest")
	if _, _, err := trainer.LoadOrMakeKey(filepath.Join(dir, "other.key")); err != nil {
		t.Fatal(err)
	}
	call(t, "up", "--data", dir, "--train-every", "24h", "--trust", filepath.Join(dir, "other.key.pub")).fails(t, exitFailed, "--trust", "does not hold")
}
