package desk

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/schemas"
)

// A program asks the desk by a token.
type program struct {
	w     *world
	token string
}

// program makes a token of an account.
func (w *world) program(user string, roles ...Role) *program {
	w.t.Helper()
	_, text, err := w.accounts.AddToken(w.t.Context(), Token{User: user, Name: "test", Roles: Roles(roles...), Expires: w.clock().Add(24 * time.Hour).UnixMilli()})
	if err != nil {
		w.t.Fatal(err)
	}
	return &program{w, text}
}

// newProgram is one of an analyst of its own.
func (w *world) newProgram(user string) *program {
	w.t.Helper()
	w.add(user, Analyst)
	return w.program(user, Analyst)
}

// ask asks, and holds what is answered to the document.
func (p *program) ask(t *testing.T, method, pattern, id, body string, header ...string) answer {
	t.Helper()
	path, _, _ := strings.Cut(pattern, "?")
	r := httptest.NewRequest(method, strings.ReplaceAll(pattern, "{id}", url.PathEscape(id)), strings.NewReader(body))
	r.RemoteAddr = "192.0.2.7:40000"
	r.Header.Set("Authorization", "Bearer "+p.token)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	p.w.server.ServeHTTP(rec, r)
	a := answer{rec.Result(), rec.Body.String()}
	described(t, method, path, a)
	return a
}

const (
	alertPath  = "/api/v1/alerts/{id}"
	actionPath = "/api/v1/alerts/{id}/actions"
)

// into reads an answer.
func into[T any](t *testing.T, a answer) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return v
}

// TestADayOfAProgram lists, looks, acts and takes the next.
func TestADayOfAProgram(t *testing.T) {
	f := newFloor(t)
	small, large := f.raise("card-a", "shop", 1000, .9), f.raise("card-b", "shop", 250000, .8)
	f.raise("card-b", "other", 200, .3)
	f.add("ann", Analyst)
	p := f.program("ann", Analyst)
	type list struct {
		Alerts []apiAlert
		Cases  []apiCase
		Next   *string
	}
	var ids []string
	for cursor := ""; ; {
		target := "/api/v1/alerts?limit=1&status=open"
		if cursor != "" {
			target += "&cursor=" + cursor
		}
		got := into[list](t, p.ask(t, "GET", target, "", "").is(t, http.StatusOK))
		for _, a := range got.Alerts {
			ids = append(ids, a.ID)
		}
		if got.Next == nil {
			break
		}
		cursor = *got.Next
	}
	if len(ids) != 3 || ids[0] != large || ids[1] != small {
		t.Errorf("the list is %v, begins with %s and %s", ids, large, small)
	}
	if got := into[list](t, p.ask(t, "GET", "/api/v1/cases", "", "").is(t, 200)); len(got.Cases) != 2 || got.Cases[0].Alerts != 2 || got.Cases[0].AmountBase != 250200 {
		t.Errorf("cases are %+v", got)
	}
	next := into[apiAction](t, p.ask(t, "POST", "/api/v1/next", "", "").is(t, http.StatusOK))
	if next.Alert != large || next.By != "ann" || next.Kind != "claimed" {
		t.Errorf("the next is %+v", next)
	}
	body := fmt.Sprintf(`{"kind":"closed_fraud","reason":"card_lost","note":"it was 4111 1111 1111 1111","previous":%q}`, next.ID)
	closed := into[apiAction](t, p.ask(t, "POST", actionPath, large, body).is(t, http.StatusOK, "411111******1111"))
	p.ask(t, "POST", actionPath, large, body).is(t, http.StatusConflict, "urn:weir:problem:stale", whyWords["stale"])
	whole := into[apiAlert](t, p.ask(t, "GET", alertPath, large, "").is(t, http.StatusOK, "9.2 times this customer's 30-day mean"))
	if len(whole.Actions) != 3 || whole.State.Status != "fraud" || *whole.State.Last != closed.ID || whole.Actions[2].Counted || !whole.Actions[1].Counted {
		t.Errorf("the alert is %+v", whole)
	}
	if e := f.lastEntry(); e.What != schemas.AuditViewed || string(e.Of) != "/api/v1/alerts/"+large || string(e.Who) != "ann" || string(e.Detail) != "by token test" {
		t.Errorf("audited is %+v", e)
	}
	if got := into[apiFigures](t, p.ask(t, "GET", "/api/v1/figures", "", "").is(t, 200)); got.Open != 2 || got.Closed != 1 || got.OldestOpen == nil {
		t.Errorf("figures are %+v", got)
	}
}

