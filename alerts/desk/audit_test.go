package desk

import (
	"errors"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// TestAuditTopic writes what a desk does to a real log: one record an act, whose key is
// who, in the published form; and refuses once the log is away.
func TestAuditTopic(t *testing.T) {
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	log := kafka.New(kafka.Options{Brokers: []string{b.Addr()}})
	defer log.Close()
	topics := schemas.DefaultTopics("")
	if err := log.Ensure(t.Context(), topics.Layouts(1)); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(o *Options) { o.Audit = AuditTo(log, topics.Audit) })
	w.add("ann", Analyst)
	w.route(route{pattern: "GET /things/{id}", roles: everyone, of: func(r *http.Request) string { return r.PathValue("id") }, handle: w.server.start})
	browser := w.browser()
	browser.login("ann", "wrong password").is(t, http.StatusForbidden)
	browser.login("eve", "wrong password").is(t, http.StatusForbidden)
	browser.enters("ann")
	browser.get("/things/0-7").is(t, http.StatusOK)
	browser.do("POST", "/logout", nil).is(t, http.StatusSeeOther)

	want := []string{"ann login_failed  not let in: wrong password", "? login_failed  not let in: no account of this name",
		"ann logged_in  password", "ann viewed 0-7 ", "ann logged_out  "}
	r := kafka.NewReader(log, topics.Audit, 0, 0)
	defer r.Close()
	ids := make(map[string]bool)
	for i := 0; i < len(want); {
		rs, err := r.Next(t.Context(), math.MaxInt64)
		if err != nil {
			t.Fatal(err)
		}
		for ; rs.Next() && i < len(want); i++ {
			var e schemas.AuditEntry
			if err := schemas.ParseAudit(rs.Record().Value, &e); err != nil {
				t.Fatal(err)
			}
			got := strings.Join([]string{string(e.Who), e.What.String(), string(e.Of), string(e.Detail)}, " ")
			if got != want[i] || string(rs.Record().Key) != string(e.Who) || rs.Record().Timestamp != w.now.UnixMilli() || string(e.Address) != "192.0.2.1" {
				t.Errorf("record %d is %q, want %q", i, got, want[i])
			}
			ids[string(e.ID)] = true
		}
	}
	if len(ids) != len(want) {
		t.Errorf("%d ids", len(ids))
	}

	// A topic that is not there takes nothing.
	w.server.options.Audit = AuditTo(log, "nothing")
	browser.login("ann", password).is(t, http.StatusServiceUnavailable, "audit log")
}

// TestAuditIsTriedAgain: a broker that moves does not lock an office out, and one that
// is gone is said to be.
func TestAuditIsTriedAgain(t *testing.T) {
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	log := kafka.New(kafka.Options{Brokers: []string{b.Addr()}})
	defer log.Close()
	topics := schemas.DefaultTopics("")
	if err := log.Ensure(t.Context(), topics.Layouts(1)); err != nil {
		t.Fatal(err)
	}
	write := AuditTo(log, topics.Audit)
	entry := schemas.AuditEntry{ID: []byte("1"), At: 1, Who: []byte("ann"), What: schemas.AuditViewed}
	for broken := range auditAttempts + 1 {
		for range broken {
			b.Cluster().ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
				return nil, errors.New("the connection breaks"), true
			})
		}
		if err := write(t.Context(), entry); (err == nil) != (broken < auditAttempts) {
			t.Errorf("%d attempts fail: %v", broken, err)
		}
	}
	if err := write(t.Context(), entry); err != nil {
		t.Error(err)
	}
	r := kafka.NewReader(log, topics.Audit, 0, 0)
	defer r.Close()
	records := 0
	for records < auditAttempts+1 {
		rs, err := r.Next(t.Context(), auditAttempts+1)
		if err != nil {
			t.Fatal(err)
		}
		if rs == nil {
			break
		}
		for rs.Next() {
			records++
		}
	}
	if records != auditAttempts+1 {
		t.Errorf("%d records", records)
	}
}
