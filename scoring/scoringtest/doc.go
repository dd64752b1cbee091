// Package scoringtest is the contract of [scoring.Scorer] as a test, for every
// implementation to run: [TestScorer].
//
// It also makes random models and rows ([Model], [Rows]) from a seed. They are
// the same on every processor, so that the golden bits in testdata, which the
// pure-Go twin gave on amd64, hold for all.
package scoringtest
