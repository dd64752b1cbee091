package desk

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/weir-risk/weir/schemas"
)

// BenchmarkPage is what the guard and the frame of a page cost, with a session that is
// looked up for each; the audit log is not among it.
func BenchmarkPage(b *testing.B) {
	w := newWorld(b, func(o *Options) {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
		o.Audit = func(context.Context, schemas.AuditEntry) error { return nil }
	})
	w.add("ann", Analyst)
	cookie := w.browser().enters("ann").cookie()
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			r := httptest.NewRequest("GET", "/", nil)
			r.AddCookie(cookie)
			rec := httptest.NewRecorder()
			if w.server.ServeHTTP(rec, r); rec.Code != http.StatusOK {
				b.Errorf("status %d", rec.Code)
				return
			}
		}
	})
}

// BenchmarkLogIn is what one try of a password costs at the default cost.
func BenchmarkLogIn(b *testing.B) {
	h := newHash(password, DefaultCost)
	for b.Loop() {
		if !h.is(password) {
			b.Fatal("not the password")
		}
	}
}
