package main

import (
	"bytes"
	"context"
	"encoding/json"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/weir-risk/weir/ingest/broker"
)

// TestDeskAtKeycloak logs people in at an identity provider that other people have
// written. deploy/integration starts it.
func TestDeskAtKeycloak(t *testing.T) {
	issuer, secretFile := os.Getenv("WEIR_KEYCLOAK"), os.Getenv("WEIR_KEYCLOAK_SECRET")
	if issuer == "" {
		t.Skip("WEIR_KEYCLOAK names no Keycloak; deploy/integration starts one")
	}
	text, err := os.ReadFile(secretFile)
	if err != nil {
		t.Fatal(err)
	}
	secret, data := strings.TrimSpace(string(text)), t.TempDir()
	password := filepath.Join(data, "password")
	if err := os.WriteFile(password, []byte("correct horse battery\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	call(t, "user", "add", "ann", "--role", "supervisor", "--password-file", password, "--data", data).succeeds(t)
	at := startDesk(t, "--data", data, "--public-url", "http://localhost:8464", "--oidc-issuer", issuer, "--oidc-client-id", "weir",
		"--oidc-client-secret-file", secretFile, "--oidc-role", "fraud-analysts=analyst", "--local-login", "ann")

	ann := newKeycloakUser(t, at)
	ann.logIn("/queue", "ann", secret).shows("No open alerts.")
	ann.get("http://localhost:8464/").shows("Ann Bo", "<code>ann-2</code>", "analyst")
	var list []account
	if err := json.Unmarshal([]byte(call(t, "user", "ls", "--json", "--data", data).succeeds(t).stdout), &list); err != nil || len(list) != 2 ||
		list[0].Issuer != "" || list[1].Name != "ann-2" || list[1].Issuer != issuer || list[1].Subject == "" {
		t.Errorf("accounts %+v, %v", list, err)
	}
	if out := call(t, "user", "ls", "--data", data).succeeds(t).stdout; !strings.Contains(out, "enabled  password\n") || !strings.Contains(out, "enabled  "+issuer+"\n") {
		t.Errorf("weir user ls says\n%s", out)
	}
	call(t, "user", "roles", "ann-2", "--role", "auditor", "--data", data).fails(t, exitFailed, "vouches")
	newKeycloakUser(t, at).logIn("/", "carl", secret).shows("none of your groups there may work at this desk")

	// Another key signs from now on, which the desk has not seen.
	admin := &keycloakAdmin{t: t, base: strings.TrimSuffix(issuer, "/realms/bank"), password: secret}
	admin.do("POST", "/admin/realms/bank/components", map[string]any{"name": "next", "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider",
		"config": map[string][]string{"priority": {"200"}, "keySize": {"2048"}}})
	newKeycloakUser(t, at).logIn("/", "ann", secret).shows(`title="ann-2: `)

	// Out of the desk, and then there.
	page := ann.post("http://localhost:8464/logout", nil).shows("You are logged out of the desk")
	there := regexp.MustCompile(`<a href="(` + regexp.QuoteMeta(issuer) + `[^"]+)"`).FindStringSubmatch(page.body)
	if there == nil {
		t.Fatalf("no way out at the provider: %s", page.body)
	}
	ann.get(html.UnescapeString(there[1])).shows("Do you want to log out?")

	// Who has left the group is out with the next log-in.
	admin.group("DELETE", "ann", "fraud-analysts")
	t.Cleanup(func() { admin.group("PUT", "ann", "fraud-analysts") })
	newKeycloakUser(t, at).logIn("/", "ann", secret).shows("none of your groups there may work at this desk")
}

// TestKeycloakEndsSessions has roles where Keycloak has them by itself, in a claim within
// a claim, and ends sessions there: one of two by its administrator, one by the person
// who logs out there, and the rest at once. The desk hears of each from Keycloak alone.
func TestKeycloakEndsSessions(t *testing.T) {
	issuer, secretFile := os.Getenv("WEIR_KEYCLOAK"), os.Getenv("WEIR_KEYCLOAK_SECRET")
	if issuer == "" {
		t.Skip("WEIR_KEYCLOAK names no Keycloak; deploy/integration starts one")
	}
	text, err := os.ReadFile(secretFile)
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.TrimSpace(string(text))
	at := startDesk(t, "--data", t.TempDir(), "--public-url", "http://localhost:8464", "--oidc-issuer", issuer, "--oidc-client-id", "weir",
		"--oidc-client-secret-file", secretFile, "--oidc-roles-claim", "realm_access.roles", "--oidc-role", "fraud-lead=supervisor", "--local-login=false")
	admin := &keycloakAdmin{t: t, base: strings.TrimSuffix(issuer, "/realms/bank"), password: secret}
	dora := admin.id("/admin/realms/bank/users?exact=true&username=dora")
	admin.do("POST", "/admin/realms/bank/users/"+dora+"/logout", nil) // of what a run before left
	admin.logoutURL("http://" + at + "/login/oidc/logout")
	t.Cleanup(func() { admin.logoutURL("") })

	newKeycloakUser(t, at).logIn("/", "ann", secret).shows("none of your groups there may work at this desk")
	people := make([]*keycloakUser, 5)
	for i := range people {
		people[i] = newKeycloakUser(t, at)
		people[i].logIn("/", "dora", secret).shows("Dora Em", "supervisor")
	}
	in := func(want int) {
		t.Helper()
		n := 0
		for _, p := range people {
			if strings.Contains(p.get("http://localhost:8464/").body, "Dora Em") {
				n++
			}
		}
		if n != want {
			t.Errorf("%d are in, want %d", n, want)
		}
	}
	in(5)
	var sessions []struct{ ID string }
	if err := json.Unmarshal(admin.do("GET", "/admin/realms/bank/users/"+dora+"/sessions", nil), &sessions); err != nil || len(sessions) != 5 {
		t.Fatalf("%d sessions, %v", len(sessions), err)
	}
	admin.do("DELETE", "/admin/realms/bank/sessions/"+sessions[0].ID, nil)
	in(4)
	for _, p := range people {
		if !strings.Contains(p.get("http://localhost:8464/").body, "Dora Em") {
			continue
		}
		page := p.get(issuer + "/protocol/openid-connect/logout?client_id=weir").shows("Do you want to log out?")
		form := regexp.MustCompile(`(?s)<form[^>]* action="([^"]+)".*name="session_code" value="([^"]+)"`).FindStringSubmatch(page.body)
		if form == nil {
			t.Fatalf("this is no form of Keycloak's: %s", page.body)
		}
		p.post(admin.base+html.UnescapeString(form[1]), url.Values{"session_code": {form[2]}, "confirmLogout": {"Logout"}}).shows("You are logged out")
		break
	}
	in(3)
	admin.do("POST", "/admin/realms/bank/users/"+dora+"/logout", nil)
	in(0)
	people[0].logIn("/", "dora", secret).shows("Dora Em")
	in(1)
}

// startDesk starts weir desk beside a broker, and returns where it listens.
func startDesk(t *testing.T, args ...string) string {
	t.Helper()
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	at, _ := runDesk(t, b.Addr(), args...)
	return strings.TrimPrefix(at, "http://")
}

// A keycloakUser is a person at a browser, for whom localhost:8464 is where the desk is.
type keycloakUser struct {
	t      *testing.T
	client *http.Client
}

type keycloakPage struct {
	t    *testing.T
	body string
}

// aJar sends cookies that are for TLS to this machine too, as browsers do.
type aJar struct{ http.CookieJar }

func (j aJar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	for _, c := range cookies {
		c.Secure = false
	}
	j.CookieJar.SetCookies(u, cookies)
}

func newKeycloakUser(t *testing.T, desk string) *keycloakUser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr == "localhost:8464" {
			addr = desk
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &keycloakUser{t, &http.Client{Jar: aJar{jar}, Transport: transport}}
}

func (u *keycloakUser) get(target string) keycloakPage { return u.do("GET", target, nil) }

func (u *keycloakUser) post(target string, form url.Values) keycloakPage {
	return u.do("POST", target, form)
}

func (u *keycloakUser) do(method, target string, form url.Values) keycloakPage {
	u.t.Helper()
	r, err := http.NewRequestWithContext(u.t.Context(), method, target, strings.NewReader(form.Encode()))
	if err != nil {
		u.t.Fatal(err)
	}
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	a, err := u.client.Do(r)
	if err != nil {
		u.t.Fatal(err)
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		u.t.Fatal(err)
	}
	return keycloakPage{u.t, string(body)}
}

// logIn goes the whole way, from a link at the desk over Keycloak's form and back.
func (u *keycloakUser) logIn(next, name, password string) keycloakPage {
	u.t.Helper()
	page := u.get("http://localhost:8464/login/oidc?" + url.Values{"next": {next}}.Encode())
	form := regexp.MustCompile(`<form id="kc-form-login"[^>]* action="([^"]+)"`).FindStringSubmatch(page.body)
	if form == nil {
		u.t.Fatalf("this is no form of Keycloak's: %s", page.body)
	}
	return u.post(html.UnescapeString(form[1]), url.Values{"username": {name}, "password": {password}})
}

func (p keycloakPage) shows(words ...string) keycloakPage {
	p.t.Helper()
	for _, word := range words {
		if !strings.Contains(p.body, word) {
			p.t.Errorf("the page does not say %q: %s", word, p.body)
		}
	}
	return p
}

// keycloakAdmin is whoever runs Keycloak.
type keycloakAdmin struct {
	t              *testing.T
	base, password string
}

// token is good for a minute.
func (a *keycloakAdmin) token() string {
	a.t.Helper()
	got, err := http.PostForm(a.base+"/realms/master/protocol/openid-connect/token",
		url.Values{"grant_type": {"password"}, "client_id": {"admin-cli"}, "username": {"admin"}, "password": {a.password}})
	if err != nil {
		a.t.Fatal(err)
	}
	defer got.Body.Close()
	var says struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(got.Body).Decode(&says); err != nil || says.Token == "" {
		a.t.Fatalf("no token for Keycloak's admin: %s, %v", got.Status, err)
	}
	return says.Token
}

func (a *keycloakAdmin) do(method, path string, body any) []byte {
	a.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		a.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(context.WithoutCancel(a.t.Context()), method, a.base+path, bytes.NewReader(text))
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+a.token())
	r.Header.Set("Content-Type", "application/json")
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer got.Body.Close()
	answer, err := io.ReadAll(got.Body)
	if err != nil || got.StatusCode >= 300 {
		a.t.Fatalf("%s %s: %s, %v: %s", method, path, got.Status, err, answer)
	}
	return answer
}

// group takes somebody into a group, or out of it.
func (a *keycloakAdmin) group(method, name, group string) {
	a.t.Helper()
	user, of := a.id("/admin/realms/bank/users?exact=true&username="+name), a.id("/admin/realms/bank/groups?exact=true&search="+group)
	a.do(method, "/admin/realms/bank/users/"+user+"/groups/"+of, nil)
}

// id is that of the one thing that a search finds.
func (a *keycloakAdmin) id(search string) string {
	a.t.Helper()
	var found []struct{ ID string }
	if err := json.Unmarshal(a.do("GET", search, nil), &found); err != nil || len(found) != 1 {
		a.t.Fatalf("%s: %+v, %v", search, found, err)
	}
	return found[0].ID
}

// logoutURL says where the desk is told that sessions are over.
func (a *keycloakAdmin) logoutURL(to string) {
	a.t.Helper()
	path := "/admin/realms/bank/clients/" + a.id("/admin/realms/bank/clients?clientId=weir")
	var client map[string]any
	if err := json.Unmarshal(a.do("GET", path, nil), &client); err != nil {
		a.t.Fatal(err)
	}
	attributes, _ := client["attributes"].(map[string]any)
	attributes["backchannel.logout.url"], attributes["backchannel.logout.session.required"] = to, "true"
	a.do("PUT", path, client)
}
