package desk

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/weir-risk/weir/schemas"
)

// logoutClaims are those of a sound token that ends sessions, as changed; nil takes one
// away.
func (p *idp) logoutClaims(change map[string]any) map[string]any {
	now := p.now()
	claims := map[string]any{"iss": p.URL, "aud": idpClient, "iat": now.Unix(), "exp": now.Add(2 * time.Minute).Unix(), "jti": rand.Text(),
		"sub": "s-1", "sid": "there-1", "events": map[string]any{logoutEvent: map[string]any{}}}
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

// signsLogout is a token of the provider's own key, whose header says its type.
func (p *idp) signsLogout(typ string, claims map[string]any) string {
	p.t.Helper()
	o := &jose.SignerOptions{}
	if typ != "" {
		o.WithType(jose.ContentType(typ))
	}
	return signedBy(p.t, jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: p.key, KeyID: p.kid}}, o, claims)
}

// tells sends a token to the desk as a provider does, not by a browser.
func (p *idp) tells(w *world, token string) answer {
	w.t.Helper()
	b := w.browser()
	b.address = "203.0.113.9:5000"
	return b.do("POST", logoutPath, url.Values{"logout_token": {token}})
}

// comesAs logs in at the provider in a session there, and comes back.
func (w *world) comesAs(p *idp, sid string) *browser {
	w.t.Helper()
	p.who["sid"] = sid
	b := w.browser()
	b.comes(p).is(w.t, http.StatusSeeOther)
	return b
}

// TestTheProviderEndsSessions: one of them, all of somebody, or those that are not known
// apart, and nobody else's.
func TestTheProviderEndsSessions(t *testing.T) {
	for name, x := range map[string]struct {
		change map[string]any
		typ    string
		left   string // of one, two, unsaid, ben and local: who is in still
	}{
		"one of them":            {nil, "logout+jwt", "two ben local"}, // and the one that did not say
		"by its session alone":   {map[string]any{"sub": nil}, "", "two unsaid ben local"},
		"all of somebody":        {map[string]any{"sid": nil}, "JWT", "ben local"},
		"a session of another":   {map[string]any{"sub": "s-2"}, "application/logout+jwt", "one two unsaid local"},
		"a session that is over": {map[string]any{"sub": nil, "sid": "there-9"}, "LOGOUT+JWT", "one two unsaid ben local"},
		"nobody who was here":    {map[string]any{"sub": "s-9", "sid": nil}, "", "one two unsaid ben local"},
		"for several clients":    {map[string]any{"aud": []string{"other", idpClient}}, "", "two ben local"},
	} {
		w, p := withIDP(t)
		w.add("local", Analyst)
		in := map[string]*browser{"one": w.comesAs(p, "there-1"), "two": w.comesAs(p, "there-2"), "local": w.browser().enters("local")}
		delete(p.who, "sid")
		in["unsaid"] = w.browser()
		in["unsaid"].comes(p)
		p.who["sub"], p.who["preferred_username"] = "s-2", "ben"
		in["ben"] = w.browser() // whose provider does not tell sessions apart
		in["ben"].comes(p)
		before := len(w.entries)
		if a := p.tells(w, p.signsLogout(x.typ, p.logoutClaims(x.change))).is(t, http.StatusOK); a.body != "" || a.Header.Get("Cache-Control") != "no-store" || len(a.Header["Set-Cookie"]) > 0 {
			t.Errorf("%s: %v %q", name, a.Header, a.body)
		}
		audited := w.entries[before:]
		var left []string
		for _, who := range []string{"one", "two", "unsaid", "ben", "local"} {
			if in[who].in() {
				left = append(left, who)
			}
		}
		if got := strings.Join(left, " "); got != x.left {
			t.Errorf("%s: in still are %s, want %s", name, got, x.left)
		}
		if ended := len(left) < 5; ended != (len(audited) == 1) || ended && (audited[0].What != schemas.AuditLoggedOut || !slices.Contains([]string{"ann", "ben"}, string(audited[0].Who)) || string(audited[0].Detail) != "by "+p.URL) {
			t.Errorf("%s: audited is %+v", name, audited)
		}
	}
}

