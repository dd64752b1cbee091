package desk

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/weir-risk/weir/schemas"
)

// TestSavedViews saves filters, shares them, begins with one and deletes them.
func TestSavedViews(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	w.add("bob", Analyst)
	w.add("sue", Supervisor)
	ann, bob, sue := w.browser().enters("ann"), w.browser().enters("bob"), w.browser().enters("sue")
	save := func(b *browser, status int, name, query string, more ...string) answer {
		t.Helper()
		form := url.Values{"name": {name}, "query": {query}}
		for _, key := range more {
			form.Set(key, "yes")
		}
		return b.do("POST", "/views", form).is(t, status)
	}
	sees := func(b *browser, name string, want bool) {
		t.Helper()
		if page := b.get("/queue?status=").is(t, 200); strings.Contains(page.body, ">"+name+"<") != want && strings.Contains(page.body, ">"+name+" <") != want {
			t.Errorf("%q is seen: %v", name, !want)
		}
	}
	ann.get("/queue?min=60&status=open").is(t, 200, "Save this view", `name="query" value="min=60&amp;status=open"`)
	if to := save(ann, 303, " Big ones ", "after=x&status=open&min=60&channel=&told=y").Header.Get("Location"); to != "/queue?min=60&status=open" {
		t.Errorf("a saved view leads to %q", to)
	}
	sees(ann, "Big ones", true)
	sees(bob, "Big ones", false)
	ann.get("/queue?status=open&min=60&after=").is(t, 200, "Delete view", "Begin with this", `aria-current="page" title="yours`)
	save(ann, 303, "Big ones", "min=90") // the same name: the view is changed
	ann.get("/queue?min=90").is(t, 200, "Delete view")

	save(ann, http.StatusForbidden, "For all", "min=1", "shared")
	save(sue, 303, "For all", "min=1&reason=card", "shared")
	if e := w.lastEntry(); e.What != schemas.AuditChanged || string(e.Detail) != "shared: min=1&reason=card" {
		t.Errorf("audited is %+v", e)
	}
	sees(bob, "For all", true)
	sees(ann, "For all", true)

}

