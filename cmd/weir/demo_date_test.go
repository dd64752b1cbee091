package main

import (
	"bytes"
	"strconv"
	"testing"
	"time"

	"github.com/weir-risk/weir/ingest/simulate"
)

// TestDemoIsTheSameOnAnyDay draws the demo's bank as of days apart: the payments are
// the same, so many whole weeks later.
func TestDemoIsTheSameOnAnyDay(t *testing.T) {
	d := &demo{customers: 200, past: 21, rate: 2000, seed: 3}
	draw := func(now time.Time) []byte {
		cfg := d.config(now)
		bank, err := simulate.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var tx simulate.Transaction
		var text []byte
		for range 10_000 {
			bank.Next(&tx)
			text = strconv.AppendInt(append(text, '\n'), tx.Time-cfg.Start.UnixMilli(), 10)
			text = strconv.AppendInt(append(text, ' '), tx.Amount, 10)
			text = strconv.AppendBool(append(text, ' '), tx.Fraud())
		}
		return text
	}
	now := time.Date(2026, 11, 26, 23, 59, 0, 0, time.UTC)
	want := draw(now)
	for _, days := range []int{1, 3, 30, 100, 250} {
		if !bytes.Equal(draw(now.AddDate(0, 0, days)), want) {
			t.Errorf("another bank %d days later", days)
		}
	}
}