// TestLogOutsThatAreRefused: whatever is wrong with a token, nobody is logged out, and the
// audit log says why.
func TestLogOutsThatAreRefused(t *testing.T) {
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w, p := withIDP(t)
	var idToken string
	p.sign = func(c map[string]any) string {
		idToken = signed(t, jose.ES256, p.key, p.kid, c)
		return idToken
	}
	b := w.comesAs(p, "there-1")
	used := p.signsLogout("logout+jwt", p.logoutClaims(map[string]any{"sid": "there-9", "sub": nil}))
	p.tells(w, used).is(t, http.StatusOK)
	with := func(k string, v any) string {
		return p.signsLogout("logout+jwt", p.logoutClaims(map[string]any{k: v}))
	}
	at := func(k string, d time.Duration) string { return with(k, p.now().Add(d).Unix()) }
	for _, x := range []struct{ why, token string }{
		{"the token was used before", used},
		{"missing required http://schemas.openid.net/event/backchannel-logout event", idToken},
		{"must not contain a 'nonce'", with("nonce", "n")},
		{"must not contain a 'nonce'", with("nonce", "")},
		{"missing required http", with("events", nil)},
		{"missing required http", with("events", map[string]any{"http://schemas.openid.net/event/other": map[string]any{}})},
		{"its event is no object", with("events", map[string]any{logoutEvent: nil})},
		{"its event is no object", with("events", map[string]any{logoutEvent: true})},
		{"its event is no object", with("events", map[string]any{logoutEvent: []int{}})},
		{"parsing logout token", with("events", []string{logoutEvent})},
		{"missing required claim 'jti'", with("jti", nil)},
		{"an id in it is too long", with("jti", strings.Repeat("j", subjectMax+1))},
		{"must contain an 'exp'", with("exp", nil)},
		{"token is expired", at("exp", -skew-time.Second)},
		{"which is to come", at("iat", skew+time.Second)},
		{"more than 10m0s ago", at("iat", -logoutWithin-time.Second)},
		{"more than 10m0s ago", with("iat", nil)},
		{"issued by a different provider", with("iss", "https://evil.example")},
		{`expected logout token audience "weir-desk"`, with("aud", "other")},
		{"'sub' claim, a 'sid' claim, or both", p.signsLogout("", p.logoutClaims(map[string]any{"sub": nil, "sid": nil}))},
		{"of type \"at+jwt\" ends no session", p.signsLogout("at+jwt", p.logoutClaims(nil))},
		{"failed to verify id token signature", signed(t, jose.ES256, stranger, p.kid, p.logoutClaims(nil))},
		{`unexpected signature algorithm "HS256"`, signed(t, jose.HS256, []byte(idpSecret+strings.Repeat(" ", 32)), p.kid, p.logoutClaims(nil))},
		{`unexpected signature algorithm "none"`, unsigned(t, p.logoutClaims(nil), "e30")},
		{"malformed jwt", "e30.e30"},
		{"malformed jwt", ""},
	} {
		w.server.buckets = buckets{} // or the last ones are too many
		p.tells(w, x.token).is(t, http.StatusBadRequest, `{"error":"invalid_request"}`)
		if e := w.lastEntry(); e.What != schemas.AuditDenied || string(e.Who) != schemas.AuditNobody || string(e.Of) != "POST "+logoutPath || !strings.Contains(string(e.Detail), x.why) {
			t.Errorf("%s: audited is %v %s %s %s", x.why, e.What, e.Who, e.Of, e.Detail)
		}
	}
	if !b.in() {
		t.Error("somebody was logged out")
	}
}

