package desk

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
)

// hex32 are the ids of actions, which are hashes of what was done.
var hex32 = regexp.MustCompile(`[0-9a-f]{32}`)

// closedAs is what two readers are shown on every list, page and answer of which one
// alert that ann closed with a verdict is part: bob, whose second look it waits for, and
// sue, who leads the desk. The two others are open, one of the same card, one of the same
// merchant; the fourth is closed as well.
func closedAs(t *testing.T, verdict string, after time.Duration) (bob, sue map[string]string, id string) {
	f, ann, b, s, _ := newTeam(t)
	id = f.raise("card-a", "shop", 1000, .9)
	card, shop, also := f.raise("card-a", "other", 200, .3), f.raise("card-b", "shop", 300, .4), f.raise("card-a", "third", 400, .5)
	past := &fakePast{days: []history.Day{}}
	f.server.options.History, f.server.options.Sources = past, []schemas.LabelSource{schemas.Analyst}
	x := f.item(id)
	known := history.Payment{Shard: x.Shard, Offset: x.Offset, Tx: x.Tx, Prob: .9, Labels: []schemas.Label{{Source: schemas.Analyst, KnownAt: f.clock().UnixMilli(),
		Verdict: map[string]schemas.LabelVerdict{"closed_fraud": schemas.LabelFraud, "closed_genuine": schemas.LabelGenuine}[verdict]}}}
	known.Text[schemas.Merchant], known.Text[schemas.Currency] = "shop", "EUR"
	past.payments = []history.Payment{known, f.payment(3, 500, "grocer")}
	for _, closed := range []string{id, also} {
		ann.act(closed, "noted", "note", "sounds like "+verdict)
		ann.act(closed, verdict, "reason", map[string]string{"closed_fraud": "card_lost", "closed_genuine": "merchant_error"}[verdict])
	}
	f.pass(after)
	paths := []string{"/queue", "/alerts/" + id + "/print", "/alerts/" + card, "/alerts/" + shop, "/alerts/" + card + "/print", "/alerts/" + shop + "/print",
		"/second-looks/" + id, "/second-looks/" + also, "/alerts/" + id, "/alerts/" + id + "/receipt",
		"/alerts/" + id + "/history", "/alerts/" + card + "/history", "/alerts/" + shop + "/history", "/api/v1/alerts/" + id, "/api/v1/alerts/" + card, "/api/v1/figures", "/supervisor", "/audit"}
	for _, status := range []string{"", "fraud", "genuine", "open", "escalated", "proposed"} {
		for _, more := range []string{"", "&text=" + id, "&text=tx-0", "&text=card-a", "&text=sounds+like+closed_fraud", "&text=sounds+like+closed_genuine", "&min=1", "&amount=1", "&reason=card"} {
			q := strings.TrimPrefix("&status="+status+more, "&")
			paths = append(paths, "/queue?"+q, "/api/v1/alerts?"+strings.TrimPrefix(q, "status=&"), "/api/v1/cases?"+strings.TrimPrefix(q, "status=&"))
		}
		paths = append(paths, "/api/v1/alerts?entity=card&value=card-a&status="+status, "/api/v1/cases?entity=merchant&value=shop&status="+status)
	}
	bob, sue = make(map[string]string), make(map[string]string)
	for _, path := range paths {
		for reader, to := range map[*browser]map[string]string{b: bob, s: sue} {
			a := reader.get(path)
			to[path] = a.Status + " " + a.Header.Get("Location") + "\n" + hex32.ReplaceAllString(a.body, "HEX")
		}
	}
	b.get("/alerts/"+card).shows(t, "in second look")
	b.get("/alerts/"+shop).shows(t, "in second look")
	b.get("/alerts/"+card+"/print").shows(t, "in second look")
	s.get("/alerts/"+card).lacks(t, "in second look")
	return bob, sue, id
}

// TestNoListTellsTheVerdict: whatever the first verdict was, and on whatever page, list or
// answer somebody comes upon it whose second look it waits for, they are shown the same to
// the byte; from the moment on at which it was closed. Who leads the desk is shown it.
func TestNoListTellsTheVerdict(t *testing.T) {
	moments := []time.Duration{0, time.Minute}
	if testing.Short() {
		moments = moments[1:]
	}
	for _, after := range moments {
		fraud, boss, id := closedAs(t, "closed_fraud", after)
		genuine, other, _ := closedAs(t, "closed_genuine", after)
		differ := 0
		for path, page := range fraud {
			if page != genuine[path] {
				t.Errorf("%v after its closing %s tells bob what the verdict was:\n%s\n%s", after, path, page, genuine[path])
			}
			if boss[path] != other[path] {
				differ++
			}
			if strings.Contains(path, "status=fraud") && (strings.Contains(page, `/alerts/`+id+`"`) || strings.Contains(page, `"id":"`+id+`"`)) {
				t.Errorf("%s lists it", path)
			}
		}
		if differ < 30 {
			t.Errorf("only %d of %d pages tell sue", differ, len(boss))
		}
	}
}

// TestBlindnessEndsWithTheSecondVerdict: the lists have the alert again once the reader
// has given their own, and those who never look are not asked to be blind for longer than
// an alert waits.
func TestBlindnessEndsWithTheSecondVerdict(t *testing.T) {
	f, ann, bob, _, _ := newTeam(t)
	eve := f.analyst("eve", Analyst)
	id := f.raise("card-a", "shop", 1000, .9)
	ann.act(id, "closed_fraud")
	ann.get("/queue?status=fraud").is(t, http.StatusOK, id)
	bob.do("POST", "/alerts/"+id+"/act", url.Values{"kind": {"claimed"}, "previous": {""}}).leads(t, "/alerts/"+id+"?told=stale")
	bob.get("/alerts/"+id+"?told=stale").leads(t, "/second-looks/"+id+"?told=stale")
	page := bob.get("/second-looks/"+id+"?told=stale").is(t, http.StatusOK, "ann acted on it first", "A second look")
	form := url.Values{"kind": {"reviewed_genuine"}, "previous": {previous.FindStringSubmatch(page.body)[1]}}
	bob.do("POST", "/second-looks/"+id, form).leads(t, "/second-looks/"+id+"?told=early")
	bob.get("/second-looks/"+id+"?told=early").is(t, http.StatusOK, "closed a moment ago")
	if f.item(id).Review.By != "" {
		t.Fatal("a second look at what may still be taken back")
	}
	f.pass(time.Minute)
	for _, b := range []*browser{bob, eve} {
		b.get("/queue?status=fraud").is(t, http.StatusOK).lacks(t, "/alerts/"+id)
		b.get("/api/v1/alerts?status=fraud").is(t, http.StatusOK, `"alerts":[]`)
	}
	bob.do("POST", "/second-looks/"+id, form).leads(t, "/second-looks/"+id)
	for _, b := range []*browser{bob, eve} { // nobody else is asked any more
		b.get("/queue?status=fraud").is(t, http.StatusOK, "/alerts/"+id)
		b.get("/api/v1/alerts?status=fraud").is(t, http.StatusOK, `"status":"fraud"`)
	}
	late := f.raise("card-b", "shop", 1000, .9)
	ann.enters("ann").act(late, "closed_genuine")
	f.pass(alerts.LooksWithin + time.Minute)
	eve.enters("eve").get("/queue?status=genuine").is(t, http.StatusOK, "/alerts/"+late)
}
