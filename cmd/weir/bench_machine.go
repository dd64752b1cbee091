package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// benchMachine says what a measurement ran on.
type benchMachine struct {
	Processor string `json:"processor"`
	Cores     int    `json:"cores"`
	Platform  string `json:"platform"`
	Go        string `json:"go"`
	Version   string `json:"weir"`
	Revision  string `json:"revision,omitempty"`
	Backend   string `json:"backend"`
	Broker    string `json:"broker,omitempty"`
}

// machineOf looks at this machine; broker says where the log is, "" for no log.
func machineOf(broker string) (benchMachine, error) {
	v, err := versionOf()
	if err != nil {
		return benchMachine{}, err
	}
	revision := v.Revision[:min(12, len(v.Revision))]
	if v.Modified {
		revision += ", changed"
	}
	return benchMachine{Processor: processorName(), Cores: runtime.NumCPU(), Platform: v.Platform, Go: v.Go, Version: v.Version,
		Revision: revision, Backend: v.Backend, Broker: broker}, nil
}

// brokerName says which broker a measurement uses.
func (f *kafkaFlags) brokerName() string {
	if f.brokers == "" {
		return "embedded, in memory, a process of its own"
	}
	return f.brokers
}

// processorName is the processor's name, as the kernel tells it.
func processorName() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func (m *benchMachine) print(e *env) {
	e.printf("weir %s %s, %s for %s; %s, %d cores, scores by %s\n", m.Version, m.Revision, m.Go, m.Platform, m.Processor, m.Cores, m.Backend)
	if m.Broker != "" {
		e.printf("broker %s\n", m.Broker)
	}
}

// A runSpread is what several runs gave: the median, and the extremes.
type runSpread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spreadOf(runs []float64) runSpread {
	if len(runs) == 0 {
		return runSpread{}
	}
	runs = slices.Clone(runs)
	return runSpread{median(runs), slices.Min(runs), slices.Max(runs)}
}

func (s runSpread) String() string { return fmt.Sprintf("%.4g (%.4g to %.4g)", s.Median, s.Min, s.Max) }

// secondsOf is so many seconds.
func secondsOf(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
