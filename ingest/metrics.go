package ingest

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
)

// Metrics are the scorer's Prometheus metrics. Their names are stable:
//
//	weir_decisions_total{outcome,reason}       durable decisions
//	weir_alerts_total                          alerts acknowledged
//	weir_reasons_quick_total                   those with quick reasons, since they came too fast
//	weir_dead_letters_total                    dead letters acknowledged
//	weir_malformed_total{topic}                labels and rates that could not be read
//	weir_labels_total                          labels that took effect
//	weir_step_seconds                          one step, decode aside
//	weir_decision_seconds                      from a record's Kafka timestamp to its durable decision
//	weir_step_records                          records in a step
//	weir_source_lag{partition}                 source records not yet fetched
//	weir_fold_position                         ledger offset up to which state is folded
//	weir_state_bytes, weir_state_entities      what the engine holds
//	weir_state_max_bytes                       what it must stay below; 0 is no bound
//	weir_snapshot_timestamp_seconds            when the newest snapshot was written; 0 before the first one
//	weir_snapshot_position                     ledger offset of the newest snapshot, of the node that decides
//	weir_snapshot_interval_records             ledger records from one snapshot to the next
//	weir_snapshot_pause_seconds                each time that the owner stood still for a snapshot: once
//	                                           to begin it, and once a step for the next parts
//	weir_snapshot_seconds                      from the begin of a snapshot's bytes to its file
//	weir_snapshot_bytes                        size of the newest snapshot's file
//	weir_snapshot_errors_total                 snapshots that could not be written
//	weir_retries_total                         requests to Kafka that were tried again
//	weir_corrections_total                     rebuilds because another writer's batch was taken first
//	weir_halted{reason}                        1 while the scorer refuses to go on; the reasons are in doc.go
//	weir_owner                                 1 while this node decides
//	weir_takeover_seconds                      from a shard's assignment by the group to the first durable decision, as
//	                                           far as that one had to wait for it
//	weir_model_info{slot,bundle}               1 for the bundle that decides, and for the challenger
//	weir_models_refused_total{slot,reason}     bundles and slots that were refused; the reasons are in refuse.go
//	weir_watch_alert_share{which}              while a new champion is watched: alerts by it, and by the previous
//	                                           one, of the same transactions
//	weir_watch_alarms_total{reason}            drift: both left the bounds; no_key: there is nothing to sign a
//	                                           roll-back with
//	weir_rollbacks_total                       champions that this node rolled back
//	weir_psi{feature}                          population stability index of a feature's last day (of event time)
//	                                           against the days that the champion was learnt from: above .25 is much;
//	                                           of no feature that moves by its nature, as the day of the week does
//	weir_score_psi                             the same of what the champion scores that day
//	weir_feature_missing_share{feature}        of that day's vectors, the share that lack the feature
//	weir_alert_rate                            of that day's scored transactions, the share alerted on; these four are
//	                                           of the node that decides, and not there before it has seen a day
type Metrics struct {
	decisions   [schemas.NumOutcomes][schemas.NumReasons]prometheus.Counter
	byOutcome   *prometheus.CounterVec
	Alerts      prometheus.Counter
	Quick       prometheus.Counter // alerts with quick reasons
	Dead        prometheus.Counter
	Malformed   *prometheus.CounterVec
	Labels      prometheus.Counter
	Step        prometheus.Histogram
	Decision    prometheus.Histogram
	Records     prometheus.Histogram
	Lag         *prometheus.GaugeVec
	Position    prometheus.Gauge
	StateBytes  prometheus.Gauge
	StateMax    prometheus.Gauge
	Entities    prometheus.Gauge
	Snapshot    prometheus.Gauge
	SnapAt      prometheus.Gauge
	SnapEvery   prometheus.Gauge
	SnapPause   prometheus.Histogram
	SnapWrite   prometheus.Histogram
	SnapBytes   prometheus.Gauge
	SnapErrors  prometheus.Counter
	Retries     prometheus.Counter
	Corrections prometheus.Counter
	Halted      *prometheus.GaugeVec
	Owner       prometheus.Gauge
	TakeOver    prometheus.Histogram
	Model       *prometheus.GaugeVec
	Refused     *prometheus.CounterVec
	WatchShare  *prometheus.GaugeVec
	WatchAlarms *prometheus.CounterVec
	Rollbacks   prometheus.Counter
	PSI         *prometheus.GaugeVec
	ScorePSI    *prometheus.GaugeVec
	Missing     *prometheus.GaugeVec
	AlertRate   *prometheus.GaugeVec
}

