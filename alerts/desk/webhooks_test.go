package desk

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/weir-risk/weir/schemas"
)

// TestSignature is the example of the Standard Webhooks.
func TestSignature(t *testing.T) {
	secret, err := base64.StdEncoding.DecodeString("plJ3nmyCDGBKInavdOK15jsl")
	if err != nil {
		t.Fatal(err)
	}
	got := sign(secret, "msg_loFOjxBNrRLzqYUf", 1731705121, []byte(`{"event_type":"ping","data":{"success":true}}`))
	if got != "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=" {
		t.Error(got)
	}
}

// loopback is the network of the servers that tests send to.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// A receiver takes messages, or refuses them.
type receiver struct {
	t      *testing.T
	server *httptest.Server
	secret []byte
	got    chan message

	mu     sync.Mutex
	status int
	bodies map[string]string // by webhook-id
	count  int
}

type message struct {
	id   string
	body struct {
		Type string
		Data struct {
			AlertID string `json:"alert_id"`
			Alert   *apiAlert
			Action  *apiAction
		}
	}
}

func newReceiver(t *testing.T) *receiver {
	rc := &receiver{t: t, got: make(chan message, 1000), status: http.StatusOK, bodies: make(map[string]string)}
	rc.server = httptest.NewServer(rc)
	t.Cleanup(rc.server.Close)
	return rc
}

func (rc *receiver) answers(status int) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	rc.status = status
}

// ServeHTTP checks what comes as the Standard Webhooks want it, and the document.
func (rc *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // cut off
	}
	rc.count++
	id := r.Header.Get("webhook-id")
	at, _ := strconv.ParseInt(r.Header.Get("webhook-timestamp"), 10, 64)
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("webhook-signature") != sign(rc.secret, id, at, body) {
		rc.t.Errorf("%s with %v", r.Method, r.Header)
	}
	if before, ok := rc.bodies[id]; ok && before != string(body) {
		rc.t.Errorf("one id, two messages:\n%s\n%s", before, body)
	}
	if w.WriteHeader(rc.status); rc.status != http.StatusOK {
		return
	}
	if strings.HasPrefix(id, "msg_test") {
		return
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(body)))
	if err != nil {
		rc.t.Error(err)
	}
	fits(rc.t, at2("webhooks", "alert", "post", "requestBody", "content", "application/json", "schema"), value)
	m := message{id: id}
	if err := json.Unmarshal(body, &m.body); err != nil {
		rc.t.Error(err)
	}
	if rc.bodies[id] == "" {
		rc.got <- m
	}
	rc.bodies[id] = string(body)
}

func at2(keys ...string) any { return at(document(), keys...) }

// next is the next message that had not come before.
func (rc *receiver) next() message {
	rc.t.Helper()
	select {
	case m := <-rc.got:
		return m
	case <-time.After(20 * time.Second):
		rc.t.Fatal("no message came")
	}
	panic("unreachable")
}

var secretShown = regexp.MustCompile(`whsec_([A-Za-z0-9&#;+/=]+)`)

// hook sets a webhook up by the page.
func (f *floor) hook(rc *receiver, sue *browser, events ...string) {
	f.t.Helper()
	f.server.sender = newSender(loopback, nil)
	f.t.Cleanup(f.server.sender.close)
	for ok := false; !ok; ok, _ = f.desk.Ready() {
		time.Sleep(time.Millisecond)
	}
	a := sue.do("POST", "/webhooks", url.Values{"url": {rc.server.URL + "/in?key=s3cret"}, "event": events}).is(f.t, 200, "not shown again")
	found := secretShown.FindStringSubmatch(a.body)
	if found == nil {
		f.t.Fatalf("no secret in %s", a.body)
	}
	var err error
	if rc.secret, err = base64.StdEncoding.DecodeString(strings.ReplaceAll(found[1], "&#43;", "+")); err != nil {
		f.t.Fatal(err)
	}
}

// delivers runs what delivers, until it is stopped.
func (f *floor) delivers() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.server.Deliver(ctx) }() // ends with stop
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			f.t.Error(err)
		}
	})
}

func allEvents() (names []string) {
	for _, e := range hookEvents {
		names = append(names, e.Name)
	}
	return names
}

