package desk

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestProviderAway(t *testing.T) {
	const discovery = "/.well-known/openid-configuration"
	w, p := withIDP(t)
	w.add("root", Supervisor)
	p.fails[discovery] = http.StatusBadGateway
	b := w.browser()
	for range 3 { // which ask it once
		b.get("/login/oidc").is(t, http.StatusServiceUnavailable, "cannot be reached. Try again in a minute.", "password", `role="alert"`)
	}
	if n := p.asked[discovery]; n != 1 {
		t.Errorf("it was asked %d times", n)
	}
	w.browser().enters("root")
	delete(p.fails, discovery)
	w.pass(discoverEvery)
	b.comes(p).is(t, http.StatusSeeOther)
	if n := p.asked[discovery]; n != 2 {
		t.Errorf("it was asked %d times", n)
	}
	for path, status := range map[string]int{"/token": 503, "/keys": 500} {
		w, p := withIDP(t)
		p.fails[path] = status
		b := w.browser()
		b.comes(p).is(t, http.StatusServiceUnavailable, "cannot be reached")
		delete(p.fails, path)
		b.comes(p).is(t, http.StatusSeeOther)
	}
}

func TestProvidersThatAreNotBelieved(t *testing.T) {
	for _, says := range []func(map[string]any){
		func(m map[string]any) { m["issuer"] = "https://evil.example" },
		func(m map[string]any) { m["issuer"] = m["issuer"].(string) + "/" },
		func(m map[string]any) { m["token_endpoint"] = "" },
		func(m map[string]any) { m["jwks_uri"] = "" },
		func(m map[string]any) { m["authorization_endpoint"] = "javascript:alert(1)" },
		func(m map[string]any) { m["end_session_endpoint"] = "javascript:alert(1)" },
		func(m map[string]any) { m["pad"] = strings.Repeat("x", providerBytesMax) },
	} {
		w, p := withIDP(t)
		p.says = says
		w.browser().get("/login/oidc").is(t, http.StatusServiceUnavailable, "cannot be reached")
	}
	p := newProvider(OIDC{Issuer: "https://id.bank.example"}, time.Now)
	if p.trusts("http://id.bank.example/token") == nil || p.trusts("https://elsewhere.example/token") != nil {
		t.Error("an endpoint in clear is trusted, or one by https is not")
	}
	// The secret follows no redirect.
	w, q := withIDP(t)
	other := newIDP(t, w.clock)
	q.says = func(m map[string]any) { m["token_endpoint"] = q.URL + "/moved" }
	mux := q.Config.Handler
	q.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			http.Redirect(rw, r, other.URL+"/token", http.StatusTemporaryRedirect)
			return
		}
		mux.ServeHTTP(rw, r)
	})
	w.browser().comes(q).is(t, http.StatusServiceUnavailable)
	if other.asked["/token"] != 0 {
		t.Error("the secret went elsewhere")
	}
}

func TestKeysAreRotated(t *testing.T) {
	w, p := withIDP(t)
	w.browser().comes(p).is(t, http.StatusSeeOther)
	w.browser().comes(p).is(t, http.StatusSeeOther)
	if n := p.asked["/keys"]; n != 1 {
		t.Errorf("the keys were asked for %d times", n)
	}
	p.rotate()
	w.browser().comes(p).is(t, http.StatusSeeOther)
	if n := p.asked["/keys"]; n != 2 {
		t.Errorf("the keys were asked for %d times", n)
	}
}

func TestWaysOfClients(t *testing.T) {
	w, p := withIDP(t)
	p.form = true
	p.says = func(m map[string]any) { m["token_endpoint_auth_methods_supported"] = []string{"client_secret_post"} }
	delete(p.who, "groups")
	p.info = map[string]any{"sub": "s-1", "groups": []string{"leads"}, "preferred_username": "mallory"}
	w.browser().comes(p).is(t, http.StatusSeeOther)
	if u := w.account("ann"); u.Roles != Roles(Supervisor) {
		t.Errorf("%+v", u)
	}
	p.info["sub"] = "s-2"
	w.browser().comes(p).is(t, http.StatusForbidden)
	if e := w.lastEntry(); !strings.Contains(string(e.Detail), "the user info is of another subject") {
		t.Errorf("audited is %s", e.Detail)
	}
	p.fails["/userinfo"] = 500
	w.browser().comes(p).is(t, http.StatusServiceUnavailable)
}

func TestOIDCCheck(t *testing.T) {
	f := func(tls bool, want string, change func(*OIDC)) {
		t.Helper()
		c := OIDC{Issuer: "https://id.bank.example/realms/bank", ClientID: "a", ClientSecret: "b", PublicURL: "https://desk.bank.example", Claim: "groups", Roles: map[string]RoleSet{"x": Roles(Analyst)}}
		change(&c)
		if err := c.Check(tls); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
	f(true, "", func(*OIDC) {})
	f(true, "", func(c *OIDC) { c.Issuer = "http://[::1]:5556" })
	f(false, "", func(c *OIDC) { c.PublicURL = "http://localhost:8464/" })
	f(false, "browsers", func(*OIDC) {})
	f(true, "browsers", func(c *OIDC) { c.PublicURL = "http://127.0.0.1:8464" })
	f(true, "in clear", func(c *OIDC) { c.Issuer = "http://id.bank.example" })
	f(true, "in clear", func(c *OIDC) { c.Issuer = "ftp://localhost" })
	f(true, "no address", func(c *OIDC) { c.Issuer = "id.bank.example" })
	f(true, "no address", func(c *OIDC) { c.Issuer += "?x" })
	f(true, "no address", func(c *OIDC) { c.PublicURL = "https://a:b@desk.bank.example" })
	f(true, "root of its host", func(c *OIDC) { c.PublicURL += "/desk" })
	f(true, "secret", func(c *OIDC) { c.ClientSecret = "" })
	f(true, "secret", func(c *OIDC) { c.ClientID = "" })
	f(true, "a claim", func(c *OIDC) { c.Claim = "" })
	f(true, "a claim", func(c *OIDC) { c.Roles = nil })
	f(true, "no role", func(c *OIDC) { c.Roles["y"] = 0 })
	f(true, "no role", func(c *OIDC) { c.Roles[""] = Roles(Analyst) })
	w := newWorld(t)
	o := w.server.options
	if o.PasswordsOf = []string{}; true {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), "nobody gets in") {
			t.Errorf("a desk without a way in: %v", err)
		}
	}
}
