package desk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// OIDC says at which identity provider people may log in, by OpenID Connect, and what
// that makes of them here.
type OIDC struct {
	Issuer       string // exactly as the provider calls itself
	ClientID     string
	ClientSecret string
	// PublicURL is where browsers reach the desk: the provider sends them back to its
	// path /login/oidc/callback, which it has to know.
	PublicURL string
	Scopes    []string // that are asked for beside openid: profile and email if nil
	// Claim names what holds a person's groups, a text or a list of texts, or is the path
	// to it, such as realm_access.roles; Roles are what each of them may here. Whoever is
	// in none of them is not let in.
	Claim string
	Roles map[string]RoleSet
}

// callbackPath is where the provider sends browsers to.
const callbackPath = "/login/oidc/callback"

// Check says what is wrong with the settings; tls is [Options.TLS].
func (c *OIDC) Check(tls bool) error {
	if err := secureURL(c.Issuer); err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	if err := secureURL(c.PublicURL); err != nil {
		return fmt.Errorf("public URL: %w", err)
	}
	public, _ := url.Parse(c.PublicURL) // secureURL has
	switch {
	case strings.Trim(public.Path, "/") != "":
		return fmt.Errorf("public URL: the desk is at the root of its host, not at %s", public.Path)
	case public.Scheme == "https" != tls:
		return fmt.Errorf("public URL: %s, but the desk is served with TLS: %v; browsers would not send its cookies as they should", public.Scheme, tls)
	case c.ClientID == "" || c.ClientSecret == "":
		return errors.New("the client's id and its secret are both needed: the provider gives them to whoever registers the desk there")
	case c.Claim == "" || len(c.Roles) == 0:
		return errors.New("a claim, and a role for one of its values or more, are needed: nobody would get in")
	}
	for group, roles := range c.Roles {
		if group == "" || roles&everyone == 0 {
			return fmt.Errorf("group %q has no role", group)
		}
	}
	return nil
}

// secureURL refuses an address to which secrets would go in clear, but for one on this
// machine.
func secureURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		if err != nil || u.User != nil || u.RawQuery != "" {
			text = "what is given" // a password may be in it
		}
		return fmt.Errorf("%q is no address such as https://id.bank.example", text)
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "localhost" && !ip.IsLoopback()) {
		return fmt.Errorf("%s would be reached in clear; it has to begin with https", text)
	}
	return nil
}

// groups returns what holds a person's groups. A claim may have dots in its name, as one
// that is an address has, so that a name goes before a path.
func (c *OIDC) groups(claims map[string]json.RawMessage) (json.RawMessage, bool) {
	return claimAt(claims, c.Claim)
}

func claimAt(claims map[string]json.RawMessage, path string) (json.RawMessage, bool) {
	if value, ok := claims[path]; ok {
		return value, true
	}
	for i, c := range path {
		var inner map[string]json.RawMessage
		if c != '.' || json.Unmarshal(claims[path[:i]], &inner) != nil {
			continue
		}
		if value, ok := claimAt(inner, path[i+1:]); ok {
			return value, true
		}
	}
	return nil, false
}

// roles are what the groups of a person may.
func (c *OIDC) roles(groups []string) (s RoleSet) {
	for _, g := range groups {
		s |= c.Roles[g]
	}
	return s
}

// The bounds of talking to a provider. discoverEvery is how often a provider that was
// away is asked again: everybody who tries to log in waits for the answer. A log-in asks
// it four times at most, which has to fit into writeWithin.
const (
	providerWithin   = 7 * time.Second
	providerBytesMax = 1 << 20
	discoverEvery    = 5 * time.Second
	// skew is how far the provider's clock and ours may be apart.
	skew       = time.Minute
	subjectMax = 255 // bytes, as OpenID Connect Core has it
)

// errAway says that the provider did not answer as one does.
var errAway = errors.New("the identity provider is away")

// A provider is an identity provider, which may be away while the desk starts: what it
// says of itself is asked for when it is needed first.
type provider struct {
	config OIDC
	now    func() time.Time
	client *http.Client

	mu    sync.Mutex
	found *discovered
	tried time.Time // without success
	why   error
}

// discovered is what a provider says of itself, and what follows.
type discovered struct {
	*oidc.Provider
	oauth    oauth2.Config
	verifier *oidc.IDTokenVerifier
	names    bool   // it says in each answer who it is (RFC 9207)
	logout   string // where it ends its own sessions; empty where it does not
}

