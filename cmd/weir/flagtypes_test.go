package main

import (
	"testing"
	"time"
)

func TestParseSpanSuccess(t *testing.T) {
	f := func(text string, want time.Duration, shown string) {
		t.Helper()
		var s span
		if err := s.Set(text); err != nil || s.Duration != want || !s.set || s.String() != shown {
			t.Errorf("%q: got %v, shown as %q (%v), want %v, %q", text, s.Duration, s.String(), err, want, shown)
		}
	}
	f("7d", 7*24*time.Hour, "7d")
	f("2w", 14*24*time.Hour, "14d")
	f("1.5d", 36*time.Hour, "36h0m0s")
	f("24h", 24*time.Hour, "1d")
	f("90m", 90*time.Minute, "1h30m0s")
	f("0s", 0, "")
}

func TestParseSpanFailure(t *testing.T) {
	f := func(text string) {
		t.Helper()
		var s span
		if err := s.Set(text); err == nil || s.set {
			t.Errorf("%q: taken as %v", text, s.Duration)
		}
	}
	f("")
	f("7")
	f("d")
	f("-1d")
	f("-1h")
	f("NaNd")
	f("1e9d")
	f("7 days")
}

func TestMoment(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		var m moment
		if err := m.Set(text); (err == nil) != (want != "") || m.String() != want {
			t.Errorf("%q: got %q (%v), want %q", text, m.String(), err, want)
		}
	}
	f("2026-01-31", "2026-01-31T00:00:00.000Z")
	f("2026-01-31T08:00:00+01:00", "2026-01-31T07:00:00.000Z")
	f("2026-01-31 08:00:00", "2026-01-31T08:00:00.000Z")
	f("2026-01-32", "")
	f("", "")
}

func TestSeveral(t *testing.T) {
	f := func(want, got string) {
		t.Helper()
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f("1 key", several(1, "key"))
	f("0 keys", several(0, "key"))
	f("1,234 kinds of entities", several(1234, "kind of entity", "kinds of entities"))
}

func TestSize(t *testing.T) {
	f := func(text string, want int64, shown string) {
		t.Helper()
		var s size
		if err := s.Set(text); (err == nil) != (want >= 0) || err == nil && (int64(s) != want || s.String() != shown) {
			t.Errorf("%q: got %d, shown as %q (%v), want %d, %q", text, s, s.String(), err, want, shown)
		}
	}
	f("0", 0, "0")
	f("1000", 1000, "1000")
	f("512B", 512, "512")
	f("8GiB", 8<<30, "8GiB")
	f("1.5 MiB", 3<<19, "1.5MiB")
	f("2GB", 2e9, "1.9GiB")
	f("-1", -1, "")
	f("", -1, "")
	f("GiB", -1, "")
	f("8 gigabytes", -1, "")
	f("1e9TiB", -1, "")
	f("NaN", -1, "")
}
