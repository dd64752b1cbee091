package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// usage is what a measured process says of its steady state.
type usage struct {
	Records    int64   `json:"records"`
	Seconds    float64 `json:"seconds"`
	CPUSeconds float64 `json:"cpu_seconds"`
	Mallocs    uint64  `json:"mallocs"`
	Alerts     int64   `json:"alerts"`
	RSS        int64   `json:"rss_bytes"` // the most there was
	// Rates are the records a second of each of the window's stretches.
	Rates []float64 `json:"rates,omitempty"`
}

func (u usage) cpuPerRecord() float64  { return 1e6 * u.CPUSeconds / float64(u.Records) }
func (u usage) perSecond() float64     { return float64(u.Records) / u.Seconds }
func (u usage) mallocsPerOne() float64 { return float64(u.Mallocs) / float64(u.Records) }
func (u usage) String() string {
	return fmt.Sprintf("%.2f us of CPU each, %s a second", u.cpuPerRecord(), thousands(int64(u.perSecond())))
}

// A meter measures this process from the record after warm on, until there are
// until records or, where that is not 0, the window has passed. It is told of
// records by one goroutine at a time.
type meter struct {
	warm, until int64
	window      time.Duration
	stretches   int          // equal ones of the window, whose rates are noted apart
	profile     string       // file for a CPU profile of the window; empty for none
	alerts      func() int64 // how many there are; nil for a service that has none

	n       int64
	started time.Time
	begun   usage
	result  usage
	part    time.Time // when the stretch began, and with how many records
	partOf  int64
	rates   []float64
	file    *os.File
	done    chan struct{} // closed when result is there
	err     error
}

func newMeter(warm, until int64, window time.Duration, profile string) *meter {
	return &meter{warm: warm, until: until, window: window, profile: profile, done: make(chan struct{})}
}

// add notes that n more records are done.
func (m *meter) add(n int) {
	before := m.n
	m.n += int64(n)
	if m.n < m.warm || m.result.Records > 0 {
		return
	}
	if before < m.warm || m.started.IsZero() {
		m.begin()
		return
	}
	m.stretch()
	if m.n >= m.until && m.until > 0 || m.window > 0 && time.Since(m.started) >= m.window {
		m.end()
	}
}

// stretch notes the rate of a stretch that is over.
func (m *meter) stretch() {
	if now := time.Now(); m.stretches > 0 && now.Sub(m.part) >= m.window/time.Duration(m.stretches) {
		m.rates = append(m.rates, float64(m.n-m.partOf)/now.Sub(m.part).Seconds())
		m.part, m.partOf = now, m.n
	}
}

func (m *meter) begin() {
	if m.profile != "" {
		if m.file, m.err = os.Create(m.profile); m.err == nil {
			m.err = pprof.StartCPUProfile(m.file)
		}
	}
	m.begun = usageNow()
	m.begun.Records = m.n
	if m.alerts != nil {
		m.begun.Alerts = m.alerts()
	}
	m.started = time.Now()
	m.part, m.partOf = m.started, m.n
}

func (m *meter) end() {
	took, now := time.Since(m.started), usageNow()
	if m.file != nil {
		pprof.StopCPUProfile()
		if err := m.file.Close(); m.err == nil {
			m.err = err
		}
	}
	m.result = usage{Records: m.n - m.begun.Records, Seconds: took.Seconds(), CPUSeconds: now.CPUSeconds - m.begun.CPUSeconds,
		Mallocs: now.Mallocs - m.begun.Mallocs, RSS: now.RSS, Rates: m.rates}
	if m.alerts != nil {
		m.result.Alerts = m.alerts() - m.begun.Alerts
	}
	close(m.done)
}

// profiled writes a CPU profile of what do does.
func profiled(name string, do func()) error {
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("write the profile: %w", err)
	}
	if err = pprof.StartCPUProfile(f); err == nil {
		do()
		pprof.StopCPUProfile()
	}
	return errors.Join(err, f.Close())
}

// usageNow reads the kernel's account of this process.
func usageNow() usage {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return usage{CPUSeconds: processorTime().Seconds(), Mallocs: s.Mallocs, RSS: peakRSS(int64(s.Sys))}
}

// processorTime is what this process has used of its processors.
func processorTime() time.Duration {
	var r unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &r) // fails for no argument of ours
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// peakRSS returns the most memory that this process has had, or other where the
// kernel does not say. It is not taken from rusage, which begins with what the
// parent had.
func peakRSS(other int64) int64 {
	if most := memoryOf("self", "VmHWM"); most > 0 {
		return most
	}
	return other
}

// memoryOf returns a figure of a process's memory in bytes, by its id and the name that
// the kernel has for it: VmRSS is what it has, VmHWM the most that it had; 0 where the
// kernel does not say.
func memoryOf(process, name string) int64 {
	text, _ := os.ReadFile("/proc/" + process + "/status")
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			if kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64); err == nil {
				return kb << 10
			}
		}
	}
	return 0
}
