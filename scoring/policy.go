package scoring

import (
	"fmt"
	"math"

	"github.com/dchest/siphash"

	"github.com/weir-risk/weir/schemas"
)

// CalibrationKind names a form of calibration.
type CalibrationKind uint8

// The calibrations.
const (
	Identity CalibrationKind = iota // the score is the probability
	Platt                           // on the logit: A == B
	Beta                            // A and B differ
	numCalibrations
)

var calibrationNames = [numCalibrations]string{"identity", "platt", "beta"}

// Calibration turns a score p into a probability,
//
//	sigmoid(A*ln(p) - B*ln(1-p) + C)
//
// with [Sigmoid] and [Log], p clamped to [2^-100, 1-2^-24], and each operation
// rounded to float32. A and B are not negative, so that the order of scores is
// kept. Identity has A = B = 1, C = 0 and is not computed.
type Calibration struct {
	Kind    CalibrationKind
	A, B, C float32
}

// Prob returns the calibrated probability of a score.
func (c *Calibration) Prob(score float32) float32 {
	if c.Kind == Identity {
		return score
	}
	p := clamp(score, 0x1p-100, 1-0x1p-24)
	hit, miss := float32(c.A*Log(p)), float32(c.B*Log(1-p))
	return Sigmoid(float32(hit-miss) + c.C)
}

func (c *Calibration) validate() error {
	fine := c.A >= 0 && c.B >= 0 && c.A+c.B > 0 && c.A <= 1e6 && c.B <= 1e6 && c.C >= -1e6 && c.C <= 1e6
	switch c.Kind {
	case Identity:
		fine = *c == Calibration{Kind: Identity, A: 1, B: 1}
	case Platt:
		fine = fine && c.A == c.B
	case Beta:
	default:
		fine = false
	}
	if !fine {
		return fmt.Errorf("kind %d, a %g, b %g, c %g: %w", c.Kind, c.A, c.B, c.C, ErrCalibration)
	}
	return nil
}

// RankKey says by what decisions are ranked, against which thresholds hold.
// Amounts are amount_base in minor units, at least 0; p is calibrated.
type RankKey uint8

// The rank keys.
const (
	ByProb       RankKey = iota // p
	BySqrtAmount                // p * sqrt(amount)
	ByAmount                    // p * amount
	numRankKeys
)

var rankNames = [numRankKeys]string{"p", "p*sqrt(amount_base)", "p*amount_base"}

// Rank returns the rank of a transaction: a float64 product rounded to float32.
func (k RankKey) Rank(prob float32, amountBase int64) float32 {
	amount := float64(max(amountBase, 0))
	switch k {
	case BySqrtAmount:
		return float32(float64(prob) * math.Sqrt(amount))
	case ByAmount:
		return float32(float64(prob) * amount)
	}
	return prob
}

// Policy is the operating point.
type Policy struct {
	Rank   RankKey
	Review float32 // rank from which a transaction goes to review
	Block  float32 // rank from which it is blocked, at least Review; 0: never
	// Explore is the share, below 1, of what would be allowed that goes to
	// review all the same, chosen by SipHash-2-4 of the transaction id under
	// ExploreKey.
	Explore    float32
	ExploreKey [16]byte
}

func (p *Policy) validate() error {
	if p.Rank >= numRankKeys {
		return fmt.Errorf("rank key %d: %w", p.Rank, ErrRankKey)
	}
	block := p.Block == 0 || p.Block >= p.Review && p.Block <= math.MaxFloat32
	if !(p.Review >= 0 && p.Review <= math.MaxFloat32) || !block {
		return fmt.Errorf("review from %g, block from %g: %w", p.Review, p.Block, ErrThreshold)
	}
	if !(p.Explore >= 0 && p.Explore < 1) || p.Explore > 0 && p.ExploreKey == [16]byte{} {
		return fmt.Errorf("share %g: %w", p.Explore, ErrExploration)
	}
	return nil
}

// Ruling is what a bundle says of one transaction.
type Ruling struct {
	Prob      float32 // calibrated
	Rank      float32
	Threshold float32 // on Rank, for review
	// ReviewProb is the probability with which a transaction of this rank gets
	// an action other than allow: 1 from the threshold on, the exploration
	// share below it.
	ReviewProb float32
	Action     schemas.Action
	Explored   bool // in review by exploration alone
}

// Decide rules on a transaction from its score, its amount in minor units of
// the base currency, and its id. It is a pure function and does not allocate.
func (b *Bundle) Decide(score float32, amountBase int64, id []byte) Ruling {
	p := &b.Policy
	prob := b.Calibration.Prob(score)
	r := Ruling{Prob: prob, Rank: p.Rank.Rank(prob, amountBase), Threshold: p.Review, ReviewProb: 1}
	switch {
	case p.Block > 0 && r.Rank >= p.Block:
		r.Action = schemas.Block
	case r.Rank >= p.Review:
		r.Action = schemas.Review
	default:
		r.ReviewProb = p.Explore
		if p.explores(id) {
			r.Action, r.Explored = schemas.Review, true
		}
	}
	return r
}

// Takes reports whether a bundle that decides for a share of all keys, of cards say,
// decides for this one: by SipHash-2-4 under the first half of the bundle's hash, so
// that another bundle gets others. A larger share takes those of a smaller one too.
func (b *Bundle) Takes(share float32, key []byte) bool {
	if share <= 0 || share >= 1 {
		return share >= 1
	}
	h := siphash.Hash(le64(b.Hash[:8]), le64(b.Hash[8:16]), key)
	return h < uint64(float64(share)*0x1p64)
}

// explores reports whether a transaction is among the explored.
func (p *Policy) explores(id []byte) bool {
	if p.Explore == 0 {
		return false
	}
	k := p.ExploreKey
	h := siphash.Hash(le64(k[:8]), le64(k[8:]), id)
	return h < uint64(float64(p.Explore)*0x1p64)
}
