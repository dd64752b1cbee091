package ingest

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-risk/weir/schemas"
)

// Metrics are the scorer's Prometheus metrics. Their names are stable:
//
//	weir_decisions_total{outcome,reason}       durable decisions
//	weir_alerts_total                          alerts acknowledged
//	weir_dead_letters_total                    dead letters acknowledged
//	weir_malformed_total{topic}                labels and rates that could not be read
//	weir_step_seconds                          one step, decode aside
//	weir_decision_seconds                      from a record's Kafka timestamp to its durable decision
//	weir_step_records                          records in a step
//	weir_source_lag{partition}                 source records not yet fetched
//	weir_fold_position                         ledger offset up to which state is folded
//	weir_state_bytes, weir_state_entities      what the engine holds
//	weir_state_max_bytes                       what it must stay below; 0 is no bound
//	weir_snapshot_timestamp_seconds            when the newest snapshot was written
//	weir_snapshot_pause_seconds                each time that the owner stood still for a snapshot: once
//	                                           to begin it, and once a step for the next parts
//	weir_snapshot_seconds                      from the begin of a snapshot's bytes to its file
//	weir_snapshot_bytes                        size of the newest snapshot's file
//	weir_snapshot_errors_total                 snapshots that could not be written
//	weir_retries_total                         requests to Kafka that were tried again
//	weir_corrections_total                     rebuilds because another writer's batch was taken first
//	weir_halted{reason}                        1 while the scorer refuses to go on; the reasons are in doc.go
//	weir_owner                                 1 while this node decides
//	weir_model_info{bundle}                    1 for the bundle that decides
//	weir_models_refused_total                  champions that were refused
type Metrics struct {
	decisions   [schemas.NumOutcomes][schemas.NumReasons]prometheus.Counter
	byOutcome   *prometheus.CounterVec
	Alerts      prometheus.Counter
	Dead        prometheus.Counter
	Malformed   *prometheus.CounterVec
	Step        prometheus.Histogram
	Decision    prometheus.Histogram
	Records     prometheus.Histogram
	Lag         *prometheus.GaugeVec
	Position    prometheus.Gauge
	StateBytes  prometheus.Gauge
	StateMax    prometheus.Gauge
	Entities    prometheus.Gauge
	Snapshot    prometheus.Gauge
	SnapPause   prometheus.Histogram
	SnapWrite   prometheus.Histogram
	SnapBytes   prometheus.Gauge
	SnapErrors  prometheus.Counter
	Retries     prometheus.Counter
	Corrections prometheus.Counter
	Halted      *prometheus.GaugeVec
	Owner       prometheus.Gauge
	Model       *prometheus.GaugeVec
	Refused     prometheus.Counter
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
	gauges := func(name, help, label string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{label})
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
		Dead:        counter("weir_dead_letters_total", "Dead letters acknowledged."),
		Step:        histogram("weir_step_seconds", "Time of one step.", seconds),
		Decision:    histogram("weir_decision_seconds", "From a record's Kafka timestamp to its durable decision.", seconds),
		Records:     histogram("weir_step_records", "Records in a step.", prometheus.ExponentialBuckets(1, 2, 14)),
		Lag:         gauges("weir_source_lag", "Source records not yet fetched.", "partition"),
		Position:    gauge("weir_fold_position", "Ledger offset up to which the state is folded."),
		StateBytes:  gauge("weir_state_bytes", "Bytes that the engine holds."),
		StateMax:    gauge("weir_state_max_bytes", "Bytes that the engine must stay below; 0 is no bound."),
		Entities:    gauge("weir_state_entities", "Entities that the engine holds."),
		Snapshot:    gauge("weir_snapshot_timestamp_seconds", "When the newest snapshot was written."),
		SnapPause:   histogram("weir_snapshot_pause_seconds", "Each time that the owner stood still for a snapshot, or a part of it.", prometheus.ExponentialBuckets(50e-6, 2, 20)),
		SnapWrite:   histogram("weir_snapshot_seconds", "From the begin of a snapshot's bytes to its file.", prometheus.ExponentialBuckets(1e-3, 2, 18)),
		SnapBytes:   gauge("weir_snapshot_bytes", "Size of the newest snapshot's file."),
		SnapErrors:  counter("weir_snapshot_errors_total", "Snapshots that could not be written."),
		Retries:     counter("weir_retries_total", "Requests to Kafka or to the schema registry that were tried again."),
		Corrections: counter("weir_corrections_total", "Rebuilds because another writer's batch was taken first."),
		Halted:      gauges("weir_halted", "1 while the scorer refuses to go on.", "reason"),
		Owner:       gauge("weir_owner", "1 while this node decides."),
		Refused:     counter("weir_models_refused_total", "Champions that were refused."),
		Model:       gauges("weir_model_info", "1 for the bundle that decides.", "bundle"),
	}
	r.MustRegister(m.byOutcome, m.Malformed)
	return m
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
