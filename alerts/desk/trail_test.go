package desk

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/schemas"
)

// trailed folds entries into the world's trail, one a second before now, the last the
// newest.
func (w *world) trailed(list ...schemas.AuditEntry) {
	w.t.Helper()
	next, err := w.server.options.Trail.Next(w.t.Context(), alerts.Place{Topic: alerts.PlaceAudit})
	if err != nil {
		w.t.Fatal(err)
	}
	var rs []alerts.Record
	for i := range list {
		e := &list[i]
		e.ID, e.At = fmt.Appendf(nil, "id%d", next), w.clock().UnixMilli()-int64(len(list)-i)*1000
		rs = append(rs, alerts.Record{Offset: next, Value: schemas.AppendAuditJSON(nil, e)})
		next++
	}
	if _, err := w.server.options.Trail.Fold(w.t.Context(), alerts.PlaceAudit, rs); err != nil {
		w.t.Fatal(err)
	}
}

// does folds dispositions into the world's trail.
func (w *world) does(list ...schemas.Disposition) {
	w.t.Helper()
	for i := range list {
		d := &list[i]
		d.ID, d.TxID, d.At = fmt.Appendf(nil, "d%d", i), []byte("t"), w.clock().UnixMilli()
		if _, err := w.server.options.Trail.Fold(w.t.Context(), alerts.PlaceDispositions, []alerts.Record{{Offset: int64(i), Value: schemas.AppendDispositionJSON(nil, d)}}); err != nil {
			w.t.Fatal(err)
		}
	}
}

func entryOf(who string, what schemas.AuditAct, of string) schemas.AuditEntry {
	return schemas.AuditEntry{Who: []byte(who), What: what, Of: []byte(of), Address: []byte("192.0.2.7")}
}

// TestAuditPage filters, walks pages, and leads on to what is named.
func TestAuditPage(t *testing.T) {
	w := newWorld(t)
	w.add("eve", Auditor)
	eve := w.browser().enters("eve")
	eve.get("/audit").is(t, http.StatusOK, "The audit log is empty.", "The newest entries may be missing: starting")
	w.trailed(entryOf("ann", schemas.AuditViewed, "/alerts/0-7"), entryOf("bob", schemas.AuditLoggedIn, ""), entryOf("?", schemas.AuditLoginFailed, ""),
		entryOf("ann", schemas.AuditDenied, "GET /audit"))
	w.does(schemas.Disposition{AlertID: []byte("0-7"), Kind: schemas.ClosedFraud, By: []byte("bob"), Reason: []byte("card_lost"), Note: []byte("called them")})
	page := eve.get("/audit").is(t, http.StatusOK, "was refused", "no account", `<a href="/alerts/0-7"><code>alert 0-7</code></a>`, "card lost or stolen: called them",
		`<time datetime="2026-05-04T08:59:59Z" title="2026-05-04T08:59:59Z">08:59:59</time>`, `href="/audit.csv"`, `>Audit</a>`)
	if a, b := strings.Index(page.body, "said fraud</td>"), strings.Index(page.body, "looked at</td>"); a < 0 || b < a {
		t.Error("the newest entry is not the first")
	}
	for query, rows := range map[string]int{"": 5, "who=ann": 2, "what=viewed": 1, "what=closed_fraud": 1, "of=0-7": 2, "of=/alerts/0-7": 1, "address=192.0.2.7": 4,
		"from=2026-05-04T08:59:59": 2, "to=2026-05-04T08:59:59": 3, "who=ann&what=viewed&of=0-7&address=192.0.2.7&from=2026-05-04&to=2026-05-05": 1, "who=nobody": 0} {
		got := eve.get("/audit?"+query).is(t, http.StatusOK)
		if n := strings.Count(got.body, `<td class="act`); n != rows {
			t.Errorf("%q shows %d entries, want %d", query, n, rows)
		}
	}
	eve.get("/audit?who=nobody").is(t, http.StatusOK, "Nothing is in the audit log that this filter lets through")
	eve.get("/audit?from=yesterday").is(t, http.StatusBadRequest, "yesterday", "2026-05-01 14:30")
	eve.get("/audit.csv?to=yesterday").is(t, http.StatusBadRequest, "yesterday")
	eve.get("/audit?after=rub-bish").is(t, http.StatusBadRequest, "from its beginning")
	if e := w.lastEntry(); e.What != schemas.AuditViewed || string(e.Of) != "/audit?after=rub-bish" {
		t.Errorf("looking at the audit log is audited as %+v", e)
	}

	var many []schemas.AuditEntry
	for i := range 2*trailRows + 1 {
		many = append(many, entryOf("carl", schemas.AuditViewed, fmt.Sprintf("/alerts/1-%d", i)))
	}
	w.trailed(many...)
	seen := 0
	for at := "/audit?who=carl"; at != ""; {
		got := eve.get(at).is(t, http.StatusOK)
		seen += strings.Count(got.body, `<td class="act`)
		_, rest, ok := strings.Cut(got.body, `<a rel="next" href="`)
		if at = ""; ok {
			at, _, _ = strings.Cut(rest, `"`)
			at = strings.ReplaceAll(at, "&amp;", "&")
		}
	}
	if seen != len(many) {
		t.Errorf("the pages have %d entries, want %d", seen, len(many))
	}
}

