package main

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

// TestOnlineHandbook lives through the whole Handbook stream, three times: it takes
// half an hour or more, and runs under WEIR_PROVE. The stream gives what the folds
// give, and a desk's verdicts of the same evening are worth something.
func TestOnlineHandbook(t *testing.T) {
	if os.Getenv("WEIR_PROVE") == "" {
		t.Skip("set WEIR_PROVE to live through the whole stream, three times")
	}
	folder := os.Getenv("WEIR_HANDBOOK")
	if folder == "" {
		t.Fatal("WEIR_HANDBOOK names the folder that holds transactions.csv.gz")
	}
	input := filepath.Join(folder, "transactions.csv.gz")
	var online onlineReport
	got := call(t, "eval", "handbook", "--online", "--analysts", "100", "--explore", "100", "--json", "--input", input).succeeds(t)
	t.Logf("%s%s", got.stdout, got.stderr)
	lastLine(t, got.stdout, &online)
	// The trainings take 28 days too.
	var offline evalReport
	lastLine(t, call(t, "eval", "handbook", "--train-days", "28", "--json", "--input", input).succeeds(t).stdout, &offline)
	was, is := offline.Test.Mean.AveragePrecision, online.Mean.AveragePrecision
	if math.Abs(is-was) > 0.01 {
		t.Errorf("average precision %.4f, offline %.4f", is, was)
	}
	for _, c := range []struct {
		name string
		life *onlineLife
		more float64
	}{{"analysts", online.Analysts, 0.008}, {"exploration", online.Exploration, 0.02}} {
		if c.life.Mean.AveragePrecision < is+c.more {
			t.Errorf("with %s average precision is %.4f, without %.4f: less than %.3f more", c.name, c.life.Mean.AveragePrecision, is, c.more)
		}
		// Of a processor, so that what else runs on the machine does not count.
		if c.life.CPUSeconds > 183*5 {
			t.Errorf("with %s 183 days took %.0f s of a processor", c.name, c.life.CPUSeconds)
		}
	}
}
