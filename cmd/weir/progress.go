package main

import (
	"fmt"
	"strings"
	"time"
)

// A bar shows on a terminal how far long work has come; elsewhere it is silent.
// One goroutine uses it.
type bar struct {
	env   *env
	label string
	drawn time.Time
	since time.Time
}

func newBar(e *env, label string) *bar {
	return &bar{env: e, label: label, since: time.Now()}
}

// barEvery is how often a bar is drawn: more often than that nobody sees.
const barEvery = 100 * time.Millisecond

// set draws the bar where it is due; a total of 0 is unknown.
func (b *bar) set(done, total int64) {
	now := time.Now()
	if !b.env.tty || now.Sub(b.drawn) < barEvery {
		return
	}
	b.drawn = now
	b.draw(done, total, now)
}

func (b *bar) draw(done, total int64, now time.Time) {
	took := now.Sub(b.since)
	if total <= 0 {
		fmt.Fprintf(b.env.stderr, "\r\x1b[K%s %s  %s", b.label, thousands(done), took.Round(time.Second))
		return
	}
	const width = 30
	filled := min(width, int(done*width/total))
	left := ""
	if done > 0 && done < total && took > time.Second {
		left = "  " + (time.Duration(float64(took) * float64(total-done) / float64(done))).Round(time.Second).String() + " left"
	}
	fmt.Fprintf(b.env.stderr, "\r\x1b[K%s [%s%s] %d %%%s", b.label, strings.Repeat("#", filled), strings.Repeat(".", width-filled), done*100/total, left)
}

// end removes the bar.
func (b *bar) end() {
	if b.env.tty && !b.drawn.IsZero() {
		fmt.Fprint(b.env.stderr, "\r\x1b[K")
	}
}

// thousands writes a number as people read it: 1,234,567.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
