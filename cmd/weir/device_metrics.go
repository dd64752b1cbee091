package main

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-risk/weir/scoring/cuda"
	"github.com/weir-risk/weir/scoring/cuda/link"
)

// gpuMetrics are the Prometheus metrics of a GPU. They are there where one was found, or
// asked for; their names are stable:
//
//	weir_gpu_up                              1 while the GPU scores; 0: the CPU scores everything
//	weir_gpu_state{state}                    1 for how the GPU stands: starting, serving, waiting, absent, closed
//	weir_gpu_info{name,cuda,capability}      1 for the GPU that serves, or served last
//	weir_gpu_batches_total{backend}          batches scored, by cpu and by gpu
//	weir_gpu_rows_total{backend}             rows of them
//	weir_gpu_batch_seconds{backend}          how long a batch took
//	weir_gpu_probes_total{backend}           batches scored on the other back end too, for its cost
//	weir_gpu_audits_total                    rows that the GPU scored and the CPU too, to compare them
//	weir_gpu_difference                      the largest difference of a score on both, in float16 arithmetic
//	weir_gpu_fallbacks_total                 batches that were begun on the GPU and scored on the CPU
//	weir_gpu_busy_total                      batches for which the GPU had no room, scored on the CPU
//	weir_gpu_faults_total{class}             why the GPU failed: link.Class lists the classes
//	weir_gpu_workers_total                   workers started
//	weir_gpu_recoveries_total                workers that served after another one had failed
//	weir_gpu_recovery_seconds_total          how long these took, from the fault on
//	weir_gpu_models{where}                   models that are open, and those of them on the device
type gpuMetrics struct {
	device interface{ Stats() cuda.Stats }
}

func gpuDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("weir_gpu_"+name, help, labels, nil)
}

var (
	gpuUp        = gpuDesc("up", "1 while the GPU scores.")
	gpuState     = gpuDesc("state", "1 for how the GPU stands.", "state")
	gpuInfo      = gpuDesc("info", "1 for the GPU that serves, or served last.", "name", "cuda", "capability")
	gpuBatches   = gpuDesc("batches_total", "Batches scored.", "backend")
	gpuRows      = gpuDesc("rows_total", "Rows scored.", "backend")
	gpuSeconds   = gpuDesc("batch_seconds", "How long a batch took.", "backend")
	gpuProbes    = gpuDesc("probes_total", "Batches scored on the other back end too.", "backend")
	gpuAudits    = gpuDesc("audits_total", "Rows that the GPU scored and the CPU too, to compare them.")
	gpuDiffer    = gpuDesc("difference", "The largest difference of a score on both back ends, in float16 arithmetic.")
	gpuFallbacks = gpuDesc("fallbacks_total", "Batches begun on the GPU and scored on the CPU.")
	gpuBusy      = gpuDesc("busy_total", "Batches for which the GPU had no room.")
	gpuFaults    = gpuDesc("faults_total", "Why the GPU failed.", "class")
	gpuWorkers   = gpuDesc("workers_total", "Workers started.")
	gpuRecovered = gpuDesc("recoveries_total", "Workers that served after another had failed.")
	gpuRecovery  = gpuDesc("recovery_seconds_total", "How long recoveries took.")
	gpuModels    = gpuDesc("models", "Models that are open, and those on the device.", "where")
)

// Describe implements prometheus.Collector.
func (m *gpuMetrics) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{gpuUp, gpuState, gpuInfo, gpuBatches, gpuRows, gpuSeconds, gpuProbes, gpuAudits, gpuDiffer, gpuFallbacks, gpuBusy,
		gpuFaults, gpuWorkers, gpuRecovered, gpuRecovery, gpuModels} {
		c <- d
	}
}

// Collect implements prometheus.Collector.
func (m *gpuMetrics) Collect(c chan<- prometheus.Metric) {
	s := m.device.Stats()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	is := func(yes bool) float64 {
		if yes {
			return 1
		}
		return 0
	}
	gauge(gpuUp, is(s.State == cuda.Serving))
	for state := cuda.Starting; state <= cuda.Closed; state++ {
		gauge(gpuState, is(s.State == state), state.String())
	}
	if s.Device.Name != "" {
		gauge(gpuInfo, 1, s.Device.Name, s.Device.Driver, strconv.FormatFloat(s.Device.Capability, 'f', 1, 64))
	}
	for _, b := range []cuda.Backend{cuda.CPU, cuda.GPU} {
		counter(gpuBatches, float64(s.Batches[b]), b.String())
		counter(gpuRows, float64(s.Rows[b]), b.String())
		counter(gpuProbes, float64(s.Probes[b]), b.String())
		buckets := make(map[float64]uint64, len(cuda.LatencyBounds))
		for i, bound := range cuda.LatencyBounds {
			buckets[bound] = s.Latency[b].Buckets[i]
		}
		c <- prometheus.MustNewConstHistogram(gpuSeconds, s.Latency[b].Count, s.Latency[b].Sum, buckets, b.String())
	}
	counter(gpuAudits, float64(s.Audits))
	gauge(gpuDiffer, s.Difference)
	counter(gpuFallbacks, float64(s.Fallbacks))
	counter(gpuBusy, float64(s.Busy))
	for _, class := range link.Classes() {
		counter(gpuFaults, float64(s.Faults[class]), class.String())
	}
	counter(gpuWorkers, float64(s.Starts))
	counter(gpuRecovered, float64(s.Recoveries))
	counter(gpuRecovery, s.RecoveryTotal.Seconds())
	gauge(gpuModels, float64(s.Models), "open")
	gauge(gpuModels, float64(s.Loaded), "device")
}
