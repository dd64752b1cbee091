package desk

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-risk/weir/schemas"
)

// cheap is a cost that tests can pay often.
var cheap = Cost{MemoryKiB: 8, Passes: 1, Lanes: 1}

const password = "correct horse battery"

// A world is a desk with a clock that tests set.
type world struct {
	t        testing.TB
	file     string
	accounts *Accounts
	server   *Server
	log      bytes.Buffer

	mu      sync.Mutex
	now     time.Time
	entries []schemas.AuditEntry
	away    error // of the audit log
}

func newWorld(t testing.TB, change ...func(*Options)) *world {
	t.Helper()
	w := &world{t: t, file: filepath.Join(t.TempDir(), "desk.db"), now: time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)}
	w.open()
	o := Options{Log: slog.New(slog.NewTextHandler(&w.log, nil)), Now: w.clock, Accounts: w.accounts, Audit: w.audit, HistoryAtOnce: time.Minute}
	withView(t, &o)
	for _, f := range change {
		f(&o)
	}
	var err error
	if w.server, err = New(o); err != nil {
		t.Fatal(err)
	}
	return w
}

func withTLS(o *Options) { o.TLS = true }

// open opens the accounts, anew as after a restart.
func (w *world) open() {
	w.t.Helper()
	a, err := OpenAccounts(context.Background(), w.file, AccountsConfig{Now: w.clock, Cost: cheap})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = a.Close() })
	w.accounts = a
	if w.server != nil {
		w.server.options.Accounts = a
	}
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) audit(_ context.Context, e schemas.AuditEntry) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away == nil {
		w.entries = append(w.entries, e)
	}
	return w.away
}

// lastEntry is the newest one of the audit log.
func (w *world) lastEntry() schemas.AuditEntry {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.entries) == 0 {
		w.t.Fatal("the audit log is empty")
	}
	return w.entries[len(w.entries)-1]
}

func (w *world) add(name string, roles ...Role) {
	w.t.Helper()
	if err := w.accounts.Add(context.Background(), User{Name: name, Roles: Roles(roles...)}, password); err != nil {
		w.t.Fatal(err)
	}
}

// route adds a route to the table.
func (w *world) route(rt route) { w.server.mux.Handle(rt.pattern, w.server.guard(rt)) }

// A browser keeps cookies and asks the desk.
type browser struct {
	w       *world
	cookies map[string]*http.Cookie
	address string
	header  map[string]string
}

func (w *world) browser() *browser {
	return &browser{w: w, cookies: make(map[string]*http.Cookie), address: "192.0.2.1:40000", header: make(map[string]string)}
}

// An answer is what a browser got.
type answer struct {
	*http.Response
	body string
}

func (b *browser) do(method, target string, form url.Values) answer {
	b.w.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r := httptest.NewRequest(method, target, body)
	r.RemoteAddr = b.address
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for k, v := range b.header {
		r.Header.Set(k, v)
	}
	for _, c := range b.cookies {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	rec := httptest.NewRecorder()
	b.w.server.ServeHTTP(rec, r)
	a := answer{rec.Result(), rec.Body.String()}
	for _, c := range a.Cookies() {
		b.cookies[c.Name] = c
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	return a
}

func (b *browser) get(target string) answer {
	b.w.t.Helper()
	return b.do("GET", target, nil)
}

func (b *browser) login(name, password string) answer {
	b.w.t.Helper()
	return b.do("POST", "/login", url.Values{"name": {name}, "password": {password}})
}

// enters logs in, which must work.
func (b *browser) enters(name string) *browser {
	b.w.t.Helper()
	b.login(name, password).is(b.w.t, http.StatusSeeOther)
	if b.cookie() == nil {
		b.w.t.Fatal("no cookie came")
	}
	return b
}

// cookie is the session's.
func (b *browser) cookie() *http.Cookie { return b.cookies[b.w.server.cookieName()] }

// in reports whether somebody is logged in.
func (b *browser) in() bool {
	b.w.t.Helper()
	a := b.get("/")
	if a.StatusCode != http.StatusOK && a.StatusCode != http.StatusSeeOther {
		b.w.t.Fatalf("the start page has status %d: %s", a.StatusCode, a.body)
	}
	return a.StatusCode == http.StatusOK
}

// copied is another browser with the same cookies, as a thief has.
func (b *browser) copied() *browser {
	c := b.w.browser()
	for k, v := range b.cookies {
		c.cookies[k] = v
	}
	return c
}

// is fails the test unless an answer has a status and says each of the words.
func (a answer) is(t testing.TB, status int, words ...string) answer {
	t.Helper()
	if a.StatusCode != status {
		t.Errorf("status %d, want %d: %s", a.StatusCode, status, a.body)
	}
	for _, word := range words {
		if !strings.Contains(a.body, word) {
			t.Errorf("the page does not say %q: %s", word, a.body)
		}
	}
	return a
}
