package desk

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// A floor is a desk at work: topics on a broker, a view that follows them, and pages.
type floor struct {
	*world
	log    *kafka.Client
	topics schemas.Topics
	view   *alerts.View
	desk   *alerts.Desk
	next   int64 // ledger offset of the next alert
}

// withView gives a server a view that nothing follows.
func withView(t testing.TB, o *Options) {
	t.Helper()
	v, err := alerts.OpenView(context.Background(), filepath.Join(t.TempDir(), "view.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	if o.Trail, err = alerts.OpenTrail(context.Background(), filepath.Join(t.TempDir(), "audit-view.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Trail.Close() })
	o.View, o.Base, o.Groups, o.Within = v, "EUR", []string{"card", "device"}, time.Hour
	o.Desk = alerts.New(nil, v, alerts.Config{Log: o.Log, Now: o.Now, After: time.After})
}

func newFloor(t *testing.T) *floor {
	t.Helper()
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	f := &floor{topics: schemas.DefaultTopics(""), log: kafka.New(kafka.Options{Brokers: []string{b.Addr()}})}
	t.Cleanup(f.log.Close)
	if err := f.log.Ensure(t.Context(), f.topics.Layouts(1)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	f.world = newWorld(t, func(o *Options) {
		f.view = o.View
		f.desk = alerts.New(f.log, f.view, alerts.Config{Log: slog.New(slog.DiscardHandler), Now: o.Now, After: time.After, Topics: f.topics})
		o.Desk = f.desk
		go func() { ended <- f.desk.Run(ctx) }() // ends with the test, below
	})
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(time.Minute); f.desk.Behind() != ""; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(f.desk.Behind())
		}
	}
	return f
}

// raise publishes an alert and waits until the view has it.
func (f *floor) raise(card, merchant string, amount int64, prob float32) string {
	f.t.Helper()
	events, stop := f.desk.Subscribe()
	defer stop()
	d := schemas.Decision{Tx: schemas.Transaction{Time: f.clock().Add(-time.Minute).UnixMilli(), Amount: amount, AmountBase: amount},
		Action: schemas.Review, Score: prob, Prob: prob, Threshold: .2, Bundle: 7, Rank: prob * float32(math.Sqrt(float64(amount)))}
	d.Text[schemas.ID] = fmt.Appendf(nil, "tx-%d", f.next)
	d.Text[schemas.Card], d.Text[schemas.Merchant], d.Text[schemas.Currency] = []byte(card), []byte(merchant), []byte("EUR")
	value := schemas.AppendAlertJSON(nil, &d, 0, f.next, []schemas.AlertReason{
		{Group: []byte("card"), Logit: 2, Words: [][]byte{[]byte("9.2 times this customer's 30-day mean")}}, {Group: []byte("device"), Logit: -1}}, false)
	id := string(schemas.AppendAlertID(nil, 0, f.next))
	f.next++
	var w kafka.BatchWriter
	w.Append([]byte(id), value, f.clock().UnixMilli(), nil)
	batch, err := w.Finish(kafka.None)
	if err == nil {
		_, err = f.log.Produce(f.t.Context(), f.topics.Alerts, 0, batch)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	for {
		if _, err := f.view.Item(f.t.Context(), id); err == nil {
			return id
		}
		select {
		case <-events:
		case <-time.After(time.Millisecond): // what was there before the desk had caught up is told to nobody
		case <-f.t.Context().Done():
			f.t.Fatal("the alert did not arrive")
		}
	}
}

// analyst is a browser that is logged in.
func (f *floor) analyst(name string, roles ...Role) *browser {
	f.t.Helper()
	f.add(name, roles...)
	b := f.browser()
	b.enters(name)
	return b
}

var previous = regexp.MustCompile(`name="previous" value="([^"]*)"`)

// act loads the page of an alert and sends its form.
func (b *browser) act(id, kind string, more ...string) answer {
	b.w.t.Helper()
	page := b.do("GET", "/alerts/"+id, nil)
	found := previous.FindStringSubmatch(page.body)
	if found == nil {
		b.w.t.Fatalf("no form in\n%s", page.body)
	}
	return b.send(id, kind, found[1], more...)
}

func (b *browser) send(id, kind, previous string, more ...string) answer {
	b.w.t.Helper()
	form := url.Values{"kind": {kind}, "previous": {previous}}
	for i := 0; i+1 < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return b.do("POST", "/alerts/"+id+"/act", form)
}

// shows fails unless a page has all texts.
func (a answer) shows(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			t.Errorf("%q is not in\n%s", text, a.body)
		}
	}
}

