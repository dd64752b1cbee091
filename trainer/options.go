package trainer

import (
	"errors"
	"fmt"
	"time"

	"github.com/weir-risk/weir/scoring"
)

// Options says how to learn.
type Options struct {
	// FitShare and CalibrateShare are the first rows in the order of time, of
	// which the weights are learnt, and the next, of which calibration and
	// operating point are; the rest is held out, and measured on.
	FitShare, CalibrateShare float64
	// Gap is left out between these parts: in life, labels take as long to come.
	Gap time.Duration

	// Network, where not nil, has a network learnt; otherwise it is a logistic
	// regression, by what follows.
	Network *NetworkOptions
	// Warm, where not nil, is the network that learning begins from. It has seen none
	// of the rows that calibrate or are held out.
	Warm *Network

	Logs        bool    // give the model each column's logarithm beside the column
	FraudWeight float64 // by how much more a fraud counts than a genuine row
	L2          float64 // penalty on squared weights, of the mean loss
	Iterations  int     // of L-BFGS at most
	RowsMax     int     // of which the weights are learnt; beyond it, genuine rows are thinned

	// CalibrateFolds above 1 has the calibration fitted out of that many folds of
	// the weights' cards, each fold scored by a model of the others: more frauds to
	// fit it to, for as many fits more, each with a copy of the rows. Otherwise it
	// is fitted to the rows after, which say too how the model ages.
	CalibrateFolds int

	// Rank is what the desk ranks by; with RankAuto it is the key with which its
	// capacity catches most money of the rows that calibrate.
	Rank     scoring.RankKey
	RankAuto bool
	// ReviewCardsPerDay is how many cards a day the desk can review, each on every
	// day on which any transaction of it ranks high enough. Where it is 0,
	// ReviewPerDay is how many transactions a day; where that is 0 too, ReviewShare
	// is the share of all transactions.
	ReviewCardsPerDay float64
	ReviewPerDay      float64
	ReviewShare       float64
	// Explore and ExploreKey are the policy's.
	Explore    float64
	ExploreKey [16]byte
}

// DefaultOptions returns options that suit a first model.
func DefaultOptions() Options {
	return Options{
		FitShare: 0.7, CalibrateShare: 0.15,
		// Logarithms: amounts, counts and ages span decades, and a line through
		// them sees only the largest.
		Logs: true,
		// Raised to the root of their rarity, frauds cost .03 of average precision
		// on a simulated bank: what matters is the order at the top, which
		// calibration cannot mend.
		FraudWeight: 1,
		// Enough to keep weights finite where a column separates the classes;
		// 1e-4 cost .02 there.
		L2:         1e-6,
		Iterations: 200,
		// There, 100,000 rows did as well as 500,000: more genuine rows only take
		// longer.
		RowsMax:     200_000,
		Rank:        scoring.ByProb,
		ReviewShare: 0.005,
	}
}

// Validate reports every problem of o at once.
func (o *Options) Validate() error {
	var errs []error
	check := func(ok bool, name string, got any) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s cannot be %v", name, got))
		}
	}
	check(o.FitShare > 0 && o.FitShare < 1, "FitShare", o.FitShare)
	check(o.CalibrateShare > 0 && o.FitShare+o.CalibrateShare < 1, "CalibrateShare", o.CalibrateShare)
	check(o.Gap >= 0, "Gap", o.Gap)
	if o.Network != nil {
		errs = append(errs, o.Network.Validate())
	}
	check(o.Warm == nil || o.Network != nil && o.CalibrateFolds <= 1, "Warm", "set without Network, or with CalibrateFolds: it has seen the folds")
	check(o.FraudWeight > 0 && o.FraudWeight <= 1e6, "FraudWeight", o.FraudWeight)
	check(o.L2 >= 0 && o.L2 <= 1e6, "L2", o.L2)
	check(o.Iterations > 0, "Iterations", o.Iterations)
	check(o.RowsMax >= 1000, "RowsMax", o.RowsMax)
	check(o.CalibrateFolds >= 0 && o.CalibrateFolds <= 100, "CalibrateFolds", o.CalibrateFolds)
	check(o.Rank <= scoring.ByAmount, "Rank", o.Rank)
	check(o.ReviewCardsPerDay >= 0 && o.ReviewCardsPerDay <= 1e9, "ReviewCardsPerDay", o.ReviewCardsPerDay)
	check(o.ReviewPerDay >= 0 && o.ReviewPerDay <= 1e9, "ReviewPerDay", o.ReviewPerDay)
	check(o.ReviewCardsPerDay > 0 || o.ReviewPerDay > 0 || o.ReviewShare > 0 && o.ReviewShare <= 1, "ReviewShare", o.ReviewShare)
	check(o.Explore >= 0 && o.Explore < 1, "Explore", o.Explore)
	check(o.Explore == 0 || o.ExploreKey != [16]byte{}, "ExploreKey", "empty")
	return errors.Join(errs...)
}