// TestOneKeyActsOnce sends requests again under one key: as often as one likes, after a
// restart, and where the first one got no answer.
func TestOneKeyActsOnce(t *testing.T) {
	f := newFloor(t)
	id, other := f.raise("card-a", "shop", 1000, .9), f.raise("card-b", "shop", 900, .9)
	p, bob := f.newProgram("ann"), f.newProgram("bob")
	const key = "Idempotency-Key"
	count := func(alert string) int {
		t.Helper()
		list, err := f.view.Actions(t.Context(), alert)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	again := func(status int, want string, method, pattern, alert, body, k string) string {
		t.Helper()
		a := p.ask(t, method, pattern, alert, body, key, k).is(t, status)
		if want != "" && a.body != want {
			t.Errorf("the same request has another answer:\n%s\n%s", want, a.body)
		}
		return a.body
	}
	note := `{"kind":"noted","note":"called"}`
	first := again(200, "", "POST", actionPath, id, note, "k1")
	bob.ask(t, "POST", actionPath, id, note, key, "k1").is(t, http.StatusConflict, "stale") // another's key is another key
	f.pass(time.Minute)
	again(200, first, "POST", actionPath, id, note, "k1")
	f.open() // as after a restart
	again(200, first, "POST", actionPath, id, note, "k1")
	again(http.StatusUnprocessableEntity, "", "POST", actionPath, id, note+" ", "k1")
	again(http.StatusUnprocessableEntity, "", "POST", actionPath, other, note, "k1")
	again(http.StatusUnprocessableEntity, "", "POST", "/api/v1/next", "", "", "k1")
	bob.ask(t, "POST", actionPath, id, `{"kind":"noted","note":"I too","previous":"`+into[apiAction](t, answer{body: first}).ID+`"}`, key, "k0").is(t, 200)
	stale := again(http.StatusConflict, "", "POST", actionPath, id, note, "k2")
	again(http.StatusConflict, stale, "POST", actionPath, id, note, "k2")
	if count(id) != 4 || count(other) != 0 {
		t.Errorf("%d and %d actions, want 4 and 0", count(id), count(other))
	}
	again(http.StatusBadRequest, "", "POST", actionPath, id, note, strings.Repeat("k", keyMax+1))

	// The next one, which another takes meanwhile: the answer stays what it was.
	taken := again(200, "", "POST", "/api/v1/next", "", "", "n1")
	alert := into[apiAction](t, answer{body: taken}).Alert
	again(200, taken, "POST", "/api/v1/next", "", "", "n1")
	f.open()
	again(200, taken, "POST", "/api/v1/next", "", "", "n1")
	if n := count(alert); alert != id && n != 1 || alert == id && n != 5 {
		t.Errorf("%d actions on %s", n, alert)
	}

	// The log has it, and the answer was lost.
	last := f.raise("card-c", "shop", 800, .9)
	real := f.server.options.Desk
	f.server.options.ActWithin = 20 * time.Millisecond
	f.server.options.Desk = alerts.New(f.log, f.view, alerts.Config{Log: slog.New(slog.DiscardHandler), Now: f.clock, After: time.After, Topics: f.topics})
	again(http.StatusServiceUnavailable, "", "POST", actionPath, last, note, "k3")
	f.server.options.ActWithin, f.server.options.Desk = 10*time.Second, real
	answered := again(200, "", "POST", actionPath, last, note, "k3")
	again(200, answered, "POST", actionPath, last, note, "k3")
	if count(last) != 1 {
		t.Errorf("%d actions, want 1", count(last))
	}
	// A key is forgotten after a while, and what was done is not done again.
	f.pass(keysFor)
	p = f.program("ann", Analyst)
	again(200, answered, "POST", actionPath, last, note, "k3")
	if count(last) != 1 {
		t.Errorf("%d actions, want 1", count(last))
	}
}

// TestWhatAProgramGetsWrong is told, and does nothing.
func TestWhatAProgramGetsWrong(t *testing.T) {
	f := newFloor(t)
	id := f.raise("card-a", "shop", 1000, .9)
	f.add("ann", Analyst)
	f.add("sue", Analyst, Supervisor)
	p := f.program("ann", Analyst)
	for _, query := range []string{"limit=0", "limit=201", "limit=x", "cursor=rubbish", "min=101", "min=x", "amount=-1", "status=shut", "entity=card", "value=x",
		"entity=amount&value=x", "entity=mcc&value=x", "text=4111111111111111", "nothing=1", "status=", "min=1&min=2", "min=%zz"} {
		for _, path := range []string{"/api/v1/alerts?", "/api/v1/cases?"} {
			if a := p.ask(t, "GET", path+query, "", "").is(t, http.StatusBadRequest); strings.Contains(a.body, "4111111111111111") {
				t.Errorf("the answer repeats the card: %s", a.body)
			}
		}
	}
	p.ask(t, "GET", "/api/v1/alerts?entity=card&value=card-a&text=card&min=1&amount=1&reason=card&limit=200", "", "").is(t, 200, id)
	for _, body := range []string{"", "[]", "{}", `{"kind":"shut"}`, `{"kind":"noted"}`, `{"kind":"undone"}`, `{"kind":"claimed","by":"bob"}`, `{"kind":"claimed"} x`, `{"kind":"claimed","reason":"because"}`,
		`{"kind":"noted","note":"` + strings.Repeat("n", schemas.NoteBytesMax+1) + `"}`} {
		p.ask(t, "POST", actionPath, id, body).is(t, http.StatusBadRequest)
	}
	p.ask(t, "POST", actionPath, id, "kind=claimed", "Content-Type", "application/x-www-form-urlencoded").is(t, http.StatusUnsupportedMediaType)
	p.ask(t, "POST", actionPath, id, `{"kind":"noted","note":"`+strings.Repeat("n", bodyMax)+`"}`).is(t, http.StatusRequestEntityTooLarge)
	p.ask(t, "POST", actionPath, "0-99", `{"kind":"claimed"}`).is(t, http.StatusNotFound)
	p.ask(t, "GET", alertPath, "0-99", "").is(t, http.StatusNotFound)
	if list, err := f.view.Actions(t.Context(), id); len(list) != 0 || err != nil {
		t.Errorf("done is %+v, %v", list, err)
	}
	// The rules are the page's.
	f.program("sue", Supervisor).ask(t, "POST", actionPath, id, `{"kind":"claimed"}`).is(t, 200)
	p.ask(t, "POST", actionPath, id, `{"kind":"closed_fraud"}`).is(t, http.StatusConflict, "urn:weir:problem:owner")
	p.ask(t, "POST", "/api/v1/next", "", "").is(t, http.StatusNoContent)
}

// TestTokens: which are made, and which not.
func TestTokens(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst, Supervisor)
	ctx := t.Context()
	hour := w.clock().Add(time.Hour).UnixMilli()
	for _, bad := range []Token{{User: "bob", Name: "x", Roles: Roles(Analyst), Expires: hour}, {User: "ann", Roles: Roles(Analyst), Expires: hour},
		{User: "ann", Name: "x", Roles: Roles(Auditor), Expires: hour}, {User: "ann", Name: "x", Expires: hour}, {User: "ann", Name: "x", Roles: Roles(Analyst)},
		{User: "ann", Name: "x", Roles: Roles(Analyst), Expires: w.clock().Add(TokenMax + time.Minute).UnixMilli()}} {
		if _, text, err := w.accounts.AddToken(ctx, bad); err == nil || text != "" {
			t.Errorf("%+v is made", bad)
		}
	}
}