// TestADayAtTheDesk works through alerts by forms alone, as without script.
func TestADayAtTheDesk(t *testing.T) {
	f := newFloor(t)
	small, large := f.raise("card-a", "shop", 1000, .9), f.raise("card-b", "shop", 250000, .8)
	f.raise("card-b", "other", 200, .3)
	ann := f.analyst("ann", Analyst)
	queue := ann.do("GET", "/queue", nil)
	queue.shows(t, "3 open", "2,500.00 EUR", `title="alerts of this card">2<`, "9.2 times this customer&#39;s 30-day mean")
	if strings.Index(queue.body, large) > strings.Index(queue.body, small) {
		t.Error("the queue does not begin with the most expected loss")
	}
	next := ann.do("POST", "/next", url.Values{})
	if got := next.Header.Get("Location"); got != "/alerts/"+large {
		t.Fatalf("the best alert is %s, want %s", got, large)
	}
	ann.do("GET", "/alerts/"+large, nil).shows(t, "with ann", "likely fraud, 80 %", "card", "speaks against it", "Put back", "Amounts of the alerts")
	ann.act(large, "noted", "note", "called <b>them</b> about 4111 1111 1111 1111")
	ann.act(large, "closed_fraud", "reason", "card_lost")
	done := ann.do("GET", "/alerts/"+large, nil)
	done.shows(t, `class="state fraud"`, "ann said fraud: card lost or stolen", "called &lt;b&gt;them&lt;/b&gt; about 411111******1111", "Undo")
	ann.act(large, "undone")
	ann.do("GET", "/alerts/"+large, nil).shows(t, "with ann", "took the last action back")
	f.pass(11 * time.Second)
	if page := ann.do("GET", "/alerts/"+large, nil); strings.Contains(page.body, "Undo") {
		t.Error("undo is offered of what cannot be undone")
	}
	ann.do("GET", "/queue?status=claimed", nil).shows(t, "2,500.00 EUR")
}

// TestTwoWhoActAtOnce has two analysts see the same page and both send its form: the
// second one is told, and nothing of theirs is done.
func TestTwoWhoActAtOnce(t *testing.T) {
	f := newFloor(t)
	id := f.raise("card-a", "shop", 1000, .9)
	ann, bob := f.analyst("ann", Analyst), f.analyst("bob", Analyst)
	ann.send(id, "claimed", "")
	if got := bob.send(id, "closed_genuine", "").Header.Get("Location"); got != "/alerts/"+id+"?told=owner" {
		t.Errorf("bob is sent to %q", got)
	}
	bob.do("GET", "/alerts/"+id+"?told=owner", nil).shows(t, "ann works on it", "with ann")
	f.add("sue", Supervisor)
	sue := f.browser()
	sue.enters("sue")
	if got := sue.send(id, "closed_genuine", "").Header.Get("Location"); got != "/alerts/"+id+"?told=stale" {
		t.Errorf("sue is sent to %q", got)
	}
	sue.do("GET", "/alerts/"+id+"?told=stale", nil).shows(t, "ann acted on it first", "Nothing of yours was done", "did not count")
}

