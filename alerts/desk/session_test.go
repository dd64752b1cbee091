package desk

import (
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"
)

func TestCookieFlags(t *testing.T) {
	f := func(name string, secure bool, change ...func(*Options)) {
		t.Helper()
		w := newWorld(t, change...)
		w.add("ann", Analyst)
		c := w.browser().enters("ann").cookie()
		if c.Name != name || c.Secure != secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge != 0 || !c.Expires.IsZero() {
			t.Errorf("cookie %+v", c)
		}
	}
	f("weir", false)
	f("__Host-weir", true, withTLS)
}

// TestSessionFixation: an id that somebody planted in the browser, made up or of a
// session of their own, is not the one after the log-in, and is good for nothing.
func TestSessionFixation(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	w.add("eve", Analyst)
	made := newSessionID()
	for _, planted := range []string{made.String(), w.browser().enters("eve").cookie().Value} {
		thief, victim := w.browser(), w.browser()
		for _, b := range []*browser{thief, victim} {
			b.cookies["weir"] = &http.Cookie{Name: "weir", Value: planted}
		}
		victim.enters("ann")
		if victim.cookie().Value == planted {
			t.Error("the planted id was kept")
		}
		if thief.in() {
			t.Error("the planted id is a session")
		}
		if !victim.in() {
			t.Error("the victim is out")
		}
	}
}

// TestLogInDrawsANewID: the second log-in of one browser ends the first session.
func TestLogInDrawsANewID(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	b := w.browser().enters("ann")
	before := b.copied()
	b.enters("ann")
	if before.in() || !b.in() {
		t.Errorf("before %v, after %v", before.in(), b.in())
	}
}

func TestSessionsEnd(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	b := w.browser().enters("ann")
	for range 3 {
		w.pass(28 * time.Minute)
		if !b.in() {
			t.Fatal("out before it was idle for long")
		}
	}
	w.pass(30 * time.Minute)
	if b.in() {
		t.Error("idle for 30 minutes, and in")
	}
	b.enters("ann")
	for range 35 {
		w.pass(20 * time.Minute)
		if !b.in() {
			t.Fatal("out within 12 hours")
		}
	}
	w.pass(20 * time.Minute)
	if b.in() {
		t.Error("in after 12 hours")
	}
}

// TestPassiveRequestsKeepNoSession: a page that is left open is not a person.
func TestPassiveRequestsKeepNoSession(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	w.route(route{pattern: "GET /polls", roles: everyone, passive: true, handle: func(http.ResponseWriter, *http.Request) error { return nil }})
	b := w.browser().enters("ann")
	id := b.cookie().Value
	for range 5 {
		w.pass(5 * time.Minute)
		b.get("/polls").is(t, http.StatusOK)
	}
	if b.cookie().Value != id {
		t.Error("a passive request has changed the id")
	}
	w.pass(5 * time.Minute)
	b.get("/polls").is(t, http.StatusSeeOther)
	if b.in() {
		t.Error("in after 30 minutes of nothing but polls")
	}
}

func TestSessionIDIsRotated(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	b := w.browser().enters("ann")
	old := b.copied()
	w.pass(14 * time.Minute)
	if b.in(); b.cookie().Value != old.cookie().Value {
		t.Error("rotated too soon")
	}
	w.pass(time.Minute)
	if !b.in() || b.cookie().Value == old.cookie().Value {
		t.Fatal("not rotated")
	}
	// Until the browser shows the new id the old one is good: the answer may be lost.
	w.pass(5 * time.Minute)
	lost := b.copied()
	if !old.in() {
		t.Fatal("the old id is dead before the new one is known")
	}
	// That has drawn another one; the one that was lost on the way is void.
	if lost.in() {
		t.Error("an id that was drawn and replaced is good")
	}
	if !old.in() {
		t.Error("the new id is not good")
	}
}

// TestOldIDIsGoodForAMoment: requests that were under way when the id changed.
func TestOldIDIsGoodForAMoment(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	b := w.browser().enters("ann")
	first := b.cookie().Value
	old := func() *browser {
		o := w.browser()
		o.cookies["weir"] = &http.Cookie{Name: "weir", Value: first}
		return o
	}
	w.pass(15 * time.Minute)
	if !b.in() || !b.in() { // draws the new id, and shows it
		t.Fatal("out")
	}
	w.pass(29 * time.Second)
	late := old()
	if !late.in() || late.cookie().Value != first {
		t.Error("a request under way is out, or an old id has got a new one")
	}
	w.pass(time.Second)
	if old().in() {
		t.Error("the old id is good for too long")
	}
	if !b.in() {
		t.Error("the new id is not good")
	}
}

