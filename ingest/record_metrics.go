package ingest

import (
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-risk/weir/ingest/history"
)

// RecorderMetrics are the recorder's Prometheus metrics. Their names are stable:
//
//	weir_history_position{stream,partition}  offset up to which the history is written
//	weir_history_lag{stream,partition}       records in the log that are not in the history
//	weir_history_blocks_total{stream}        blocks written
//	weir_history_rows_total{stream}          records in them
//	weir_history_up                          1 while the history answers
//	weir_history_retries_total               attempts that failed and were made again
//	weir_live_precision{age}                 of the alerts of a day whose labels were known at an age of it, the
//	                                         share of fraud: of the last day that is old enough
//	weir_live_recall{age}                    of the frauds of that day, the share alerted on, by what exploration drew
//	weir_live_calibration{age}               sum of that day's probabilities over its frauds, from the maturity age on
type RecorderMetrics struct {
	Position, Lag *prometheus.GaugeVec
	Blocks, Rows  *prometheus.CounterVec
	Retries       prometheus.Counter
	Up            prometheus.Gauge
	// Live are the gauges of labels, by the quantity of the history's figures.
	Live map[string]*prometheus.GaugeVec
	told map[string]toldDay // by quantity and age
}

// NewRecorderMetrics registers the metrics with r.
func NewRecorderMetrics(r prometheus.Registerer) *RecorderMetrics {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"stream", "partition"})
	}
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"stream"})
	}
	m := &RecorderMetrics{
		Position: gauge("weir_history_position", "Offset up to which the history is written."),
		Lag:      gauge("weir_history_lag", "Records in the log that are not in the history."),
		Blocks:   counter("weir_history_blocks_total", "Blocks written into the history."),
		Rows:     counter("weir_history_rows_total", "Records written into the history."),
		Up:       prometheus.NewGauge(prometheus.GaugeOpts{Name: "weir_history_up", Help: "1 while the history answers."}),
		Retries:  prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_history_retries_total", Help: "Attempts that failed and were made again."}),
	}
	m.Live, m.told = make(map[string]*prometheus.GaugeVec), make(map[string]toldDay)
	for _, q := range []struct{ name, help string }{
		{"precision", "Share of fraud in a day's alerts whose labels were known at an age of it."},
		{"recall", "Share of a day's frauds that were alerted on, by what exploration drew."},
		{"calibration", "Sum of a day's probabilities over its frauds."},
	} {
		m.Live[q.name] = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "weir_live_" + q.name, Help: q.help}, []string{"age"})
		r.MustRegister(m.Live[q.name])
	}
	r.MustRegister(m.Position, m.Lag, m.Blocks, m.Rows, m.Retries, m.Up)
	for _, s := range history.Streams() {
		m.Blocks.WithLabelValues(string(s))
		m.Rows.WithLabelValues(string(s))
	}
	return m
}

func (m *RecorderMetrics) at(s history.Stream, partition int32, position, lag int64) {
	p := strconv.Itoa(int(partition))
	m.Position.WithLabelValues(string(s), p).Set(float64(position))
	m.Lag.WithLabelValues(string(s), p).Set(float64(lag))
}

// A toldDay is the day that a gauge of days tells of, and how much its bundle decided.
type toldDay struct {
	day     int64
	decided float64
}

// Tell takes in all that the history has noted of some days: of each quantity at each age
// the last day is told, whenever it was taken in, and of its bundles the one that decided
// most.
func (m *RecorderMetrics) Tell(figures []history.Figure) {
	type part struct {
		day    int64
		bundle uint64
	}
	decided := make(map[part]float64)
	for _, f := range figures {
		if f.Quantity == "decisions" {
			decided[part{f.Day, f.Bundle}] = f.Value
		}
	}
	for _, f := range figures {
		quantity, age, _ := strings.Cut(f.Quantity, "/")
		gauge, now := m.Live[quantity], toldDay{f.Day, decided[part{f.Day, f.Bundle}]}
		before, ok := m.told[f.Quantity]
		if gauge == nil || ok && (before.day > now.day || before.day == now.day && before.decided > now.decided) {
			continue
		}
		m.told[f.Quantity] = now
		gauge.WithLabelValues(age).Set(f.Value)
	}
}

func (m *RecorderMetrics) wrote(s history.Stream, records int) {
	m.Blocks.WithLabelValues(string(s)).Inc()
	m.Rows.WithLabelValues(string(s)).Add(float64(records))
}
