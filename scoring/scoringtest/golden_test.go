package scoringtest_test

import (
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/scoring/scoringtest"
)

var update = flag.Bool("update", false, "write testdata/golden.json anew")

func TestMain(m *testing.M) {
	flag.Parse()
	if *update {
		if err := writeGolden(); err != nil {
			panic(err)
		}
		return // the file is embedded: run again to test it
	}
	os.Exit(m.Run())
}

func writeGolden() error {
	var cases []scoringtest.Case
	for seed := range uint64(scoringtest.GoldenCases) {
		m, x := scoringtest.GoldenCase(seed)
		s, err := cpu.NewPureGo(m)
		if err != nil {
			return err
		}
		out := make([]float32, x.Rows)
		if err := s.Score(x, out); err != nil {
			return err
		}
		c := scoringtest.Case{Seed: seed}
		for _, v := range out {
			c.Scores = append(c.Scores, scoringtest.Hex(v))
		}
		cases = append(cases, c)
	}
	text, err := json.MarshalIndent(cases, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile("testdata/golden.json", append(text, '\n'), 0o644)
}

// TestGoldenCasesAreTelling holds the generator to making models whose scores
// differ from row to row, some of them with subnormal sums.
func TestGoldenCasesAreTelling(t *testing.T) {
	various, hidden := 0, [5]int{}
	for seed := range uint64(scoringtest.GoldenCases) {
		m, x := scoringtest.GoldenCase(seed)
		s, err := cpu.NewPureGo(m)
		if err != nil {
			t.Fatal(err)
		}
		out := make([]float32, x.Rows)
		if err := s.Score(x, out); err != nil {
			t.Fatal(err)
		}
		seen := map[float32]bool{}
		for _, v := range out {
			seen[v] = true
		}
		if len(seen) > scoringtest.GoldenRows/2 {
			various++
		}
		hidden[len(m.Hidden)]++
	}
	t.Logf("%d of %d models score more than half of their rows differently; hidden layers %v", various, scoringtest.GoldenCases, hidden)
	if various < scoringtest.GoldenCases/2 {
		t.Error("too many models do not tell rows apart")
	}
	for depth, n := range hidden {
		if n < 3 {
			t.Errorf("only %d models of %d hidden layers", n, depth)
		}
	}
}

func TestTwinMeetsTheContract(t *testing.T) {
	scoringtest.TestScorer(t, func(m *scoring.Model) scoring.Scorer {
		s, err := cpu.NewPureGo(m)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
