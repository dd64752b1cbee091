package desk

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/weir-risk/weir/schemas"
)

func TestLogInAtAProvider(t *testing.T) {
	w, p := withIDP(t)
	b := w.browser()
	b.get("/login?next=/queue").is(t, http.StatusOK, `href="/login/oidc?next=%2fqueue"`, "Log in with 127.0.0.1", `name="password"`)
	a := b.get(b.goes(p, "/queue?state=open")).is(t, http.StatusSeeOther)
	if got := a.Header.Get("Location"); got != "/queue?state=open" {
		t.Errorf("leads to %q", got)
	}
	if e := w.lastEntry(); e.What != schemas.AuditLoggedIn || string(e.Who) != "ann" || string(e.Detail) != "subject s-1 of "+p.URL+", as analyst" {
		t.Errorf("audited is %s %s %s", e.What, e.Who, e.Detail)
	}
	b.get("/").is(t, http.StatusOK, "Ann Bo", "analyst")
	if u := w.account("ann"); u.Issuer != p.URL || u.Subject != "s-1" || u.Roles != Roles(Analyst) || u.Disabled {
		t.Errorf("the account is %+v", u)
	}
	if len(b.cookies) != 1 {
		t.Errorf("cookies left: %v", b.cookies)
	}
	// Another name and other groups: the same account, and what it may at once.
	thief := b.copied()
	p.who["preferred_username"], p.who["name"], p.who["groups"] = "ann.smith", "Ann Smith", []string{"leads", "audit"}
	other := w.browser()
	other.comes(p).is(t, http.StatusSeeOther)
	for _, x := range []*browser{other, thief} {
		x.get("/").is(t, http.StatusOK, "Ann Smith", "supervisor, auditor")
	}
	if got := w.names(); !slices.Equal(got, []string{"ann"}) {
		t.Errorf("accounts %v", got)
	}
	// Out, here; the provider is told by whoever follows the link.
	a = b.do("POST", "/logout", nil).is(t, http.StatusSeeOther)
	b.get(a.Header.Get("Location")).is(t, http.StatusOK, "You are logged out of the desk", p.URL+"/end?client_id=weir-desk&amp;realm=bank")
	if b.in() || !other.in() {
		t.Error("the log-out was not of one session")
	}
}

// TestFlowCookie: the secret of a flow is for the desk alone, and not for long.
func TestFlowCookie(t *testing.T) {
	w, p := withIDP(t)
	b := w.browser()
	b.goes(p, "/")
	c := b.cookies["__Host-weir-oidc"]
	if c == nil || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge != 600 {
		t.Errorf("cookie %+v", c)
	}
}

// TestSessionOfAProvider is as any other: another id at each log-in.
func TestSessionOfAProvider(t *testing.T) {
	w, p := withIDP(t)
	w.add("eve", Analyst)
	b := w.browser().enters("eve")
	planted := b.copied()
	b.comes(p).is(t, http.StatusSeeOther)
	if planted.in() || !b.in() {
		t.Errorf("planted %v, drawn %v", planted.in(), b.in())
	}
	w.pass(30 * time.Minute)
	if b.in() {
		t.Error("in after 30 minutes of nothing")
	}
}

