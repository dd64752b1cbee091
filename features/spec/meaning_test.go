package spec

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/schemas"
)

// TestHashIsOfTheMeaning: comments, spacing, the order of declarations and what
// holds anyway change nothing; anything else does.
func TestHashIsOfTheMeaning(t *testing.T) {
	const plain = `base EUR
field id = $.id
field time = $.ts
field amount = $.amount
field customer = $.c
field terminal = $.t
home customer
count() by customer × terminal over 7d
amount / mean(amount) by customer over 30d as ratio
fallback review when amount > 1000
fallback block when ratio > 10
`
	hash := func(text string) [32]byte {
		s, err := Parse("x", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return s.Hash
	}
	want := hash(plain)
	change := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(plain) }
	same := func(what, text string) {
		t.Helper()
		if hash(text) != want {
			t.Errorf("%s: another hash", what)
		}
	}
	other := func(what, text string) {
		t.Helper()
		if text == plain || hash(text) == want {
			t.Errorf("%s: the same hash", what)
		}
	}
	same("comments", change("\n", " # why\n"))
	same("spaces", change(" ", "\t  "))
	same("line ends", change("\n", "\r\n"))
	same("byte order mark", "\ufeff"+plain)
	same("order of declarations", "maturity 90d\n"+change("home customer\n", "", "base EUR\n", "")+"home customer dedup 7d\nbase EUR\n")
	same("defaults said", plain+"late 1d\nfuture 300s\nlabels analyst, chargeback, issuer_report, customer_report, default\ndlq bytes\n")
	same("another way to write a duration", change("7d", "1w", "30d", "4w2d"))
	same("order of keys", change("customer × terminal", "terminal x customer"))
	same("its name said", change("over 7d", "over 7d as count_by_customer_terminal_7d"))
	same("its group said", change("as ratio", `in group "customer amount" as ratio`))
	same("parentheses", change("amount / mean(amount) by customer over 30d", "(amount / (mean(amount) by customer over 30d))"))
	other("a name", plain+"spec x\n")
	other("a window", change("7d", "8d"))
	other("a path", change("$.ts", "$.time"))
	other("a name of a feature", change("ratio", "share"))
	other("a group", change("as ratio", `as ratio in group "x"`))
	other("order of rules", change("fallback review when amount > 1000\n", "")+"fallback review when amount > 1000\n")
	other("order of features", change("count() by customer × terminal over 7d\n", "")+"count() by customer × terminal over 7d\n")
	other("a default changed", plain+"late 2d\n")
}

// TestEqualPartsAreShared: aggregates and where clauses that mean the same are
// kept once.
func TestEqualPartsAreShared(t *testing.T) {
	s, err := Parse("x", []byte(`field id = $.id
field time = $.ts
field amount = $.amount
field customer = $.c
field terminal = $.t
count() by customer over 7d as a
count() by customer over 1w * 2 as b
count() by customer over 7d delay 1d as c
count() by customer over 7d before delay 24h as d
since_last() by customer as e
since_last() by customer over all before as f
(count() by customer × terminal over 7d where amount > 5 and a > 2) + 1 as g
count() by terminal * customer over 7d where (amount > 5.0) and (a > 2) as h
fallback review when count() by customer over 168h > 3
`))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Aggregates) != 4 || len(s.Predicates) != 1 || len(s.Entities) != 2 {
		t.Errorf("%d aggregates, %d where clauses, %d entities, want 4, 1, 2:\n%s",
			len(s.Aggregates), len(s.Predicates), len(s.Entities), describe(s))
	}
}

func TestHandbookHasTheBooksColumns(t *testing.T) {
	const header = "TX_AMOUNT,TX_DURING_WEEKEND,TX_DURING_NIGHT," +
		"CUSTOMER_ID_NB_TX_1DAY_WINDOW,CUSTOMER_ID_AVG_AMOUNT_1DAY_WINDOW,CUSTOMER_ID_NB_TX_7DAY_WINDOW," +
		"CUSTOMER_ID_AVG_AMOUNT_7DAY_WINDOW,CUSTOMER_ID_NB_TX_30DAY_WINDOW,CUSTOMER_ID_AVG_AMOUNT_30DAY_WINDOW," +
		"TERMINAL_ID_NB_TX_1DAY_WINDOW,TERMINAL_ID_RISK_1DAY_WINDOW,TERMINAL_ID_NB_TX_7DAY_WINDOW," +
		"TERMINAL_ID_RISK_7DAY_WINDOW,TERMINAL_ID_NB_TX_30DAY_WINDOW,TERMINAL_ID_RISK_30DAY_WINDOW"
	s, ok := Builtin("handbook")
	if !ok {
		t.Fatal("no such spec")
	}
	var names []string
	for _, f := range s.Features {
		names = append(names, f.Name)
	}
	if got := strings.Join(names, ","); got != header {
		t.Errorf("got %s", got)
	}
	if s.Entities[s.Home].Name != "customer" || s.Input.Text[schemas.Currency].Constant != "EUR" {
		t.Errorf("home %d, currency %+v", s.Home, s.Input.Text[schemas.Currency])
	}
}

// TestPaymentsIsRich holds what the default set promises.
func TestPaymentsIsRich(t *testing.T) {
	s, ok := Builtin("payments")
	if !ok {
		t.Fatal("no such spec")
	}
	if n := len(s.Features); n < 40 {
		t.Errorf("%d features", n)
	}
	for _, name := range []string{"customer", "card", "merchant", "terminal", "device", "customer × merchant"} {
		if !slices.ContainsFunc(s.Entities, func(e Entity) bool { return e.Name == name }) {
			t.Errorf("no entity %s", name)
		}
	}
	delayed, atOnce := 0, 0
	for _, a := range s.Aggregates {
		switch {
		case aggregateRules[a.Fn].kind != kindLabels:
		case a.Delay > 0:
			delayed++
		default:
			atOnce++
		}
	}
	card := s.Input.Text[schemas.Card]
	if delayed < 3 || atOnce < 3 || !card.Secret || !card.KeepBIN || s.Input.DLQ || len(s.Groups()) > MaxGroups {
		t.Errorf("%d delayed and %d immediate label aggregates, card %+v, dead letters with bytes %v, groups %q",
			delayed, atOnce, card, s.Input.DLQ, s.Groups())
	}
}

