package desk

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// markup is what a browser must never take for markup, or for an address to go to.
var markup = []string{`"><script>alert(1)</script>`, `'><img src=x onerror=alert(1)>`, `</title></textarea><svg onload=alert(1)>`,
	`javascript:alert(1)`, `{{.Data}}${alert(1)}`, "\" onfocus=alert(1) autofocus x=\"", "<!--", "]]>", "&#60;script&#62;alert(1)"}

// sqls are what a database must never take for anything but a value.
var sqls = []string{`' OR 1=1 --`, `" OR ""="`, `x'; DROP TABLE alerts; --`, `0-0' UNION SELECT key FROM alerts --`, `%`, `_`, `card_a`, `card%`, `card*`, `\`, `?1`, `:a`,
	`0); DELETE FROM states; --`, "\x00", "\xff\xfe", strings.Repeat("'", 300)}

var (
	tag       = regexp.MustCompile(`<[a-zA-Z/!][^>]*>`)
	attribute = regexp.MustCompile(`([a-zA-Z0-9:-]+)\s*=\s*"([^"]*)"`)
	fieldName = regexp.MustCompile(`<(?:input|select|textarea|button)[^>]*\bname="([^"]+)"`)
)

// inert fails the test unless a page runs nothing but the desk's own script: no element
// has a handler or leads to script, and none is a script without a file of ours.
func inert(t *testing.T, what, body string) {
	t.Helper()
	for _, element := range tag.FindAllString(body, -1) {
		if lower := strings.ToLower(element); strings.HasPrefix(lower, "<script") && !strings.HasPrefix(element, `<script src="/static/`) {
			t.Errorf("%s holds %s", what, element)
		}
		// What is left once the sound attributes are gone has none.
		left := attribute.ReplaceAllStringFunc(element, func(a string) string {
			name, value, _ := strings.Cut(a, "=")
			value = strings.ToLower(strings.Trim(value, `" `))
			if strings.HasPrefix(strings.ToLower(name), "on") || slices.Contains([]string{"href", "src", "action", "formaction"}, name) && strings.HasPrefix(value, "javascript:") {
				t.Errorf("%s holds %s", what, element)
			}
			return ""
		})
		if strings.ContainsAny(left, `"'`) || strings.Contains(left, "alert(") {
			t.Errorf("%s holds an element that is broken: %s", what, element)
		}
	}
}

// plain are the paths of the table's pages that take no parameter, but for streams.
func (s *Server) plain() (list []string) {
	for _, rt := range s.table {
		method, path, _ := strings.Cut(rt.pattern, " ")
		if path = strings.TrimSuffix(path, "{$}"); method == http.MethodGet && !strings.Contains(path, "{") && path != "/events" {
			list = append(list, path)
		}
	}
	return list
}

// asks loads a page, which must not break.
func (b *browser) asks(t *testing.T, path string) answer {
	t.Helper()
	a := b.get(path)
	if a.StatusCode >= 500 {
		t.Errorf("%q: status %d: %s", path, a.StatusCode, b.w.log.String())
	}
	inert(t, path, a.body)
	return a
}

