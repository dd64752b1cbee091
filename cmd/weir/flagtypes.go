package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// fileList is the value of a flag that may be given several times.
type fileList []string

func (l *fileList) String() string { return strings.Join(*l, ",") }

func (l *fileList) Set(name string) error {
	if name == "" {
		return fmt.Errorf("no file is named")
	}
	*l = append(*l, name)
	return nil
}

// span is the value of a flag that takes a length of time, days and weeks too;
// set tells an explicit 0 from none.
type span struct {
	time.Duration
	set bool
}

func (s *span) String() string {
	if s.Duration == 0 {
		return ""
	}
	return spanText(s.Duration)
}

func (s *span) Set(text string) error {
	d, err := parseSpan(text)
	if err != nil {
		return err
	}
	s.Duration, s.set = d, true
	return nil
}

// parseSpan reads a length of time such as 7d, 2w, 36h or 90m.
func parseSpan(text string) (time.Duration, error) {
	unit := time.Duration(0)
	switch {
	case strings.HasSuffix(text, "d"):
		unit = 24 * time.Hour
	case strings.HasSuffix(text, "w"):
		unit = 7 * 24 * time.Hour
	}
	if unit == 0 {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return 0, fmt.Errorf("%q is no length of time, such as 7d, 2w, 36h or 90m", text)
		}
		return d, nil
	}
	n, err := strconv.ParseFloat(text[:len(text)-1], 64)
	if err != nil || !(n >= 0 && n <= 100_000) {
		return 0, fmt.Errorf("%q is no length of time, such as 7d, 2w, 36h or 90m", text)
	}
	return time.Duration(n * float64(unit)), nil
}

// spanText writes whole days as days.
func spanText(d time.Duration) string {
	if d > 0 && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	return d.String()
}

// moment is the value of a flag that takes a point in time: a day, or a time of
// RFC 3339; UTC where nothing else is said.
type moment struct {
	ms  int64 // since the Unix epoch
	set bool
}

func (m *moment) String() string {
	if !m.set {
		return ""
	}
	return rfc3339(m.ms)
}

func (m *moment) Set(text string) error {
	for _, form := range []string{"2006-01-02", time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05"} {
		if t, err := time.Parse(form, text); err == nil {
			m.ms, m.set = t.UnixMilli(), true
			return nil
		}
	}
	return fmt.Errorf("%q is neither a day such as 2026-01-31 nor a time such as 2026-01-31T08:00:00Z", text)
}

// several writes a number with its noun; more are the plurals that no s makes.
func several(n int, noun string, more ...string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case len(more) > 0:
		noun = more[0]
	default:
		noun += "s"
	}
	return thousands(int64(n)) + " " + noun
}

// size is the value of a flag that takes a number of bytes.
type size int64

func (s *size) String() string {
	for _, u := range sizeUnits {
		if n := float64(*s) / float64(u.factor); n >= 1 && strings.Contains(u.name, "i") {
			return strconv.FormatFloat(math.Round(10*n)/10, 'f', -1, 64) + u.name
		}
	}
	return strconv.FormatInt(int64(*s), 10)
}

var sizeUnits = []struct {
	name   string
	factor int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}}

func (s *size) Set(text string) error {
	number, factor := text, int64(1)
	for _, u := range sizeUnits {
		if n, ok := strings.CutSuffix(text, u.name); ok {
			number, factor = strings.TrimSpace(n), u.factor
			break
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !(n >= 0 && n*float64(factor) < 1<<60) {
		return fmt.Errorf("%q is no size, such as 8GiB, 500MB or 0", text)
	}
	*s = size(n * float64(factor))
	return nil
}
