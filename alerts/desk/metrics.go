package desk

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-risk/weir/alerts"
)

// Metrics are the desk's Prometheus metrics. Their names are stable:
//
//	weir_desk_alerts{state}                       alerts that are not closed: open, claimed, snoozed, escalated
//	weir_desk_late_alerts                         of these, how many have waited longer than --within
//	weir_desk_oldest_alert_timestamp_seconds      when the oldest of them that nobody put off was raised; 0 for none
//	weir_desk_lag{topic,partition}                records in the log that the pages do not show
//	weir_desk_requests_total{kind,code}           requests answered: pages, acts, api; by 2xx, 3xx, 4xx, 5xx
//	weir_desk_request_seconds{kind}               how long they took
//	weir_desk_logins_total{result}                let_in, refused, limited: too many from one address
//	weir_desk_audit_errors_total                  entries that the audit log did not take: what they are of is refused
//	weir_desk_webhook_pending{webhook}            deliveries that are still to be made
//	weir_desk_webhook_dead{webhook}               deliveries that were given up
//	weir_desk_webhook_attempts_total{result}      attempts to deliver: taken, failed
type Metrics struct {
	alerts, lag   *prometheus.GaugeVec
	late, oldest  prometheus.Gauge
	requests      *prometheus.CounterVec
	seconds       *prometheus.HistogramVec
	logins        *prometheus.CounterVec
	auditErrors   prometheus.Counter
	pending, dead *prometheus.GaugeVec
	attempts      *prometheus.CounterVec
}

// The kinds of requests.
const (
	kindPage = "page"
	kindAct  = "act" // a form
	kindAPI  = "api"
)

// NewMetrics registers the metrics with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "weir_desk_" + name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "weir_desk_" + name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_desk_" + name, Help: help}, labels)
	}
	m := &Metrics{
		alerts:   gauges("alerts", "Alerts that are not closed.", "state"),
		late:     gauge("late_alerts", "Alerts that have waited longer than they may."),
		oldest:   gauge("oldest_alert_timestamp_seconds", "When the oldest alert was raised that is not closed nor put off; 0 for none."),
		lag:      gauges("lag", "Records in the log that the pages do not show.", "topic", "partition"),
		requests: counters("requests_total", "Requests answered.", "kind", "code"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "weir_desk_request_seconds", Help: "How long a request took.",
			Buckets: prometheus.ExponentialBuckets(1e-3, 2, 14), NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160}, []string{"kind"}),
		logins:      counters("logins_total", "Log-ins that were tried.", "result"),
		auditErrors: prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_desk_audit_errors_total", Help: "Entries that the audit log did not take."}),
		pending:     gauges("webhook_pending", "Deliveries that are still to be made.", "webhook"),
		dead:        gauges("webhook_dead", "Deliveries that were given up.", "webhook"),
		attempts:    counters("webhook_attempts_total", "Attempts to deliver.", "result"),
	}
	r.MustRegister(m.alerts, m.late, m.oldest, m.lag, m.requests, m.seconds, m.logins, m.auditErrors, m.pending, m.dead, m.attempts)
	m.figures(alerts.Figures{}, 0)
	for _, kind := range []string{kindPage, kindAct, kindAPI} {
		for _, code := range []string{"2xx", "3xx", "4xx", "5xx"} {
			m.requests.WithLabelValues(kind, code)
		}
		m.seconds.WithLabelValues(kind)
	}
	for _, result := range []string{"let_in", "refused", "limited"} {
		m.logins.WithLabelValues(result)
	}
	for _, result := range []string{"taken", "failed"} {
		m.attempts.WithLabelValues(result)
	}
	return m
}

// figures says how much there is to do.
func (m *Metrics) figures(f alerts.Figures, late int64) {
	for state, n := range map[string]int64{"open": f.Open, "claimed": f.Claimed, "snoozed": f.Snoozed, "escalated": f.Escalated} {
		m.alerts.WithLabelValues(state).Set(float64(n))
	}
	m.late.Set(float64(late))
	m.oldest.Set(float64(f.OldestOpen) / 1000)
}

// answered counts a request; files, and streams that last for hours, are none.
func (m *Metrics) answered(r *http.Request, rt *route, status int, took time.Duration) {
	kind := kindPage
	switch {
	case rt.passive || rt.file:
		return
	case isAPI(r):
		kind = kindAPI
	case r.Method == http.MethodPost:
		kind = kindAct
	}
	m.requests.WithLabelValues(kind, strconv.Itoa(max(2, status/100))+"xx").Inc()
	m.seconds.WithLabelValues(kind).Observe(took.Seconds())
}

// measureEvery is how often the desk counts what it has to do.
const measureEvery = 5 * time.Second

// Measure keeps the gauges of the desk true until the context ends.
func (s *Server) Measure(ctx context.Context) error {
	for {
		if err := s.measure(ctx); err != nil && ctx.Err() == nil {
			s.options.Log.Warn("desk not measured; tried again", "cause", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(measureEvery):
		}
	}
}

// measure counts once.
func (s *Server) measure(ctx context.Context) error {
	m, now := s.options.Metrics, s.options.Now().UnixMilli()
	o, err := s.options.View.Overview(ctx, now, 1)
	if err != nil {
		return err
	}
	m.figures(o.Figures, o.Late)
	hooks, err := s.options.Accounts.webhooks(ctx, 0)
	if err != nil {
		return err
	}
	m.pending.Reset() // of a webhook that was deleted nothing is left
	m.dead.Reset()
	for _, h := range hooks {
		id := strconv.FormatInt(h.ID, 10)
		m.pending.WithLabelValues(id).Set(float64(h.Pending))
		m.dead.WithLabelValues(id).Set(float64(h.Dead))
	}
	lag, err := s.options.Desk.Lag(ctx)
	for place, n := range lag {
		m.lag.WithLabelValues(place.Topic, strconv.Itoa(int(place.Partition))).Set(float64(n))
	}
	return err
}

// tried counts attempts to deliver.
func (m *Metrics) tried(list []attempt) {
	for _, t := range list {
		result := "taken"
		if t.failure != "" {
			result = "failed"
		}
		m.attempts.WithLabelValues(result).Inc()
	}
}

// MetricValues are the values that labels may have of metrics that are not there from
// the start, as ingest.MetricValues has them.
func MetricValues() map[string]map[string][]string {
	topics := []string{alerts.PlaceAlerts, alerts.PlaceDispositions}
	return map[string]map[string][]string{"weir_desk_lag": {"topic": topics}}
}
