package spec

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// repeat makes lines 0 to n-1 of a format with one number, or n numbers.
func repeat(n int, format string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(format, "N", fmt.Sprint(i)))
	}
	return b.String()
}

// TestLimits takes each limit as it is, and one more.
func TestLimits(t *testing.T) {
	const top = "field id = $.id\nfield time = $.time\nfield amount = $.amount\nfield customer = $.customer\n" +
		"fallback review when amount > 1\namount as first\n"
	f := func(what string, most int, make func(n int) string, want string) {
		t.Helper()
		if _, err := Parse("limit", []byte(top+make(most))); err != nil {
			t.Errorf("%d %s: %v", most, what, err)
		}
		_, err := Parse("limit", []byte(top+make(most+1)))
		var problems Problems
		if !errors.As(err, &problems) || !strings.Contains(problems[0].Error(), want) {
			t.Errorf("%d %s: want %q, got %v", most+1, what, want, err)
		}
	}
	lines := func(format string) func(int) string {
		return func(n int) string { return repeat(n, format) }
	}
	f("features", MaxFeatures-1, lines("amount > N as aN\n"), "1025 features, expected at most 1024")
	f("aggregates", MaxAggregates, func(n int) string {
		var b strings.Builder
		for i := 0; i < n; i += 64 {
			for j := i; j < min(i+64, n); j++ {
				fmt.Fprintf(&b, "count() by customer over %ds + ", j+1)
			}
			fmt.Fprintf(&b, "1 as a%d\n", i)
		}
		return b.String()
	}, "an aggregate beyond the limit")
	f("entities", MaxEntities, lines("field text tN = $.tN\ncount() by tN over 1d in group \"t\"\n"), "at most 16 entities")
	f("where clauses", MaxPredicates, lines("count() by customer over 1d where amount > N\n"), "at most 32 different ones")
	f("rules", MaxRules-1, lines("fallback review when amount > N\n"), "65 fallback lines, expected at most 64")
	f("own texts", MaxOwnText, lines("field text tN = $.tN\n"), "a field text beyond the limit, expected at most 32")
	f("own numbers", MaxOwnNumber, lines("field number tN = $.tN\n"), "a field number beyond the limit, expected at most 64")
	f("groups", MaxGroups-1, lines("amount > N in group \"N\"\n"), "at most 8")
	f("terms", MaxTerms, func(n int) string {
		return strings.Repeat("-", (n-1)%2) + "amount" + strings.Repeat("+amount", (n-1)/2) + " as a"
	}, "at most 256 terms")
	f("nesting", MaxNesting-1, func(n int) string { return strings.Repeat("(", n) + "amount" + strings.Repeat(")", n) + " as a" }, "at most 32 levels")
	f("letters of a name", MaxName, func(n int) string { return "amount as " + strings.Repeat("a", n) }, "at most 96")
	f("letters of a text", MaxString, func(n int) string { return "field channel = \"" + strings.Repeat("a", n) + "\"" }, "at most 256")
	f("bytes of a line", MaxLine, func(n int) string { return strings.Repeat("#", n) }, "a line of 4097 bytes")
	f("lines", MaxLines, func(n int) string { return strings.Repeat("\n", n-7) }, "a spec of 16385 lines")
	f("bytes", MaxText, func(n int) string {
		return strings.Repeat(strings.Repeat("#", 999)+"\n", (n-len(top))/1000) + strings.Repeat("#", (n-len(top))%1000)
	}, "a spec of 1048577 bytes")
}

func TestLongDerivedNameAsksForOne(t *testing.T) {
	line := "amount" + strings.Repeat(" + amount", 12)
	_, err := Parse("long", []byte("field id = $.i\nfield time = $.t\nfield amount = $.a\nfallback review when amount > 1\n"+line))
	if err == nil || !strings.Contains(err.Error(), "long:5:1:") || !strings.Contains(err.Error(), "end the line with as NAME") {
		t.Errorf("got %v", err)
	}
}

func TestBrokenUTF8IsFound(t *testing.T) {
	_, err := Parse("broken", []byte("# é\xff\n"))
	if err == nil || !strings.HasPrefix(err.Error(), "broken:1:0: ") || !strings.Contains(err.Error(), "broken:1:4: found bytes that are not UTF-8") {
		t.Errorf("got %v", err)
	}
}
