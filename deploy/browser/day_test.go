package browser

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// did waits until a topic holds as many records of something as are wanted, and returns
// what each says under a key.
func did(t *testing.T, topic, key, of, what string, n int) (list []string) {
	t.Helper()
	err := wait(func() (bool, error) {
		list = list[:0]
		for _, r := range w.records(t, topic, key, of) {
			text, _ := r[what].(string)
			list = append(list, text)
		}
		return len(list) >= n, nil
	}, "%d records of %s in %s", n, of, topic)
	if err != nil {
		t.Fatalf("%v: there are %q", err, list)
	}
	return list
}

// actions fails unless the log holds just these actions of an alert, in this order.
func actions(t *testing.T, alert string, kinds ...string) {
	t.Helper()
	if got := did(t, "dispositions", "alert_id", alert, "kind", len(kinds)); !slices.Equal(got, kinds) {
		t.Errorf("actions of alert %s: %q, want %q", alert, got, kinds)
	}
}

// labels fails unless just these verdicts of an alert's transaction were made known by
// the desk, each once. The bank that is simulated has labelled some of them before.
func labels(t *testing.T, alert string, verdicts ...string) {
	t.Helper()
	tx := did(t, "dispositions", "alert_id", alert, "tx_id", 1)[0]
	var got []string
	err := wait(func() (bool, error) {
		got = got[:0]
		// Labels of one transaction are in order, but each may be there twice.
		seen := make(map[any]bool)
		for _, r := range w.records(t, "labels", "tx_id", tx) {
			if version := r["version"]; r["disposition_id"] != nil && !seen[version] {
				seen[version] = true
				got = append(got, r["verdict"].(string))
			}
		}
		return len(got) >= len(verdicts), nil
	}, "%d labels of alert %s", len(verdicts), alert)
	if err != nil || !slices.Equal(got, verdicts) {
		t.Errorf("labels of alert %s: %q, want %q, %v", alert, got, verdicts, err)
	}
}

// TestADay is a day at the desk with the mouse: each step is looked for on the page and
// in the log.
func TestADay(t *testing.T) {
	ann := analyst(t, "ann", "analyst")
	ann.press(`nav a[href="/queue"]`)
	filter(t, ann)

	// Claim and read.
	ann.press(".list .row")
	id := ann.alert()
	ann.press("button[value=claimed]")
	ann.shows("with ann")
	actions(t, id, "claimed")
	if len(ann.texts(".reasons b")) == 0 || len(ann.texts(".timeline li")) < 2 {
		t.Errorf("the page does not say why, or not what happened:\n%s", ann.text("main"))
	}
	if seen := did(t, "audit", "who", "ann", "of", 1); !slices.Contains(seen, "/alerts/"+id) {
		t.Errorf("ann has seen %s, and the audit log has %q", id, seen)
	}

	// Note, close, undo, and close the other way.
	ann.fill("input[name=note]", "called <b>them</b>, no answer")
	ann.press("button[value=noted]")
	ann.shows("called <b>them</b>, no answer")
	ann.choose("select[name=reason]", "card_lost")
	ann.press("button[value=closed_fraud]")
	ann.until("document.querySelector('.verdict .state.fraud')")
	ann.shows("ann said fraud: card lost or stolen")
	ann.press("button[value=undone]") // within ten seconds
	ann.shows("with ann", "ann took the last action back")
	labels(t, id, "fraud", "none")
	ann.press("button[value=closed_genuine]")
	ann.until("document.querySelector('.verdict .state.genuine')")
	actions(t, id, "claimed", "noted", "closed_fraud", "undone", "closed_genuine")
	labels(t, id, "fraud", "none", "genuine")
	if codes := did(t, "dispositions", "alert_id", id, "reason", 5); codes[2] != "card_lost" || codes[4] != "" {
		t.Errorf("reasons in the log: %q", codes)
	}

	// Another one goes to those who decide with four eyes.
	ann.press("[data-key=n]")
	hard := ann.alert()
	ann.shows("with ann")
	ann.press("button[value=escalated]")
	ann.shows("escalated")
	ann.press("button[value=closed_fraud]")
	ann.shows("ann says fraud, a second person decides")
	ann.press("button[value=closed_fraud]")
	ann.until("document.querySelector('.told')?.innerText.includes('another person')")
	sue := analyst(t, "sue", "supervisor")
	sue.visit("/queue?status=proposed")
	sue.press(`.list a[href="/alerts/` + hard + `"]`)
	sue.press("button[value=closed_fraud]")
	sue.until("document.querySelector('.verdict .state.fraud')")
	sue.shows("sue said fraud", "ann said fraud")
	labels(t, hard, "fraud")
}

// filter lets through what is nobody's, likely and large, and looks at what is left.
func filter(t *testing.T, b *tab) {
	t.Helper()
	all := len(b.texts(".list tbody tr"))
	b.choose("select[name=status]", "open")
	b.fill("input[name=min]", "50")
	b.fill("input[name=amount]", "1000")
	b.press(".filter button")
	amounts, shares := b.texts(".list tbody td:first-child"), b.texts(".list meter + *")
	if shares = js[[]string](b, "[...document.querySelectorAll('.list meter')].map(e => String(e.value))"); len(shares) == 0 || all < len(shares) {
		t.Fatalf("%d lines of %d are left", len(shares), all)
	}
	for i, text := range shares {
		p, err := strconv.Atoi(text)
		amount, currency, _ := strings.Cut(amounts[i], " ")
		if sum, wrong := strconv.ParseFloat(strings.ReplaceAll(amount, ",", ""), 64); err != nil || wrong != nil || p < 50 || currency == "EUR" && sum < 1000 {
			t.Errorf("%s at %s %% is let through", amounts[i], text)
		}
	}
	if got := js[string](b, "document.querySelector('input[name=amount]').value"); got != "1000" {
		t.Errorf("the filter says %q of itself", got)
	}
}
