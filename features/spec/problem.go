package spec

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in a spec: where it is, what stands there, what was
// expected, and what to do about it.
type Problem struct {
	Name      string // of the spec, as given to [Parse]
	Line, Col int    // from 1, in characters; column 0 is the spec as a whole
	Found     string // "the duration 30d"
	Expected  string // "a number"
	Remedy    string // "write over 30d"; may be empty
}

// Error is the problem in one line.
func (p Problem) Error() string {
	text := fmt.Sprintf("%s:%d:%d: found %s, expected %s", p.Name, p.Line, p.Col, p.Found, p.Expected)
	if p.Remedy != "" {
		text += "; " + p.Remedy
	}
	return text
}

// Problems are all mistakes of a spec, in the order of their places. It is the
// error of [Parse], to be had with errors.As.
type Problems []Problem

// Error is all problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// sorted returns ps by place, so that a reader goes through the file once.
func (ps Problems) sorted() Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Col - b.Col
	})
	return ps
}

// nearest returns the candidate that text is a slip of, or "". A slip is a third
// of the letters at most, or a word begun and not finished, or gone on with.
func nearest(text string, candidates []string) string {
	best, limit := "", max(1, (len(text)+1)/3)
	for _, c := range candidates {
		if d := distance(strings.ToLower(text), strings.ToLower(c), limit); d < limit || d == limit && best == "" {
			best, limit = c, d
		}
	}
	for _, c := range candidates {
		if best == "" && (len(text) > 2 && strings.HasPrefix(c, text) || len(c) > 3 && strings.HasPrefix(text, c)) {
			best = c
		}
	}
	return best
}

// didYouMean is the remedy for a name that nothing has: the nearest one, or all.
func didYouMean(text string, candidates []string) string {
	if near := nearest(text, candidates); near != "" {
		return "did you mean " + near + "?"
	}
	return "there are " + strings.Join(candidates, ", ")
}

// distance is the number of single-character edits from a to b, or limit+1
// where it is more than limit.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
