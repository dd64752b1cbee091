package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/weir-risk/weir/schemas"
)

// statusWidth is how many characters a line of the screen has at most.
const statusWidth = 80

// screen is a look as a screen for people.
func (r *statusReport) screen() string {
	var b strings.Builder
	say := func(format string, a ...any) { b.WriteString(clip(fmt.Sprintf(format, a...)) + "\n") }
	if r.OK {
		say("weir at %s: all is well", r.At.Format("15:04:05 MST"))
	} else {
		say("weir at %s: NOT WELL, %s", r.At.Format("15:04:05 MST"), several(len(r.Problems), "problem"))
	}
	say("")
	width := 0
	for _, n := range r.Nodes {
		width = max(width, min(len(n.Node), 28))
	}
	for _, n := range r.Nodes {
		if !n.OK {
			say("  %-*s  NO ANSWER         %s", width, n.Node, n.Error)
		}
		for i, role := range n.Roles {
			name := n.Node
			if i > 0 {
				name = ""
			}
			state, more := "ready", ""
			if !role.Ready {
				state, more = "NOT READY", role.Reason
			}
			if role.Role == roleScore && role.Ready {
				if more = "stands by"; n.Owner {
					more = "decides"
				}
			}
			say("  %-*s  %-6s  %-9s %s", width, name, role.Role, state, more)
		}
	}
	say("")
	r.figures(say)
	if !r.OK {
		say("")
		for _, p := range r.Problems {
			for i, line := range wrap(p, statusWidth-4) {
				say("%s%s", []string{"  - ", "    "}[min(i, 1)], line)
			}
		}
	}
	return b.String()
}

// figures says what all nodes say together.
func (r *statusReport) figures(say func(string, ...any)) {
	if r.Decisions != nil {
		say("decisions   %s since the start, %s a second", thousands(sum(r.Decisions)), thousands(int64(r.Rate+0.5)))
		var parts []string
		for o := range schemas.Outcome(schemas.NumOutcomes) {
			name := o.String()
			parts = append(parts, name+" "+thousands(r.Decisions[name]))
		}
		for _, line := range wrap(strings.Join(parts, ", "), statusWidth-12) {
			say("            %s", line)
		}
	} else {
		say("decisions   no scorer was asked")
	}
	r.lag(say)
	if k := r.Kafka; k != nil && k.OK {
		say("kafka       ledger ends at %s; %s in group %s", thousands(k.Ledger), several(k.Members, "member"), k.Group)
	}
	if r.Decisions != nil {
		say("models      champion %s, challenger %s", shortHash(r.Champion), shortHash(r.Challenger))
	}
	switch {
	case r.HistoryUp == nil:
		say("history     no recorder was asked")
	case !*r.HistoryUp:
		say("history     DOES NOT ANSWER, %s behind", several(int(*r.HistoryLag), "record"))
	default:
		say("history     %s behind", several(int(*r.HistoryLag), "record"))
	}
	if r.Snapshot != nil {
		say("snapshot    the oldest is of %s ago", ago(r.At.Sub(*r.Snapshot)))
	} else if r.Decisions != nil {
		say("snapshot    none since the start")
	}
	d := r.Desk
	if d == nil {
		say("desk        no desk was asked")
		return
	}
	say("desk        open %s, claimed %s, snoozed %s, escalated %s", thousands(d.Alerts["open"]), thousands(d.Alerts["claimed"]),
		thousands(d.Alerts["snoozed"]), thousands(d.Alerts["escalated"]))
	text := "            " + thousands(d.Late) + " late"
	if d.Oldest != nil {
		text += ", the oldest is of " + ago(r.At.Sub(*d.Oldest)) + " ago"
	}
	say("%s; the pages are %s behind", text, several(int(d.Behind), "record"))
}

// lag says what waits, and the partitions where something does.
func (r *statusReport) lag(say func(string, ...any)) {
	if r.Lag == nil {
		say("lag         unknown: nobody who decides was asked, nor Kafka")
		return
	}
	say("lag         %s in %s, by %s", several(int(sum(r.Lag)), "record"), several(len(r.Lag), "partition"), r.LagFrom)
	var parts []string
	for _, p := range slices.SortedFunc(maps.Keys(r.Lag), byNumber) {
		if r.Lag[p] > 0 {
			parts = append(parts, p+": "+thousands(r.Lag[p]))
		}
	}
	for _, line := range wrap(strings.Join(parts, ", "), statusWidth-12) {
		say("            %s", line)
	}
}

// byNumber orders partitions.
func byNumber(a, b string) int {
	x, _ := strconv.Atoi(a)
	y, _ := strconv.Atoi(b)
	return x - y
}

// line is a look as a line of a log.
func (r *statusReport) line() string {
	state := "well"
	if !r.OK {
		state = "NOT-WELL"
	}
	ready, roles := 0, 0
	for _, n := range r.Nodes {
		roles += max(1, len(n.Roles)) // a node that does not answer is one that is missing
		for _, role := range n.Roles {
			if role.Ready {
				ready++
			}
		}
	}
	text := fmt.Sprintf("%s %s ready=%d/%d rate=%.0f", r.At.Format(time.RFC3339), state, ready, roles, r.Rate)
	if r.Lag != nil {
		text += fmt.Sprintf(" lag=%d", sum(r.Lag))
	}
	if r.HistoryLag != nil {
		text += fmt.Sprintf(" history_lag=%d", *r.HistoryLag)
	}
	if r.Desk != nil {
		text += fmt.Sprintf(" open=%d", r.Desk.Alerts["open"])
	}
	if len(r.Problems) > 0 {
		text += fmt.Sprintf(" problem=%q", plain(r.Problems[0]))
	}
	return text
}

// shortHash is as much of a bundle's hash as weir model takes, and people compare.
func shortHash(hash string) string {
	if hash == "" {
		return "none"
	}
	return hash[:min(len(hash), 16)]
}

// ago is a length of time in the one unit that matters.
func ago(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 2*time.Minute:
		return several(int(d.Seconds()), "second")
	case d < 2*time.Hour:
		return several(int(d.Minutes()), "minute")
	case d < 48*time.Hour:
		return several(int(d.Hours()), "hour")
	}
	return several(int(d.Hours()/24), "day")
}

// plain is a text of another machine without what a terminal obeys.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// clip keeps a line within the screen.
func clip(line string) string {
	runes := []rune(strings.TrimRight(plain(line), " "))
	if len(runes) > statusWidth {
		return string(runes[:statusWidth-1]) + "…"
	}
	return string(runes)
}

// wrap breaks a text between its words.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(plain(text)) {
		if line != "" && len([]rune(line))+1+len([]rune(word)) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
