package trainer

import (
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
)

// Weighing says whether rows of a history are weighed by how their labels came.
//
// Where frauds come to light only because somebody looked, what nobody looked at is
// no proof of being genuine, and what was looked at is no fair sample: most of it is
// alerts. What was drawn at random to be looked at is one. Weighed, each label that
// was looked for stands for as many transactions as the inverse of the probability
// that it was chosen with (Horvitz and Thompson); what could have been chosen, was
// not, and has no label of its own accord is left out, for the others stand for it.
// A label that came by itself stands for itself.
//
// Where frauds come to light by themselves, weighing only throws rows away.
type Weighing uint8

// WeighAuto weighs where the rows drawn at random say that most frauds below the
// threshold would not have come to light by themselves.
const (
	WeighAuto Weighing = iota
	WeighNever
	WeighAlways
)

// A pastRow is a row of a history, and what it is to a training.
type pastRow struct {
	k    *history.Chunk
	i    int
	is   truth
	ripe bool // old enough for labels that come by themselves
}

// stands is how many transactions the row stands for where rows are weighed.
func (r *pastRow) stands() float32 {
	k, i := r.k, r.i
	switch labelled := k.Label[i] != schemas.LabelNone; {
	case k.LabelOwn[i] && r.ripe: // of young ones those with no other label are left out
		return 1
	case labelled && k.LabelProb[i] > 0:
		return 1 / k.LabelProb[i]
	case labelled && k.ReviewProb[i] > 0:
		return 1 / k.ReviewProb[i]
	case !labelled && k.ReviewProb[i] > 0:
		return 0
	}
	return 1
}

// secrecy weighs the frauds below the threshold that came to light by themselves
// against those that only a look at random found, each of which stands for many.
type secrecy struct{ open, hidden float64 }

func (s *secrecy) add(r *pastRow) {
	if r.is != isFraud {
		return
	}
	if r.k.LabelOwn[r.i] {
		if p := r.k.ReviewProb[r.i]; p > 0 && p < 1 {
			s.open++
		}
	} else if w := r.stands(); w > 1 {
		s.hidden += float64(w)
	}
}

// weighs settles whether rows are weighed.
func (s *secrecy) weighs(w Weighing) bool {
	return w == WeighAlways || w == WeighAuto && s.hidden > s.open
}