// TestWhoWasFasterIsTold has somebody act in every way on an alert that another has
// changed meanwhile.
func TestWhoWasFasterIsTold(t *testing.T) {
	f := newFloor(t)
	ann, sue := f.analyst("ann", Analyst), f.analyst("sue", Supervisor)
	for _, c := range []struct{ anns, want string }{
		{"claimed", "ann acted on it first, just now"}, {"snoozed", "ann acted on it first"}, {"closed_fraud", "ann acted on it first"}, {"noted", "ann acted on it first"},
	} {
		id := f.raise("card-a", "shop", 1000, .9)
		ann.act(id, c.anns, "note", "n", "for", "1h")
		a := sue.send(id, "closed_genuine", "")
		sue.do("GET", a.Header.Get("Location"), nil).shows(t, c.want, "Nothing of yours was done")
	}
	id := f.raise("card-b", "shop", 1000, .9)
	ann.act(id, "claimed")
	ann.send(id, "claimed", "").leads(t, "/alerts/"+id) // as with a key pressed twice
	again := ann.send(id, "escalated", "")              // from a page that was loaded before
	ann.do("GET", again.Header.Get("Location"), nil).shows(t, "You acted on it already, just now", "Nothing was done twice")
	ann.act(id, "closed_fraud")
	late := ann.act(id, "escalated")
	ann.do("GET", late.Header.Get("Location"), nil).shows(t, "ann closed it already")
	if page := ann.do("GET", "/alerts/"+id+"?told=%3Cb%3E", nil); strings.Contains(page.body, `class="told"`) {
		t.Error("the page tells what the address says")
	}
}

// TestSnoozes puts alerts off, and looks at when they are open again.
func TestSnoozes(t *testing.T) {
	f := newFloor(t)
	ann := f.analyst("ann", Analyst)
	for _, c := range []struct{ word, until string }{{"1h", "10:00"}, {"4h", "13:00"}, {"morning", "5 May 08:00"}} {
		id := f.raise("card-a", "shop", 1000, .9)
		ann.act(id, "snoozed", "for", c.word)
		ann.do("GET", "/alerts/"+id, nil).shows(t, "snoozed until "+c.until)
	}
	id := f.raise("card-a", "shop", 1000, .9)
	for _, word := range []string{"forever"} {
		if got := ann.act(id, "snoozed", "for", word).StatusCode; got != http.StatusBadRequest {
			t.Errorf("put off for %q: %d", word, got)
		}
	}
	for _, at := range []string{"2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"} {
		now, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		until, _ := snoozedUntil("morning", now)
		if d := until.Sub(now); d < 8*time.Hour || d > 32*time.Hour || until.Hour() != 8 {
			t.Errorf("tomorrow of %s is %v", at, until)
		}
	}
}

// TestWhatIsOfferedOnAnAlert looks at the buttons, which are what may be done.
func TestWhatIsOfferedOnAnAlert(t *testing.T) {
	f := newFloor(t)
	id, other := f.raise("card-a", "shop", 1000, .9), f.raise("card-b", "shop", 10, .9)
	ann, bob, sue, ada := f.analyst("ann", Analyst), f.analyst("bob", Analyst), f.analyst("sue", Supervisor), f.analyst("ada", Auditor)
	buttons := func(b *browser, want string) {
		t.Helper()
		var got []string
		for _, m := range regexp.MustCompile(`<button[^>]* (?:value="([a-z_]+)"|data-next="([^"]*)")`).FindAllStringSubmatch(b.do("GET", "/alerts/"+id, nil).body, -1) {
			got = append(got, m[1]+m[2])
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q are offered, want %q", strings.Join(got, " "), want)
		}
	}
	// The note's is the first one everywhere: it is what Enter presses.
	next := " /alerts/" + other
	buttons(ann, "noted closed_fraud closed_genuine claimed escalated snoozed"+next)
	ann.act(id, "claimed")
	buttons(ann, "noted closed_fraud closed_genuine released escalated snoozed undone"+next)
	buttons(bob, "noted"+next)
	buttons(sue, "noted closed_fraud closed_genuine claimed escalated snoozed"+next)
	buttons(ada, "")
	ann.act(other, "claimed")
	ann.act(id, "closed_fraud")
	buttons(bob, "noted")
}

