package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// A roleWorld is a broker with topics, and the command of each role that works on them.
type roleWorld struct {
	t           *testing.T
	log         *kafka.Client
	prefix, dir string
	topics      schemas.Topics
	paid        int
	commands    map[string][]string // by role

	// Of the desk.
	alerts []string
	closed int
	cookie *http.Cookie
}

func newRoleWorld(t *testing.T, at, prefix string) *roleWorld {
	t.Helper()
	w := &roleWorld{t: t, log: kafka.New(kafka.Options{Brokers: []string{at}}), prefix: prefix, dir: t.TempDir(), topics: schemas.DefaultTopics(prefix)}
	t.Cleanup(w.log.Close)
	err := w.log.Ensure(t.Context(), w.topics.Layouts(2))
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(w.dir, name) }
	key, err := signingKey(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	randomBundle(t, in("champion.weir"), 1, key, func(b *scoring.Bundle) { b.Policy.Review = 1e-6 }) // all is alerted
	w.commands = map[string][]string{
		"score":    {"score", "--data", in("score"), "--listen", "127.0.0.1:0", "--group", w.prefix + "g", "--session", "2s", "--trust", in("signing.key.pub")},
		"record":   {"record", "--data", in("record"), "--listen", "127.0.0.1:0"},
		"desk":     {"desk", "--data", in("desk"), "--listen", "127.0.0.1:0", "--web", "127.0.0.1:0", "--trust", in("signing.key.pub"), "--history", filepath.Join(in("record"), "history.db")},
		"models":   {"model", "promote", "--key", in("signing.key"), in("champion.weir")},
		"verify":   {"verify", "--data", in("score"), "--trust", in("signing.key.pub")},
		"status":   {"status", "--json", "--at", "127.0.0.1:1", "--group", w.prefix + "g"},
		"simulate": {"simulate", "--customers", "20", "--days", "20"},
	}
	return w
}

// as has the command of a role say more, such as who it is.
func (w *roleWorld) as(role string, flags ...string) {
	verb := 1
	if role == "models" {
		verb = 2
	}
	words := w.commands[role]
	w.commands[role] = slices.Concat(words[:verb], flags, words[verb:])
}

// decides has a bank send, and a scorer decide, which runs on.
func (w *roleWorld) decides() []*background {
	w.t.Helper()
	call(w.t, w.commands["simulate"]...).succeeds(w.t)
	call(w.t, w.commands["models"]...).succeeds(w.t)
	score := w.run(w.commands["score"]...)
	w.pays()
	w.holds(score, w.topics.Alerts, 1)
	w.holds(score, w.topics.DLQ, 1)
	w.alerts = w.raised()
	return []*background{score}
}

// recorded waits until a recorder has written all.
func (w *roleWorld) recorded(record *background) {
	w.t.Helper()
	record.until("a history", func() bool {
		code, body := record.get("/readyz")
		return code == http.StatusOK && strings.Contains(body, `"lag":0`) && !strings.Contains(body, `"ledger_offset":0`)
	})
}

// opens opens the desk, logs somebody in, and waits until the alerts are there.
func (w *roleWorld) opens() *background {
	w.t.Helper()
	callWith(w.t, testPassword, nil, "user", "add", "ann", "--role", "analyst,supervisor", "--data", filepath.Join(w.dir, "desk")).succeeds(w.t)
	desk := w.run(w.commands["desk"]...)
	desk.until("somebody who is logged in", func() bool {
		w.ask(desk, "POST", "/login", url.Values{"name": {"ann"}, "password": {testPassword}})
		return w.cookie != nil
	})
	desk.until("an alert", func() bool { return strings.Contains(w.ask(desk, "GET", "/alerts/"+w.alerts[0], nil), "closed_fraud") })
	return desk
}

// produce sends a record as an administrator.
func (w *roleWorld) produce(topic, value string) {
	w.t.Helper()
	var b kafka.BatchWriter
	b.Append([]byte("c"), []byte(value), time.Now().UnixMilli(), nil)
	batch, err := b.Finish(kafka.None)
	if err == nil {
		_, err = w.log.Produce(w.t.Context(), topic, 0, batch)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// pays sends a payment, for which there will be an alert, and a record that is none.
func (w *roleWorld) pays() {
	w.t.Helper()
	w.paid++
	w.produce(w.topics.Transactions, fmt.Sprintf(`{"id":"%s%d","type":"authorisation","time":"%s","amount":"9000.00","currency":"EUR","card":"4000005898225926","customer":"C1"}`,
		w.prefix, w.paid, rfc3339(time.Now().UnixMilli())))
	w.produce(w.topics.Transactions, "no payment")
}

// holds waits until a topic holds records.
func (w *roleWorld) holds(b *background, topic string, records int64) {
	w.t.Helper()
	b.until(fmt.Sprintf("%d records of %s", records, topic), func() bool {
		sum := int64(0)
		for p := range int32(2) {
			if _, end, err := w.log.Offsets(w.t.Context(), topic, p); err == nil {
				sum += end
			}
		}
		return sum >= records
	})
}

// quit ends weir, whatever it says.
func (b *background) quit() {
	b.cancel()
	for range b.done {
	}
}

// run runs weir beside the test; what it says is also what it prints.
func (w *roleWorld) run(args ...string) *background {
	ctx, cancel := context.WithCancel(w.t.Context())
	b := &background{t: w.t, cancel: cancel, done: make(chan int, 1)}
	e := &env{stdin: strings.NewReader(""), stdout: b, stderr: b, lookup: func(string) (string, bool) { return "", false }}
	go func() { // ends with quit
		b.done <- run(ctx, args, e)
		close(b.done)
	}()
	w.t.Cleanup(b.quit)
	return b
}

// ask asks the desk that b is, where there is one by now.
func (w *roleWorld) ask(b *background, method, path string, form url.Values) (body string) {
	at := deskAt.FindStringSubmatch(b.said())
	if at == nil {
		return ""
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, at[1]+path, strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if w.cookie != nil {
		r.AddCookie(w.cookie)
	}
	a, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return "" // it has just ended
	}
	defer a.Body.Close()
	if list := a.Cookies(); len(list) > 0 && path == "/login" {
		w.cookie = list[0]
	}
	text, _ := io.ReadAll(a.Body)
	return string(text)
}

var deskAt = regexp.MustCompile(`serves the desk" address=(http://\S+)`)

// works has an analyst look at an alert, at the models, and close it, and have its
// decision computed again, of which it returns the page.
func (w *roleWorld) works(b *background) string {
	w.closed++
	alert := "/alerts/" + w.alerts[w.closed%len(w.alerts)]
	w.ask(b, "GET", alert, nil)
	w.ask(b, "GET", "/models", nil)
	w.ask(b, "POST", alert+"/act", url.Values{"kind": {"closed_fraud"}, "reason": {"card_lost"}})
	return w.ask(b, "POST", alert+"/receipt", nil)
}

// raised reads the ids of the alerts.
func (w *roleWorld) raised() (list []string) {
	w.t.Helper()
	_, end, err := w.log.Offsets(w.t.Context(), w.topics.Alerts, 0)
	r := kafka.NewReader(w.log, w.topics.Alerts, 0, kafka.Earliest)
	for set := (*kafka.Records)(nil); err == nil; {
		if set, err = r.Next(w.t.Context(), end); set == nil {
			break
		}
		for set.Next() {
			list = append(list, string(set.Record().Key))
		}
	}
	if err != nil || len(list) == 0 {
		w.t.Fatal(err, list)
	}
	return list
}