// NewMetrics registers the metrics with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
		r.MustRegister(g)
		return g
	}
	// One without a label is not there until it is set.
	gauges := func(name, help string, label ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, label)
		r.MustRegister(g)
		return g
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets,
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160})
		r.MustRegister(h)
		return h
	}
	seconds := prometheus.ExponentialBuckets(50e-6, 2, 20)
	m := &Metrics{
		byOutcome:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_decisions_total", Help: "Durable decisions."}, []string{"outcome", "reason"}),
		Malformed:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_malformed_total", Help: "Labels and rates that could not be read."}, []string{"topic"}),
		Alerts:      counter("weir_alerts_total", "Alerts acknowledged."),
		Quick:       counter("weir_reasons_quick_total", "Alerts with quick reasons, since they came too fast."),
		Dead:        counter("weir_dead_letters_total", "Dead letters acknowledged."),
		Labels:      counter("weir_labels_total", "Labels that took effect."),
		Step:        histogram("weir_step_seconds", "Time of one step.", seconds),
		Decision:    histogram("weir_decision_seconds", "From a record's Kafka timestamp to its durable decision.", seconds),
		Records:     histogram("weir_step_records", "Records in a step.", prometheus.ExponentialBuckets(1, 2, 14)),
		Lag:         gauges("weir_source_lag", "Source records not yet fetched.", "partition"),
		Position:    gauge("weir_fold_position", "Ledger offset up to which the state is folded."),
		StateBytes:  gauge("weir_state_bytes", "Bytes that the engine holds."),
		StateMax:    gauge("weir_state_max_bytes", "Bytes that the engine must stay below; 0 is no bound."),
		Entities:    gauge("weir_state_entities", "Entities that the engine holds."),
		Snapshot:    gauge("weir_snapshot_timestamp_seconds", "When the newest snapshot was written."),
		SnapAt:      gauge("weir_snapshot_position", "Ledger offset of the newest snapshot."),
		SnapEvery:   gauge("weir_snapshot_interval_records", "Ledger records from one snapshot to the next."),
		SnapPause:   histogram("weir_snapshot_pause_seconds", "Each time that the owner stood still for a snapshot, or a part of it.", prometheus.ExponentialBuckets(50e-6, 2, 20)),
		SnapWrite:   histogram("weir_snapshot_seconds", "From the begin of a snapshot's bytes to its file.", prometheus.ExponentialBuckets(1e-3, 2, 18)),
		SnapBytes:   gauge("weir_snapshot_bytes", "Size of the newest snapshot's file."),
		SnapErrors:  counter("weir_snapshot_errors_total", "Snapshots that could not be written."),
		Retries:     counter("weir_retries_total", "Requests to Kafka or to the schema registry that were tried again."),
		Corrections: counter("weir_corrections_total", "Rebuilds because another writer's batch was taken first."),
		Halted:      gauges("weir_halted", "1 while the scorer refuses to go on.", "reason"),
		WatchShare:  gauges("weir_watch_alert_share", "While a new champion is watched: its share of alerts, and the previous one's.", "which"),
		WatchAlarms: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_watch_alarms_total", Help: "Times that alerts left their bounds after a swap, not rolled back."}, []string{"reason"}),
		Rollbacks:   counter("weir_rollbacks_total", "Champions that this node rolled back."),
		PSI:         gauges("weir_psi", "Population stability index of a feature's last day against the champion's training.", "feature"),
		ScorePSI:    gauges("weir_score_psi", "Population stability index of the last day's scores against the champion's held-out ones."),
		Missing:     gauges("weir_feature_missing_share", "Share of the last day's vectors that lack a feature.", "feature"),
		AlertRate:   gauges("weir_alert_rate", "Share of the last day's scored transactions that were alerted on."),
		Owner:       gauge("weir_owner", "1 while this node decides."),
		TakeOver:    histogram("weir_takeover_seconds", "From a shard's assignment by the group to the first durable decision.", prometheus.ExponentialBuckets(1e-3, 2, 18)),
		Refused:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_models_refused_total", Help: "Bundles and slots that were refused."}, []string{"slot", "reason"}),
		Model:       prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "weir_model_info", Help: "1 for the bundle that decides, and for the challenger."}, []string{"slot", "bundle"}),
	}
	r.MustRegister(m.byOutcome, m.Malformed, m.Refused, m.Model, m.WatchAlarms)
	m.begin()
	return m
}

// begin has every series there from the start whose labels have values that are known:
// one that appears with its first event shows no increase.
func (m *Metrics) begin() {
	for r := range schemas.NumReasons {
		m.byOutcome.WithLabelValues(r.Outcome().String(), r.String())
	}
	m.halted("")
	for _, reason := range []string{"drift", "no_key"} {
		m.WatchAlarms.WithLabelValues(reason)
	}
	for _, k := range []string{champion.String(), challenger.String(), slotless} {
		m.Refused.WithLabelValues(k, "error")
		for _, r := range refusals {
			m.Refused.WithLabelValues(k, r.name)
		}
	}
}

// MetricValues are the values that labels may have of metrics that are not there from
// the start, by metric and label. Of what is neither here nor there anything may be one.
func MetricValues() map[string]map[string][]string {
	slots := []string{champion.String(), challenger.String()}
	var streams []string
	for _, s := range history.Streams() {
		streams = append(streams, string(s))
	}
	return map[string]map[string][]string{
		"weir_model_info":        {"slot": slots},
		"weir_watch_alert_share": {"which": watched[:]},
		"weir_history_position":  {"stream": streams},
		"weir_history_lag":       {"stream": streams},
	}
}

// watched are the two champions while a new one is on probation, by slot.
var watched = [numSlots]string{"champion", "previous"}

// halted says why the scorer refuses to go on; empty: it does go on.
func (m *Metrics) halted(name string) {
	set := func(reason string) {
		is := 0.0
		if reason == name {
			is = 1
		}
		m.Halted.WithLabelValues(reason).Set(is)
	}
	set(otherReason)
	for _, r := range haltReasons {
		set(r.name)
	}
}

// decided counts a durable decision. The counters are looked up once each: a
// look-up by labels costs more than the decision's fold.
func (m *Metrics) decided(v schemas.Verdict) {
	c := &m.decisions[v.Outcome][v.Reason]
	if *c == nil {
		*c = m.byOutcome.WithLabelValues(v.Outcome.String(), v.Reason.String())
	}
	(*c).Inc()
}

func (m *Metrics) alerted(n int) { m.Alerts.Add(float64(n)) }

func (m *Metrics) stepped(w *work, d time.Duration) {
	m.Step.Observe(d.Seconds())
	m.Records.Observe(float64(w.records()))
}
