package desk

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/schemas"
)

// newTeam is a floor where every closed alert is looked at again, with ann and bob, sue
// who leads them, and ada who audits.
func newTeam(t *testing.T) (f *floor, ann, bob, sue, ada *browser) {
	t.Helper()
	f = newFloor(t)
	f.view.Measure(alerts.Goals{Within: time.Hour, Looks: 1})
	return f, f.analyst("ann", Analyst), f.analyst("bob", Analyst), f.analyst("sue", Supervisor), f.analyst("ada", Auditor)
}

// leads fails unless an answer leads somewhere.
func (a answer) leads(t *testing.T, to string) answer {
	t.Helper()
	if got := a.Header.Get("Location"); got != to {
		t.Errorf("leads to %q, want %q: %s", got, to, a.body)
	}
	return a
}

// lacks fails if a page has one of the texts.
func (a answer) lacks(t *testing.T, texts ...string) answer {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(a.body, text) {
			t.Errorf("%q is in\n%s", text, a.body)
		}
	}
	return a
}

func (f *floor) item(id string) alerts.Item {
	f.t.Helper()
	i, err := f.view.Item(f.t.Context(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	return i
}

// TestASupervisorGivesAndTakesBack: the best case of the queue is given whole, is what
// its owner is given next, and goes back to where it was.
func TestASupervisorGivesAndTakesBack(t *testing.T) {
	f, _, bob, sue, ada := newTeam(t)
	small, large := f.raise("card-a", "shop", 1000, .9), f.raise("card-b", "shop", 250000, .8)
	also := f.raise("card-b", "other", 200, .3)
	sue.get("/supervisor").shows(t, "3 open", "Nothing waits for a second person", `<option value="bob">`, "There were no second looks")
	sue.do("POST", "/supervisor/assign", url.Values{"to": {"bob"}, "n": {"1"}}).leads(t, "/supervisor?told=given&n=2")
	sue.get("/supervisor?told=given&n=2").shows(t, "Given: 2.", "1 open", "2 being worked on")
	for _, id := range []string{large, also} {
		if i := f.item(id); i.Owner != "bob" || i.LastBy != "sue" || i.Since != 0 {
			t.Errorf("alert %s: %+v", id, i.State)
		}
	}
	f.pass(5 * time.Minute)
	bob.do("POST", "/next", url.Values{}).leads(t, "/alerts/"+large)
	bob.get("/alerts/"+large).shows(t, "sue assigned it to bob", "bob took it")
	page := sue.get("/supervisor/people/bob").is(t, 200, "2 alerts", "not yet", "yes", "Take back what is marked")
	if strings.Index(page.body, large) > strings.Index(page.body, also) {
		t.Error("the list does not begin with the most expected loss")
	}
	ada.get("/supervisor/people/bob").is(t, 200, "2 alerts").lacks(t, "<button>", "checkbox")
	ada.get("/supervisor").is(t, 200, "1 open").lacks(t, "/supervisor/assign")
	sue.do("POST", "/supervisor/release", url.Values{"alert": {large, also, small}, "of": {"bob"}}).leads(t, "/supervisor/people/bob?told=taken&n=2")
	if i := f.item(large); i.Status != alerts.Open || i.Owner != "" {
		t.Errorf("%+v", i.State)
	}
	sue.do("POST", "/supervisor/release", url.Values{"alert": {large}}).leads(t, "/supervisor?told=none&n=0")
	sue.do("POST", "/supervisor/assign", url.Values{"to": {"sue"}, "alert": {" " + small + " "}}).leads(t, "/supervisor?told=given&n=1")
	for _, wrong := range []url.Values{{}, {"to": {"ada"}, "n": {"1"}}, {"to": {"nobody"}, "n": {"1"}}, {"to": {"bob"}, "n": {"0"}}, {"to": {"bob"}, "n": {"26"}}} {
		sue.do("POST", "/supervisor/assign", wrong).is(t, http.StatusBadRequest)
	}
	sue.do("POST", "/supervisor/assign", url.Values{"to": {"bob"}, "alert": {"0-99"}}).is(t, http.StatusNotFound)
	sue.do("POST", "/supervisor/release", url.Values{"alert": {"0-99"}}).is(t, http.StatusNotFound)
}

// TestASupervisorApproves what an analyst proposed, as it was seen, and the audit log
// has it before it is done.
func TestASupervisorApproves(t *testing.T) {
	f, ann, _, sue, _ := newTeam(t)
	id := f.raise("card-a", "shop", 1000, .9)
	ann.act(id, "escalated")
	ann.act(id, "closed_fraud")
	page := sue.get("/supervisor").is(t, 200, "ann says fraud", "Agree: fraud")
	form := url.Values{"alert": {id}, "kind": {"closed_fraud"}, "previous": {previous.FindStringSubmatch(page.body)[1]}}
	stale := url.Values{"alert": {id}, "kind": {"closed_fraud"}, "previous": {"old"}}
	sue.do("POST", "/supervisor/verdict", stale).leads(t, "/supervisor?told=stale")
	sue.get("/supervisor?told=stale").shows(t, "Somebody else acted on the alert first")
	f.away = errors.New("no broker")
	sue.do("POST", "/supervisor/verdict", form).is(t, http.StatusServiceUnavailable)
	if f.away = nil; f.item(id).Status != alerts.ProposedFraud {
		t.Fatal("approved, and not audited")
	}
	sue.do("POST", "/supervisor/verdict", form).leads(t, "/supervisor?told=done")
	if e := f.lastEntry(); e.What != schemas.AuditApproved || string(e.Who) != "sue" || string(e.Of) != id {
		t.Errorf("audited is %+v", e)
	}
	if i := f.item(id); i.Status != alerts.Fraud || i.By != "sue" {
		t.Errorf("%+v", i.State)
	}
	for _, kind := range []string{"", "claimed", "undone", "reviewed_fraud"} {
		sue.do("POST", "/supervisor/verdict", url.Values{"alert": {id}, "kind": {kind}}).is(t, http.StatusBadRequest)
	}
	sue.get("/supervisor").shows(t, "Nothing waits for a second person")
}

// TestOnlyASupervisorAssignsAndSettles, whatever page or program sends it.
func TestOnlyASupervisorAssignsAndSettles(t *testing.T) {
	f, ann, _, sue, ada := newTeam(t)
	id := f.raise("card-a", "shop", 1000, .9)
	ann.act(id, "closed_genuine")
	for _, kind := range []schemas.DispositionKind{schemas.Assigned, schemas.SettledFraud, schemas.SettledGenuine} {
		path := "POST /probe/" + kind.String()
		f.route(route{pattern: path, roles: everyone, handle: func(_ http.ResponseWriter, r *http.Request) error {
			i := f.item(id)
			return f.server.send(r, &i, schemas.Disposition{AlertID: i.ID, Kind: kind, By: []byte("x"), To: map[bool][]byte{true: []byte("ann")}[kind == schemas.Assigned], Previous: []byte(i.Last)})
		}})
		for _, b := range []*browser{ann, ada} {
			if got := b.do("POST", path[5:], url.Values{}); got.StatusCode != http.StatusForbidden {
				t.Errorf("%v: status %d", kind, got.StatusCode)
			}
		}
	}
	if i := f.item(id); i.Status != alerts.Genuine || i.Settled {
		t.Errorf("%+v", i.State)
	}
	if got := sue.do("POST", "/probe/settled_fraud", url.Values{}); got.StatusCode != http.StatusOK || f.item(id).Status != alerts.Fraud {
		t.Errorf("sue: status %d", got.StatusCode)
	}
}

// lookOf is the page of a second look at an alert that was closed in one way.
func lookOf(t *testing.T, verdict string) string {
	f, ann, bob, _, _ := newTeam(t)
	f.raise("card-a", "other", 200, .3)
	id := f.raise("card-a", "shop", 1000, .9)
	ann.act(id, "noted", "note", "sounds like "+verdict)
	ann.act(id, verdict, "reason", map[string]string{"closed_fraud": "card_lost", "closed_genuine": "merchant_error"}[verdict])
	bob.get("/second-looks").is(t, 200, "No closed alert waits") // ann may still undo it
	f.pass(time.Minute)
	bob.get("/queue").shows(t, "second looks: 1")
	bob.get("/second-looks").leads(t, "/second-looks/"+id)
	bob.get("/alerts/"+id).leads(t, "/second-looks/"+id)
	ann.get("/second-looks").is(t, 200, "No closed alert waits")
	ann.get("/second-looks/"+id).leads(t, "/alerts/"+id)
	ann.do("POST", "/second-looks/"+id, url.Values{"kind": {"reviewed_fraud"}, "previous": {f.item(id).Last}})
	if f.item(id).Review.By != "" {
		t.Error("ann looked at her own again")
	}
	f.view.Measure(alerts.Goals{Within: time.Hour}) // nobody is asked for a second look
	bob.do("POST", "/second-looks/"+id, url.Values{"kind": {"reviewed_fraud"}, "previous": {f.item(id).Last}})
	bob.get("/second-looks/"+id).leads(t, "/alerts/"+id)
	if f.item(id).Review.By != "" {
		t.Error("bob took a second look that nobody gave him")
	}
	f.view.Measure(alerts.Goals{Within: time.Hour, Looks: 1})
	page := bob.get("/second-looks/"+id).is(t, 200, "A second look", "9.2 times", "Amounts of the alerts")
	if e := f.lastEntry(); e.What != schemas.AuditViewed || string(e.Of) != "/second-looks/"+id {
		t.Errorf("audited is %+v", e)
	}
	return previous.ReplaceAllString(page.lacks(t, "ann").body, "")
}

// TestASecondLookIsBlind: its page is the same, to the byte, whatever the first verdict.
func TestASecondLookIsBlind(t *testing.T) {
	if fraud, genuine := lookOf(t, "closed_fraud"), lookOf(t, "closed_genuine"); fraud != genuine {
		t.Errorf("the pages differ:\n%s\n%s", fraud, genuine)
	}
}

// TestBlindIsBlindOnPaperAndToPrograms: what the page hides is not to be had by another
// way to the same alert; who leads the desk sees it all along.
func TestBlindIsBlindOnPaperAndToPrograms(t *testing.T) {
	f, ann, bob, sue, _ := newTeam(t)
	id := f.raise("card-a", "shop", 1000, .9)
	ann.act(id, "closed_fraud")
	f.pass(time.Minute)
	for _, path := range []string{"/alerts/" + id + "/print", "/api/v1/alerts/" + id} {
		bob.get(path).is(t, http.StatusConflict, "/second-looks").lacks(t, "closed_fraud", "ann said")
		sue.get(path).is(t, http.StatusOK, "ann")
	}
	page := bob.get("/second-looks/"+id).is(t, http.StatusOK)
	bob.do("POST", "/second-looks/"+id, url.Values{"kind": {"reviewed_fraud"}, "previous": {previous.FindStringSubmatch(page.body)[1]}}).leads(t, "/second-looks/"+id)
	bob.get("/alerts/"+id+"/print").is(t, http.StatusOK, "ann")
}

// TestTwoDisagreeAndASupervisorSettlesIt: the first verdict is shown after the second, the
// page counts both, and the label gets its next version.
func TestTwoDisagreeAndASupervisorSettlesIt(t *testing.T) {
	f, ann, bob, sue, _ := newTeam(t)
	id, other := f.raise("card-a", "shop", 1000, .9), f.raise("card-b", "shop", 2000, .9)
	ann.act(id, "closed_genuine")
	ann.act(other, "closed_fraud")
	f.pass(time.Minute)
	look := func(id, kind string) answer {
		page := bob.get("/second-looks/" + id)
		bob.do("POST", "/second-looks/"+id, url.Values{"kind": {kind}, "previous": {previous.FindStringSubmatch(page.body)[1]}}).leads(t, "/second-looks/"+id)
		return bob.get("/second-looks/"+id).is(t, 200)
	}
	look(other, "reviewed_fraud").shows(t, "You agree: ann said fraud")
	look(id, "reviewed_fraud").shows(t, "You disagree: ann said genuine, and you say fraud", "To the alert")
	bob.get("/alerts/"+id).is(t, 200, "bob looked again: fraud", "ann said genuine")
	bob.do("POST", "/second-looks/"+id, url.Values{"kind": {"closed_fraud"}}).is(t, http.StatusBadRequest)
	page := sue.get("/supervisor").is(t, 200, "ann said genuine", "bob says fraud", "Of 2 second looks in 90 days, 50 % agree", "<b>0.00</b>")
	if f.item(id).Labels != 1 {
		t.Errorf("a second look made a label")
	}
	before := previous.FindStringSubmatch(page.body)[1]
	sue.do("POST", "/supervisor/verdict", url.Values{"alert": {id}, "kind": {"settled_fraud"}, "previous": {before}}).leads(t, "/supervisor?told=done")
	if e := f.lastEntry(); e.What != schemas.AuditApproved || string(e.Detail) != "settled_fraud" {
		t.Errorf("audited is %+v", e)
	}
	if i := f.item(id); i.Status != alerts.Fraud || i.Labels != 2 || i.Closing.Fraud || i.Review.By != "bob" {
		t.Errorf("%+v", i.State)
	}
	sue.get("/alerts/"+id).shows(t, "sue settled it: fraud", "bob looked again: fraud", "ann said genuine")
	sue.get("/supervisor").is(t, 200, "Nothing waits for a second person", "50 % agree", "<td>100 %</td>")
}

// TestASupervisorCorrectsAClosing that nobody disputes, from the alert's own page; the
// analyst's is not offered that, and the history keeps both.
func TestASupervisorCorrectsAClosing(t *testing.T) {
	f, ann, _, sue, _ := newTeam(t)
	id := f.raise("card-a", "shop", 1000, .9)
	sue.get("/alerts/"+id).is(t, 200, "/supervisor?alert="+id+"#assign").lacks(t, "Settle it")
	ann.get("/alerts/"+id).is(t, 200).lacks(t, "/supervisor")
	ann.act(id, "closed_genuine")
	ann.get("/alerts/"+id).is(t, 200).lacks(t, "Settle it")
	page := sue.get("/alerts/"+id).is(t, 200, "Settle it: fraud").lacks(t, "#assign")
	if strings.Index(page.body, `value="noted"`) > strings.Index(page.body, "settled_fraud") {
		t.Error("Enter in the note settles the alert") // a browser presses the first button of the form
	}
	form := url.Values{"alert": {id}, "kind": {"settled_fraud"}, "from": {"case"}, "note": {"chargeback came"}, "previous": {previous.FindStringSubmatch(page.body)[1]}}
	ann.do("POST", "/supervisor/verdict", form).is(t, http.StatusForbidden)
	sue.do("POST", "/supervisor/verdict", form).leads(t, "/alerts/"+id+"?told=done")
	sue.get("/alerts/"+id+"?told=done").is(t, 200, "ann said genuine", "sue settled it: fraud", "chargeback came", "Settle it: genuine")
	if i := f.item(id); i.Status != alerts.Fraud || i.Labels != 2 {
		t.Errorf("%+v", i.State)
	}
	sue.act(id, "undone")
	if i := f.item(id); i.Status != alerts.Genuine || i.Labels != 3 {
		t.Errorf("undone: %+v", i.State)
	}
	// The same form again is the same action, which was taken back.
	sue.do("POST", "/supervisor/verdict", form).leads(t, "/alerts/"+id+"?told=done")
	if i := f.item(id); i.Status != alerts.Genuine || i.Labels != 3 {
		t.Errorf("sent again: %+v", i.State)
	}
}

// TestFiguresOfTheTeam: what was closed, how fast, how late and what it saved.
func TestFiguresOfTheTeam(t *testing.T) {
	f, ann, bob, sue, _ := newTeam(t)
	sue.get("/supervisor").is(t, 200, "Nothing was closed in these days", "0 open")
	first, second := f.raise("card-a", "shop", 123456, .9), f.raise("card-b", "shop", 5000, .8)
	f.raise("card-c", "shop", 100, .3)
	ann.act(first, "claimed")
	f.pass(4 * time.Minute)
	ann.act(first, "closed_fraud")
	f.pass(2 * time.Hour)
	bob.enters("bob")
	sue.enters("sue")
	bob.act(second, "closed_genuine")
	page := sue.get("/supervisor").is(t, 200, "1 late</b>", "1,234.56 EUR", "50 %, ", "1 open")
	row := regexp.MustCompile(`(?s)people/ann".*?</tr>`).FindString(page.body)
	if !regexp.MustCompile(`>1</td><td>100 %</td><td>[34] min</td>`).MatchString(row) {
		t.Errorf("ann's row: %s", row)
	}
	// One day, then eight, later: what was closed is out of the week, and still in the month.
	f.pass(24 * time.Hour)
	sue.enters("sue")
	if row := regexp.MustCompile(`(?s)people/ann".*?</tr>`).FindString(sue.get("/supervisor").body); !strings.Contains(row, `<td>0</td><td>–</td><td>–</td><td>1</td>`) {
		t.Errorf("ann's row a day later: %s", row)
	}
	f.pass(7 * 24 * time.Hour)
	sue.enters("sue")
	page = sue.get("/supervisor").is(t, 200, "1,234.56 EUR")
	if row := regexp.MustCompile(`(?s)people/ann".*?</tr>`).FindString(page.body); strings.Contains(row, "100 %") {
		t.Errorf("ann's row a week later: %s", row)
	}
}

// TestNothingOnTheSupervisorsPagesIsMarkup puts markup into every text that a bank may
// send, and into the address.
func TestNothingOnTheSupervisorsPagesIsMarkup(t *testing.T) {
	f, ann, bob, sue, _ := newTeam(t)
	const evil = `"><script>alert(1)</script>`
	id, other := f.raise(evil, evil, 1000, .9), f.raise(evil, evil, 1000, .9)
	ann.act(id, "escalated")
	ann.act(id, "closed_fraud")
	ann.act(other, "closed_fraud")
	f.pass(time.Minute)
	held := f.raise(evil, evil, 1000, .9)
	bob.act(held, "claimed")
	for _, a := range []answer{sue.get("/supervisor?alert=" + url.QueryEscape(evil) + "&told=" + url.QueryEscape(evil)), sue.get("/supervisor/people/bob"),
		sue.get("/supervisor/people/" + url.PathEscape(evil)), bob.get("/second-looks/" + other)} {
		a.is(t, 200).lacks(t, "<script>alert")
	}
}

func TestWhyAQueueCannotBeShown(t *testing.T) {
	for err, want := range map[error]string{fmt.Errorf("x: %w", alerts.ErrWide): "Type more letters", fmt.Errorf("x: %w", alerts.ErrCursor): "not understood"} {
		var p *problem
		if got := errQueue(err, "card"); !errors.As(got, &p) || p.status != http.StatusBadRequest || !strings.Contains(p.text, want) {
			t.Errorf("%v: %v", err, got)
		}
	}
	var p *problem
	if err := errQueue(errors.New("disk"), ""); errors.As(err, &p) {
		t.Error("what broke is told")
	}
}

// TestWilson holds the interval to values that are in the books.
func TestWilson(t *testing.T) {
	f := func(k, n int64, low, high float64) {
		t.Helper()
		if l, h := wilson(k, n); math.Abs(l-low) > .0005 || math.Abs(h-high) > .0005 {
			t.Errorf("%d of %d: %.4f to %.4f", k, n, l, h)
		}
	}
	f(0, 10, 0, .2775)
	f(10, 10, .7225, 1)
	f(5, 10, .2366, .7634)
	f(81, 263, .2553, .3662) // Newcombe 1998, table I
	f(15, 148, .0624, .1605)
}
