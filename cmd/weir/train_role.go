package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// trainRoleFlags are what weir train takes where it is a role.
type trainRoleFlags struct {
	every  time.Duration
	logger func(*env) (*slog.Logger, error)
	*monitorFlags
	fs *flag.FlagSet
}

func addTrainRole(fs *flag.FlagSet) *trainRoleFlags {
	f := &trainRoleFlags{logger: addLog(fs), fs: fs, monitorFlags: addMonitor(fs, "with --every, ")}
	fs.DurationVar(&f.every, "every", 0, "train at the start and then again after each such `TIME`, such as 24h, until Ctrl-C")
	return f
}

// given reports whether --every was given at all.
func (f *trainRoleFlags) given() (yes bool) {
	f.fs.Visit(func(g *flag.Flag) { yes = yes || g.Name == "every" })
	return yes
}

// everyMin keeps a role from doing nothing but train.
const everyMin = time.Second

// checkRole settles what a training needs so that it can be a role.
func (t *training) checkRole(every time.Duration) error {
	switch {
	case every < everyMin:
		return usagef("training every %v: %v or longer", every, everyMin)
	case t.past.history.url == "" || t.gate.kafka.brokers == "":
		return usagef("--every trains from --history URL and publishes to --kafka HOST:PORT")
	case t.past.asOf.set:
		return usagef("--every trains as of the newest decision, whenever that is; --as-of is of one run")
	}
	t.gate.exitCode = true // too few labels are no failure
	return nil
}

// serve trains again and again.
func (t *training) serve(ctx context.Context, e *env, args []string, f *trainRoleFlags) error {
	if err := t.checkRole(f.every); err != nil {
		return err
	}
	log, err := f.logger(e)
	if err != nil {
		return err
	}
	e.config.say(e, log)
	reg := newRegistry("")
	r := t.role(e, args, f.every, log, reg)
	at, stop, err := f.serveMetrics(log, reg, func() (bool, any) { return true, r.status() })
	if err != nil {
		return err
	}
	defer stop()
	log.Info("serves metrics", "address", at)
	reloads := newReloads(e, log)
	defer reloads.stop()
	if err := together(ctx, role{"", r.run}, role{"", reloads.run}); err != nil {
		return err
	}
	st := r.status()
	if !e.json {
		e.printf("trained %d times: %d published, %d not better, %d with too few labels, %d failed\n",
			st.Runs, st.Published, st.NotBetter, st.TooFew, st.Failed)
	}
	return e.report(st)
}

// role makes the role of a training that was checked.
func (t *training) role(e *env, args []string, every time.Duration, log *slog.Logger, reg prometheus.Registerer) *trainRole {
	tellReady(reg, roleTrain, func() bool { return true })
	// What a single training prints goes into the log, and its figures with it.
	quiet := &env{stdin: e.stdin, stdout: io.Discard, stderr: logWriter{log}, lookup: e.lookup}
	return &trainRole{
		every: every, log: log, metrics: newTrainMetrics(reg),
		once: func(ctx context.Context) (*trainReport, error) { return t.once(ctx, quiet, args) },
	}
}

// logWriter makes a line of the log of each line.
type logWriter struct{ log *slog.Logger }

func (w logWriter) Write(text []byte) (int, error) {
	for line := range bytes.Lines(text) {
		w.log.Info(string(bytes.TrimSpace(line)))
	}
	return len(text), nil
}

// A trainRole trains at its start, and then once in every period by the clock on the
// wall: a machine that slept trains when it wakes. A run that takes longer than the
// period is followed by the next at once.
type trainRole struct {
	every   time.Duration
	once    func(context.Context) (*trainReport, error)
	log     *slog.Logger
	metrics *trainMetrics

	mu sync.Mutex
	st trainStatus
}

// trainStatus is what the role says of itself at /readyz and at its end.
type trainStatus struct {
	Runs      int    `json:"runs"`
	Published int    `json:"published"`
	NotBetter int    `json:"not_better"`
	TooFew    int    `json:"too_few"`
	Failed    int    `json:"failed"`
	Last      string `json:"last,omitempty"` // what came of the last run
	At        string `json:"last_at,omitempty"`
	Next      string `json:"next_at,omitempty"`
}

