package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"

	"github.com/weir-risk/weir/alerts/desk"
	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/trace"
	"github.com/weir-risk/weir/scoring/cuda"
)

// The roles of a process, as metrics name them.
const (
	roleScore  = "score"
	roleRecord = "record"
	roleDesk   = "desk"
	roleTrain  = "train"
)

// newRegistry makes the registry of a process: what it is, and how much room the file
// system of its data has. Their names are stable:
//
//	weir_build_info{version,revision,go}   1; of which build it is
//	weir_ready{role}                       1 while the role is ready, as /readyz says: score, record, desk, train
//	weir_data_size_bytes                   size of the file system of --data; Linux only
//	weir_data_free_bytes                   what of it can still be taken
func newRegistry(data string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	var v version
	v.read()
	prometheus.WrapRegistererWith(prometheus.Labels{"version": v.Version, "revision": v.Revision, "go": v.Go}, r).MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "weir_build_info", Help: "1; of which build it is."}, func() float64 { return 1 }))
	if data != "" {
		r.MustRegister(disk(data))
	}
	return r
}

// tellReady has a registry say whether a role is ready.
func tellReady(r prometheus.Registerer, role string, ready func() bool) {
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "weir_ready", Help: "1 while the role is ready, as /readyz says.",
		ConstLabels: prometheus.Labels{"role": role}}, func() float64 {
		if ready() {
			return 1
		}
		return 0
	}))
}

// disk is the metrics of the file system of a folder. A folder that is not there yet has
// none.
type disk string

var (
	diskSize = prometheus.NewDesc("weir_data_size_bytes", "Size of the file system of the data folder.", nil, nil)
	diskFree = prometheus.NewDesc("weir_data_free_bytes", "What of the file system of the data folder can still be taken.", nil, nil)
)

// Describe implements prometheus.Collector.
func (d disk) Describe(c chan<- *prometheus.Desc) { c <- diskSize; c <- diskFree }

// Collect implements prometheus.Collector.
func (d disk) Collect(c chan<- prometheus.Metric) {
	if size, free, ok := diskRoom(string(d)); ok {
		c <- prometheus.MustNewConstMetric(diskSize, prometheus.GaugeValue, float64(size))
		c <- prometheus.MustNewConstMetric(diskFree, prometheus.GaugeValue, float64(free))
	}
}

var metricsCommand = &command{
	name: "metrics", summary: "list the metrics that weir exports", json: true,
	about: `Every metric that /metrics of some role has, with its type, its labels and what it is;
with --json also the values that a label may have, where these are known. The rules and
dashboards below deploy are held to this list, and the list to what weir exports. What Go
and the process say of themselves (go_*, process_*) is in --json only.`,
	examples: []string{"weir metrics", "weir metrics --json"},
	flags: func(*flag.FlagSet) func(context.Context, *env, []string) error {
		return func(_ context.Context, e *env, _ []string) error {
			list, err := exported()
			if err != nil {
				return err
			}
			if e.json {
				return e.report(map[string]any{"metrics": list})
			}
			for _, m := range list {
				name := m.Name
				if !strings.HasPrefix(name, "weir_") {
					continue
				}
				if len(m.Labels) > 0 {
					name += "{" + strings.Join(slices.Sorted(maps.Keys(m.Labels)), ",") + "}"
				}
				e.printf("%-50s %-9s %s\n", name, m.Type, m.Help)
			}
			return nil
		}
	},
}

// metric is one of the list. Labels has the values that are known; none are known of
// what comes from outside, such as a partition or a feature.
type metric struct {
	Name   string              `json:"name"`
	Type   string              `json:"type"`
	Help   string              `json:"help"`
	Labels map[string][]string `json:"labels,omitempty"`
}

// exported returns the metrics of all roles, by name, from the same constructors that
// the roles use.
func exported() ([]metric, error) {
	l := listing{Registry: newRegistry("."), all: make(map[string]*metric)}
	ingest.NewMetrics(&l)
	ingest.NewRecorderMetrics(&l)
	desk.NewMetrics(&l)
	trace.NewMetrics(&l)
	newTrainMetrics(&l)
	l.MustRegister(&gpuMetrics{noDevice{}})
	for _, role := range []string{roleScore, roleRecord, roleDesk, roleTrain} {
		tellReady(&l, role, func() bool { return true })
	}
	for _, of := range []map[string]map[string][]string{ingest.MetricValues(), desk.MetricValues()} {
		for name, values := range of {
			if l.all[name] == nil {
				return nil, fmt.Errorf("BUG: values of %s, which is not registered", name)
			}
			maps.Copy(l.all[name].Labels, values)
		}
	}
	samples, err := l.Gather()
	if err != nil {
		return nil, err
	}
	for _, s := range samples {
		l.gathered(s)
	}
	list := make([]metric, 0, len(l.all))
	for _, name := range slices.Sorted(maps.Keys(l.all)) {
		list = append(list, *l.all[name])
	}
	return list, nil
}

// noDevice is a GPU that there is not.
type noDevice struct{}

func (noDevice) Stats() cuda.Stats {
	var s cuda.Stats
	s.Device.Name = "none"
	return s
}

// A listing is a registry that notes what is registered with it: of a vector that has no
// series yet nothing would be gathered.
type listing struct {
	*prometheus.Registry
	all map[string]*metric
}

var descText = regexp.MustCompile(`fqName: "(\w+)", help: "(.*?)", (?:unit|constLabels): .*variableLabels: \{([\w,]*)\}`)

// MustRegister implements prometheus.Registerer.
func (l *listing) MustRegister(list ...prometheus.Collector) {
	for _, c := range list {
		descs := make(chan *prometheus.Desc, 100)
		c.Describe(descs)
		close(descs)
		kind := "gauge" // of gathered ones it is told again
		if _, ok := c.(*prometheus.CounterVec); ok {
			kind = "counter"
		}
		for d := range descs {
			m := descText.FindStringSubmatch(d.String())
			l.all[m[1]] = &metric{Name: m[1], Type: kind, Help: m[2], Labels: labelsOf(m[3])}
		}
	}
	l.Registry.MustRegister(list...)
}

func labelsOf(list string) map[string][]string {
	labels := make(map[string][]string)
	for name := range strings.SplitSeq(list, ",") {
		if name != "" {
			labels[name] = nil
		}
	}
	return labels
}

// gathered takes in what a metric has from the start: its type, and the values that its
// labels have there.
func (l *listing) gathered(s *dto.MetricFamily) {
	m := l.all[s.GetName()]
	if m == nil { // of the process itself
		m = &metric{Name: s.GetName(), Help: s.GetHelp(), Labels: make(map[string][]string)}
		l.all[m.Name] = m
	}
	m.Type = strings.ToLower(s.GetType().String())
	for _, sample := range s.GetMetric() {
		for _, p := range sample.GetLabel() {
			if values := m.Labels[p.GetName()]; !fromOutside[s.GetName()] && !slices.Contains(values, p.GetValue()) {
				m.Labels[p.GetName()] = append(values, p.GetValue())
			} else if _, ok := m.Labels[p.GetName()]; !ok {
				m.Labels[p.GetName()] = nil
			}
		}
	}
}

// fromOutside are the metrics whose labels say what build or device it is.
var fromOutside = map[string]bool{"weir_build_info": true, "weir_gpu_info": true, "go_info": true}
