package desk

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/schemas"
)

// A crowd writes what a large team did in a month into the view of a world.
type crowd struct {
	w     *world
	r     *rand.Rand
	place int64 // of the next disposition
	as    []alerts.Record
	ds    []alerts.Record
}

func who(k int) string { return fmt.Sprintf("analyst-%03d", k) }

// raise adds an alert and says what was done with it: kinds by people, one after another.
func (c *crowd) raise(i int64, at time.Time, does ...schemas.Disposition) {
	amount := 100 + c.r.Int64N(900_000)
	d := schemas.Decision{Tx: schemas.Transaction{Time: at.UnixMilli(), Amount: amount, AmountBase: amount}, Action: schemas.Review,
		Score: .9, Prob: .9, Threshold: .2, Bundle: 7, Rank: .9 * float32(math.Sqrt(float64(amount)))}
	d.Text[schemas.ID], d.Text[schemas.Card], d.Text[schemas.Merchant] = fmt.Appendf(nil, "tx-%d", i), fmt.Appendf(nil, "k1.%016x.411111.1111", c.r.Uint64()), fmt.Appendf(nil, "M%08d", c.r.IntN(9999))
	d.Text[schemas.Currency] = []byte("EUR")
	id := schemas.AppendAlertID(nil, 0, i)
	c.as = append(c.as, alerts.Record{Offset: i, Timestamp: at.UnixMilli(), Value: schemas.AppendAlertJSON(nil, &d, 0, i, nil, false)})
	var last []byte
	for _, x := range does {
		at = at.Add(time.Duration(1+c.r.IntN(50)) * time.Minute)
		x.ID, x.AlertID, x.TxID, x.At, x.Previous = fmt.Appendf(nil, "%032x", c.r.Uint64()), id, d.Text[schemas.ID], at.UnixMilli(), last
		last = x.ID
		c.ds = append(c.ds, alerts.Record{Offset: c.place, Timestamp: x.At, Value: schemas.AppendDispositionJSON(nil, &x)})
		c.place++
	}
	if len(c.as) == 5000 {
		c.fold()
	}
}

func (c *crowd) fold() {
	c.w.t.Helper()
	_, err := c.w.server.options.View.FoldAlerts(c.w.t.Context(), 0, c.as)
	if err == nil {
		_, err = c.w.server.options.View.FoldDispositions(c.w.t.Context(), c.ds)
	}
	if err != nil {
		c.w.t.Fatal(err)
	}
	c.as, c.ds = nil, nil
}

// large is a desk of 200 analysts and, but for WEIR_ALERTS, of 4,000 alerts: the numbers of
// more have a digit or two more, and are as many. Its clock is at the end of the month.
func large(t *testing.T) *browser {
	t.Helper()
	const team, seed = 200, 5
	n, err := strconv.ParseInt(os.Getenv("WEIR_ALERTS"), 10, 64)
	if err != nil {
		n = 4000
	}
	w := newWorld(t)
	c := &crowd{w: w, r: rand.New(rand.NewPCG(seed, seed))}
	w.server.options.View.Measure(alerts.Goals{Within: time.Hour, Looks: .05})
	end := w.clock()
	by := func(kind schemas.DispositionKind) schemas.Disposition {
		return schemas.Disposition{Kind: kind, By: []byte(who(c.r.IntN(team)))}
	}
	verdict := func() schemas.DispositionKind { return schemas.ClosedFraud + schemas.DispositionKind(c.r.IntN(2)) }
	for i := range n {
		at := end.Add(time.Duration(i-n) * (30 * 24 * time.Hour / time.Duration(n)))
		switch k := c.r.IntN(100); {
		case k < 70:
			x := by(schemas.Claimed)
			c.raise(i, at, x, schemas.Disposition{Kind: verdict(), By: x.By})
		case k < 74:
			c.raise(i, at, by(verdict()), by(schemas.ReviewedFraud))
		case k < 78:
			c.raise(i, at, by(schemas.Escalated), by(verdict()))
		case k < 90:
			c.raise(i, at, by(schemas.Claimed))
		case k < 92:
			x := by(schemas.Snoozed)
			x.Until = end.Add(time.Hour).UnixMilli()
			c.raise(i, at, x)
		default:
			c.raise(i, at)
		}
	}
	c.fold()
	w.add("sue", Supervisor)
	for k := range team {
		w.add(who(k), Analyst)
	}
	return w.browser().enters("sue")
}