// TestTokensEnd lets a program in by a token, until it is no good any more.
func TestTokensEnd(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst, Supervisor)
	ctx := t.Context()
	token, text, err := w.accounts.AddToken(ctx, Token{User: "ann", Name: "reports", Roles: Roles(Analyst), Expires: w.clock().Add(time.Hour).UnixMilli()})
	if err != nil || !regexp.MustCompile(`^weir_[A-Za-z0-9_-]{43}$`).MatchString(text) {
		t.Fatal(text, err)
	}
	p := &program{w, text}
	in := func(want int) {
		t.Helper()
		p.ask(t, "GET", "/api/v1/figures", "", "").is(t, want)
	}
	in(200)
	w.pass(2 * time.Minute)
	in(200)
	if list, err := w.accounts.Tokens(ctx); err != nil || len(list) != 1 || list[0].Used != w.clock().UnixMilli() || list[0].Name != "reports" || list[0].User != "ann" {
		t.Errorf("%+v, %v", list, err)
	}
	// It is for programs only, and of no more than its roles.
	b := w.browser()
	b.header["Authorization"] = "Bearer " + text
	b.get("/queue").is(t, http.StatusSeeOther)
	w.route(route{pattern: "GET /api/v1/team", roles: Roles(Supervisor), handle: w.server.start})
	if a := b.get("/api/v1/team").is(t, http.StatusForbidden, "Your roles (analyst)"); w.lastEntry().What != schemas.AuditDenied {
		t.Errorf("%s: audited is %+v", a.body, w.lastEntry())
	}
	if err := w.accounts.SetRoles(ctx, "ann", Roles(Supervisor)); err != nil {
		t.Fatal(err)
	}
	in(http.StatusForbidden)
	if err := w.accounts.SetRoles(ctx, "ann", Roles(Analyst)); err != nil {
		t.Fatal(err)
	}
	refused := func(why string) {
		t.Helper()
		in(http.StatusUnauthorized)
		if e := w.lastEntry(); e.What != schemas.AuditLoginFailed || !strings.Contains(string(e.Detail), why) || string(e.Who) != "ann" {
			t.Errorf("audited is %+v, want %q", e, why)
		}
	}
	for _, out := range []bool{true, false} {
		if err := w.accounts.SetDisabled(ctx, "ann", out); err != nil {
			t.Fatal(err)
		}
		if out {
			refused("disabled")
		}
	}
	in(200)
	w.pass(time.Hour)
	refused("expired")
	token, p.token, err = w.accounts.AddToken(ctx, Token{User: "ann", Name: "more", Roles: Roles(Analyst), Expires: w.clock().Add(time.Hour).UnixMilli()})
	if err != nil {
		t.Fatal(err)
	}
	in(200)
	if err := w.accounts.RevokeToken(ctx, token.ID); err != nil {
		t.Fatal(err)
	}
	refused("revoked")
	if err := w.accounts.RevokeToken(ctx, token.ID); err == nil {
		t.Error("revoked twice")
	}
	for _, name := range []string{w.file, w.file + "-wal"} {
		if held, err := os.ReadFile(name); err != nil || strings.Contains(string(held), text) || strings.Contains(string(held), text[len(tokenPrefix):]) {
			t.Errorf("%s holds a token, or nothing: %v", name, err)
		}
	}
}

