package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// analystCloses is how many alerts the analyst of a demo closes.
const analystCloses = 12

// loginAt is how a demo says where its desk is, and with which password.
var loginAt = regexp.MustCompile(`the desk +(http://\S+)\n[^;]*password\s+(\S+);`)

// previousAction is what the form of a case names.
var previousAction = regexp.MustCompile(`name="previous" value="([^"]*)"`)

// analyst logs in at the desk that a demo tells of, and closes alerts as a browser does:
// the next best one, again and again. Of the first half she says that they are genuine,
// of the others that they are fraud, whatever they are: some of it nobody else says.
func analyst(ctx context.Context, demo *stopWhen) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	client := &http.Client{Jar: jar}
	var at, password string
	for at == "" {
		if m := loginAt.FindStringSubmatch(demo.text()); m != nil {
			at, password = m[1], m[2]
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			return errors.New("the demo did not say how to log in")
		}
	}
	// post sends a form, follows where it leads, and returns that and the page there.
	post := func(path string, form url.Values) (string, string, error) {
		r, err := http.NewRequestWithContext(ctx, "POST", at+path, strings.NewReader(form.Encode()))
		if err != nil {
			return "", "", err
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer, err := client.Do(r)
		if err != nil {
			return "", "", err
		}
		defer answer.Body.Close()
		page, err := io.ReadAll(answer.Body)
		if err == nil && answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("POST %s: %s\n%s", path, answer.Status, page)
		}
		return answer.Request.URL.Path, string(page), err
	}
	if _, _, err := post("/login", url.Values{"name": {"ana"}, "password": {password}}); err != nil {
		return err
	}
	for closed := 0; closed < analystCloses; {
		path, page, err := post("/next", nil)
		if err != nil {
			return err
		}
		last := previousAction.FindStringSubmatch(page)
		if path == "/queue" || last == nil { // nothing is open yet
			if err := sleep(ctx, 5*time.Millisecond); err != nil {
				return fmt.Errorf("%d alerts are closed", closed)
			}
			continue
		}
		kind := "closed_genuine"
		if closed >= analystCloses/2 {
			kind = "closed_fraud"
		}
		_, page, err = post(path+"/act", url.Values{"kind": {kind}, "previous": {last[1]}, "reason": {""}})
		if err != nil {
			return err
		}
		if !strings.Contains(page, "The verdict is label 1 of transaction") {
			return fmt.Errorf("alert %s is not closed:\n%s", path, page)
		}
		if closed++; closed == 1 {
			if err := seesPayments(ctx, client, at+path); err != nil {
				return err
			}
		}
	}
	return nil
}

// seesPayments looks what was paid around an alert, the past included, and at the numbers
// that were decided by; the memory of both may be moments behind.
func seesPayments(ctx context.Context, client *http.Client, alert string) error {
	get := func(path string) (string, error) {
		r, err := http.NewRequestWithContext(ctx, "GET", alert+path, nil)
		if err != nil {
			return "", err
		}
		answer, err := client.Do(r)
		if err != nil {
			return "", err
		}
		defer answer.Body.Close()
		page, err := io.ReadAll(answer.Body)
		return string(page), err
	}
	page, err := get("/history")
	for err == nil && strings.Contains(page, "does not have this payment") {
		if err = sleep(ctx, 5*time.Millisecond); err == nil {
			page, err = get("/history")
		}
	}
	if err != nil {
		return err
	}
	if !regexp.MustCompile(`(\d\d|[4-9]) payments? without alert`).MatchString(page) {
		return fmt.Errorf("no payments around %s:\n%s", alert, page)
	}
	if page, err = get("/features"); err == nil && !strings.Contains(page, "this customer") {
		err = fmt.Errorf("no features of %s:\n%s", alert, page)
	}
	return err
}

// TestTheDeskOfTheDemo leaves out the alerts of the past, has labels known at the bank's
// time, and lets nobody in by the password of a demo before it.
func TestTheDeskOfTheDemo(t *testing.T) {
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	data := t.TempDir()
	before := demoDesk(t, b, data)
	if err := before.web.close(); err != nil {
		t.Fatal(err)
	}
	d := demoDesk(t, b, data)
	defer d.web.close()
	login := func(password string) int {
		client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		in, err := client.PostForm(d.desk.URL+"/login", url.Values{"name": {"sam"}, "password": {password}})
		if err != nil {
			t.Fatal(err)
		}
		in.Body.Close()
		return in.StatusCode
	}
	raise(t, d, 1)
	close(d.live.begun)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.runDesk(ctx) }()
	if old, now := login(before.desk.Password), login(d.desk.Password); old != http.StatusForbidden || now != http.StatusSeeOther {
		t.Errorf("the password before is answered %d, the one now %d", old, now)
	}
	for ok := false; !ok; ok, _ = d.web.Ready() {
		time.Sleep(time.Millisecond)
	}
	raise(t, d, 2)
	d.live.clock.Store(1_600_000_000_000)
	for _, err = d.web.view.Item(t.Context(), "0-2"); err != nil; _, err = d.web.view.Item(t.Context(), "0-2") {
		time.Sleep(time.Millisecond)
	}
	if _, err := d.web.view.Item(t.Context(), "0-1"); !errors.Is(err, alerts.ErrNoAlert) {
		t.Errorf("the alert of the past: %v", err)
	}
	s, err := d.web.Act(t.Context(), schemas.Disposition{AlertID: []byte("0-2"), By: []byte("ana"), Kind: schemas.ClosedFraud})
	if err != nil || s.Err != nil {
		t.Fatal(s, err)
	}
	records, err := kafka.NewReader(d.s.client, d.s.topics.Labels, 0, kafka.Earliest).Next(t.Context(), math.MaxInt64)
	if err != nil || !records.Next() {
		t.Fatal(err)
	}
	var l schemas.Label
	if err := schemas.ParseLabel(records.Record().Value, &l); err != nil || l.KnownAt != 1_600_000_000_000 || string(l.TxID) != "tx-2" {
		t.Errorf("%+v, %v", l, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// demoDesk makes the desk of a demo in a data folder.
func demoDesk(t *testing.T, b *broker.Broker, data string) *demo {
	t.Helper()
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	d := &demo{service: addService(fs), webFlags: addDesk(fs, true), env: &env{stdout: io.Discard, stderr: io.Discard, lookup: os.LookupEnv}}
	d.service.data, d.service.kafka.brokers, d.webFlags.web = data, b.Addr(), "127.0.0.1:0"
	d.spec, _ = spec.Builtin("payments")
	d.live = newLive(d)
	var err error
	if d.s, err = d.service.open(t.Context(), d.env, 1, allRights); err == nil {
		t.Cleanup(d.s.close)
		d.s.log = slog.New(slog.DiscardHandler)
		err = d.openDesk(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// raise publishes an alert, of the ledger's record n.
func raise(t *testing.T, d *demo, n int64) {
	t.Helper()
	var x schemas.Decision
	x.Action, x.Tx.Time, x.Prob = schemas.Review, 1_500_000_000_000, .5
	x.Text[schemas.ID] = fmt.Appendf(nil, "tx-%d", n)
	var w kafka.BatchWriter
	w.Append(nil, schemas.AppendAlertJSON(nil, &x, 0, n, nil, false), time.Now().UnixMilli(), nil)
	batch, err := w.Finish(kafka.None)
	if err == nil {
		_, err = d.s.client.Produce(t.Context(), d.s.topics.Alerts, 0, batch)
	}
	if err != nil {
		t.Fatal(err)
	}
}
