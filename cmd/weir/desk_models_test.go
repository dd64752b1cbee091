package main

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/alerts/desk"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/trainer"
)

// A visitor is somebody at the desk with a browser.
type visitor struct {
	t      *testing.T
	at     string
	cookie *http.Cookie
}

// visit logs somebody in.
func visit(t *testing.T, at, name string) *visitor {
	t.Helper()
	v := &visitor{t: t, at: at}
	a, _ := v.ask("POST", "/login", url.Values{"name": {name}, "password": {testPassword}})
	if a.StatusCode != http.StatusSeeOther || len(a.Cookies()) != 1 {
		t.Fatalf("%s is not let in: %s", name, a.Status)
	}
	v.cookie = a.Cookies()[0]
	return v
}

func (v *visitor) ask(method, path string, form url.Values) (*http.Response, string) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.at+path, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if v.cookie != nil {
		r.AddCookie(v.cookie)
	}
	a, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return a, string(body)
}

// sees fails unless a page has words.
func (v *visitor) sees(path string, words ...string) string {
	v.t.Helper()
	a, page := v.ask("GET", path, nil)
	for _, word := range words {
		if a.StatusCode != http.StatusOK || !strings.Contains(page, word) {
			v.t.Errorf("%s is %s and does not say %q:\n%s", path, a.Status, word, page)
		}
	}
	return page
}

// sends sends a form whose hidden fields are on a page.
func (v *visitor) sends(path string, form url.Values) {
	v.t.Helper()
	if a, page := v.ask("POST", path, form); a.StatusCode != http.StatusSeeOther {
		v.t.Fatalf("%s is answered by %s: %s", path, a.Status, page)
	}
}

