package desk

import (
	"cmp"
	"context"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// TestAStreamEndsWithItsSession has a stream of events open while its reader is kept
// out in all the ways there are. A session that is used may go on, under other ids.
func TestAStreamEndsWithItsSession(t *testing.T) {
	for name, c := range map[string]struct {
		does  func(w *world, b *browser) error
		after time.Duration // when the stream must have ended, 0 for never
	}{
		"disabled":   {func(w *world, _ *browser) error { return w.accounts.SetDisabled(context.Background(), "ann", true) }, beat},
		"logged out": {func(_ *world, b *browser) error { b.do("POST", "/logout", nil); return nil }, beat},
		"everywhere": {func(w *world, _ *browser) error { return w.accounts.EndSessions(context.Background(), "ann") }, beat},
		"other roles": {func(w *world, _ *browser) error {
			return w.accounts.SetRoles(context.Background(), "ann", Roles(ModelOwner))
		}, beat},
		"fewer roles": {func(w *world, _ *browser) error {
			return w.accounts.SetRoles(context.Background(), "ann", Roles(Auditor))
		}, 0},
		"not used":      {func(*world, *browser) error { return nil }, 30*time.Minute + beat},
		"used for days": {func(_ *world, b *browser) error { b.get("/"); return nil }, 12*time.Hour + beat},
	} {
		t.Run(name, func(t *testing.T) {
			if c.after > time.Hour && testing.Short() {
				t.Skip("thousands of beats")
			}
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.add("ann", Analyst, Supervisor)
				b := w.browser().enters("ann")
				ctx, hangUp := context.WithCancel(context.Background())
				defer hangUp()
				r := httptest.NewRequestWithContext(ctx, "GET", "/events", nil)
				r.AddCookie(b.cookie())
				ended := make(chan struct{})
				go func() { // ends with the stream, at the latest when it hangs up
					defer close(ended)
					w.server.ServeHTTP(httptest.NewRecorder(), r)
				}()
				over := func(d time.Duration) bool {
					w.pass(d)
					time.Sleep(d)
					synctest.Wait()
					select {
					case <-ended:
						return true
					default:
						return false
					}
				}
				if over(beat + time.Second) {
					t.Fatal("it ended before anything was done")
				}
				if err := c.does(w, b); err != nil {
					t.Fatal(err)
				}
				// The desk's clock is a step ahead of its timers.
				const step = 20 * time.Minute
				for at, most := time.Duration(0), cmp.Or(c.after, 2*time.Hour); at < most && !over(0); at += step {
					if over(min(step, most-at)) && (c.after == 0 || at+step+time.Minute < c.after) {
						t.Errorf("it ended after %v", at)
					}
					if name != "not used" && c.after != beat {
						b.get("/")
					}
				}
				if got := over(0); got != (c.after > 0) {
					t.Errorf("in the end it has ended: %v", got)
				}
			})
		})
	}
}