// TestWebhooksTellWhatHappens has analysts do all there is to do.
func TestWebhooksTellWhatHappens(t *testing.T) {
	f := newFloor(t)
	f.raise("card-0", "shop", 100, .9) // before the webhook is there
	ann, sue, rc := f.analyst("ann", Analyst), f.analyst("sue", Supervisor), newReceiver(t)
	f.hook(rc, sue, allEvents()...)
	defer f.delivers()()
	id := f.raise("card-a", "shop", 1000, .9)
	want := func(kind, status, by string) {
		t.Helper()
		m := rc.next()
		got := m.body.Data
		if m.body.Type != kind || got.AlertID != id || got.Alert == nil || got.Alert.Case.Value != "card-a" || status != got.Alert.State.Status {
			t.Errorf("got %+v, want %s of %s, %s", m, kind, id, status)
		}
		if (by == "") != (got.Action == nil) || by != "" && (got.Action.By != by || got.Action.Note != nil) {
			t.Errorf("%s: the action is %+v", kind, got.Action)
		}
	}
	want("alert.raised", "open", "")
	for _, c := range []struct {
		who               *browser
		do, event, status string
	}{{ann, "claimed", "alert.claimed", "claimed"}, {ann, "noted", "alert.noted", "claimed"}, {ann, "released", "alert.released", "open"}, {ann, "snoozed", "alert.snoozed", "snoozed"},
		{ann, "closed_genuine", "alert.closed", "genuine"}, {ann, "undone", "alert.undone", "snoozed"}, {ann, "escalated", "alert.escalated", "open"},
		{ann, "closed_fraud", "alert.proposed", "proposed_fraud"}, {sue, "closed_fraud", "alert.closed", "fraud"}} {
		c.who.act(id, c.do, "note", "a secret of 4111 1111 1111 1111", "for", "4h")
		who := "ann"
		if c.who == sue {
			who = "sue"
		}
		want(c.event, c.status, who)
	}
	sue.send(id, "claimed", "") // does not count
	id = f.raise("card-a", "shop", 1000, .9)
	want("alert.raised", "open", "")
	page := sue.get("/webhooks").is(t, 200, "taken", "sends")
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	secret := secretText(rc.secret)
	for what, text := range map[string]string{"the page": page.body, "the log": f.world.log.String(), "the audit log": entriesText(f.entries)} {
		if strings.Contains(text, secret) || what != "the page" && strings.Contains(text, "s3cret") {
			t.Errorf("%s holds a secret", what)
		}
	}
}

