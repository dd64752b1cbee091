package main

import (
	"cmp"
	"context"
	"slices"

	"github.com/weir-risk/weir/schemas"
)

// deskMind is what a desk knows of terminals when it chooses what to look at beside the
// alerts.
type deskMind struct {
	began     int64 // the first evening, ms
	terminals map[string]*deskTerminal
	told      int // rows whose labels terminals have
}

type deskTerminal struct {
	seen  int   // transactions so far
	known int64 // time of the newest whose label is there, ms
}

// reviewAge is from when on a terminal's newest label grows no older: by then one
// that comes by itself is due.
const reviewAge = 2 * labelDelay

// review has the day's best cards reviewed, and those that teach most; all of a
// card's transactions of the day become labels this evening.
func (l *online) review(ctx context.Context, from int, evening int64) error {
	l.desk.learn(l, from, evening)
	if l.options.analysts == 0 || l.first == nil {
		return nil
	}
	cards := l.cardsOf(from)
	slices.SortFunc(cards, func(a, b deskCard) int { return cmp.Or(cmp.Compare(b.prob, a.prob), cmp.Compare(a.rows[0], b.rows[0])) })
	n := min(l.options.analysts, len(cards))
	for _, c := range cards[:n] {
		l.reviewCard(c, evening, "alert")
	}
	rest := cards[n:]
	for range min(l.options.explore, len(rest)) {
		k := l.desk.teachesMost(l, rest, evening)
		l.reviewCard(rest[k], evening, "exploration")
		rest = slices.Delete(rest, k, k+1)
	}
	return l.sendLabels(ctx)
}

// deskCard is a card's day.
type deskCard struct {
	rows []int
	prob float32 // the highest
}

// cardsOf returns the cards of the rows from one on.
func (l *online) cardsOf(from int) (cards []deskCard) {
	at := make(map[string]int)
	for i := from; i < l.decided; i++ {
		who := string(l.stream.rows[i].customer)
		k, ok := at[who]
		if !ok {
			k = len(cards)
			at[who] = k
			cards = append(cards, deskCard{})
		}
		cards[k].rows, cards[k].prob = append(cards[k].rows, i), max(cards[k].prob, l.prob[i])
	}
	return cards
}

func (l *online) reviewCard(c deskCard, evening int64, selected string) {
	for _, i := range c.rows {
		l.tell(i, schemas.Analyst, evening-1, selected)
		l.reviewed[i] = true
		t := l.desk.terminals[string(l.stream.rows[i].term)]
		t.known = max(t.known, l.stream.rows[i].time)
	}
}

// learn takes the day's transactions in, and the labels that came by themselves.
func (d *deskMind) learn(l *online, from int, evening int64) {
	if d.terminals == nil {
		d.terminals, d.began = make(map[string]*deskTerminal), evening
	}
	for i := from; i < l.decided; i++ {
		key := string(l.stream.rows[i].term)
		if d.terminals[key] == nil {
			d.terminals[key] = &deskTerminal{known: l.stream.rows[i].time - reviewAge}
		}
		d.terminals[key].seen++
	}
	for ; d.told < l.told; d.told++ {
		r := &l.stream.rows[d.told]
		t := d.terminals[string(r.term)]
		t.known = max(t.known, r.time)
	}
}

// teachesMost returns the card whose review teaches most. A terminal may have been
// compromised since its newest label, the likelier the longer that is ago; what to
// know it is worth grows with the transactions that it will have. A card is worth the
// sum over the terminals where it paid, and a terminal that was just looked at
// nothing. It uses only what is known that evening.
func (d *deskMind) teachesMost(l *online, cards []deskCard, evening int64) (best int) {
	most := -1.0
	for k := range cards {
		sum := 0.0
		for at, i := range cards[k].rows {
			term := l.stream.rows[i].term
			again := slices.ContainsFunc(cards[k].rows[:at], func(j int) bool { return string(l.stream.rows[j].term) == string(term) })
			if t := d.terminals[string(term)]; !again {
				sum += float64(t.seen) * float64(min(max(evening-dayMs-t.known, 0), reviewAge))
			}
		}
		if sum > most {
			best, most = k, sum
		}
	}
	return best
}