// TestTheQueueBeginsWithAView has one of somebody else be what the queue begins with.
func TestTheQueueBeginsWithAView(t *testing.T) {
	w := newWorld(t)
	for name, role := range map[string]Role{"ann": Analyst, "bob": Analyst, "sue": Supervisor} {
		w.add(name, role)
	}
	ann, bob, sue := w.browser().enters("ann"), w.browser().enters("bob"), w.browser().enters("sue")
	ann.do("POST", "/views", url.Values{"name": {"Big ones"}, "query": {"min=90"}}).is(t, 303)
	sue.do("POST", "/views", url.Values{"name": {"For all"}, "query": {"min=1&reason=card"}, "shared": {"yes"}}).is(t, 303)
	begin := func(b *browser, id int, do string, status int) {
		t.Helper()
		b.do("POST", fmt.Sprintf("/views/%d", id), url.Values{"do": {do}}).is(t, status)
	}
	list, err := w.accounts.views(t.Context(), "bob")
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	shared := int(list[0].ID)
	if to := bob.get("/queue").is(t, 200).Header.Get("Location"); to != "" {
		t.Errorf("the queue begins with %q", to)
	}
	begin(bob, shared, "begin", 303)
	w.open() // as after a restart
	if to := bob.get("/queue").is(t, 303).Header.Get("Location"); to != "/queue?min=1&reason=card" {
		t.Errorf("the queue begins with %q", to)
	}
	bob.get("/queue?status=").is(t, 200, "the queue begins with it")
	if to := bob.do("POST", "/queue", url.Values{}).Header.Get("Location"); to != "/queue?status=" {
		t.Errorf("a filter of nothing leads to %q", to)
	}
	begin(bob, shared, "begin with all", 303)
	bob.get("/queue").is(t, 200)
	begin(bob, shared, "delete", http.StatusNotFound) // not his
	begin(bob, shared, "nothing", http.StatusBadRequest)
	mine, err := w.accounts.views(t.Context(), "ann")
	if err != nil || mine[0].Name != "Big ones" {
		t.Fatal(mine, err)
	}
	for _, other := range []*browser{bob, sue} { // who do not see it
		begin(other, int(mine[0].ID), "begin", http.StatusNotFound)
		begin(other, int(mine[0].ID), "delete", http.StatusNotFound)
	}
	begin(bob, shared, "begin", 303)
	begin(sue, shared, "delete", 303)
	bob.get("/queue").is(t, 200) // and no default that is gone
	begin(ann, int(mine[0].ID), "delete", 303)
	if list, err := w.accounts.views(t.Context(), "ann"); len(list) != 0 || err != nil {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestViewsThatAreNotSaved(t *testing.T) {
	w := newWorld(t)
	w.add("sue", Supervisor)
	sue := w.browser().enters("sue")
	f := func(status int, name, query string) {
		t.Helper()
		if a := sue.do("POST", "/views", url.Values{"name": {name}, "query": {query}}).is(t, status); strings.Contains(a.body, "4111111111111111") {
			t.Errorf("the page repeats the card: %s", a.body)
		}
	}
	f(http.StatusBadRequest, "", "min=1")
	f(http.StatusBadRequest, "x", "")
	f(http.StatusBadRequest, "x", "after=1")
	f(http.StatusBadRequest, "x", "min=%zz")
	f(http.StatusBadRequest, "x", "text="+strings.Repeat("x", viewQueryMax))
	f(http.StatusBadRequest, strings.Repeat("x", displayMax+1), "min=1")
	f(http.StatusBadRequest, "4111111111111111", "min=1")
	f(http.StatusBadRequest, "x", "text=4111111111111111")
	const evil = `"><script>alert(1)</script>'; DROP TABLE views; --`
	f(http.StatusSeeOther, evil, "text="+url.QueryEscape(evil))
	if page := sue.get("/queue?status=").is(t, 200, "DROP TABLE views"); strings.Contains(page.body, "<script>alert") {
		t.Errorf("a name is markup: %s", page.body)
	}
	for i := range viewsMax - 1 {
		f(http.StatusSeeOther, fmt.Sprint(i), "min=1")
	}
	f(http.StatusBadRequest, "one more", "min=1")
	f(http.StatusSeeOther, "7", "min=2")
	if list, err := w.accounts.views(t.Context(), "sue"); len(list) != viewsMax || err != nil {
		t.Errorf("%d views, %v", len(list), err)
	}
}

// TestACaseOnPaper prints what is known of an alert, and says so in the audit log.
func TestACaseOnPaper(t *testing.T) {
	f := newFloor(t)
	id := f.raise("card-a", "shop", 250000, .9)
	other := f.raise("card-a", "other <b>shop</b>", 1000, .4)
	ann := f.analyst("ann", Analyst)
	ann.act(id, "noted", "note", "called <b>them</b> about 4111 1111 1111 1111")
	ann.act(id, "closed_fraud", "reason", "card_lost")
	ann.get("/alerts/"+id).is(t, 200, "/alerts/"+id+"/print")
	page := ann.get("/alerts/" + id + "/print")
	page.is(t, 200, "2,500.00 EUR to shop", "9.2 times this customer&#39;s 30-day mean", "said fraud: card lost or stolen", "called &lt;b&gt;them&lt;/b&gt; about 411111******1111",
		other, "other &lt;b&gt;shop&lt;/b&gt;", "record 0 of partition 0 of the ledger", "<code>0000000000000007</code>", "Printed by ann on 2026-05-04 09:00:00 UTC", "<dt>score</dt>", "moves the odds up 7.4 times")
	if e := f.lastEntry(); e.What != schemas.AuditExported || string(e.Of) != "/alerts/"+id+"/print" || string(e.Who) != "ann" {
		t.Errorf("audited is %+v", e)
	}
	for range printedMax {
		f.raise("card-a", "shop", 100, .9)
	}
	page = ann.get("/alerts/"+id+"/print").is(t, 200, "the 20 newest are printed")
	if strings.Contains(page.body, "<code>"+other+"</code>") {
		t.Error("more are printed than said")
	}
	ann.get("/alerts/0-99/print").is(t, http.StatusNotFound)
}