// TestAuditSearchKeepsCardsOutOfAddresses, and leads to what it found otherwise.
func TestAuditSearchKeepsCardsOutOfAddresses(t *testing.T) {
	w := newWorld(t)
	w.add("eve", Auditor)
	eve := w.browser().enters("eve")
	for _, key := range trailKeys {
		a := eve.do("POST", "/audit", url.Values{key: {"4111 1111 1111 1111"}})
		if a.is(t, http.StatusBadRequest, "card number").Header.Get("Location") != "" || strings.Contains(a.body, "1111") {
			t.Errorf("%s leads to %q", key, a.Header.Get("Location"))
		}
	}
	if got := eve.do("POST", "/audit", url.Values{"who": {"ann"}, "of": {"a b"}, "what": {""}}).Header.Get("Location"); got != "/audit?of=a+b&who=ann" {
		t.Errorf("a search leads to %q", got)
	}
}

// evil is what a stranger may write into every field that there is.
var evil = []string{`"><script>alert(1)</script>`, `<img src=x onerror=alert(1)>`, `'; DROP TABLE entries; --`, `' OR '1'='1`, `javascript:alert(1)`, `{{.}}`, `%27%20UNION%20SELECT%201--`}

// TestAuditShowsTextAsText puts markup and SQL into every field and every filter.
func TestAuditShowsTextAsText(t *testing.T) {
	w := newWorld(t)
	w.add("eve", Auditor)
	eve := w.browser().enters("eve")
	for _, text := range evil {
		w.trailed(schemas.AuditEntry{Who: []byte(text), What: schemas.AuditViewed, Of: []byte("/alerts/" + text), Address: []byte(text), Detail: []byte(text)})
	}
	clean := func(what string, a answer) {
		t.Helper()
		a.is(t, http.StatusOK)
		for _, markup := range []string{"<script>alert", "<img src=x", `href="javascript`, "' OR '1'='1\""} {
			if strings.Contains(a.body, markup) {
				t.Errorf("%s holds %q:\n%s", what, markup, a.body)
			}
		}
	}
	clean("the page", eve.get("/audit"))
	for _, text := range evil {
		for _, key := range []string{"who", "what", "of", "address"} {
			a := eve.get("/audit?" + url.Values{key: {text}}.Encode())
			clean(key, a)
			if n := strings.Count(a.body, `<td class="act`); key != "of" && n != map[string]int{"who": 1, "what": 0, "address": 1}[key] {
				t.Errorf("%s=%s shows %d entries", key, text, n)
			}
		}
	}
	if n := strings.Count(eve.get("/audit").body, `<td class="act`); n != len(evil) {
		t.Errorf("%d entries are left", n)
	}
}

// TestAuditExports holds both forms to what is in the trail, and each export to an
// entry in the audit log that is there before its first byte.
func TestAuditExports(t *testing.T) {
	w := newWorld(t)
	w.add("eve", Auditor)
	eve := w.browser().enters("eve")
	var list []schemas.AuditEntry
	for i := range 2*exportChunk + 5 {
		list = append(list, entryOf("ann", schemas.AuditViewed, fmt.Sprintf("/alerts/0-%d", i)))
	}
	w.trailed(list...)
	w.pass(time.Minute)
	w.trailed(schemas.AuditEntry{Who: []byte("@bob"), What: schemas.AuditChanged, Of: []byte("=1+1"), Address: []byte("-1"), Detail: []byte("+cmd|' /C calc'!A0")},
		schemas.AuditEntry{Who: []byte("bob"), What: schemas.AuditChanged, Of: []byte("\t=1"), Detail: []byte("a \"b\",\r\nc")})
	a := eve.get("/audit.csv").is(t, http.StatusOK)
	if e := w.lastEntry(); e.What != schemas.AuditExported || string(e.Of) != "/audit.csv" || string(e.Who) != "eve" {
		t.Errorf("the export is audited as %+v", e)
	}
	if a.Header.Get("Content-Disposition") != `attachment; filename="audit-20260504T090100Z.csv"` || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/csv") {
		t.Errorf("%v", a.Header)
	}
	lines, err := csv.NewReader(strings.NewReader(a.body)).ReadAll()
	if err != nil || len(lines) != len(list)+3 || lines[0][0] != "at" {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	// The reader takes \r\n for \n.
	if got, want := lines[1], []string{"2026-05-04T09:00:59.000Z", "bob", "changed", "'\t=1", "", "a \"b\",\nc", "id2006"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for i, cell := range lines[2] {
		if want := []string{"2026-05-04T09:00:58.000Z", "'@bob", "changed", "'=1+1", "'-1", "'+cmd|' /C calc'!A0", "id2005"}[i]; cell != want {
			t.Errorf("the cell %q, want %q", cell, want)
		}
	}
	lastID := ""
	a = eve.get("/audit.jsonl?who=ann").is(t, http.StatusOK)
	n := 0
	for line := range strings.Lines(a.body) {
		var e schemas.AuditEntry
		if err := schemas.ParseAudit([]byte(strings.TrimSuffix(line, "\n")), &e); err != nil || string(e.Who) != "ann" || string(e.ID) == lastID {
			t.Fatalf("%s: %v", line, err)
		}
		lastID = string(e.ID)
		n++
	}
	if n != len(list) || lastID != "id0" {
		t.Errorf("%d lines, the last one %s", n, lastID)
	}
	w.does(schemas.Disposition{AlertID: []byte("0-7"), Kind: schemas.Noted, By: []byte("bob"), Note: []byte("n")})
	var line trailLine
	if err := json.Unmarshal([]byte(eve.get("/audit.jsonl?what=noted").body), &line); err != nil || line.Of != "0-7" || line.What != "noted" || line.ID != "0-7/d0" {
		t.Errorf("%+v, %v", line, err)
	}
	w.away = errors.New("no broker")
	if a := eve.get("/audit.csv").is(t, http.StatusServiceUnavailable); strings.Contains(a.body, "ann") {
		t.Error("exported, and not audited")
	}
}
