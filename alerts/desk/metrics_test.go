package desk

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// deskSays is what a desk exports at the end of TestMetricsSayWhatHappens, in part.
const deskSays = `# HELP weir_desk_alerts Alerts that are not closed.
# TYPE weir_desk_alerts gauge
weir_desk_alerts{state="claimed"} 1
weir_desk_alerts{state="escalated"} 0
weir_desk_alerts{state="open"} 2
weir_desk_alerts{state="snoozed"} 0
# HELP weir_desk_late_alerts Alerts that have waited longer than they may.
# TYPE weir_desk_late_alerts gauge
weir_desk_late_alerts 3
# HELP weir_desk_lag Records in the log that the pages do not show.
# TYPE weir_desk_lag gauge
weir_desk_lag{partition="0",topic="alerts"} 0
weir_desk_lag{partition="0",topic="dispositions"} 0
# HELP weir_desk_logins_total Log-ins that were tried.
# TYPE weir_desk_logins_total counter
weir_desk_logins_total{result="let_in"} 2
weir_desk_logins_total{result="limited"} 0
weir_desk_logins_total{result="refused"} 1
# HELP weir_desk_audit_errors_total Entries that the audit log did not take.
# TYPE weir_desk_audit_errors_total counter
weir_desk_audit_errors_total 1
# HELP weir_desk_webhook_pending Deliveries that are still to be made.
# TYPE weir_desk_webhook_pending gauge
weir_desk_webhook_pending{webhook="1"} 1
# HELP weir_desk_webhook_attempts_total Attempts to deliver.
# TYPE weir_desk_webhook_attempts_total counter
weir_desk_webhook_attempts_total{result="failed"} 1
weir_desk_webhook_attempts_total{result="taken"} 0
`

// TestMetricsSayWhatHappens has one of everything happen at a desk.
func TestMetricsSayWhatHappens(t *testing.T) {
	f := newFloor(t)
	reg := prometheus.NewPedanticRegistry()
	m := NewMetrics(reg)
	f.server.options.Metrics = m
	id := f.raise("card-a", "shop", 1000, .9)
	f.raise("card-b", "shop", 1000, .9)
	b := f.analyst("ann", Analyst)
	b.get("/queue").is(t, http.StatusOK)
	b.act(id, "claimed").is(t, http.StatusSeeOther)
	b.get("/nowhere").is(t, http.StatusNotFound)
	f.browser().login("ann", "not her password").is(t, http.StatusForbidden)
	f.world.mu.Lock()
	f.away = errors.New("no broker")
	f.world.mu.Unlock()
	b.get("/queue").is(t, http.StatusServiceUnavailable)
	f.world.mu.Lock()
	f.away = nil
	f.world.mu.Unlock()
	sue, rc := f.analyst("sue", Supervisor), newReceiver(t)
	f.hook(rc, sue, "alert.raised")
	f.raise("card-c", "shop", 1000, .9)
	rc.answers(http.StatusServiceUnavailable)
	if _, err := f.server.round(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	f.pass(2 * time.Hour)
	if err := f.server.measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(deskSays), "weir_desk_alerts", "weir_desk_late_alerts", "weir_desk_lag",
		"weir_desk_logins_total", "weir_desk_audit_errors_total", "weir_desk_webhook_pending", "weir_desk_webhook_attempts_total"); err != nil {
		t.Error(err)
	}
	for _, want := range []struct {
		kind, code string
		least      float64
	}{{"page", "2xx", 1}, {"page", "4xx", 1}, {"page", "5xx", 1}, {"act", "3xx", 2}, {"act", "4xx", 1}} {
		if got := testutil.ToFloat64(m.requests.WithLabelValues(want.kind, want.code)); got < want.least {
			t.Errorf("%s %s: %v requests", want.kind, want.code, got)
		}
	}
	if oldest := testutil.ToFloat64(m.oldest); oldest <= 0 || oldest >= float64(f.clock().Unix()) {
		t.Errorf("the oldest alert is of %v", oldest)
	}
}