// TestNobodyClosesAnEscalatedAlertAlone has an analyst escalate and propose.
func TestNobodyClosesAnEscalatedAlertAlone(t *testing.T) {
	f := newFloor(t)
	id := f.raise("card-a", "shop", 1000, .9)
	ann, sue := f.analyst("ann", Analyst), f.analyst("sue", Supervisor)
	ann.act(id, "escalated")
	ann.act(id, "closed_fraud")
	if got := ann.act(id, "closed_fraud").Header.Get("Location"); got != "/alerts/"+id+"?told=eyes" {
		t.Errorf("ann is sent to %q", got)
	}
	sue.do("GET", "/alerts/"+id, nil).shows(t, "ann says fraud, a second person decides")
	sue.act(id, "closed_fraud")
	sue.do("GET", "/alerts/"+id, nil).shows(t, `class="state fraud"`)
}

func TestWhoMaySeeAlerts(t *testing.T) {
	f := newFloor(t)
	id := f.raise("card-a", "shop", 1000, .9)
	for _, c := range []struct {
		role       Role
		see, doing int
	}{{Analyst, 200, 303}, {Supervisor, 200, 303}, {Auditor, 200, 403}, {ModelOwner, 403, 403}} {
		b := f.analyst(c.role.String(), c.role)
		for _, path := range []string{"/queue", "/alerts/" + id} {
			if got := b.do("GET", path, nil).StatusCode; got != c.see {
				t.Errorf("%v at %s: %d, want %d", c.role, path, got, c.see)
			}
		}
		if c.see == http.StatusOK && f.lastEntry().What != schemas.AuditViewed {
			t.Errorf("%v saw an alert, and the audit log ends with %v", c.role, f.lastEntry().What)
		}
		if got := b.send(id, "noted", "x", "note", "n").StatusCode; got != c.doing {
			t.Errorf("%v acts: %d, want %d", c.role, got, c.doing)
		}
	}
}

func TestFormsThatAreNotUnderstood(t *testing.T) {
	f := newFloor(t)
	id := f.raise("card-a", "shop", 1000, .9)
	ann := f.analyst("ann", Analyst)
	for _, c := range [][]string{{"shut"}, {"noted"}, {"undone"}, {"assigned"}, {"reviewed_fraud"}, {"settled_genuine"}, {"closed_fraud", "reason", "because"}, {"noted", "note", strings.Repeat("n", schemas.NoteBytesMax+1)}} {
		if got := ann.send(id, c[0], "", c[1:]...).StatusCode; got != http.StatusBadRequest {
			t.Errorf("%v: %d", c[0], got)
		}
	}
	if got := ann.do("GET", "/alerts/0-99", nil).StatusCode; got != http.StatusNotFound {
		t.Errorf("an alert that is not there: %d", got)
	}
	if got := ann.do("GET", "/queue?after=rubbish", nil).StatusCode; got != http.StatusBadRequest {
		t.Errorf("a cursor that is none: %d", got)
	}
	ann.do("GET", "/queue?text=%3Cscript%3E&min=x&amount=-1", nil).shows(t, "&lt;script&gt;")
}

// TestNothingInAnAlertIsMarkup puts markup into every text that a bank may send.
func TestNothingInAnAlertIsMarkup(t *testing.T) {
	f := newFloor(t)
	const evil = `"><script>alert(1)</script>`
	id := f.raise(evil, evil, 1000, .9)
	ann := f.analyst("ann", Analyst)
	for _, path := range []string{"/queue", "/alerts/" + id, "/queue?text=" + url.QueryEscape(evil)} {
		if page := ann.do("GET", path, nil); strings.Contains(page.body, "<script>alert") {
			t.Errorf("%s holds the bank's markup:\n%s", path, page.body)
		}
	}
}

