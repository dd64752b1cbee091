package desk

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// An idp is an identity provider, on a real connection. It holds its clients to the
// code flow: exact redirect, PKCE, a secret, codes that are good once. twist makes its
// answers wrong.
type idp struct {
	*httptest.Server
	t   testing.TB
	now func() time.Time

	mu     sync.Mutex
	key    *ecdsa.PrivateKey
	kid    string
	who    map[string]any    // claims of whoever is logged in there
	info   map[string]any    // what only the user info has
	grants map[string]*grant // by code
	asked  map[string]int    // requests by path
	says   func(map[string]any)
	twist  func(claims map[string]any)
	sign   func(claims map[string]any) string
	fails  map[string]int // status by path
	form   bool           // wants the secret in the form
}

type grant struct {
	query url.Values
	used  bool
}

const (
	idpClient = "weir-desk"
	idpSecret = "a client's secret: 100%" // which has to be escaped
)

func newIDP(t testing.TB, now func() time.Time) *idp {
	p := &idp{t: t, now: now, grants: make(map[string]*grant), asked: make(map[string]int), fails: make(map[string]int),
		who: map[string]any{"sub": "s-1", "preferred_username": "ann", "name": "Ann Bo", "email": "ann@bank.example", "groups": []string{"staff", "fraud-analysts"}}}
	p.rotate()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.configuration)
	mux.HandleFunc("GET /keys", p.keys)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /userinfo", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer an access token" {
			http.Error(w, "who?", http.StatusUnauthorized)
			return
		}
		p.json(w, http.StatusOK, p.info)
	})
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.asked[r.URL.Path]++
		if status := p.fails[r.URL.Path]; status != 0 {
			http.Error(w, "not now", status)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

// rotate draws another key.
func (p *idp) rotate() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.key, p.kid = key, fmt.Sprintf("key-%x", key.X.Bytes()[:4])
}

func (p *idp) json(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		p.t.Error(err)
	}
}

func (p *idp) configuration(w http.ResponseWriter, _ *http.Request) {
	says := map[string]any{"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
		"userinfo_endpoint": p.URL + "/userinfo", "end_session_endpoint": p.URL + "/end?realm=bank", "id_token_signing_alg_values_supported": []string{"ES256", "RS256", "HS256", "none"},
		"authorization_response_iss_parameter_supported": true, "token_endpoint_auth_methods_supported": []string{"client_secret_basic"}}
	if p.says != nil {
		p.says(says)
	}
	p.json(w, http.StatusOK, says)
}

func (p *idp) keys(w http.ResponseWriter, _ *http.Request) {
	p.json(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &p.key.PublicKey, KeyID: p.kid, Algorithm: "ES256", Use: "sig"}}})
}

func (p *idp) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	for k, want := range map[string]string{"response_type": "code", "client_id": idpClient, "redirect_uri": "https://desk.example/login/oidc/callback",
		"scope": "openid profile email", "code_challenge_method": "S256"} {
		if q.Get(k) != want || len(q[k]) != 1 {
			p.t.Errorf("authorize: %s is %q, want %q", k, q[k], want)
		}
	}
	for _, k := range []string{"state", "nonce", "code_challenge"} {
		if len(q.Get(k)) != 43 {
			p.t.Errorf("authorize: %s is %q", k, q.Get(k))
		}
	}
	if q.Get("state") == q.Get("nonce") || q.Get("state") == q.Get("code_challenge") {
		p.t.Error("authorize: who sees the state knows the rest")
	}
	code := rand.Text()
	p.grants[code] = &grant{query: q}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {p.URL}}.Encode(), http.StatusFound)
}

