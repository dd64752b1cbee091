package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/schemas"
)

// TestDeskKillsLoseNothing kills weir desk at random moments while people work at it,
// and deletes its view before some of the starts. What somebody was told counts has to
// be in the log once, what they were told does not must not count, labels follow the
// log, each of them once, nobody is logged out, and each page that was seen is audited.
func TestDeskKillsLoseNothing(t *testing.T) {
	kills := sizeOf(100, 20, 3)
	w := newDeskWorld(t, 1, sizeOf(8, 8, 4), sizeOf(10_000, 2_000, briefly(150, 60)))
	w.kills(kills)
	got := w.settled()
	w.check(got, 1)
}

// TestDeskKillsWithAnotherBesideIt has two desks follow the same topics, each with
// people of its own, who act on the same alerts; one at a time is killed.
func TestDeskKillsWithAnotherBesideIt(t *testing.T) {
	w := newDeskWorld(t, 2, sizeOf(8, 8, 4), sizeOf(4_000, 1_000, briefly(120, 60)))
	w.kills(sizeOf(40, 10, 2))
	got := w.settled()
	w.check(got, 2)
}

// kills has people work, and kills desks meanwhile.
func (w *deskWorld) kills(kills int) {
	w.publish(max(20, w.total/10))
	for _, d := range w.desks {
		d.start()
		d.serves()
	}
	var working sync.WaitGroup
	defer working.Wait()
	for _, p := range w.people {
		working.Go(func() {
			p.logIn()
			p.works()
		})
	}
	deleted, early := 0, 0
	for k := range kills {
		at := w.total * k / kills
		at += w.r.IntN(w.total/kills + 1)
		d := w.desks[w.r.IntN(len(w.desks))]
		d.until("actions", func() bool { return w.begun() >= at })
		// An action takes a few milliseconds: at any point of one.
		time.Sleep(time.Duration(w.r.IntN(10_000)) * time.Microsecond)
		for again := true; again; {
			d.kill()
			d.move("")
			if w.r.IntN(3) == 0 {
				d.deleteView()
				deleted++
			}
			d.start()
			if again = w.r.IntN(5) == 0; again { // while it begins
				time.Sleep(time.Duration(w.r.IntN(150)) * time.Millisecond)
				early++
			}
		}
		d.serves()
		w.publish(1 + w.total/10/kills)
	}
	w.t.Logf("%d kills, %d of them while the desk began; the view was deleted %d times", kills+early, early, deleted)
}

// settled waits until every label that follows from the log is out and ends the desks.
func (w *deskWorld) settled() *deskLog {
	w.t.Helper()
	if w.t.Failed() {
		w.t.FailNow()
	}
	got := w.fold()
	for _, d := range w.desks {
		d.until("the desk is ready", d.ready)
		d.until("the labels", func() bool { return len(w.labels()) >= len(got.labels) })
	}
	for _, d := range w.desks {
		d.stop()
	}
	return got
}

// deskLog is what follows from the topic dispositions, folded by the rule alone.
type deskLog struct {
	states  map[string]alerts.State
	counted map[string]int // by an action's note
	claims  map[string]int // that counted and have no note, by who and what
	labels  map[string]bool
	records int
	void    int
}

// fold reads the topic dispositions in its order.
func (w *deskWorld) fold() *deskLog {
	w.t.Helper()
	l := &deskLog{states: make(map[string]alerts.State), counted: make(map[string]int), claims: make(map[string]int), labels: make(map[string]bool)}
	known := make(map[string]bool)
	for _, value := range w.topic(w.topics.Dispositions) {
		var d schemas.Disposition
		if err := schemas.ParseDisposition(value, &d); err != nil {
			w.t.Fatal(err)
		}
		if l.records++; known[string(d.AlertID)+" "+string(d.ID)] {
			continue // sent twice
		}
		known[string(d.AlertID)+" "+string(d.ID)] = true
		next, verdict, label, err := l.states[string(d.AlertID)].Apply(&d)
		if err != nil {
			l.void++
			continue
		}
		l.states[string(d.AlertID)] = next
		if note := string(d.Note); note != "" {
			l.counted[note]++
		} else {
			l.claims[fmt.Sprintf("%s %s", d.By, d.AlertID)]++
		}
		if label {
			l.labels[fmt.Sprintf("%s %d %v", d.TxID, next.Labels, verdict)] = true
		}
	}
	return l
}