// TestTokensThatAreRefused: whatever is wrong with a token, nobody is let in, no account
// is made, and the audit log says why.
func TestTokensThatAreRefused(t *testing.T) {
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	w, p := withIDP(t)
	set := func(k string, v any) func(*idp) {
		return func(p *idp) { p.twist = func(c map[string]any) { c[k] = v } }
	}
	at := func(k string, d time.Duration) func(*idp) {
		return func(p *idp) { p.twist = func(c map[string]any) { c[k] = p.now().Add(d).Unix() } }
	}
	sign := func(f func(p *idp, c map[string]any) string) func(*idp) {
		return func(p *idp) { p.sign = func(c map[string]any) string { return f(p, c) } }
	}
	for why, do := range map[string]func(*idp){
		"failed to verify id token signature":             sign(func(p *idp, c map[string]any) string { return signed(t, jose.ES256, stranger, p.kid, c) }),
		"failed to verify signature: failed to verify id": sign(func(_ *idp, c map[string]any) string { return signed(t, jose.RS256, weak, "", c) }),
		`unexpected signature algorithm "HS256"`: sign(func(p *idp, c map[string]any) string {
			return signed(t, jose.HS256, []byte(idpSecret+strings.Repeat(" ", 32)), p.kid, c)
		}),
		`unexpected signature algorithm "none"`:                     sign(func(_ *idp, c map[string]any) string { return unsigned(t, c, "e30") }),
		"malformed jwt":                                             sign(func(*idp, map[string]any) string { return "e30.e30" }),
		"failed to verify signature: failed to verify id token sig": sign(func(p *idp, c map[string]any) string { return swapped(t, p, c) }),
		"issued by a different provider":                            set("iss", "https://evil.example"),
		`expected audience "weir-desk" got ["other"]`:               set("aud", "other"),
		"the token was issued to another client":                    set("azp", "other"),
		"issued to another client":                                  set("aud", []string{"other", idpClient}),
		"to another client":                                         set("azp", 7),
		"token is expired":                                          at("exp", -skew-time.Second),
		"before the nbf":                                            at("nbf", 5*time.Minute),
		"issued at 2026-05-04T09:01:01Z, which is to come":          at("iat", skew+time.Second),
		"the nonce is not that of this log-in":                      set("nonce", "another"),
		"nonce is not that of this log-in":                          set("nonce", ""),
		"the subject is empty":                                      set("sub", ""),
		"the subject is empty, too long":                            set("sub", strings.Repeat("a", subjectMax+1)),
		"or not printable":                                          set("sub", "s-1\u202e"),
		"access token hash does not match":                          set("at_hash", "AAAA"),
		"there is no id_token":                                      sign(func(*idp, map[string]any) string { return "" }),
		`no group of subject s-1 of %s has a role here`:             set("groups", []string{"staff"}),
		`has a role here; the groups are []`:                        set("groups", map[string]string{"fraud-analysts": "x"}),
		`has a role here; the groups are ["Fraud-Analysts"]`:        set("groups", "Fraud-Analysts"),
	} {
		why = strings.ReplaceAll(why, "%s", p.URL)
		p.twist, p.sign = nil, nil
		do(p)
		b := w.browser()
		b.comes(p).is(t, http.StatusForbidden)
		if e := w.lastEntry(); e.What != schemas.AuditLoginFailed || string(e.Who) != "?" && string(e.Who) != "ann" || !strings.Contains(string(e.Detail), why) || !strings.HasPrefix(string(e.Detail), "not let in: ") {
			t.Errorf("%s: audited is %s %s %s", why, e.What, e.Who, e.Detail)
		}
		if b.cookie() != nil || len(w.names()) != 0 {
			t.Errorf("%s: a cookie came, or an account was made", why)
		}
	}
}

// unsigned is a token with alg none.
func unsigned(t *testing.T, claims map[string]any, sig string) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload) + "." + sig
}

// swapped is a good token whose claims somebody has changed.
func swapped(t *testing.T, p *idp, claims map[string]any) string {
	t.Helper()
	parts := strings.Split(signed(t, jose.ES256, p.key, p.kid, claims), ".")
	claims["groups"] = []string{"leads"}
	parts[1] = strings.Split(unsigned(t, claims, ""), ".")[1]
	return strings.Join(parts, ".")
}

// TestClocksApart: a minute either way is none of the analyst's business.
func TestClocksApart(t *testing.T) {
	for _, twist := range []func(p *idp, c map[string]any){
		func(p *idp, c map[string]any) { c["exp"] = p.now().Add(-skew).Unix() },
		func(p *idp, c map[string]any) { c["iat"] = p.now().Add(skew).Unix() },
		func(p *idp, c map[string]any) { c["nbf"] = p.now().Add(skew).Unix() },
	} {
		w, p := withIDP(t)
		p.twist = func(c map[string]any) { twist(p, c) }
		w.browser().comes(p).is(t, http.StatusSeeOther)
	}
}

// TestTokensThatAreTaken, though they look otherwise than most.
func TestTokensThatAreTaken(t *testing.T) {
	for _, twist := range []func(c map[string]any){
		func(c map[string]any) { c["aud"], c["azp"] = []string{"other", idpClient}, idpClient },
		func(c map[string]any) { c["groups"] = "fraud-analysts" },
		func(c map[string]any) { delete(c, "name"); delete(c, "preferred_username"); delete(c, "email") },
	} {
		w, p := withIDP(t)
		p.twist = twist
		w.browser().comes(p).is(t, http.StatusSeeOther)
	}
}

