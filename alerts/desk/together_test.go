package desk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestSeveralOpenAFileAtOnce: weir user beside a desk that starts.
func TestSeveralOpenAFileAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "desk.db")
	var wait sync.WaitGroup
	for i := range 6 {
		wait.Go(func() {
			a, err := OpenAccounts(t.Context(), file, AccountsConfig{Cost: cheap})
			if err != nil {
				t.Error(err)
				return
			}
			err = a.Add(t.Context(), User{Name: fmt.Sprintf("user%d", i), Roles: everyone}, password)
			if err := errors.Join(err, a.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	a, err := OpenAccounts(t.Context(), file, AccountsConfig{Cost: cheap})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if list, err := a.Users(t.Context()); err != nil || len(list) != 6 {
		t.Errorf("%d accounts, %v", len(list), err)
	}
}

// TestAnotherProcessChangesAccounts: what weir user does counts at once in a desk that
// runs, lock-outs too.
func TestAnotherProcessChangesAccounts(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	b := w.browser().enters("ann")
	other, err := OpenAccounts(t.Context(), w.file, AccountsConfig{Now: w.clock, Cost: cheap})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.SetPassword(t.Context(), "ann", password+"!"); err != nil {
		t.Fatal(err)
	}
	if b.in() {
		t.Error("in after the password was changed")
	}
	for range triesMax {
		b.login("ann", "wrong password")
	}
	b.login("ann", password+"!").is(t, http.StatusForbidden)
	if err := other.SetDisabled(t.Context(), "ann", false); err != nil {
		t.Fatal(err)
	}
	b.login("ann", password+"!").is(t, http.StatusSeeOther)
}

// TestOverTheWire serves by TLS on a real connection, to a client that keeps cookies
// by the rules of browsers.
func TestOverTheWire(t *testing.T) {
	w := newWorld(t, withTLS)
	w.add("ann", Analyst)
	w.route(route{pattern: "GET /half", roles: everyone, handle: func(rw http.ResponseWriter, _ *http.Request) error {
		_, err := io.WriteString(rw, strings.Repeat("half ", 2000))
		return errors.Join(err, errors.New("it failed"))
	}})
	server := httptest.NewUnstartedServer(nil)
	server.Config = HTTPServer(w.server, w.server.options.Log)
	server.StartTLS()
	defer server.Close()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := server.Client()
	client.Jar = jar
	ask := func(method, path string, form url.Values) (status int, body string, err error) {
		r, err := http.NewRequestWithContext(context.Background(), method, server.URL+path, strings.NewReader(form.Encode()))
		if err != nil {
			return 0, "", err
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", server.URL)
		a, err := client.Do(r)
		if err != nil {
			return 0, "", err
		}
		text, err := io.ReadAll(a.Body)
		return a.StatusCode, string(text), errors.Join(err, a.Body.Close())
	}
	if status, body, err := ask("GET", "/", nil); err != nil || status != http.StatusOK || !strings.Contains(body, `name="password"`) {
		t.Fatalf("without a session: %d, %v: %s", status, err, body)
	}
	if status, body, err := ask("POST", "/login", url.Values{"name": {"ann"}, "password": {password}}); err != nil || status != http.StatusOK || !strings.Contains(body, "<h1>Queue") {
		t.Fatalf("logged in: %d, %v: %s", status, err, body)
	}
	if _, _, err := ask("GET", "/half", nil); err == nil {
		t.Error("half an answer is taken for a whole one")
	}
	if status, body, err := ask("POST", "/logout", nil); err != nil || status != http.StatusOK || !strings.Contains(body, `name="password"`) {
		t.Errorf("logged out: %d, %v: %s", status, err, body)
	}
}