func newProvider(c OIDC, now func() time.Time) *provider {
	if c.Scopes == nil {
		c.Scopes = []string{"profile", "email"}
	}
	c.PublicURL = strings.TrimRight(c.PublicURL, "/")
	return &provider{config: c, now: now, client: &http.Client{
		Timeout: providerWithin, Transport: bodyLimit{http.DefaultTransport},
		// The secret goes nowhere but to the address that the provider has given.
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("the provider sends elsewhere") },
	}}
}

// bodyLimit bounds what is read of an answer.
type bodyLimit struct{ http.RoundTripper }

func (b bodyLimit) RoundTrip(r *http.Request) (*http.Response, error) {
	a, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		a.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(a.Body, providerBytesMax), a.Body}
	}
	return a, err
}

// name is what pages call the provider.
func (p *provider) name() string {
	u, err := url.Parse(p.config.Issuer)
	if err != nil {
		return p.config.Issuer
	}
	return u.Host
}

// discover returns what the provider says of itself. Of several that ask at once one
// does it, and the others wait for what it got.
func (p *provider) discover(ctx context.Context) (*discovered, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found != nil {
		return p.found, nil
	}
	if p.why != nil && p.now().Sub(p.tried) < discoverEvery {
		return nil, p.why
	}
	// Whoever hangs up does not make it look away to the others.
	found, err := p.ask(context.WithoutCancel(ctx))
	if err != nil {
		p.tried, p.why = p.now(), fmt.Errorf("%w: discover %s: %w", errAway, p.config.Issuer, err)
		return nil, p.why
	}
	p.found, p.why = found, nil
	return found, nil
}

// ask does what discover is for.
func (p *provider) ask(ctx context.Context) (*discovered, error) {
	op, err := oidc.NewProvider(oidc.ClientContext(ctx, p.client), p.config.Issuer)
	if err != nil {
		return nil, err
	}
	var says struct {
		Keys    string   `json:"jwks_uri"`
		Logout  string   `json:"end_session_endpoint"`
		Methods []string `json:"token_endpoint_auth_methods_supported"`
		Names   bool     `json:"authorization_response_iss_parameter_supported"`
	}
	if err := op.Claims(&says); err != nil {
		return nil, err
	}
	endpoint := op.Endpoint()
	for _, u := range []string{endpoint.AuthURL, endpoint.TokenURL, says.Keys, op.UserInfoEndpoint(), says.Logout} {
		if err := p.trusts(u); err != nil && u != "" {
			return nil, err
		}
	}
	if endpoint.AuthURL == "" || endpoint.TokenURL == "" || says.Keys == "" {
		return nil, errors.New("it names no endpoint to authorize at, none for tokens or none for keys")
	}
	// Said and not tried out: a try that fails may cost the code.
	endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if len(says.Methods) > 0 && !slices.Contains(says.Methods, "client_secret_basic") {
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return &discovered{
		Provider: op, names: says.Names, logout: says.Logout,
		oauth: oauth2.Config{ClientID: p.config.ClientID, ClientSecret: p.config.ClientSecret, Endpoint: endpoint,
			RedirectURL: p.config.PublicURL + callbackPath, Scopes: append([]string{oidc.ScopeOpenID}, p.config.Scopes...)},
		verifier: op.Verifier(&oidc.Config{ClientID: p.config.ClientID, Now: func() time.Time { return p.now().Add(-skew) }}),
	}, nil
}

// trusts refuses an endpoint in clear: one of a provider that is reached by TLS is too.
func (p *provider) trusts(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" && strings.HasPrefix(p.config.Issuer, "https:") || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("its endpoint %q is no address by https", endpoint)
	}
	return nil
}

// logoutURL is where somebody ends their session at the provider, empty where that is
// not known. No token is kept to show there, so the provider asks whether it is meant.
func (p *provider) logoutURL() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found == nil || p.found.logout == "" {
		return ""
	}
	u, err := url.Parse(p.found.logout)
	if err != nil {
		return ""
	}
	q := u.Query()
	q.Set("client_id", p.config.ClientID)
	u.RawQuery = q.Encode()
	return u.String()
}

// A person is somebody for whom a provider vouches. Only issuer and subject say who it
// is; a name may be another's tomorrow.
type person struct {
	issuer, subject string
	name            string // that the person goes by there
	display         string
	groups          []string
	voucher         voucher
}

