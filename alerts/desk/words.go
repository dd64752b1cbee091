package desk

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/schemas"
)

// money writes an amount of minor units with its currency, as in "1,412.50 EUR".
func money(minor int64, currency string) string {
	digits, ok := schemas.CurrencyDigits([]byte(currency))
	if !ok {
		digits = 2 // what most have
	}
	sign, abs := "", uint64(minor)
	if minor < 0 {
		sign, abs = "−", -uint64(minor)
	}
	text := fmt.Sprintf("%0*d", digits+1, abs)
	whole, rest := text[:len(text)-digits], text[len(text)-digits:]
	if rest != "" {
		rest = "." + rest
	}
	return strings.TrimSpace(sign + grouped(whole) + rest + " " + currency)
}

// grouped writes digits in groups of three.
func grouped(digits string) string {
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// ago writes how long before now a time was, as in "6 min ago".
func ago(ms, now int64) string {
	d := time.Duration(now-ms) * time.Millisecond
	switch {
	case d < 0:
		return "in " + span(-d)
	case d < time.Minute:
		return "just now"
	}
	return span(d) + " ago"
}

// span writes a duration in the one unit that a reader wants of it.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d < 2*365*24*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return fmt.Sprintf("%d years", d/(365*24*time.Hour))
}

// A moment is a time as a page tells it; the zero value is none.
type moment struct{ Full, Clock, Age, Ago string }

func momentOf(ms, now int64) moment {
	if ms == 0 {
		return moment{}
	}
	return moment{fullTime(ms), clock(ms, now), span(max(0, time.Duration(now-ms)*time.Millisecond)), ago(ms, now)}
}

// left writes how long something may wait yet, or by how much it is late.
func left(waits, within time.Duration) (words string, late bool) {
	if waits > within {
		return span(waits-within) + " late", true
	}
	return span(within-waits) + " left", false
}

// clock writes a time of day, with its date where that is another than now's, and the
// year where that is.
func clock(ms, now int64) string {
	t, n := time.UnixMilli(ms).UTC(), time.UnixMilli(now).UTC()
	switch {
	case t.Year() != n.Year():
		return t.Format("2 Jan 2006 15:04")
	case t.YearDay() != n.YearDay():
		return t.Format("2 Jan 15:04")
	}
	return t.Format("15:04")
}

// fullTime is what a time says on hover, and to machines.
func fullTime(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }

// likely puts a probability in words; the number stands beside them.
func likely(p float32) string {
	switch {
	case p != p:
		return "not scored"
	case p >= .9:
		return "almost certainly fraud"
	case p >= .6:
		return "likely fraud"
	case p >= .3:
		return "maybe fraud"
	case p >= .05:
		return "unlikely fraud"
	}
	return "hardly fraud"
}

// percent writes a share with as many digits as it can be read by.
func percent(p float32) string {
	switch x := 100 * float64(p); {
	case math.IsNaN(x):
		return "–"
	case x >= 99.95 && x < 100:
		return ">99.9 %"
	case x >= 99.5 && x < 100:
		return strconv.FormatFloat(x, 'f', 1, 64) + " %" // as 100 it would be certain
	case x >= 10:
		return strconv.FormatFloat(x, 'f', 0, 64) + " %"
	case x >= .1:
		return strconv.FormatFloat(x, 'f', 1, 64) + " %"
	case x > 0:
		return "<0.1 %"
	}
	return "0 %"
}

// statusWords say where an alert stands.
func statusWords(s alerts.State, now int64) string {
	words := map[alerts.Status]string{alerts.Open: "open", alerts.Claimed: "with " + s.Owner, alerts.Snoozed: "snoozed until " + clock(s.Until, now),
		alerts.ProposedFraud: s.By + " says fraud, a second person decides", alerts.ProposedGenuine: s.By + " says genuine, a second person decides",
		alerts.Fraud: "fraud", alerts.Genuine: "genuine", alerts.InSecondLook: "in second look"}[s.At(now)]
	if s.Escalated && !s.Status.Closed() {
		words = "escalated, " + words
	}
	return words
}

// labelWords say what an alert's actions have made known of its transaction, empty for
// nothing.
func labelWords(i *alerts.Item) string {
	switch {
	case i.Labels == 0:
		return ""
	case i.Status.Closed():
		return fmt.Sprintf("The verdict is label %d of transaction %s: models learnt from now on know it.", i.Labels, i.Text[schemas.ID])
	}
	return fmt.Sprintf("The verdict was taken back by label %d of transaction %s.", i.Labels, i.Text[schemas.ID])
}

// did says what an action did, behind the name of who did it.
var did = map[schemas.DispositionKind]string{
	schemas.Claimed: "took it", schemas.Released: "put it back", schemas.Noted: "noted", schemas.Escalated: "escalated it",
	schemas.Snoozed: "put it off", schemas.ClosedFraud: "said fraud", schemas.ClosedGenuine: "said genuine", schemas.Undone: "took the last action back",
	schemas.Assigned: "assigned it", schemas.ReviewedFraud: "looked again: fraud", schemas.ReviewedGenuine: "looked again: genuine",
	schemas.SettledFraud: "settled it: fraud", schemas.SettledGenuine: "settled it: genuine",
}

// factor says by how much a share of the log-odds moves the odds, as in "4.5 times".
func factor(logit float32) string {
	x := math.Exp(math.Abs(float64(logit)))
	text := strconv.FormatFloat(x, 'f', 1, 64)
	if x >= 100 {
		text = "over 100"
	}
	if logit < 0 {
		return "down " + text + " times"
	}
	return "up " + text + " times"
}