// TestStringsInEveryFilter gives each parameter of each page strings that mean something
// to a database or a browser. Nothing breaks, nothing is let through that a filter for
// that very text would not, and the view is afterwards what it was.
func TestStringsInEveryFilter(t *testing.T) {
	f := newFloor(t)
	id := f.raise("card-a", "shop", 1000, .9)
	f.raise("card-b", "other", 2000, .4)
	ann := f.analyst("ann", Analyst, Supervisor, ModelOwner, Auditor)
	before := ann.get("/queue").body
	tried, texts := 0, slices.Concat(sqls, markup)
	if testing.Short() {
		texts = slices.Concat(sqls[:2], markup[:1])
	}
	for _, path := range f.server.plain() {
		keys := map[string]bool{"next": true, "told": true, "after": true, "entity": true, "value": true, "from": true, "to": true}
		for _, field := range fieldName.FindAllStringSubmatch(ann.asks(t, path).body, -1) {
			keys[field[1]] = true
		}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			for _, text := range texts {
				q := url.Values{key: {text}}
				if key == "value" {
					q.Set("entity", "card")
				}
				page := ann.asks(t, path+"?"+q.Encode())
				tried++
				if path == "/queue" && page.StatusCode == http.StatusOK && slices.Contains([]string{"text", "channel", "reason", "value"}, key) && strings.Contains(page.body, `class="row"`) {
					t.Errorf("%s=%q lets alerts through", key, text)
				}
			}
		}
	}
	for _, text := range texts {
		ann.asks(t, "/alerts/"+url.PathEscape(text)).is(t, http.StatusNotFound)
		for _, key := range []string{"status", "min", "amount", "reason", "channel", "text"} {
			if a := ann.do("POST", "/queue", url.Values{key: {text}}); a.StatusCode != http.StatusSeeOther {
				t.Errorf("a search for %s %q: %s", key, text, a.Status)
			} else if to := a.Header.Get("Location"); !strings.HasPrefix(to, "/queue?") {
				t.Errorf("a search for %s %q leads to %q", key, text, to)
			}
		}
		for _, key := range []string{"kind", "previous", "reason"} {
			form := url.Values{"kind": {"claimed"}, "previous": {"never"}}
			form.Set(key, text)
			if a := ann.do("POST", "/alerts/"+id+"/act", form); a.StatusCode != http.StatusBadRequest && a.Header.Get("Location") != "/alerts/"+id+"?told=stale" {
				t.Errorf("an action with %s %q: %s, to %q", key, text, a.Status, a.Header.Get("Location"))
			}
		}
	}
	if got := ann.get("/queue").body; got != before {
		t.Errorf("the queue was\n%s\nand is\n%s", before, got)
	}
	if tried < 10*len(texts) {
		t.Errorf("%d requests: too few to tell", tried)
	}
}

// TestMarkupInEveryField has markup in every text that comes out of the topics, and
// loads every page.
func TestMarkupInEveryField(t *testing.T) {
	f := newFloor(t)
	send := func(topic string, value []byte) {
		t.Helper()
		var b kafka.BatchWriter
		b.Append(nil, value, f.clock().UnixMilli(), nil)
		batch, err := b.Finish(kafka.None)
		if err == nil {
			_, err = f.log.Produce(t.Context(), topic, 0, batch)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var ids []string
	for i, evil := range markup {
		d := schemas.Decision{Tx: schemas.Transaction{Time: f.clock().UnixMilli(), Amount: 100, AmountBase: 100}, Action: schemas.Review, Score: .9, Prob: .9, Threshold: .2, Rank: 9}
		for field := range d.Text {
			d.Text[field] = []byte(evil)
		}
		reasons := []schemas.AlertReason{{Group: []byte(evil), Logit: 2, Words: [][]byte{[]byte(evil)}}, {Group: []byte("card" + evil), Logit: -1}}
		send(f.topics.Alerts, schemas.AppendAlertJSON(nil, &d, 0, int64(i), reasons, false))
		id := string(schemas.AppendAlertID(nil, 0, int64(i)))
		x := schemas.Disposition{ID: []byte(evil), AlertID: []byte(id), TxID: []byte(evil), Kind: schemas.Claimed, By: []byte(evil), At: f.clock().UnixMilli(), Reason: []byte(evil), Note: []byte(evil)}
		send(f.topics.Dispositions, schemas.AppendDispositionJSON(nil, &x))
		x.Kind, x.ID, x.Previous = schemas.Noted, fmt.Appendf(nil, "%s%d", evil, i), []byte("stale")
		send(f.topics.Dispositions, schemas.AppendDispositionJSON(nil, &x))
		ids = append(ids, id)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		list, err := f.view.Actions(t.Context(), ids[len(ids)-1])
		if err == nil && len(list) == 2 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the alerts do not arrive: %v", err)
		}
	}
	ann := f.analyst("ann", Analyst, Supervisor, ModelOwner, Auditor)
	paths := append(f.server.plain(), "/queue?status=claimed", "/queue?entity=card&value="+url.QueryEscape(markup[0]))
	for _, rt := range f.server.table {
		if method, path, _ := strings.Cut(rt.pattern, " "); method == http.MethodGet && strings.HasPrefix(path, "/alerts/{id}") && strings.Count(path, "{") == 1 {
			for _, id := range ids {
				paths = append(paths, strings.Replace(path, "{id}", id, 1))
			}
		}
	}
	shown := 0
	for _, path := range paths {
		a := ann.asks(t, path)
		shown += strings.Count(a.body, "script&gt;alert(1)&lt;/script&gt;")
	}
	if shown < 20 {
		t.Errorf("the markup is shown %d times as text: too rarely to tell", shown)
	}
}