// TestAnswersThatAreRefused: what an attacker makes of the way back.
func TestAnswersThatAreRefused(t *testing.T) {
	w, p := withIDP(t)
	f := func(what string, b *browser, target, word, why string) {
		t.Helper()
		asked := p.asked["/token"]
		b.get(target).is(t, http.StatusForbidden, word)
		if e := w.lastEntry(); e.What != schemas.AuditLoginFailed || !strings.Contains(string(e.Detail), why) {
			t.Errorf("%s: audited is %s %s", what, e.What, e.Detail)
		}
		if b.cookie() != nil {
			t.Errorf("%s: a cookie came", what)
		}
		if why != "invalid_grant" && p.asked["/token"] != asked {
			t.Errorf("%s: the code went to the provider", what)
		}
	}
	const foreign, toNone = "not begun in this browser", "no log-in of this browser"
	eve, ann := w.browser(), w.browser()
	f("log-in CSRF: eve's answer in a browser that began none", ann, eve.goes(p, "/"), foreign, toNone)
	mine := ann.goes(p, "/")
	f("eve's answer in a browser that began its own", ann, eve.goes(p, "/"), foreign, toNone)
	f("no state", ann, change(mine, "state"), foreign, toNone)
	f("two states", ann, change(mine, "state", ann.stateOf(mine), "x"), foreign, toNone)
	ann.get(mine).is(t, http.StatusSeeOther) // which was spoilt by none of them
	delete(ann.cookies, "__Host-weir")
	f("the same answer again", ann, mine, foreign, toNone)

	// A browser that kept its secret sends a code again: the provider knows it.
	b := w.browser()
	mine = b.goes(p, "/")
	kept := b.copied()
	b.get(mine).is(t, http.StatusSeeOther)
	f("a code again", kept, mine, "did not pass the checks", "invalid_grant")

	// A code that eve got is of no use in ann's flow, nor the other way round: PKCE.
	b = w.browser()
	mine = b.goes(p, "/")
	code, err := url.Parse(w.browser().goes(p, "/"))
	if err != nil {
		t.Fatal(err)
	}
	f("a code that was injected", b, change(mine, "code", code.Query().Get("code")), "did not pass the checks", "invalid_grant")

	for what, x := range map[string]struct {
		k    string
		v    []string
		word string
		why  string
	}{
		"mix-up":             {"iss", []string{"https://evil.example"}, "did not pass the checks", "of another provider"},
		"mix-up by omission": {"iss", nil, "did not pass the checks", "of another provider"},
		"no code":            {"code", nil, "did not pass the checks", "not one code"},
		"two codes":          {"code", []string{"a", "b"}, "did not pass the checks", "not one code"},
		"the provider's no":  {"error", []string{"access_denied"}, "did not let you in (access_denied)", "says access_denied"},
		"markup as an error": {"error", []string{"<script>alert(1)</script>"}, "(no known code)", "says no known code"},
	} {
		b := w.browser()
		f(what, b, change(b.goes(p, "/"), x.k, x.v...), x.word, x.why)
	}
}

// change puts other values into a query.
func change(target string, k string, v ...string) string {
	path, query, _ := strings.Cut(target, "?")
	q, err := url.ParseQuery(query)
	if err != nil {
		panic(err)
	}
	q[k] = v
	return path + "?" + q.Encode()
}

// stateOf is the state in an answer.
func (b *browser) stateOf(target string) string {
	u, err := url.Parse(target)
	if err != nil {
		b.w.t.Fatal(err)
	}
	return u.Query().Get("state")
}

// TestOpenRedirectByAProvider: neither the link nor the cookie leads off the desk.
func TestOpenRedirectByAProvider(t *testing.T) {
	w, p := withIDP(t)
	for _, next := range []string{"//evil.example", `/\evil.example`, "https://evil.example", "javascript:alert(1)"} {
		b := w.browser()
		if got := b.get(b.goes(p, next)).Header.Get("Location"); got != "/queue" {
			t.Errorf("%q leads to %q", next, got)
		}
		b = w.browser()
		back := b.goes(p, "/queue")
		c := b.cookies["__Host-weir-oidc"]
		secret, _, _ := strings.Cut(c.Value, ".")
		c.Value = secret + "." + base64.RawURLEncoding.EncodeToString([]byte(next))
		if got := b.get(back).Header.Get("Location"); got != "/queue" {
			t.Errorf("%q in the cookie leads to %q", next, got)
		}
	}
}