var (
	teamLine  = regexp.MustCompile(`<tr><th scope="row"><a href="/supervisor/people/([^"]*)">[^<]*</a></th><td>(\d+)</td>`)
	teamTotal = regexp.MustCompile(`<tr class="all">.*`)
	teamNext  = regexp.MustCompile(`<a rel="next" href="([^"#]*)#team">`)
)

// TestALargeTeamHasAShortPage walks through the team of 200 page by page: each is short,
// everybody is on one of them, those with the most work first, and the totals are of all.
func TestALargeTeamHasAShortPage(t *testing.T) {
	sue := large(t)
	const most = 40_000
	seen, total, before := make(map[string]bool), "", int64(math.MaxInt64)
	pages := 0
	for next := "/supervisor"; next != ""; pages++ {
		page := sue.get(next).is(t, http.StatusOK, "of 200, the most work first", "Agree: ", "It is fraud", `<input name="to"`)
		if len(page.body) > most {
			t.Errorf("%s has %d bytes, at most %d are wanted", next, len(page.body), most)
		}
		if got := teamTotal.FindString(page.body); pages > 0 && got != total || !strings.Contains(got, "all 200") {
			t.Errorf("%s has the totals %s, the first page %s", next, got, total)
		}
		total = teamTotal.FindString(page.body)
		for _, m := range teamLine.FindAllStringSubmatch(page.body, -1) {
			n, _ := strconv.ParseInt(m[2], 10, 64)
			if seen[m[1]] || n > before {
				t.Errorf("%s: %s with %d, after one with %d; seen before: %v", next, m[1], n, before, seen[m[1]])
			}
			seen[m[1]], before = true, n
		}
		t.Logf("%s: %d bytes", next, len(page.body))
		next = ""
		if m := teamNext.FindStringSubmatch(page.body); m != nil {
			next = strings.ReplaceAll(m[1], "&amp;", "&")
		}
	}
	if len(seen) != 200 || pages != 200/teamRows {
		t.Errorf("%d people on %d pages", len(seen), pages)
	}
	found := sue.do("POST", "/supervisor", url.Values{"who": {" Analyst-01 "}}).leads(t, "/supervisor?who=Analyst-01#team")
	page := sue.get(strings.TrimSuffix(found.Header.Get("Location"), "#team")).is(t, http.StatusOK, "1 to 10 of 10 whose names have “Analyst-01”")
	if got := teamLine.FindAllStringSubmatch(page.body, -1); len(got) != 10 || got[0][1] != who(10) || got[9][1] != who(19) || teamTotal.FindString(page.body) != total {
		t.Errorf("of analyst-01 these are found: %v", got)
	}
	sue.get("/supervisor?who=nobody").is(t, http.StatusOK, "Nobody's name has “nobody”", "all 200")
	sue.get("/supervisor?after=nobody").is(t, http.StatusOK, "1 to 25 of 200")
	sue.do("POST", "/supervisor", url.Values{"who": {"4111 1111 1111 1111"}}).is(t, http.StatusBadRequest, "looks like a card number")
	if entry := sue.w.lastEntry(); strings.Contains(string(entry.Of), "4111111111111111") {
		t.Errorf("audited is %+v", entry)
	}
}

// TestWhatSomebodyHasIsShort too, and gives them more.
func TestWhatSomebodyHasIsShort(t *testing.T) {
	f, _, _, sue, ada := newTeam(t)
	var ids []string
	for range heldRows + 5 {
		ids = append(ids, f.raise("card-a", "shop", 1000, .9))
	}
	for slices.ContainsFunc(ids, func(id string) bool { return f.item(id).Owner != "bob" }) {
		a := sue.do("POST", "/supervisor/assign", url.Values{"to": {"bob"}, "n": {"1"}, "of": {"bob"}})
		if !strings.HasPrefix(a.Header.Get("Location"), "/supervisor/people/bob?told=given") {
			t.Fatal(a.Header.Get("Location"), a.body)
		}
	}
	page := sue.get("/supervisor/people/bob").is(t, http.StatusOK, fmt.Sprintf("the first %d of %d alerts", heldRows, len(ids)), `name="to" value="bob"`)
	if len(page.body) > 60_000 {
		t.Errorf("%d bytes", len(page.body))
	}
	ada.get("/supervisor/people/bob").is(t, http.StatusOK).lacks(t, "<button>Give")
	sue.get("/supervisor/people/nobody").is(t, http.StatusOK, "has no alerts").lacks(t, "<button>Give")
}