func (r *trainRole) status() trainStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.st
}

func (r *trainRole) run(ctx context.Context) error {
	for next := time.Now().Round(0); ; {
		r.train(ctx)
		next = next.Add(r.every)
		if now := time.Now().Round(0); next.Before(now) {
			next = now
		}
		r.mu.Lock()
		r.st.Next = rfc3339(next.UnixMilli())
		r.mu.Unlock()
		if sleepUntil(ctx, next) != nil {
			return nil
		}
	}
}

// sleepUntil waits for a time of the wall's clock, which goes on while a machine
// sleeps, as timers do not.
func sleepUntil(ctx context.Context, at time.Time) error {
	for {
		left := at.Sub(time.Now().Round(0))
		if left <= 0 {
			return ctx.Err()
		}
		if err := sleep(ctx, min(left, time.Minute)); err != nil {
			return err
		}
	}
}

// train is one run. Whatever comes of it, the role goes on.
func (r *trainRole) train(ctx context.Context) {
	began := time.Now()
	rep, err := r.once(ctx)
	if ctx.Err() != nil {
		r.log.Info("training was stopped; nothing of it is published")
		return
	}
	took := time.Since(began)
	result := resultOf(rep, err)
	if err != nil {
		r.log.Error("training failed", "cause", err, "seconds", took.Seconds(), "next", r.every)
	} else {
		r.log.Info("trained", "result", result, "reason", rep.Reason, "bundle", rep.Bundle, "rows", rep.Rows, "unripe", rep.Unripe, "seconds", took.Seconds())
	}
	r.metrics.ended(result, took)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.st.Runs++
	r.st.Last, r.st.At = result, rfc3339(time.Now().UnixMilli())
	switch result {
	case trainPublished:
		r.st.Published++
	case trainNotBetter:
		r.st.NotBetter++
	case trainTooFew:
		r.st.TooFew++
	default:
		r.st.Failed++
	}
}

// What may come of a run, as metrics name it.
const (
	trainPublished = "published"
	trainNotBetter = "not_better"
	trainTooFew    = "too_few_labels"
	trainFailed    = "failed"
)

func resultOf(rep *trainReport, err error) string {
	switch {
	case err != nil:
		return trainFailed
	case rep.code == exitTooFew:
		return trainTooFew
	case rep.Published:
		return trainPublished
	}
	return trainNotBetter
}

// trainMetrics are what a trainer that is a role says of itself. Their names are stable:
//
//	weir_train_runs_total{result}                trainings that ended: published, not_better, too_few_labels, failed
//	weir_train_last_timestamp_seconds{result}    when the last one with a result ended; 0 where there was none
//	weir_train_last_duration_seconds             how long the last one took
type trainMetrics struct {
	runs    *prometheus.CounterVec
	at      *prometheus.GaugeVec
	seconds prometheus.Gauge
}

func newTrainMetrics(reg prometheus.Registerer) *trainMetrics {
	result := []string{"result"}
	m := &trainMetrics{
		runs:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_train_runs_total", Help: "Trainings that ended, by what came of them."}, result),
		at:      prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "weir_train_last_timestamp_seconds", Help: "When the last training with a result ended, Unix time; 0 where there was none. The newest is of the last one."}, result),
		seconds: prometheus.NewGauge(prometheus.GaugeOpts{Name: "weir_train_last_duration_seconds", Help: "How long the last training took."}),
	}
	for _, r := range []string{trainPublished, trainNotBetter, trainTooFew, trainFailed} {
		m.runs.WithLabelValues(r)
		m.at.WithLabelValues(r)
	}
	reg.MustRegister(m.runs, m.at, m.seconds)
	return m
}

func (m *trainMetrics) ended(result string, took time.Duration) {
	m.runs.WithLabelValues(result).Inc()
	m.at.WithLabelValues(result).SetToCurrentTime()
	m.seconds.Set(took.Seconds())
}
