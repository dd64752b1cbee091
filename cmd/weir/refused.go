package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// refused counts rows that could not be read, by reason, and names the first of
// them on stderr. It never shows what a row holds.
type refused struct {
	env    *env
	counts map[string]int64
	total  int64
}

// namedMax is how many refused rows are named. More would scroll the first ones,
// which matter most, off the screen.
const namedMax = 20

// note counts a row: where it is, its reason, and what that means in words.
func (r *refused) note(file string, line int64, reason, text string) {
	if r.counts == nil {
		r.counts = make(map[string]int64)
	}
	r.counts[reason]++
	if r.total++; r.total > namedMax {
		return
	}
	if r.env.tty {
		fmt.Fprint(r.env.stderr, "\r\x1b[K") // a bar may be there
	}
	fmt.Fprintf(r.env.stderr, "%s:%d: %s: %s\n", file, line, reason, text)
	if r.total == namedMax {
		fmt.Fprintln(r.env.stderr, "further rows that are refused are counted, and not named")
	}
}

// breakdown writes counts by name, the largest first.
func breakdown(counts map[string]int64) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		if counts[a] != counts[b] {
			return int(counts[b] - counts[a])
		}
		return strings.Compare(a, b)
	})
	var parts []string
	for _, name := range names {
		parts = append(parts, name+" "+thousands(counts[name]))
	}
	return strings.Join(parts, ", ")
}
