package desk

import (
	"math"
	"testing"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/schemas"
)

func TestMoney(t *testing.T) {
	f := func(minor int64, currency, want string) {
		t.Helper()
		if got := money(minor, currency); got != want {
			t.Errorf("%d %s: got %q, want %q", minor, currency, got, want)
		}
	}
	f(141250, "EUR", "1,412.50 EUR")
	f(5, "EUR", "0.05 EUR")
	f(-123456789, "USD", "−1,234,567.89 USD")
	f(1500, "JPY", "1,500 JPY")
	f(1500, "KWD", "1.500 KWD")
	f(math.MinInt64, "EUR", "−92,233,720,368,547,758.08 EUR")
	f(100, "", "1.00")
}

func TestAgo(t *testing.T) {
	f := func(d time.Duration, want string) {
		t.Helper()
		if got := ago(1_000_000_000-d.Milliseconds(), 1_000_000_000); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
	f(0, "just now")
	f(59*time.Second, "just now")
	f(6*time.Minute+30*time.Second, "6 min ago")
	f(47*time.Hour, "47 h ago")
	f(49*time.Hour, "2 days ago")
	f(-10*time.Second, "in 10 s")
	f(729*24*time.Hour, "729 days ago")
	f(1100*24*time.Hour, "3 years ago")
}

func TestClock(t *testing.T) {
	now := time.Date(2026, 3, 4, 15, 0, 0, 0, time.UTC).UnixMilli()
	if got := clock(now-30*60_000, now); got != "14:30" {
		t.Error(got)
	}
	if got := clock(now-24*3600_000, now); got != "3 Mar 15:00" {
		t.Error(got)
	}
	if got := clock(now-365*24*3600_000, now); got != "4 Mar 2025 15:00" {
		t.Error(got)
	}
}

// TestAnAlertOfAnotherTime: how long ago its payment was says nothing.
func TestAnAlertOfAnotherTime(t *testing.T) {
	f := func(late time.Duration, want string) {
		t.Helper()
		i := &alerts.Item{Raised: 2_000_000_000_000}
		i.Tx.Time = i.Raised - late.Milliseconds()
		if got := agoOf(i, i.Raised+60_000); got != want {
			t.Errorf("raised %v after its payment: got %q, want %q", late, got, want)
		}
	}
	f(time.Second, "1 min ago")
	f(2*24*time.Hour, "2 days ago")
	f(3*365*24*time.Hour, "")
}

func TestLabelWords(t *testing.T) {
	f := func(s alerts.State, want string) {
		t.Helper()
		i := &alerts.Item{State: s}
		i.Text[schemas.ID] = []byte("T7")
		if got := labelWords(i); got != want {
			t.Errorf("%+v: got %q, want %q", s, got, want)
		}
	}
	f(alerts.State{Status: alerts.Claimed}, "")
	f(alerts.State{Status: alerts.Fraud, Labels: 1}, "The verdict is label 1 of transaction T7: models learnt from now on know it.")
	f(alerts.State{Status: alerts.Claimed, Labels: 2}, "The verdict was taken back by label 2 of transaction T7.")
}

func TestPercent(t *testing.T) {
	f := func(p float32, want string) {
		t.Helper()
		if got := percent(p); got != want {
			t.Errorf("%v: got %q, want %q", p, got, want)
		}
	}
	f(.834, "83 %")
	f(.0341, "3.4 %")
	f(.0004, "<0.1 %")
	f(.99999, ">99.9 %")
	f(.996, "99.6 %")
	f(1, "100 %")
	f(0, "0 %")
	f(float32(math.NaN()), "–")
}