// redeem trades a code for who it is that has logged in.
func (p *provider) redeem(ctx context.Context, d *discovered, f flow, code string) (person, error) {
	ctx = oidc.ClientContext(ctx, p.client)
	token, err := d.oauth.Exchange(ctx, code, oauth2.VerifierOption(f.verifier()))
	if err != nil {
		return person{}, exchangeFailed(err)
	}
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return person{}, unchecked("there is no id_token in the provider's answer")
	}
	id, err := d.verifier.Verify(ctx, raw)
	if err != nil && strings.Contains(err.Error(), "fetching keys") { // the library does not wrap it
		return person{}, fmt.Errorf("%w: %w", errAway, err)
	}
	if err != nil {
		return person{}, unchecked("%v", err)
	}
	var claims map[string]json.RawMessage
	if err := id.Claims(&claims); err != nil {
		return person{}, unchecked("claims: %v", err)
	}
	if err := p.check(id, claims, f, token.AccessToken); err != nil {
		return person{}, err
	}
	groups, told := p.config.groups(claims)
	if !told && d.UserInfoEndpoint() != "" {
		// Some tell groups there only.
		more, err := d.UserInfo(ctx, oauth2.StaticTokenSource(token))
		if err != nil {
			return person{}, fmt.Errorf("%w: user info: %w", errAway, err)
		}
		if more.Subject != id.Subject {
			return person{}, unchecked("the user info is of another subject")
		}
		var info map[string]json.RawMessage
		if err := more.Claims(&info); err != nil {
			return person{}, unchecked("user info: %v", err)
		}
		groups, _ = p.config.groups(info)
		for k, v := range info {
			if _, ok := claims[k]; !ok {
				claims[k] = v
			}
		}
	}
	return p.person(id, claims, groups), nil
}

// exchangeFailed tells a provider that refuses a code from one that is away.
func exchangeFailed(err error) error {
	var no *oauth2.RetrieveError
	if errors.As(err, &no) && no.Response.StatusCode < 500 {
		// Not more of it: the rest of the answer may hold secrets.
		return unchecked("the provider takes the code not: status %d, %s", no.Response.StatusCode, errorCode(no.ErrorCode))
	}
	return fmt.Errorf("%w: exchange code: %w", errAway, err)
}

// check is what the library leaves to its caller.
func (p *provider) check(id *oidc.IDToken, claims map[string]json.RawMessage, f flow, access string) error {
	var party string
	azp := claims["azp"]
	switch {
	case id.Nonce != f.nonce():
		return unchecked("the nonce is not that of this log-in")
	case id.Subject == "" || len(id.Subject) > subjectMax || strings.ContainsFunc(id.Subject, unseen):
		return unchecked("the subject is empty, too long or not printable")
	case azp != nil && (json.Unmarshal(azp, &party) != nil || party != p.config.ClientID), azp == nil && len(id.Audience) > 1:
		return unchecked("the token was issued to another client")
	case len(textOf(claims["sid"])) > subjectMax:
		return unchecked("the id of the session there is too long")
	case id.IssuedAt.After(p.now().Add(skew)):
		return unchecked("the token was issued at %s, which is to come: are the clocks right?", id.IssuedAt.UTC().Format(time.RFC3339))
	}
	if id.AccessTokenHash != "" {
		if err := id.VerifyAccessToken(access); err != nil {
			return unchecked("%v", err)
		}
	}
	return nil
}

// textOf is the text that a claim holds, empty where it holds none.
func textOf(claim json.RawMessage) (s string) {
	if json.Unmarshal(claim, &s) != nil {
		return ""
	}
	return s
}

// person takes from a token and its claims what is needed.
func (p *provider) person(id *oidc.IDToken, claims map[string]json.RawMessage, groups json.RawMessage) person {
	who := person{issuer: p.config.Issuer, subject: id.Subject, voucher: voucher{textOf(claims["sid"]), id.IssuedAt.Unix()}}
	for _, claim := range []string{"preferred_username", "email", "name"} {
		if who.name = textOf(claims[claim]); who.name != "" {
			break
		}
	}
	who.display = textOf(claims["name"])
	if json.Unmarshal(groups, &who.groups) != nil {
		who.groups = nil
		if one := textOf(groups); one != "" {
			who.groups = []string{one}
		}
	}
	return who
}
