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
// first it learns the weights: of a logistic regression by L-BFGS over
// standardised columns and their logarithms, genuine rows thinned where there
// are too many; or of a [Network], an ensemble over bins of each column, by
// AdamW. With the second it calibrates (beta, or Platt) and chooses the rank from
// which the desk's capacity is filled. On the third it measures. Whatever comes
// after the weights uses the scores of scoring/cpu, so that a threshold is
// compared with the very numbers that it was chosen on.
//
// [Gate] holds a challenger against the champion on rows that neither has learnt
// from ([Cut] returns them), by what analysts feel: money caught and precision
// within their capacity, average precision, alerts a day, calibration; each with
// the interval of the difference from a bootstrap over cards, and again by
// [Segment]. Its [Verdict] says in words why a challenger is published or not.
//
// [Report] writes one HTML file of a training run: data, curves, verdict,
// importance of groups of features, drift, search and timings.
//
// [Search] tries options of a network at random, and judges them by the rows that
// calibrate. [ResumeNetwork] takes a network back from a bundle, to learn on from there.
//
// [RandomModel] makes networks for benchmarks.
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
// deviations count as 16; a missing value counts as the mean. Where
// genuine rows were thinned, calibration, capacity and metrics count each as the
// many that its weight says; frauds are never thinned.
//
// [ReadHistory] takes rows from a history as of a date, in memory that does not
// grow with it. Where frauds come to light only by review, it weighs them by how
// their labels came ([Weighing]).
//
// What it does not do: run on a schedule.
package trainer