// TestWhatIsNotTakenIsTriedAgain has a receiver that is away for longer and longer, and
// then for good.
func TestWhatIsNotTakenIsTriedAgain(t *testing.T) {
	f := newFloor(t)
	f.raise("card-0", "shop", 100, .9)
	sue, rc := f.analyst("sue", Supervisor), newReceiver(t)
	f.hook(rc, sue, "alert.raised")
	f.raise("card-a", "shop", 1000, .9)
	rc.answers(http.StatusServiceUnavailable)
	for n := 1; n <= attemptsMax; n++ {
		pause, err := f.server.round(t.Context(), 1)
		if err != nil || rc.count != n {
			t.Fatalf("after %d rounds %d attempts, %v", n, rc.count, err)
		}
		due, err := f.accounts.nextDue(t.Context(), 1)
		if n == attemptsMax {
			if due != 0 || err != nil || pause != lookEvery {
				t.Errorf("tried again at %d, %v", due, err)
			}
			break
		}
		in, step := time.Duration(due-f.clock().UnixMilli())*time.Millisecond, retryFirst
		for range n - 1 {
			step *= retryTimes
		}
		if in < step*8/10-time.Second || in > step*12/10 || pause > lookEvery {
			t.Errorf("after %d attempts the next is in %v, and looked for in %v", n, in, pause)
		}
		f.pass(in - time.Millisecond)
		if _, err := f.server.round(t.Context(), 1); err != nil || rc.count != n {
			t.Errorf("tried before it was due: %v", err)
		}
		f.pass(time.Millisecond)
	}
	sue.enters("sue") // a day later
	sue.get("/webhooks").is(t, 200, "1 given up", "answered 503 Service Unavailable", "alert.raised", "Try again")
	if !strings.Contains(f.world.log.String(), "webhook delivery given up") {
		t.Error("the log does not say so")
	}
	rc.answers(http.StatusOK)
	sue.do("POST", "/webhooks/1", url.Values{"do": {"retry"}, "letter": {"1"}}).is(t, http.StatusSeeOther)
	if _, err := f.server.round(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	rc.next()
	if list, err := f.accounts.deliveries(t.Context(), 1, true, 10); len(list) != 0 || err != nil {
		t.Errorf("%+v, %v", list, err)
	}
	// Switched off it waits, and loses nothing.
	sue.do("POST", "/webhooks/1", url.Values{"do": {"disable"}}).is(t, http.StatusSeeOther)
	f.raise("card-b", "shop", 1000, .9)
	before := rc.count
	for _, do := range []string{"", "enable"} {
		if do != "" {
			sue.do("POST", "/webhooks/1", url.Values{"do": {do}}).is(t, http.StatusSeeOther)
		}
		if _, err := f.server.round(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if do == "" && rc.count != before {
			t.Error("sent although it is switched off")
		}
	}
	rc.next()
	sue.do("POST", "/webhooks/1", url.Values{"do": {"test"}}).is(t, 200, "took the test")
	sue.do("POST", "/webhooks/1", url.Values{"do": {"shut"}}).is(t, http.StatusBadRequest)
	sue.do("POST", "/webhooks/1", url.Values{"do": {"delete"}}).is(t, http.StatusSeeOther)
	sue.do("POST", "/webhooks/1", url.Values{"do": {"delete"}}).is(t, http.StatusNotFound)
	if e := f.lastEntry(); e.What != schemas.AuditChanged || string(e.Detail) != "delete" || !strings.HasPrefix(string(e.Of), "webhook 1 at 127.0.0.1:") {
		t.Errorf("audited is %+v", e)
	}
}

// TestNoMessageIsLost takes the file of accounts away at random moments, as a kill
// does, and goes on with it. Every event comes, and one that comes twice is the same.
func TestNoMessageIsLost(t *testing.T) {
	f := newFloor(t)
	f.raise("card-0", "shop", 100, .9)
	ann, sue, rc := f.analyst("ann", Analyst), f.analyst("sue", Supervisor), newReceiver(t)
	f.hook(rc, sue, "alert.raised", "alert.noted")
	r := rand.New(rand.NewPCG(5, 5))
	want := make(map[string]bool)
	for range 8 {
		for range 1 + r.IntN(4) {
			id := f.raise("card-a", "shop", 1000, .9)
			want["alert.raised "+id], want["alert.noted "+id] = true, true
			ann.act(id, "noted", "note", "n")
		}
		stop := f.delivers()
		rc.mu.Lock()
		until := rc.count + r.IntN(4)
		rc.mu.Unlock()
		for {
			rc.mu.Lock()
			now := rc.count
			rc.mu.Unlock()
			if now >= until {
				break
			}
			time.Sleep(100 * time.Microsecond)
		}
		if err := f.accounts.Close(); err != nil {
			t.Fatal(err)
		}
		stop()
		f.open()
	}
	defer f.delivers()()
	for len(want) > 0 {
		m := rc.next()
		key := m.body.Type + " " + m.body.Data.AlertID
		if !want[key] {
			t.Errorf("%s came and was not to", key)
		}
		delete(want, key)
	}
	rc.mu.Lock()
	defer rc.mu.Unlock()
	t.Logf("%d messages, %d of them again", rc.count, rc.count-len(rc.bodies))
}

func TestWebhooksAreBounded(t *testing.T) {
	f := newFloor(t)
	f.raise("card-0", "shop", 100, .9)
	sue, rc := f.analyst("sue", Supervisor), newReceiver(t)
	f.hook(rc, sue, "alert.raised")
	for _, c := range []struct{ address, event, wrong string }{{"", "alert.raised", "no address"}, {"https://", "alert.raised", "no address"}, {"ftp://a.example/", "alert.raised", "https://"},
		{"https://ann:secret@a.example/", "alert.raised", "password in it"}, {"https://a.example/#x", "alert.raised", "no address"}, {"https://a.example/ x", "alert.raised", "no address"},
		{"https://a.example/", "", "one event or more"}, {"https://a.example/", "alert.lost", "one event or more"}, {"https://a.example/" + strings.Repeat("a", urlMax), "alert.raised", "no address"}} {
		sue.do("POST", "/webhooks", url.Values{"url": {c.address}, "event": {c.event}}).is(t, http.StatusBadRequest, c.wrong)
	}
	f.server.SetLimits(Limits{Within: time.Hour})
	sue.do("POST", "/webhooks", url.Values{"url": {"http://a.example/"}, "event": {"alert.raised"}}).is(t, http.StatusBadRequest, "https://")
	for range webhooksMax - 1 {
		sue.do("POST", "/webhooks", url.Values{"url": {`https://a.example/"><script>`}, "event": {"alert.raised"}}).is(t, 200)
	}
	sue.do("POST", "/webhooks", url.Values{"url": {"https://a.example/"}, "event": {"alert.raised"}}).is(t, http.StatusBadRequest, "no more are taken")
	if page := sue.get("/webhooks").is(t, 200); strings.Contains(page.body, `"><script>`) {
		t.Error("an address is markup")
	}
	// As many deliveries as may wait do, and what happened behind them is not passed over.
	for i := range 3 {
		f.raise(fmt.Sprintf("card-%d", i), "shop", 100, .9)
	}
	h, err := f.accounts.webhook(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, full := range []webhook{{ID: 1, Events: h.Events, Pending: pendingMax}, {ID: 1, Events: h.Events, Dead: deadMax}} {
		if err := f.server.gather(t.Context(), &full); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := f.accounts.deliveries(t.Context(), 1, false, 10); len(list) != 0 || err != nil {
		t.Errorf("made although it is full: %+v, %v", list, err)
	}
	if err := f.server.gather(t.Context(), &h); err != nil {
		t.Fatal(err)
	}
	if list, err := f.accounts.deliveries(t.Context(), 1, false, 10); len(list) != 3 || err != nil {
		t.Errorf("%d deliveries, %v", len(list), err)
	}
}

func entriesText(entries []schemas.AuditEntry) string {
	var b []byte
	for i := range entries {
		b = schemas.AppendAuditJSON(b, &entries[i])
	}
	return string(b)
}
