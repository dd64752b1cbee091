package ingest

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-risk/weir/ingest/history"
)

// RecorderMetrics are the recorder's Prometheus metrics. Their names are stable:
//
//	weir_history_position{stream,partition}  offset up to which the history is written
//	weir_history_lag{stream,partition}       records in the log that are not in the history
//	weir_history_blocks_total{stream}        blocks written
//	weir_history_rows_total{stream}          records in them
//	weir_history_retries_total               attempts that failed and were made again
type RecorderMetrics struct {
	Position, Lag *prometheus.GaugeVec
	Blocks, Rows  *prometheus.CounterVec
	Retries       prometheus.Counter
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
		Retries:  prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_history_retries_total", Help: "Attempts that failed and were made again."}),
	}
	r.MustRegister(m.Position, m.Lag, m.Blocks, m.Rows, m.Retries)
	return m
}

func (m *RecorderMetrics) at(s history.Stream, partition int32, position, lag int64) {
	p := strconv.Itoa(int(partition))
	m.Position.WithLabelValues(string(s), p).Set(float64(position))
	m.Lag.WithLabelValues(string(s), p).Set(float64(lag))
}

func (m *RecorderMetrics) wrote(s history.Stream, records int) {
	m.Blocks.WithLabelValues(string(s)).Inc()
	m.Rows.WithLabelValues(string(s)).Add(float64(records))
}
