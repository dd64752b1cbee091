package scoring_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/weir-risk/weir/scoring"
)

// goldenArithmetic is the SHA-256 of what TestGoldenArithmetic computes.
const goldenArithmetic = "f81e3a93863b596a4c087fa8df0766fcb7e9af3535d551e4767c09febf94a604"

// TestGoldenArithmetic holds the functions behind a score and a ruling to the
// bits that they gave when the constant was written, on this processor or
// another (deploy/qemu/arm64). The scores themselves are in
// scoringtest/testdata/golden.json.
func TestGoldenArithmetic(t *testing.T) {
	h := sha256.New()
	put := func(values ...float32) {
		for _, v := range values {
			h.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)))
		}
	}
	r := rand.New(rand.NewPCG(20, 26))
	anything := func() float32 { return math.Float32frombits(r.Uint32()) }
	share := func() float32 { return float32(r.Uint32()>>8) * 0x1p-24 }
	for range 50_000 {
		x := anything()
		put(scoring.Exp(x), scoring.Log(x), scoring.Sigmoid(x), scoring.SignedLog(x))
		// Near each other, so that what a sum loses shows.
		a, b := share()+1, share()+1
		put(scoring.FMA(a, b, float32(-(a*b))), scoring.FMA(a, b, share()))
	}
	for range 20_000 {
		b := scoring.Bundle{
			Calibration: scoring.Calibration{Kind: scoring.Beta, A: 2 * share(), B: 2 * share(), C: share() - .5},
			Policy:      scoring.Policy{Rank: scoring.RankKey(r.IntN(3)), Review: share() * 100, Explore: .25, ExploreKey: [16]byte{1}},
		}
		ruling := b.Decide(share(), r.Int64N(1e12), binary.LittleEndian.AppendUint64(nil, r.Uint64()))
		put(ruling.Prob, ruling.Rank, ruling.Threshold, ruling.ReviewProb)
		h.Write([]byte{byte(ruling.Action)})
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != goldenArithmetic {
		t.Errorf("got %s, want %s", got, goldenArithmetic)
	}
}