// pay sends one payment and returns its id.
func pay(t *testing.T, log *kafka.Client, id string) string {
	t.Helper()
	var w kafka.BatchWriter
	w.Append([]byte("c"), fmt.Appendf(nil, `{"id":"%s","type":"authorisation","time":"%s","amount":"12.34","currency":"EUR","card":"4000005898225926","customer":"C1"}`, id, rfc3339(time.Now().UnixMilli())), time.Now().UnixMilli(), nil)
	batch, err := w.Finish(kafka.None)
	if err == nil {
		_, err = log.Produce(t.Context(), "transactions", 0, batch)
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// decidedBy returns the bundle that decided a payment; empty before it is decided.
func decidedBy(t *testing.T, address, id string) string {
	t.Helper()
	out := call(t, "tail", "--kafka", address, "--from", "start", "--end", "decisions").succeeds(t).stdout
	for line := range strings.Lines(out) {
		if m := regexp.MustCompile(`"bundle":"([0-9a-f]{16})"`).FindStringSubmatch(line); m != nil && strings.Contains(line, `"`+id+`"`) {
			return m[1]
		}
	}
	return ""
}

// TestDeskPromotesAModel has two model owners make the challenger the champion at the
// desk of weir up, and then roll back: the scorer serves what they decided, and decisions
// name it.
func TestDeskPromotesAModel(t *testing.T) {
	t.Chdir(t.TempDir())
	key, err := signingKey("data")
	if err != nil {
		t.Fatal(err)
	}
	a, b := randomBundle(t, "april.weir", 1, key, nil), randomBundle(t, "may.weir", 2, key, nil)
	for _, name := range []string{"mia", "max"} {
		callWith(t, testPassword, nil, "user", "add", name, "--role", "model-owner", "--data", "data").succeeds(t)
	}
	callWith(t, testPassword, nil, "user", "add", "eve", "--role", "auditor", "--data", "data").succeeds(t)
	up := inBackground(t, "up", "--data", "data", "--listen", "127.0.0.1:0", "--web", "127.0.0.1:0", "--bundle", "april.weir")
	at, address := up.desk(), ""
	up.until("a broker", func() bool {
		m := regexp.MustCompile(`msg=broker address=(\S+)`).FindStringSubmatch(up.said())
		if m != nil {
			address = m[1]
		}
		return m != nil
	})
	log := kafka.New(kafka.Options{Brokers: []string{address}})
	defer log.Close()
	by := func(what, want string) {
		t.Helper()
		n := 0
		up.until("decisions by "+what, func() bool {
			n++
			id := pay(t, log, fmt.Sprintf("%s-%d", what, n))
			got := ""
			up.until("a decision", func() bool { got = decidedBy(t, address, id); return got != "" })
			return got == want
		})
	}
	prefix := func(hash [32]byte) string { return fmt.Sprintf("%x", hash[:8]) }
	by("april", prefix(a.Hash))
	call(t, "model", "challenge", "--kafka", address, "--key", filepath.Join("data", "signing.key"), "--by", "me", "may.weir").succeeds(t)
	mia, max := visit(t, at, "mia"), visit(t, at, "max")
	page := mia.sees("/models", "april decides", "may in place of april", "from the champion to the challenger", "held_out.roc_auc", "challenges by hand")
	if strings.Contains(page, "Roll back") {
		t.Error("a roll-back is offered where nothing was champion before")
	}
	mia.sends("/models/proposals", url.Values{"what": {"promote"}, "bundle": {fmt.Sprintf("%x", b.Hash)}, "before": {fmt.Sprintf("%x", a.Hash)}, "reason": {"sees more"}})
	decide := func(v *visitor) {
		t.Helper()
		m := regexp.MustCompile(`action="(/models/proposals/[0-9a-f]+)"`).FindStringSubmatch(v.sees("/models", "Approve"))
		if m == nil {
			t.Fatal("there is nothing to approve")
		}
		v.sends(m[1], url.Values{"act": {"approve"}})
	}
	decide(max)
	mia.sees("/models", "may decides", "mia, approved by max", "sees more")
	by("may", prefix(b.Hash))
	max.sends("/models/proposals", url.Values{"what": {"rollback"}, "bundle": {fmt.Sprintf("%x", a.Hash)}, "before": {fmt.Sprintf("%x", b.Hash)}, "reason": {"sees too much"}})
	decide(mia)
	max.sees("/models", "april decides")
	by("again", prefix(a.Hash))
	eve := visit(t, at, "eve")
	up.until("the audit trail", func() bool {
		page := eve.sees("/audit?what=approved")
		return strings.Contains(page, "mia proposes to promote may") && strings.Contains(page, "max proposes to roll back to april")
	})
	up.stop()
}

// TestDeskKeys: what the desk signs with has to be of those whose models are taken.
func TestDeskKeys(t *testing.T) {
	t.Chdir(t.TempDir())
	own, err := signingKey("data")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signingKey("other"); err != nil {
		t.Fatal(err)
	}
	s := &service{flags: &serviceFlags{data: "data"}}
	f := func(f deskModelFlags, trusted int, signs bool, want string) {
		t.Helper()
		trust, key, err := f.keys(s)
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v, want %q", f, err, want)
			}
			return
		}
		if err != nil || len(trust) != trusted || (key != nil) != signs || signs && f.key == "" && !key.Equal(own) {
			t.Errorf("%+v: %d keys, signs %v, %v", f, len(trust), key != nil, err)
		}
	}
	f(deskModelFlags{alone: true}, 1, false, "")
	f(deskModelFlags{alone: true, key: "other/signing.key"}, 2, true, "")
	f(deskModelFlags{alone: true, trust: "other/signing.key.pub"}, 1, false, "")
	f(deskModelFlags{alone: true, trust: "other/signing.key.pub", key: "other/signing.key"}, 1, true, "")
	f(deskModelFlags{alone: true, trust: "other/signing.key.pub", key: "data/signing.key"}, 0, false, "not among those of --trust")
	f(deskModelFlags{alone: true, key: "nothing.key"}, 0, false, "--signing-key")
	f(deskModelFlags{alone: true, trust: "nothing.pub"}, 0, false, "nothing.pub")
	f(deskModelFlags{}, 1, true, "") // beside a scorer of this folder
	f(deskModelFlags{trust: "data/signing.key.pub"}, 1, false, "")
	if err := os.Remove(filepath.Join("data", "signing.key.pub")); err != nil {
		t.Fatal(err)
	}
	f(deskModelFlags{alone: true}, 0, false, "")
	call(t, "desk", "--kafka", "127.0.0.1:1", "--approvals", "3").fails(t, exitUsage, "--approvals 3")
}

