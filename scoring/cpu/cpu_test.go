package cpu_test

import (
	"testing"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/scoring/scoringtest"
)

func TestScorerMeetsTheContract(t *testing.T) {
	scoringtest.TestScorer(t, func(m *scoring.Model) scoring.Scorer {
		s, err := cpu.New(m)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
