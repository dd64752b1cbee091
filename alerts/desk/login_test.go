package desk

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-risk/weir/schemas"
)

func TestLogIn(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst, Supervisor)
	b := w.browser()
	b.get("/").is(t, http.StatusSeeOther)
	b.get("/login").is(t, http.StatusOK, `name="password"`, `type="password"`, `method="post"`)
	a := b.login(" ANN ", password).is(t, http.StatusSeeOther)
	if a.Header.Get("Location") != "/queue" {
		t.Errorf("leads to %q", a.Header.Get("Location"))
	}
	b.get("/").is(t, http.StatusOK, "ann", "analyst, supervisor")
	if e := w.lastEntry(); e.What != schemas.AuditLoggedIn || string(e.Who) != "ann" || string(e.Address) != "192.0.2.1" || e.At != w.now.UnixMilli() || len(e.ID) != 32 {
		t.Errorf("audited is %+v", e)
	}
	b.do("POST", "/logout", nil).is(t, http.StatusSeeOther)
	if e := w.lastEntry(); e.What != schemas.AuditLoggedOut || string(e.Who) != "ann" {
		t.Errorf("audited is %+v", e)
	}
}

// TestHangingUpIsNoWayRoundTheAuditLog: who is gone before the answer is audited all
// the same, and let in no more than others.
func TestHangingUpIsNoWayRoundTheAuditLog(t *testing.T) {
	ctx, hangUp := context.WithCancel(t.Context())
	var got []schemas.AuditAct
	w := newWorld(t, func(o *Options) {
		o.Audit = func(ctx context.Context, e schemas.AuditEntry) error {
			hangUp()
			got = append(got, e.What)
			return ctx.Err()
		}
	})
	w.add("ann", Analyst)
	r := httptest.NewRequest("POST", "/login", strings.NewReader(url.Values{"name": {"ann"}, "password": {"wrong password"}}.Encode())).WithContext(ctx)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	rec := httptest.NewRecorder()
	w.server.ServeHTTP(rec, r)
	if rec.Code != http.StatusForbidden || len(got) != 1 || got[0] != schemas.AuditLoginFailed {
		t.Errorf("status %d, audited is %v", rec.Code, got)
	}
}

// wrongs are the ways in which a log-in does not work, and what the audit log says.
var wrongs = []struct {
	name, password, who, why string
	do                       func(w *world, b *browser)
}{
	{"ann", "wrong password", "ann", "wrong password", nil},
	{"nobody", password, "?", "no account of this name", nil},
	{"a b", password, "?", "no name", nil},
	{"", "", "?", "no name", nil},
	{"bob", password, "bob", "disabled", func(w *world, _ *browser) {
		if err := w.accounts.SetDisabled(w.t.Context(), "bob", true); err != nil {
			w.t.Fatal(err)
		}
	}},
	{"ann", password, "ann", "locked after wrong passwords", func(_ *world, b *browser) {
		for range triesMax {
			b.login("ann", "wrong password")
		}
	}},
	{"vic", password, "vic", "the account has no password: https://id.example vouches for it", func(w *world, _ *browser) {
		if _, err := w.accounts.admit(w.t.Context(), User{Name: "vic", Display: "Vic", Roles: Roles(Analyst), Issuer: "https://id.example", Subject: "1"}); err != nil {
			w.t.Fatal(err)
		}
	}},
	{"nobody", password, "?", "locked after wrong passwords", func(_ *world, b *browser) {
		for range triesMax {
			b.login("nobody", "wrong password")
		}
	}},
}

// TestAnswerDoesNotTellWhatWasWrong: name, password, lock or account, the answer is
// the same, and the audit log knows.
func TestAnswerDoesNotTellWhatWasWrong(t *testing.T) {
	want := ""
	for _, x := range wrongs {
		w := newWorld(t)
		w.add("ann", Analyst)
		w.add("bob", Analyst)
		b := w.browser()
		if x.do != nil {
			x.do(w, b)
		}
		a := b.login(x.name, x.password).is(t, http.StatusForbidden, notLetIn)
		if e := w.lastEntry(); e.What != schemas.AuditLoginFailed || string(e.Who) != x.who || string(e.Detail) != "not let in: "+x.why {
			t.Errorf("%s: audited is %s %s %s", x.why, e.What, e.Who, e.Detail)
		}
		a.Header.Del("Content-Length") // follows from the name
		got := fmt.Sprint(a.StatusCode, a.Header, strings.NewReplacer(`value="`+x.name+`"`, "", " autofocus", "").Replace(a.body))
		if want == "" {
			want = got
		}
		if got != want {
			t.Errorf("%s: the answer is\n%s\nand another's\n%s", x.why, got, want)
		}
		if b.cookie() != nil {
			t.Errorf("%s: a cookie came", x.why)
		}
	}
}