// TestRotationAtOnce: of many requests at once one gets the new id, and none is out.
func TestRotationAtOnce(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	b := w.browser().enters("ann")
	w.pass(16 * time.Minute)
	first := b.cookie().Value
	var many [8]*browser
	var wait sync.WaitGroup
	for i := range many {
		many[i] = b.copied()
		wait.Go(func() {
			if !many[i].in() {
				t.Error("out")
			}
		})
	}
	wait.Wait()
	fresh := 0
	for _, o := range many {
		if o.cookie().Value != first {
			fresh++
			if !o.in() {
				t.Error("the new id is not good")
			}
		}
	}
	if fresh != 1 {
		t.Errorf("%d new ids", fresh)
	}
}

// TestWhatEndsSessions: what lets nobody in any more ends what it let in before.
func TestWhatEndsSessions(t *testing.T) {
	f := func(name string, ends bool, do func(w *world, b *browser) error) {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.add("ann", Analyst)
			w.add("bob", Analyst)
			other, b, bob := w.browser().enters("ann"), w.browser().enters("ann"), w.browser().enters("bob")
			if err := do(w, b); err != nil {
				t.Fatal(err)
			}
			if other.in() == ends || !bob.in() {
				t.Errorf("ann's other session: %v, bob's: %v", other.in(), bob.in())
			}
		})
	}
	f("disabled", true, func(w *world, _ *browser) error { return w.accounts.SetDisabled(t.Context(), "ann", true) })
	f("password", true, func(w *world, _ *browser) error { return w.accounts.SetPassword(t.Context(), "ann", password+"!") })
	f("everywhere", true, func(w *world, b *browser) error {
		b.do("POST", "/logout-everywhere", nil).is(t, http.StatusSeeOther)
		return nil
	})
	f("out", false, func(w *world, b *browser) error {
		thief := b.copied()
		a := b.do("POST", "/logout", nil).is(t, http.StatusSeeOther)
		if a.Header.Get("Location") != "/login" || b.cookie() != nil || thief.in() || b.in() {
			return errors.New("logged out, and in")
		}
		return nil
	})
	f("roles", false, func(w *world, _ *browser) error { return w.accounts.SetRoles(t.Context(), "ann", Roles(Auditor)) })
}

// TestLogInThatIsOvertaken: an account that is changed between the password and the
// session gets none.
func TestLogInThatIsOvertaken(t *testing.T) {
	for name, change := range map[string]func(a *Accounts) error{
		"disabled": func(a *Accounts) error { return a.SetDisabled(t.Context(), "ann", true) },
		"password": func(a *Accounts) error { return a.SetPassword(t.Context(), "ann", password+"!") },
	} {
		w := newWorld(t)
		w.add("ann", Analyst)
		u, err := w.accounts.LogIn(t.Context(), "ann", password)
		if err != nil {
			t.Fatal(err)
		}
		if err := change(w.accounts); err != nil {
			t.Fatal(err)
		}
		if _, err := w.accounts.begin(t.Context(), u, voucher{}, "", nil); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSessionsOfAnAccountAreBounded(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	first := w.browser().enters("ann")
	for range sessionsMax - 1 {
		w.pass(time.Second)
		w.browser().enters("ann")
	}
	if !first.in() {
		t.Fatal("out too soon")
	}
	w.pass(time.Second)
	w.browser().enters("ann")
	if first.in() {
		t.Error("there are more sessions than may be")
	}
}

// TestRestartKeepsSessions: they are in the file.
func TestRestartKeepsSessions(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	b := w.browser().enters("ann")
	w.open()
	if !b.in() {
		t.Error("out")
	}
}

// TestTwoCookiesAreNone: a second cookie of the name was set by somebody else, in
// whichever order they come.
func TestTwoCookiesAreNone(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	w.add("eve", Analyst)
	ann, eve := w.browser().enters("ann"), w.browser().enters("eve")
	ann.header["Cookie"] = "weir=" + eve.cookie().Value
	if ann.in() {
		t.Error("one of two was taken")
	}
	delete(ann.header, "Cookie")
	if !ann.in() || !eve.in() {
		t.Error("one alone is not taken")
	}
}

// TestDisabledIsLookedAtEachTime, besides that it ends the sessions: the file may have
// been put back from a copy.
func TestDisabledIsLookedAtEachTime(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	b := w.browser().enters("ann")
	if _, err := w.accounts.db.Exec(`UPDATE users SET disabled = 1`); err != nil {
		t.Fatal(err)
	}
	if b.in() {
		t.Error("in")
	}
}

func FuzzSessionID(f *testing.F) {
	id := newSessionID()
	for _, text := range []string{id.String(), "", id.String() + "=", id.String()[:42], "\n" + id.String()[1:]} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if id, ok := parseSessionID(text); ok && id.String() != text {
			t.Errorf("%q is read as %s", text, id)
		}
	})
}