func TestBuiltinNames(t *testing.T) {
	if got := BuiltinNames(); !slices.Equal(got, []string{"handbook", "handbook_now", "payments"}) {
		t.Errorf("got %q", got)
	}
	for _, name := range BuiltinNames() {
		s, ok := Builtin(name)
		if !ok || s.Name != name || !bytes.Equal(s.Text, BuiltinText(name)) {
			t.Errorf("%s is not itself", name)
		}
	}
	if s, ok := Builtin("nothing"); ok || s != nil || BuiltinText("nothing") != nil {
		t.Error("there is a spec called nothing")
	}
}

// TestRandomExpressionsRoundTrip writes random features and reads their
// canonical text again, which must be compiled to the same.
func TestRandomExpressionsRoundTrip(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	g := generator{rand.New(rand.NewPCG(seed, 7))}
	fine := 0
	for range 300 {
		text := "field id = $.i\nfield time = $.t\nfield amount = $.a\nfield customer = $.c\nfield terminal = $.te\n" +
			"field channel = $.ch\nfield number age = $.n\nbase USD\nhome customer\n"
		for i := range 1 + g.IntN(4) {
			text += fmt.Sprintf("%s as f%d in group \"g\"\n", g.number(4), i)
		}
		text += "fallback review when " + g.condition(3, true) + "\n"
		s, err := parse("random", []byte(text))
		if err != nil {
			// What is left are constants and limits, which the generator may hit.
			for _, p := range err.(Problems) {
				if !strings.Contains(p.Found, "constant") && !strings.Contains(p.Expected, "at most") {
					t.Fatalf("seed %d: %v\n%s", seed, err, text)
				}
			}
			continue
		}
		fine++
		checkRoundTrip(t, s)
	}
	if fine < 100 {
		t.Errorf("only %d of 300 texts were good; seed %d", fine, seed)
	}
}

// generator writes random expressions with parentheses everywhere, so that
// their shape does not hang on what binds tighter.
type generator struct{ *rand.Rand }

func (g generator) one(of ...string) string { return of[g.IntN(len(of))] }

func (g generator) number(depth int) string {
	if depth == 0 {
		return g.one("amount", "age", "2", "0.25", "(-3)")
	}
	switch g.IntN(6) {
	case 0:
		return "(" + g.number(depth-1) + g.one(" + ", " - ", " * ", " / ") + g.number(depth-1) + ")"
	case 1:
		return g.one("min", "max") + "(" + g.number(depth-1) + ", " + g.number(depth-1) + ")"
	case 2:
		return "log(" + g.number(depth-1) + ")"
	case 3:
		return "(-(" + g.number(depth-1) + "))"
	case 4:
		return g.one("hour(time)", "weekday(time, Asia/Tokyo)", "day(time, channel)")
	}
	return "(" + g.aggregate() + ")"
}

func (g generator) aggregate() string {
	text := g.one("count()", "sum(amount)", "mean(age)", "std(amount)", "geo_mean(amount)", "distinct(channel)", "fraud_rate()", "min(age)")
	text += " by " + g.one("customer", "terminal", "terminal x customer") + " over " + g.one("90m", "7d", "1h30m", "1w")
	text += g.one("", "", " delay 2d", " before", " before delay 1h")
	if g.IntN(3) == 0 {
		text += " where " + g.condition(2, false)
	}
	return text
}

func (g generator) condition(depth int, aggregates bool) string {
	if depth == 0 {
		return g.one(`channel == "ecom"`, `channel != "a\\\"b"`, "weekend(time)", "(amount > 5)", "(hour(time) <= 6)")
	}
	switch {
	case g.IntN(3) == 0:
		return "(not " + g.condition(depth-1, aggregates) + ")"
	case aggregates && g.IntN(3) == 0:
		return "(" + g.number(depth) + g.one(" < ", " <= ", " == ", " != ", " > ", " >= ") + g.number(depth-1) + ")"
	}
	return "(" + g.condition(depth-1, aggregates) + g.one(" and ", " or ") + g.condition(depth-1, aggregates) + ")"
}

// FuzzParse: no text makes Parse panic; problems lie inside the text; what
// parses has a canonical text that means the same.
func FuzzParse(f *testing.F) {
	for _, text := range good(f) {
		f.Add(text)
	}
	bad, err := os.ReadFile("testdata/bad.txt")
	if err != nil {
		f.Fatal(err)
	}
	for block := range strings.SplitSeq(string(bad), "\ncase ") {
		_, text, _ := strings.Cut(block, "\n")
		text, _, _ = strings.Cut(text, "----\n")
		for _, m := range must {
			text += m.line + "\n"
		}
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parse("fuzz", text)
		if err == nil {
			checkRoundTrip(t, s)
			return
		}
		var problems Problems
		if !errors.As(err, &problems) || len(problems) == 0 || s != nil {
			t.Fatalf("got %v and %v", s, err)
		}
		lines := bytes.Count(text, []byte("\n")) + 1
		for _, p := range problems {
			if p.Line < 1 || p.Line > lines || p.Col < 0 || p.Found == "" || p.Expected == "" {
				t.Fatalf("odd problem %+v", p)
			}
		}
	})
}