// TestDeskModelsLive reads what a recorder noted of the days of a past, and what two
// models said of the same payments.
func TestDeskModelsLive(t *testing.T) {
	notForRace(t)
	t.Chdir(t.TempDir())
	p, b := decidedPast(t, 2, 4000)
	p.write("live.db")
	store, err := (&historyFlags{url: "live.db"}).open(t.Context(), &env{lookup: func(string) (string, bool) { return "", false }}, ".")
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	newest, err := store.Newest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := trainer.NewWatch(store, p.spec, []*scoring.Bundle{b})
	if noted, err := w.Record(t.Context(), store, newest, func(int64) error { return nil }); err != nil || noted == 0 {
		t.Fatal(noted, err)
	}
	l, err := readLive(t.Context(), store, b, []*scoring.Bundle{b})
	if err != nil || len(l.days) != 1 || l.newest != newest {
		t.Fatalf("%+v, %v", l, err)
	}
	days := l.days[prefixOf(b)]
	if len(days) < 5 {
		t.Fatalf("%d days", len(days))
	}
	precise := 0
	for i, d := range days {
		if i > 0 && d.Day <= days[i-1].Day || d.Decisions == 0 || d.ScorePSI == nil || len(d.Drift) != len(b.Features) || d.Day%dayMs != 0 {
			t.Errorf("a day is %+v", d)
		}
		if d.Precision != nil && d.AtAge != "" {
			precise++
		}
	}
	moved := days[len(days)-1].Drift
	worst := moved[0]
	for _, f := range moved {
		if !f.Nature && f.PSI > worst.PSI || worst.Nature {
			worst = f
		}
	}
	if precise == 0 || worst.Name != b.Features[movedFeature] || worst.PSI < desk.DriftMuch {
		t.Errorf("%d days have a precision, and what moved most is %+v", precise, worst)
	}
}

// TestDeskModelsPair holds what the page says of two models on the same payments to what
// was reckoned by hand.
func TestDeskModelsPair(t *testing.T) {
	t.Chdir(t.TempDir())
	rival := randomBundle(t, "rival.weir", 1, ed25519.NewKeyFromSeed(make([]byte, 32)), nil) // reviews from .5
	champion := *rival
	champion.Hash = [32]byte{7: 5}
	day := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	none, genuine, fraud := schemas.LabelNone, schemas.LabelGenuine, schemas.LabelFraud
	writeHistory(t, "h.db", day, []compared{{.9, .8, 1, 5, rival.Prefix(), fraud}, {.8, .1, 1, 5, rival.Prefix(), genuine}, {.1, .9, 0, 5, rival.Prefix(), fraud},
		{.2, .2, 0, 5, rival.Prefix(), genuine}, {.7, .6, 1, 5, rival.Prefix(), none}, {.9, .9, 1, 5, 77, fraud}, {.3, 0, 0, 5, 0, fraud}})
	store, err := history.Open(t.Context(), "h.db", history.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	p, err := readPair(t.Context(), store, &champion, rival, day+dayMs)
	if err != nil || p == nil {
		t.Fatal(p, err)
	}
	// The one without a label is old, and so genuine.
	p.Correlation, p.ModelPair.Champion.AveragePrecision, p.ModelPair.Challenger.AveragePrecision = 0, 0, 0
	want := livePair{prefixOf(&champion), prefixOf(rival), desk.ModelPair{From: day, To: day + 4000, Decisions: 5, Both: 2, OnlyChampion: 1, OnlyChallenger: 1, Known: 5,
		Champion: desk.PairFigures{Right: 1, Alerted: 3, Missed: 1}, Challenger: desk.PairFigures{Right: 2, Alerted: 3}}}
	if *p != want {
		t.Errorf("%+v, want %+v", *p, want)
	}
	if p, err = readPair(t.Context(), store, rival, &champion, day+dayMs); p != nil || err != nil {
		t.Errorf("%+v, %v", p, err)
	}
}