// TestWrongTokensAreBounded: they are audited up to a point, and keep no good one out.
func TestWrongTokensAreBounded(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	good, wrong := w.program("ann", Analyst), &program{w, "weir_nothing"}
	for range bucketSize {
		wrong.ask(t, "GET", "/api/v1/figures", "", "").is(t, http.StatusUnauthorized)
	}
	entries := len(w.entries)
	a := wrong.ask(t, "GET", "/api/v1/figures", "", "").is(t, http.StatusTooManyRequests)
	if a.Header.Get("Retry-After") != "2" || len(w.entries) != entries {
		t.Errorf("Retry-After is %q, %d entries", a.Header.Get("Retry-After"), len(w.entries)-entries)
	}
	good.ask(t, "GET", "/api/v1/figures", "", "").is(t, 200)
	w.pass(bucketEvery)
	wrong.ask(t, "GET", "/api/v1/figures", "", "", "Authorization", "Basic YW5uOnBhc3M=").is(t, http.StatusUnauthorized)
}

// TestACookieAtTheAPI: a page's script may ask, another site's may not.
func TestACookieAtTheAPI(t *testing.T) {
	f := newFloor(t)
	f.raise("card-a", "shop", 1000, .9)
	ann := f.analyst("ann", Analyst)
	described(t, "GET", "/api/v1/figures", ann.get("/api/v1/figures").is(t, 200, `"open":1`))
	ann.header["Sec-Fetch-Site"] = "cross-site"
	a := ann.do("POST", "/api/v1/next", nil).is(t, http.StatusForbidden, "another site")
	described(t, "POST", "/api/v1/next", a)
	ann.header["Sec-Fetch-Site"] = "same-origin"
	ann.do("POST", "/api/v1/next", nil).is(t, 200, `"kind":"claimed"`)
	if a := f.browser().get("/api/v1/figures").is(t, http.StatusUnauthorized); a.Header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("%v", a.Header)
	}
}