// TestNamesAreNotTakenOver: an account is whose issuer and subject it is, whatever
// somebody is called at the provider.
func TestNamesAreNotTakenOver(t *testing.T) {
	w, p := withIDP(t)
	w.add("ann", Supervisor)
	b := w.browser()
	b.comes(p).is(t, http.StatusSeeOther)
	b.get("/").is(t, http.StatusOK, "<code>ann-2</code>", "analyst")
	if u := w.account("ann"); u.Roles != Roles(Supervisor) || u.Issuer != "" {
		t.Errorf("the local account is %+v", u)
	}
	w.browser().enters("ann")
	// The same name and e-mail address, and another subject.
	p.who["sub"] = "s-2"
	w.browser().comes(p).is(t, http.StatusSeeOther)
	// The same subject of another provider.
	q := newIDP(t, w.clock)
	c := *w.server.options.OIDC
	c.Issuer = q.URL
	w.server.provider = newProvider(c, w.clock)
	w.browser().comes(q).is(t, http.StatusSeeOther)
	if got := w.names(); !slices.Equal(got, []string{"ann", "ann-2", "ann-3", "ann-4"}) {
		t.Errorf("accounts %v", got)
	}
	if u := w.account("ann-3"); u.Subject != "s-2" || u.Issuer != p.URL {
		t.Errorf("%+v", u)
	}
	if u := w.account("ann-4"); u.Subject != "s-1" || u.Issuer != q.URL {
		t.Errorf("%+v", u)
	}
}

func TestNamesOfPeople(t *testing.T) {
	f := func(called, want string) {
		t.Helper()
		got := nameOf(person{issuer: "i", subject: "s", name: called})
		if name, err := ParseName(got); got != want || err != nil || name != got {
			t.Errorf("%q becomes %q, %v; want %q", called, got, err, want)
		}
	}
	f("Ann.Bo@Bank.example", "ann.bo@bank.example")
	f(`BANK\ann`, "bank-ann")
	f("-@ann<b>", "ann-b")
	f("é", "user-c424abd7460b")
	f("", "user-c424abd7460b")
	f(strings.Repeat("a", 100), strings.Repeat("a", 59))
	for called, want := range map[string]string{" Ann \u202e\x00 Bo ": "Ann  Bo", "\u200b": "", strings.Repeat("é", 100): strings.Repeat("é", 63)} {
		got := displayOf(called)
		if got != want || got != "" && parseDisplay(got) != nil {
			t.Errorf("%q is shown as %q", called, got)
		}
	}
}

// TestGroupsThatAreGone: who has lost the last group is out, in other browsers too, and
// in again with the group.
func TestGroupsThatAreGone(t *testing.T) {
	w, p := withIDP(t)
	b := w.browser()
	b.comes(p)
	p.who["groups"] = []string{"staff"}
	w.browser().comes(p).is(t, http.StatusForbidden, "none of your groups there may work at this desk", "To come as somebody else", p.URL+"/end?")
	if e := w.lastEntry(); string(e.Who) != "ann" || !strings.Contains(string(e.Detail), `the groups are ["staff"]`) {
		t.Errorf("audited is %s %s", e.Who, e.Detail)
	}
	if b.in() {
		t.Error("the other browser is in still")
	}
	p.who["groups"] = "audit"
	b.comes(p).is(t, http.StatusSeeOther)
	b.get("/").is(t, http.StatusOK, "auditor")
}

// TestDisabledAccountsStayOut, whatever the provider says, and those who are about to
// get a session.
func TestDisabledAccountsStayOut(t *testing.T) {
	w, p := withIDP(t)
	b := w.browser()
	b.comes(p)
	if err := w.accounts.SetDisabled(t.Context(), "ann", true); err != nil {
		t.Fatal(err)
	}
	if b.in() {
		t.Error("in, and disabled")
	}
	b.comes(p).is(t, http.StatusForbidden, "Your account at this desk is disabled")
	if e := w.lastEntry(); e.What != schemas.AuditLoginFailed || string(e.Who) != "ann" || string(e.Detail) != "not let in: disabled" {
		t.Errorf("audited is %s %s %s", e.What, e.Who, e.Detail)
	}
	if err := w.accounts.SetDisabled(t.Context(), "ann", false); err != nil {
		t.Fatal(err)
	}
	b.comes(p).is(t, http.StatusSeeOther)

	who := person{issuer: p.URL, subject: "s-1", display: "Ann"}
	u, err := w.accounts.accountOf(t.Context(), who)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.accounts.SetDisabled(t.Context(), "ann", true); err != nil {
		t.Fatal(err)
	}
	if _, err := w.accounts.admit(t.Context(), u); err == nil {
		t.Error("admitted, though disabled meanwhile")
	}
	u.Name, u.Subject, u.generation = "ann", "s-9", 0
	if _, err := w.accounts.admit(t.Context(), u); err == nil {
		t.Error("made, though there is one of this name meanwhile")
	}
}