// TestTimeDoesNotTellWhatWasWrong: each way costs one try of a password, told by the
// memory that argon2id takes.
func TestTimeDoesNotTellWhatWasWrong(t *testing.T) {
	const memory = 8 << 20
	for _, x := range wrongs {
		w := newWorld(t)
		w.add("ann", Analyst)
		w.add("bob", Analyst)
		if x.do != nil {
			x.do(w, w.browser())
		}
		a, err := OpenAccounts(t.Context(), w.file, AccountsConfig{Now: w.clock, Cost: Cost{MemoryKiB: memory >> 10, Passes: 1, Lanes: 1}})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"ann", "bob"} {
			h := newHash(password, a.config.Cost)
			if _, err := a.db.Exec(`UPDATE users SET password = ? WHERE name = ?`, h.String(), name); err != nil {
				t.Fatal(err)
			}
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = a.LogIn(t.Context(), x.name, x.password)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; err == nil || took < memory || took > 2*memory {
			t.Errorf("%s: %v, %d bytes, one try takes %d", x.why, err, took, memory)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestLockOut: the sixth try is not looked at, right or wrong, and the lock grows.
func TestLockOut(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	b := w.browser()
	for _, length := range []time.Duration{15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 4 * time.Hour} {
		for range triesMax {
			b.login("ann", "wrong password").is(t, http.StatusForbidden)
		}
		b.login("ann", password).is(t, http.StatusForbidden)
		w.pass(length - time.Second)
		b.login("ann", password).is(t, http.StatusForbidden)
		w.pass(time.Second)
		var until int64
		if err := w.accounts.db.QueryRow(`SELECT until_ms FROM lockouts WHERE name = 'ann'`).Scan(&until); err != nil || until != w.now.UnixMilli() {
			t.Fatalf("after %v the lock ends at %d, %v; it is %d", length, until, err, w.now.UnixMilli())
		}
	}
	b.enters("ann") // and the next lock is a first one
	for range triesMax {
		b.login("ann", "wrong password")
	}
	w.pass(15 * time.Minute)
	b.enters("ann")
}

// TestSlowWrongPasswordsDoNotLock: four, and then some time.
func TestSlowWrongPasswordsDoNotLock(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	b := w.browser()
	for range 4 {
		for range triesMax - 1 {
			b.login("ann", "wrong password")
		}
		w.pass(triesWithin)
	}
	b.enters("ann")
	for range triesMax - 1 {
		b.login("ann", "wrong password")
	}
	b.enters("ann") // which forgives
	for range triesMax - 1 {
		b.login("ann", "wrong password")
	}
	b.enters("ann")
}

// TestRestartDoesNotLiftALockOut, nor does it forget how often there was one.
func TestRestartDoesNotLiftALockOut(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	b := w.browser()
	for range triesMax {
		b.login("ann", "wrong password")
	}
	w.open()
	b.login("ann", password).is(t, http.StatusForbidden)
	w.pass(15 * time.Minute)
	for range triesMax {
		b.login("ann", "wrong password")
	}
	w.open()
	w.pass(29 * time.Minute)
	b.login("ann", password).is(t, http.StatusForbidden)
}

// TestEnableLiftsALockOut, and so does another password.
func TestEnableLiftsALockOut(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	for _, lift := range []func() error{
		func() error { return w.accounts.SetDisabled(t.Context(), "ann", false) },
		func() error { return w.accounts.SetPassword(t.Context(), "ann", password) },
	} {
		b := w.browser()
		for range triesMax {
			b.login("ann", "wrong password")
		}
		b.login("ann", password).is(t, http.StatusForbidden)
		if err := lift(); err != nil {
			t.Fatal(err)
		}
		b.enters("ann")
	}
}

// TestManyGuessesAtOnceAreNoMoreGuesses: 40 tries that begin before one has ended.
func TestManyGuessesAtOnceAreNoMoreGuesses(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	var looked atomic.Int32
	var wait sync.WaitGroup
	for range 40 {
		wait.Go(func() {
			if _, err := w.accounts.LogIn(t.Context(), "ann", "wrong password"); err != nil && strings.HasSuffix(err.Error(), "wrong password") {
				looked.Add(1)
			}
		})
	}
	wait.Wait()
	// One of the last may find the name locked by then.
	if n := looked.Load(); n > triesMax || n == 0 {
		t.Errorf("%d passwords were looked at", n)
	}
}

// TestLockOutsOfNobodyAreBounded: names that there are not do not fill the file, and
// do not push the lock of an account out of it.
func TestLockOutsOfNobodyAreBounded(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	b := w.browser()
	for range triesMax {
		b.login("ann", "wrong password")
	}
	_, err := w.accounts.db.Exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		INSERT INTO lockouts SELECT 'x' || i, ? + i, 1 FROM n`, lockoutsMax+500, w.now.Add(time.Hour).UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	for range triesMax {
		b.login("nobody", "wrong password")
	}
	var n int
	if err := w.accounts.db.QueryRow(`SELECT count(*) FROM lockouts`).Scan(&n); err != nil || n != lockoutsMax+1 {
		t.Errorf("%d lock-outs, %v", n, err)
	}
	b.login("ann", password).is(t, http.StatusForbidden)
}

func TestBoundedForgetsTheOldest(t *testing.T) {
	var b bounded[int]
	for i := range 3*boundedMax + 5 {
		b.put(fmt.Sprint(i), i)
		b.put("kept", b.get("kept")+1)
	}
	if n := len(b.young) + len(b.old); n > 2*boundedMax {
		t.Errorf("%d entries", n)
	}
	if b.get("0") != 0 || b.get(fmt.Sprint(3*boundedMax)) == 0 || b.get("kept") != 3*boundedMax+5 {
		t.Errorf("the oldest is %d, a new one %d, the one in use %d", b.get("0"), b.get(fmt.Sprint(3*boundedMax)), b.get("kept"))
	}
	b.drop("kept")
	if b.get("kept") != 0 {
		t.Error("dropped, and there")
	}
}

// TestAddressHasABucket: many names from one address.
func TestAddressHasABucket(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	b := w.browser()
	for i := range bucketSize {
		b.login(fmt.Sprintf("name%d", i), password).is(t, http.StatusForbidden)
	}
	a := b.login("ann", password).is(t, http.StatusTooManyRequests, "too many log-ins from your address")
	if a.Header.Get("Retry-After") != "2" || b.cookie() != nil {
		t.Errorf("%v", a.Header)
	}
	other := w.browser()
	other.address = "192.0.2.2:40000"
	other.enters("ann")
	w.pass(bucketEvery)
	for range 5 { // what succeeds is given back
		b.enters("ann")
	}
	b.login("nobody", password).is(t, http.StatusForbidden)
	b.login("nobody", password).is(t, http.StatusTooManyRequests)
	w.pass(time.Hour)
	for i := range bucketSize {
		b.login(fmt.Sprintf("other%d", i), password).is(t, http.StatusForbidden)
	}
	b.login("ann", password).is(t, http.StatusTooManyRequests)
}

// TestBucketIsOfANetwork: who has one address of IPv6 has 2^64.
func TestBucketIsOfANetwork(t *testing.T) {
	f := func(address, want string) {
		t.Helper()
		if got := bucketOf(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
	f("192.0.2.1", "192.0.2.1")
	f("2001:db8:1:2:3::4", "2001:db8:1:2::/64")
	f("2001:db8:1:2:ffff::", "2001:db8:1:2::/64")
}

// TestAddressBehindProxies: only proxies are believed.
func TestAddressBehindProxies(t *testing.T) {
	f := func(remote, forwarded, want string, proxies ...netip.Prefix) {
		t.Helper()
		w := newWorld(t, func(o *Options) { o.Proxies = proxies })
		b := w.browser()
		b.address, b.header["X-Forwarded-For"] = remote, forwarded
		b.login("nobody", password)
		if got := string(w.lastEntry().Address); got != want {
			t.Errorf("%s, %q: %s, want %s", remote, forwarded, got, want)
		}
	}
	inside, local := netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.1/32")
	f("192.0.2.1:1", "198.51.100.7", "192.0.2.1")
	f("192.0.2.1:1", "198.51.100.7", "192.0.2.1", inside)
	f("10.1.1.1:1", "198.51.100.7", "198.51.100.7", inside)
	f("10.1.1.1:1", "1.2.3.4, 198.51.100.7", "198.51.100.7", inside)
	f("127.0.0.1:1", "1.2.3.4, 198.51.100.7,10.9.9.9", "198.51.100.7", inside, local)
	f("10.1.1.1:1", "nonsense", "10.1.1.1", inside)
	f("[::ffff:10.1.1.1]:1", "2001:db8::1", "2001:db8::1", inside)
	f("10.1.1.1:1", "", "10.1.1.1", inside)
}

// TestTooManyAtOnceAreTurnedAway, all alike.
func TestTooManyAtOnceAreTurnedAway(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	w.accounts.waiting.Store(waitingMax)
	for _, name := range []string{"ann", "nobody"} {
		if a := w.browser().login(name, password).is(t, http.StatusServiceUnavailable, "Too many people"); a.Header.Get("Retry-After") != "10" {
			t.Errorf("%v", a.Header)
		}
	}
	w.accounts.waiting.Store(0)
	w.browser().enters("ann")
}

// TestOpenRedirect: a log-in leads to a page of the desk, whatever the link says.
func TestOpenRedirect(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	f := func(next, want string) {
		t.Helper()
		b := w.browser()
		a := b.get("/login?"+url.Values{"next": {next}}.Encode()).is(t, http.StatusOK)
		if next != want && next != "" && next != "/" && strings.Contains(a.body, `value="`+next) {
			t.Errorf("%q is in the form", next)
		}
		a = b.do("POST", "/login", url.Values{"name": {"ann"}, "password": {password}, "next": {next}}).is(t, http.StatusSeeOther)
		if got := a.Header.Get("Location"); got != want {
			t.Errorf("%q leads to %q, want %q", next, got, want)
		}
	}
	f("/queue?state=open&amount=5", "/queue?state=open&amount=5")
	f("/alerts/0-7#notes", "/alerts/0-7#notes")
	for _, next := range []string{"", "/", "//evil.example", "///evil.example", `/\evil.example`, `\\evil.example`, "https://evil.example", "https:evil.example",
		"javascript:alert(1)", "/\t/evil.example", "/\n/evil.example", " //evil.example", "evil", "/a\\..\\\\evil.example", "/" + strings.Repeat("a", pathMax), "/é", "/%zz"} {
		f(next, "/queue")
	}
}

// TestLinkSurvivesTheLogIn: who follows a link and has no session comes to its page.
func TestLinkSurvivesTheLogIn(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	w.route(route{pattern: "GET /things/{id}", roles: everyone, handle: w.server.start})
	b := w.browser()
	a := b.get("/things/0-7?x=1").is(t, http.StatusSeeOther)
	if got := a.Header.Get("Location"); got != "/login?next=%2Fthings%2F0-7%3Fx%3D1" {
		t.Fatalf("leads to %q", got)
	}
	b.get(a.Header.Get("Location")).is(t, http.StatusOK, `name="next" value="/things/0-7?x=1"`)
}

func FuzzLocalPath(f *testing.F) {
	for _, text := range []string{"/", "/a?b#c", "//x", "/\\x", "http://x", "/\t/x", "/%2f/x", "/..//x"} {
		f.Add(text)
	}
	base, err := url.Parse("https://desk.example/login")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := localPath(text)
		// As a browser reads it: \ is /, and tabs, line ends and blanks around are not there.
		seen := strings.Trim(strings.NewReplacer("\t", "", "\r", "", "\n", "", "\\", "/").Replace(got), " ")
		u, err := base.Parse(seen)
		if err != nil || u.Scheme != "https" || u.Host != "desk.example" || seen != got || strings.HasPrefix(seen, "//") {
			t.Errorf("%q leads to %q: %v, %v", text, got, u, err)
		}
	})
}
