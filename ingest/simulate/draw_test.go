package simulate

import (
	"math"
	"testing"
)

func TestExpAndLn(t *testing.T) {
	d := newDraw(1, 1)
	for range 100_000 {
		x := (d.unit() - 0.5) * 100
		if got, want := exp(x), math.Exp(x); math.Abs(got-want) > 1e-12*want {
			t.Fatalf("exp(%g) is %g, not %g", x, got, want)
		}
		y := math.Exp(x)
		if got, want := ln(y), math.Log(y); math.Abs(got-want) > 1e-9*max(1, math.Abs(want)) {
			t.Fatalf("ln(%g) is %g, not %g", y, got, want)
		}
	}
	if exp(0) != 1 || ln(1) != 0 {
		t.Errorf("exp(0) is %g, ln(1) is %g", exp(0), ln(1))
	}
}

func TestMoments(t *testing.T) {
	const n = 400_000
	f := func(name string, mean, sd float64, next func() float64) {
		t.Helper()
		var s, q float64
		for range n {
			v := next()
			s, q = s+v, q+v*v
		}
		m := s / n
		v := q/n - m*m
		if math.Abs(m-mean) > 5*sd/math.Sqrt(n) || math.Abs(math.Sqrt(v)-sd) > 0.02*sd {
			t.Errorf("%s: mean %g, deviation %g, want %g and %g", name, m, math.Sqrt(v), mean, sd)
		}
	}
	d := newDraw(7, 7)
	f("unit", 0.5, math.Sqrt(1./12), d.unit)
	f("norm", 0, 1, d.norm)
	f("exponential", 1, 1, d.exponential)
	f("below", 4.5, math.Sqrt(99./12), func() float64 { return float64(d.below(10)) })
	f("small", 2.85, 2.3511, func() float64 { return float64(d.small(10)) })
}

func TestQueueGivesItemsInOrder(t *testing.T) {
	d := newDraw(5, 5)
	var q queue[int]
	last, tie := int64(-1), uint64(0)
	var lastTie uint64
	for i := range 50_000 {
		if i%3 != 2 || len(q.items) == 0 {
			tie++
			q.push(max(last, 0)+int64(d.below(50)), tie, i)
			continue
		}
		first := q.items[0]
		if first.at < last || first.at == last && first.tie < lastTie && first.tie < tie-uint64(len(q.items)) {
			t.Fatalf("step %d: %d after %d", i, first.at, last)
		}
		for _, it := range q.items {
			if it.less(&first) {
				t.Fatalf("step %d: %+v is not the first, %+v is", i, first, it)
			}
		}
		last, lastTie = first.at, first.tie
		var v int
		q.pop(&v)
		if len(q.items) > 200 {
			q.items = q.items[:200]
		}
	}
}

func TestAgendaGivesPaymentsInOrder(t *testing.T) {
	d := newDraw(6, 6)
	a := make(agenda, 1000)
	next := make([]int64, len(a))
	for i := range a {
		next[i] = int64(d.below(5_000))
		a[i] = entry(next[i], uint32(i))
	}
	a.order()
	for range 20_000 {
		ms, who := a.first()
		least := 0
		for i, at := range next {
			if at < next[least] {
				least = i
			}
		}
		if int(who) != least || ms != next[least] {
			t.Fatalf("%d at %d, not %d at %d", who, ms, least, next[least])
		}
		next[who] += int64(d.below(3_000))
		a.sink(0, entry(next[who], who))
	}
}

func TestWeekIsMonotone(t *testing.T) {
	for life := range numLives {
		w := newWeek(life)
		last := int64(-1)
		for i := range 200_000 {
			f := float64(i) / 200_000
			at := w.at(f)
			if at < last || at < 0 || at >= weekMs {
				t.Fatalf("life %d: share %g at %d after %d", life, f, at, last)
			}
			if back := w.share(at); math.Abs(back-f) > 1e-6 {
				t.Fatalf("life %d: share %g at %d, which is share %g", life, f, at, back)
			}
			last = at
		}
	}
}
