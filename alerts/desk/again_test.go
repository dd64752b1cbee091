package desk

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// TestAFormThatComesAgainIsOneAction sends forms twice, as a browser does whose user
// hits a key twice or reloads: both are told what became of the one action. The same
// done by somebody else, or done once more, is another.
func TestAFormThatComesAgainIsOneAction(t *testing.T) {
	f := newFloor(t)
	id := f.raise("card-a", "shop", 1000, .9)
	ann, bob := f.analyst("ann", Analyst), f.analyst("bob", Analyst)
	var both sync.WaitGroup
	for range 2 {
		again := ann.copied()
		both.Go(func() {
			if got := again.send(id, "noted", "", "note", "called"); got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != "/alerts/"+id {
				t.Errorf("two at once: %s, sent to %q", got.Status, got.Header.Get("Location"))
			}
		})
	}
	both.Wait()
	if got := ann.send(id, "noted", "", "note", "called").Header.Get("Location"); got != "/alerts/"+id {
		t.Errorf("the same later: sent to %q", got)
	}
	for _, c := range []struct {
		b    *browser
		note string
	}{{bob, "called"}, {ann, "called twice"}} {
		if got := c.b.send(id, "noted", "", "note", c.note).Header.Get("Location"); got != "/alerts/"+id+"?told=stale" {
			t.Errorf("another action on the same page: sent to %q", got)
		}
	}
	ann.act(id, "noted", "note", "called")
	list, err := f.view.Actions(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	counted := 0
	for _, a := range list {
		if a.Err == "" {
			counted++
		}
	}
	if len(list) != 4 || counted != 2 {
		t.Errorf("%d actions, %d of them count: %+v", len(list), counted, list)
	}
}

// TestAFormThatComesAgainAfterSomebodyElse sends one once more when another analyst has
// the alert by then: what it did still counts.
func TestAFormThatComesAgainAfterSomebodyElse(t *testing.T) {
	f := newFloor(t)
	id := f.raise("card-a", "shop", 1000, .9)
	ann, bob := f.analyst("ann", Analyst), f.analyst("bob", Analyst)
	ann.send(id, "escalated", "")
	bob.act(id, "claimed")
	for kind, want := range map[string]string{"escalated": "", "snoozed": "?told=owner"} {
		if got := ann.send(id, kind, "", "for", "4h").Header.Get("Location"); got != "/alerts/"+id+want {
			t.Errorf("%s: sent to %q, want %q", kind, got, want)
		}
	}
}

// TestManyWhoAskForTheNextAtOnce get an alert each, although all of them see the same
// one as the best.
func TestManyWhoAskForTheNextAtOnce(t *testing.T) {
	f := newFloor(t)
	const many = 16
	for i := range 4 * many {
		f.raise(fmt.Sprintf("card%d", i), "shop", int64(1000+i), .9)
	}
	var people []*browser
	for i := range many {
		people = append(people, f.analyst(fmt.Sprintf("ann%d", i), Analyst))
	}
	got := make([]string, many)
	var all sync.WaitGroup
	for i, p := range people {
		all.Go(func() { got[i] = p.do("POST", "/next", url.Values{}).Header.Get("Location") })
	}
	all.Wait()
	taken := make(map[string]bool)
	none := 0
	for _, to := range got {
		switch {
		case !strings.HasPrefix(to, "/alerts/"):
			none++
		case taken[to]:
			t.Errorf("two were sent to %s", to)
		}
		taken[to] = true
	}
	if none > 1 {
		t.Errorf("%d of %d got nothing: %q", none, many, got)
	}
}