// TestNoPasswordForWhomAProviderVouches: not even none.
func TestNoPasswordForWhomAProviderVouches(t *testing.T) {
	w, p := withIDP(t)
	w.browser().comes(p)
	for _, try := range []string{"", password} {
		w.browser().login("ann", try).is(t, http.StatusForbidden, notLetIn)
		if e := w.lastEntry(); string(e.Detail) != "not let in: the account has no password: "+p.URL+" vouches for it" {
			t.Errorf("audited is %s", e.Detail)
		}
	}
	for _, err := range []error{w.accounts.SetPassword(t.Context(), "ann", password), w.accounts.SetRoles(t.Context(), "ann", Roles(Auditor))} {
		if err == nil || !strings.Contains(err.Error(), "vouches") {
			t.Errorf("got %v", err)
		}
	}
	if u := w.account("ann"); u.Roles != Roles(Analyst) {
		t.Errorf("%+v", u)
	}
}

// TestPasswordsMayBeOff, but for one account, or for all.
func TestPasswordsMayBeOff(t *testing.T) {
	w, p := withIDP(t, func(o *Options) { o.PasswordsOf = []string{"root"} })
	w.add("root", Supervisor)
	w.add("bob", Supervisor)
	w.browser().get("/login").is(t, http.StatusOK, `name="password"`)
	w.browser().enters("root")
	b := w.browser()
	b.login("bob", password).is(t, http.StatusForbidden, notLetIn)
	if e := w.lastEntry(); e.What != schemas.AuditLoginFailed || string(e.Who) != "bob" || string(e.Detail) != "not let in: this account may not log in by password here" || b.cookie() != nil {
		t.Errorf("audited is %s %s %s", e.What, e.Who, e.Detail)
	}
	b.comes(p).is(t, http.StatusSeeOther)

	w, _ = withIDP(t, func(o *Options) { o.PasswordsOf = []string{} })
	w.add("root", Supervisor)
	if a := w.browser().get("/login").is(t, http.StatusOK); strings.Contains(a.body, `name="password"`) {
		t.Error("a password is asked for")
	}
	w.browser().login("root", password).is(t, http.StatusForbidden)
}

// TestProviderAway: the desk starts, says so, and asks again by itself.
// TestProvidersThatAreNotBelieved say what no provider says.
// TestKeysAreRotated: a key that was not there yesterday is asked for.
// TestWaysOfClients: the secret in the form where the provider wants it there, and
// groups that only the user info has, of the same subject.
// TestCallbacksAreBounded: of those that are to no log-in 30 at once, and they leave
// what a log-in needs.
func TestCallbacksAreBounded(t *testing.T) {
	w, p := withIDP(t)
	b := w.browser()
	mine := b.goes(p, "/")
	for range bucketSize {
		b.get(callbackPath+"?state=x&code=x").is(t, http.StatusForbidden)
	}
	n := len(w.entries)
	if a := b.get(callbackPath+"?state=x&code=x").is(t, http.StatusTooManyRequests, "too many log-ins"); a.Header.Get("Retry-After") != "2" || len(w.entries) != n {
		t.Errorf("%v", a.Header)
	}
	b.get(mine).is(t, http.StatusSeeOther)
	p.who["groups"] = nil
	for range bucketSize {
		w.browser().comes(p).is(t, http.StatusForbidden)
	}
	w.browser().comes(p).is(t, http.StatusTooManyRequests)
}

// TestNobodyComesInUnaudited: no account, no roles, no session.
func TestNobodyComesInUnaudited(t *testing.T) {
	w, p := withIDP(t)
	b := w.browser()
	b.comes(p).is(t, http.StatusSeeOther)
	w.away = fmt.Errorf("no broker")
	p.who["groups"] = "leads"
	other := w.browser()
	other.comes(p).is(t, http.StatusServiceUnavailable, "audit log could not be written")
	p.who["sub"] = "s-2"
	other.comes(p).is(t, http.StatusServiceUnavailable, "audit log could not be written")
	if other.cookie() != nil || w.account("ann").Roles != Roles(Analyst) || len(w.names()) != 1 {
		t.Errorf("accounts %v, %v", w.names(), w.account("ann"))
	}
}