// TestOneKeyAtOnce sends the same request many times at once.
func TestOneKeyAtOnce(t *testing.T) {
	f := newFloor(t)
	for i := range 9 {
		f.raise(fmt.Sprintf("card-%d", i), "shop", 1000, .9)
	}
	id := f.raise("card-a", "shop", 1000, .9)
	p := f.newProgram("ann")
	for pattern, body := range map[string]string{actionPath: `{"kind":"noted","note":"called"}`, "/api/v1/next": ""} {
		answers := make(chan string, 8)
		for range cap(answers) {
			go func() {
				answers <- p.ask(t, "POST", pattern, id, body, "Idempotency-Key", "k "+pattern).is(t, 200).body
			}()
		}
		first := <-answers
		for range cap(answers) - 1 {
			if other := <-answers; other != first {
				t.Errorf("two answers:\n%s\n%s", first, other)
			}
		}
	}
	if got, err := f.view.Figures(t.Context(), f.clock().UnixMilli()); err != nil || got.Claimed != 1 {
		t.Errorf("figures are %+v, %v", got, err)
	}
	if list, err := f.view.Actions(t.Context(), id); err != nil || len(list) > 2 {
		t.Errorf("%d actions, %v", len(list), err)
	}
}

// TestNothingIsAnsweredUnaudited: while the audit log is away, no route that shows
// something does, and no setting is changed.
func TestNothingIsAnsweredUnaudited(t *testing.T) {
	f := newFloor(t)
	id := f.raise("card-a", "shop", 1000, .9)
	f.hook(newReceiver(t), f.analyst("sue", Supervisor), "alert.raised")
	f.add("all", Analyst, Supervisor, Auditor, ModelOwner)
	b := f.browser().enters("all")
	f.away = errors.New("no broker")
	shown := 0
	for _, rt := range f.server.table {
		method, path, _ := strings.Cut(rt.pattern, " ")
		if rt.roles == public || method != "GET" || path == "/{$}" || path == "/keys" || path == "/events" {
			continue
		}
		shown++
		b.get(wildcard.ReplaceAllString(path, id)).is(t, http.StatusServiceUnavailable, "audit log could not be written")
	}
	if shown < 8 {
		t.Errorf("%d routes", shown)
	}
	for _, do := range []string{"test", "disable", "delete", "retry"} {
		b.do("POST", "/webhooks/1", url.Values{"do": {do}}).is(t, http.StatusServiceUnavailable)
	}
	b.do("POST", "/webhooks", url.Values{"url": {"https://a.example/"}, "event": {"alert.raised"}}).is(t, http.StatusServiceUnavailable)
	b.do("POST", "/views", url.Values{"name": {"x"}, "query": {"min=1"}, "shared": {"yes"}}).is(t, http.StatusServiceUnavailable)
	(&program{f.world, "weir_nothing"}).ask(t, "GET", "/api/v1/figures", "", "").is(t, http.StatusServiceUnavailable)
	if list, err := f.accounts.webhooks(t.Context(), 0); err != nil || len(list) != 1 || !list[0].Enabled || list[0].Last != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}