// TestLogOutsInOtherWays: a sound token that comes otherwise than a provider sends it.
func TestLogOutsInOtherWays(t *testing.T) {
	w, p := withIDP(t)
	b, sound := w.comesAs(p, "there-1"), p.signsLogout("", p.logoutClaims(nil))
	for what, form := range map[string]url.Values{"no token": {}, "two": {"logout_token": {sound, sound}}, "another name": {"id_token": {sound}}} {
		w.browser().do("POST", logoutPath, form).is(t, http.StatusBadRequest)
		if e := w.lastEntry(); !strings.Contains(string(e.Detail), "not one logout_token") {
			t.Errorf("%s: audited is %s", what, e.Detail)
		}
	}
	w.browser().do("POST", logoutPath+"?logout_token="+sound, url.Values{}).is(t, http.StatusBadRequest)
	w.browser().get(logoutPath+"?logout_token="+sound).is(t, http.StatusNotFound)
	other := w.browser()
	other.header = map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
	other.do("POST", logoutPath, url.Values{"logout_token": {sound}}).is(t, http.StatusForbidden, "another site")
	w.browser().do("POST", logoutPath, url.Values{"logout_token": {sound + strings.Repeat("a", bodyMax)}}).is(t, http.StatusBadRequest)
	if !b.in() {
		t.Fatal("somebody was logged out")
	}
	p.tells(w, sound).is(t, http.StatusOK)
	if b.in() {
		t.Error("a sound token ends nothing")
	}
	plain := newWorld(t)
	plain.browser().do("POST", logoutPath, url.Values{"logout_token": {sound}}).is(t, http.StatusNotFound)
}

// TestALogOutOvertakesALogIn: the provider ends a session while its answer is on its way
// to the desk, which must not let anybody in by it; and the next log-in is another.
func TestALogOutOvertakesALogIn(t *testing.T) {
	for name, change := range map[string]map[string]any{"the session": nil, "the session alone": {"sub": nil}, "the subject": {"sid": nil}} {
		w, p := withIDP(t)
		w.comesAs(p, "there-0") // there is an account
		w.pass(time.Second)
		p.who["sid"] = "there-1"
		p.sign = func(c map[string]any) string {
			token := p.signsLogout("", p.logoutClaims(change))
			p.mu.Unlock() // the desk asks for nothing that it has not got
			defer p.mu.Lock()
			p.tells(w, token).is(t, http.StatusOK)
			return signed(t, jose.ES256, p.key, p.kid, c)
		}
		b := w.browser()
		b.comes(p).is(t, http.StatusForbidden, "you were logged out, meanwhile")
		if b.cookie() != nil {
			t.Errorf("%s: a cookie came", name)
		}
		p.sign = nil
		w.pass(time.Second)
		w.comesAs(p, "there-2")
		if n := w.logouts(); n != 1 {
			t.Errorf("%s: %d log-outs are remembered", name, n)
		}
		w.pass(logoutWithin + time.Second)
		p.tells(w, p.signsLogout("", p.logoutClaims(map[string]any{"sid": "there-9", "sub": nil}))).is(t, http.StatusOK)
		if n := w.logouts(); n != 1 {
			t.Errorf("%s: %d log-outs are remembered after those of before are too old", name, n)
		}
	}
}

