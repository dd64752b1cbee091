// Package trainer learns a model from rows of features and what became of them,
// and seals it in a bundle.
//
// In goes a [Dataset], filled row by row with the features that the engine
// computed (the same engine as live) and the labels known by the day of the
// training; out come a [Result], which says what the model does with rows that
// it has not seen, and from that a signed file ([Result.Bundle], [Seal]). The
// same data and options give the same bytes, whatever the number of processors,
// though not on processors of another kind.
//
// [Fit] puts the rows in the order of time and cuts them in three. From the
// first it learns the weights of a logistic regression by L-BFGS over
// standardised columns and their logarithms, genuine rows thinned where there
// are too many. With the second it calibrates (Platt) and chooses the rank from
// which the desk's capacity is filled. On the third it measures. Whatever comes
// after the weights uses the scores of scoring/cpu, so that a threshold is
// compared with the very numbers that it was chosen on.
//
// This is the first learner, plain on purpose; the bundle format carries far
// richer ones. [RandomModel] makes networks for benchmarks.
//
// # Who owns what
//
// A Dataset belongs to its caller; Fit sorts it in place and keeps no part of
// it but the few rows that it copies for the bundle. Goroutines are started for
// sums over chunks of rows and waited for before the sum is used.
//
// # Limits and units
//
// Times are milliseconds since the Unix epoch, amounts minor units of the base
// currency. Everything is in memory: four bytes a feature and row, and at most
// [Options].RowsMax rows again as standardised terms. Values beyond 16
// deviations count as 16; a missing value counts as the mean. Weights of
// rows are for what was thinned; the metrics and the desk's capacity count rows
// as they are.
//
// What it does not do: read history, decide which labels are ripe, compare with
// the model that is serving, run on a schedule.
package trainer