// check holds what people were told, and what the other topics hold, to the log.
func (w *deskWorld) check(l *deskLog, desks int) {
	w.t.Helper()
	counts, void, unknown, looks := 0, 0, 0, 0
	for _, p := range w.people {
		for _, a := range p.acts {
			unknown += min(1, a.unknown)
			want := 0
			if a.counts {
				want = 1
				counts++
			} else {
				void++
			}
			if got := l.counted[a.note]; got != want {
				w.t.Errorf("%s, %s: told %q, counted %d times after %d answers that did not come", p.name, a.note, a.why, got, a.unknown)
			}
		}
		claims := 0
		for who, n := range l.claims {
			if name, id, _ := strings.Cut(who, " "); name == p.name {
				claims += n
				if n < p.taken[id] {
					w.t.Errorf("%s was given %s %d times, and took it %d times", p.name, id, p.taken[id], n)
				}
			}
		}
		for id, n := range p.taken {
			if l.claims[p.name+" "+id] < n {
				w.t.Errorf("%s was given %s, and the log does not say so", p.name, id)
			}
		}
		if claims > p.askNext {
			w.t.Errorf("%s asked for the next alert %d times and took %d", p.name, p.askNext, claims)
		}
		for _, n := range p.seen {
			looks += n
		}
	}
	w.checkLabels(l, desks)
	w.checkAudit()
	w.t.Logf("%d actions: %d count, %d do not; %d without an answer at first; %d records in the log, %d void; %d labels; %d pages seen",
		counts+void, counts, void, unknown, l.records, l.void, len(l.labels), looks)
	// Few people seldom do at once what excludes each other.
	if counts == 0 || void == 0 && counts > 200 || len(l.labels) == 0 || looks == 0 {
		w.t.Error("too little happened to tell")
	}
}

// labels are the records of the topic labels by what they say.
func (w *deskWorld) labels() map[string][]string {
	w.t.Helper()
	got := make(map[string][]string)
	for _, value := range w.topic(w.topics.Labels) {
		var x schemas.Label
		if err := schemas.ParseLabel(value, &x); err != nil {
			w.t.Fatal(err)
		}
		name := fmt.Sprintf("%s %d %v", x.TxID, x.Version, x.Verdict)
		got[name] = append(got[name], string(value))
	}
	return got
}

// checkLabels holds the topic labels to the log. Two desks may publish one label both,
// in the same words.
func (w *deskWorld) checkLabels(l *deskLog, desks int) {
	w.t.Helper()
	got := w.labels()
	twice := 0
	for name, values := range got {
		twice += len(values) - 1
		if !l.labels[name] || len(values) > desks || len(slices.Compact(values)) > 1 {
			w.t.Errorf("label %q is there %d times; it follows from the log: %v", name, len(values), l.labels[name])
		}
	}
	if len(got) != len(l.labels) {
		w.t.Errorf("%d labels, %d follow from the log", len(got), len(l.labels))
	}
	w.t.Logf("%d labels were published twice", twice)
}

// checkAudit wants an entry for each page that somebody saw, and none for what nobody
// asked for.
func (w *deskWorld) checkAudit() {
	w.t.Helper()
	ids, views := make(map[string]bool), make(map[string]map[string]int)
	for _, value := range w.topic(w.topics.Audit) {
		var e schemas.AuditEntry
		if err := schemas.ParseAudit(value, &e); err != nil {
			w.t.Fatal(err)
		}
		if e.What != schemas.AuditViewed || ids[string(e.ID)] {
			continue
		}
		ids[string(e.ID)] = true
		if views[string(e.Who)] == nil {
			views[string(e.Who)] = make(map[string]int)
		}
		views[string(e.Who)][string(e.Of)]++
	}
	for _, p := range w.people {
		total := 0
		for of, n := range views[p.name] {
			total += n
			if p.seen[of] > n {
				w.t.Errorf("%s saw %s %d times, %d are audited", p.name, of, p.seen[of], n)
			}
		}
		for of := range p.seen {
			if views[p.name][of] == 0 {
				w.t.Errorf("%s saw %s, and it is not audited", p.name, of)
			}
		}
		if total > p.asked {
			w.t.Errorf("%s asked for %d pages, %d are audited", p.name, p.asked, total)
		}
	}
}