// TestWhatArrivesIsTold reads the stream while alerts come.
func TestWhatArrivesIsTold(t *testing.T) {
	f := newFloor(t)
	f.add("ann", Analyst)
	server := httptest.NewServer(f.server)
	defer server.Close()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	a, err := client.PostForm(server.URL+"/login", url.Values{"name": {"ann"}, "password": {password}})
	if err != nil || a.StatusCode != http.StatusSeeOther {
		t.Fatal(a, err)
	}
	_ = a.Body.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	lines := bufio.NewScanner(stream.Body)
	lines.Scan() // it has subscribed before it begins
	if stream.Header.Get("Content-Type") != "text/event-stream" || lines.Text() != ": begun" {
		t.Fatalf("%v: %q", stream.Header, lines.Text())
	}
	f.raise("card-a", "shop", 1000, .9)
	for lines.Scan() {
		if lines.Text() == "event: arrived" {
			return
		}
	}
	t.Error("the stream ended and told of nothing", lines.Err())
}

// TestACardNumberIsNotSearchedFor pastes one into the search, and into an address.
func TestACardNumberIsNotSearchedFor(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	ann := w.browser().enters("ann")
	const card = "4111 1111 1111 1111"
	for _, key := range []string{"text", "channel"} {
		a := ann.do("POST", "/queue", url.Values{key: {"  " + card}})
		if a.StatusCode != http.StatusBadRequest || a.Header.Get("Location") != "" || strings.Contains(a.body, "1111") {
			t.Errorf("%s: %d, leads to %q", key, a.StatusCode, a.Header.Get("Location"))
		}
	}
	if got := ann.do("POST", "/queue", url.Values{"text": {"k1.a b"}, "status": {"open"}, "min": {""}}).Header.Get("Location"); got != "/queue?status=open&text=k1.a+b" {
		t.Errorf("a search leads to %q", got)
	}
	ann.do("GET", "/queue?text="+url.QueryEscape(card), nil)
	if of := string(w.lastEntry().Of); of != "/queue?text=411111******1111" {
		t.Errorf("the audit log holds %q", of)
	}
}

// TestALogThatDoesNotAnswer acts while nothing comes back from the log.
func TestALogThatDoesNotAnswer(t *testing.T) {
	f := newFloor(t)
	id := f.raise("card-a", "shop", 1000, .9)
	ann := f.analyst("ann", Analyst)
	f.server.options.ActWithin = 20 * time.Millisecond
	f.server.options.Desk = alerts.New(f.log, f.view, alerts.Config{Log: slog.New(slog.DiscardHandler), Now: f.clock, After: time.After, Topics: f.topics})
	a := ann.act(id, "claimed")
	a.shows(t, "not known whether this counts")
	if a.StatusCode != http.StatusServiceUnavailable {
		t.Error(a.Status)
	}
}

// TestAQueueThatIsNotAllSaysSo: while the view is folded, and where that has halted.
func TestAQueueThatIsNotAllSaysSo(t *testing.T) {
	w := newWorld(t) // whose desk does not run
	w.add("ann", Analyst)
	w.browser().enters("ann").get("/queue").is(t, http.StatusOK, "This is not all yet", "starting", "No open alerts. Nothing to do; none was raised yet.")
	if body := newFloor(t).analyst("ann", Analyst).get("/queue").body; strings.Contains(body, "This is not all yet") {
		t.Error("one that has caught up says so too")
	}
}

// TestAnEmptyQueueSaysWhenTheLastAlertCame, and a filter that lets nothing through that it
// is the filter.
func TestAnEmptyQueueSaysWhenTheLastAlertCame(t *testing.T) {
	f := newFloor(t)
	ann := f.analyst("ann", Analyst)
	ann.act(f.raise("card-a", "shop", 1000, .9), "closed_fraud")
	f.pass(4 * time.Minute)
	ann.get("/queue").is(t, http.StatusOK, "No open alerts. Nothing to do; the last one came", `title="2026-05-04T09:00:00Z">09:00, <span data-ago>4 min ago</span>`)
	ann.get("/queue?status=claimed").is(t, http.StatusOK, "No alert gets through this filter.").lacks(t, "Nothing to do")
	f.raise("card-a", "shop", 1000, .9)
	ann.get("/queue").is(t, http.StatusOK, `data-since>0 s<`, `title="2026-05-04T10:04:00Z" data-until>1 h left<`).lacks(t, "Nothing to do")
}