func (w *world) logouts() (n int) {
	w.t.Helper()
	if err := w.accounts.db.QueryRowContext(w.t.Context(), `SELECT count(*) FROM logouts`).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// TestLogOutsAreBounded: rubbish 30 times at once, and no token of the provider's is kept
// from counting by how many there are.
func TestLogOutsAreBounded(t *testing.T) {
	w, p := withIDP(t)
	for i := range 2 * bucketSize {
		p.tells(w, p.signsLogout("", p.logoutClaims(map[string]any{"sid": fmt.Sprint("there-", i)}))).is(t, http.StatusOK)
	}
	for range bucketSize {
		p.tells(w, "rubbish").is(t, http.StatusBadRequest)
	}
	n := len(w.entries)
	if a := p.tells(w, "rubbish").is(t, http.StatusTooManyRequests); a.Header.Get("Retry-After") != "2" || len(w.entries) != n {
		t.Errorf("%v", a.Header)
	}
	b := w.browser() // from elsewhere, and to the log-in
	b.do("POST", logoutPath, url.Values{"logout_token": {p.signsLogout("", p.logoutClaims(nil))}}).is(t, http.StatusOK)
	b.address = "203.0.113.9:5000"
	b.comes(p).is(t, http.StatusSeeOther)
}

// TestLogOutsWithoutTheRest: of the audit log, whose sessions end all the same, and of the
// provider's keys, without which nobody knows whose token it is.
func TestLogOutsWithoutTheRest(t *testing.T) {
	w, p := withIDP(t)
	b := w.comesAs(p, "there-1")
	w.away = fmt.Errorf("no broker")
	p.tells(w, p.signsLogout("", p.logoutClaims(nil))).is(t, http.StatusServiceUnavailable, "The sessions are ended")
	w.away = nil
	if b.in() {
		t.Error("in, because the audit log is away")
	}
	b = w.comesAs(p, "there-2")
	p.rotate()
	p.fails["/keys"] = http.StatusBadGateway
	token := p.signsLogout("", p.logoutClaims(map[string]any{"sid": "there-2"}))
	p.tells(w, token).is(t, http.StatusServiceUnavailable, "nobody was logged out")
	if !b.in() {
		t.Error("out by a token of a key that nobody knows")
	}
	delete(p.fails, "/keys")
	p.tells(w, token).is(t, http.StatusOK)
	if b.in() {
		t.Error("in after the provider has ended it")
	}
}

// TestGroupsAtAPath: where the claim's name is a path, and where its dots are its own.
func TestGroupsAtAPath(t *testing.T) {
	roles := func(list ...string) map[string]any { return map[string]any{"roles": list} }
	for _, x := range []struct {
		claim  string
		claims map[string]any
		in     bool
	}{
		{"realm_access.roles", map[string]any{"realm_access": roles("fraud-analysts")}, true},
		{"realm_access.roles", map[string]any{"realm_access": roles("staff")}, false},
		{"realm_access.roles", map[string]any{"realm_access": []string{"fraud-analysts"}, "roles": "fraud-analysts"}, false},
		{"realm_access.roles", map[string]any{"realm_access": "fraud-analysts"}, false},
		{"realm_access.roles", map[string]any{"realm_access": nil}, false},
		{"realm_access.roles", map[string]any{"realm_access.roles": "staff", "realm_access": roles("fraud-analysts")}, false},
		{"resource_access.desk.bank.example.roles", map[string]any{"resource_access": map[string]any{"desk.bank.example": roles("fraud-analysts")}}, true},
		{"https://bank.example/groups", map[string]any{"https://bank.example/groups": []string{"fraud-analysts"}}, true},
		{"a.b.c", map[string]any{"a": map[string]any{"b.c": "fraud-analysts"}}, true},
		{"a.b.c", map[string]any{"a.b": map[string]any{"c": "fraud-analysts"}}, true},
		{"..", map[string]any{"": map[string]any{"": map[string]any{"": "fraud-analysts"}}}, true},
		{"..", map[string]any{"groups": "fraud-analysts"}, false},
	} {
		for _, inInfo := range []bool{false, true} {
			w, p := withIDP(t, func(o *Options) { o.OIDC.Claim = x.claim })
			delete(p.who, "groups")
			if p.info = map[string]any{"sub": "s-1"}; inInfo {
				maps.Copy(p.info, x.claims)
			} else {
				maps.Copy(p.who, x.claims)
			}
			want := http.StatusForbidden
			if x.in {
				want = http.StatusSeeOther
			}
			if a := w.browser().comes(p); a.StatusCode != want {
				t.Errorf("%s in %v (user info %v): status %d, want %d", x.claim, x.claims, inInfo, a.StatusCode, want)
			}
		}
	}
}