func (p *idp) token(w http.ResponseWriter, r *http.Request) {
	no := func(status int, code string) { p.json(w, status, map[string]string{"error": code}) }
	id, secret, ok := r.BasicAuth()
	id, _ = url.QueryUnescape(id)
	secret, _ = url.QueryUnescape(secret)
	if p.form {
		id, secret, ok = "", "", false
	}
	if !ok {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	g := p.grants[r.PostFormValue("code")]
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	switch {
	case id != idpClient || secret != idpSecret:
		no(http.StatusUnauthorized, "invalid_client")
		return
	case r.PostFormValue("grant_type") != "authorization_code" || g == nil || g.used || g.query.Get("redirect_uri") != r.PostFormValue("redirect_uri"),
		base64.RawURLEncoding.EncodeToString(sum[:]) != g.query.Get("code_challenge"):
		no(http.StatusBadRequest, "invalid_grant")
		return
	}
	if v := r.PostFormValue("code_verifier"); v == g.query.Get("state") || v == g.query.Get("nonce") {
		p.t.Error("token: the verifier is what the browser was told")
	}
	g.used = true
	now := p.now()
	claims := map[string]any{"iss": p.URL, "aud": idpClient, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "nonce": g.query.Get("nonce")}
	maps.Copy(claims, p.who)
	if p.twist != nil {
		p.twist(claims)
	}
	sign := p.sign
	if sign == nil {
		sign = func(claims map[string]any) string { return signed(p.t, jose.ES256, p.key, p.kid, claims) }
	}
	p.json(w, http.StatusOK, map[string]any{"access_token": "an access token", "token_type": "Bearer", "expires_in": 300, "id_token": sign(claims)})
}

// signed is a token in its compact form.
func signed(t testing.TB, alg jose.SignatureAlgorithm, key any, kid string, claims map[string]any) string {
	t.Helper()
	return signedBy(t, jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil, claims)
}

func signedBy(t testing.TB, key jose.SigningKey, o *jose.SignerOptions, claims map[string]any) string {
	t.Helper()
	s, err := jose.NewSigner(key, o)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	token, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := token.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// withIDP is a desk with an identity provider.
func withIDP(t testing.TB, change ...func(*Options)) (*world, *idp) {
	t.Helper()
	var w *world
	p := newIDP(t, func() time.Time { return w.clock() })
	w = newWorld(t, append([]func(*Options){func(o *Options) {
		o.TLS = true
		o.OIDC = &OIDC{Issuer: p.URL, ClientID: idpClient, ClientSecret: idpSecret, PublicURL: "https://desk.example/", Claim: "groups",
			Roles: map[string]RoleSet{"fraud-analysts": Roles(Analyst), "leads": Roles(Supervisor), "audit": Roles(Auditor)}}
	}}, change...)...)
	return w, p
}

// goes begins a log-in, and returns the path to which the provider sends the browser.
func (b *browser) goes(p *idp, next string) string {
	b.w.t.Helper()
	a := b.get("/login/oidc?" + url.Values{"next": {next}}.Encode())
	to := a.Header.Get("Location")
	if a.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to, p.URL+"/authorize?") {
		b.w.t.Fatalf("leads to %q, status %d: %s", to, a.StatusCode, a.body)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	got, err := client.Get(to)
	if err != nil {
		b.w.t.Fatal(err)
	}
	defer got.Body.Close()
	back, ok := strings.CutPrefix(got.Header.Get("Location"), "https://desk.example")
	if !ok {
		b.w.t.Fatalf("the provider sends to %q", got.Header.Get("Location"))
	}
	return back
}

// comes logs in at the provider and comes back.
func (b *browser) comes(p *idp) answer {
	b.w.t.Helper()
	return b.get(b.goes(p, "/"))
}

// account is one account of the desk.
func (w *world) account(name string) User {
	w.t.Helper()
	u, err := w.accounts.User(w.t.Context(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	return u
}

// names are those of all accounts.
func (w *world) names() (list []string) {
	w.t.Helper()
	users, err := w.accounts.Users(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, u := range users {
		list = append(list, u.Name)
	}
	slices.Sort(list)
	return list
}
