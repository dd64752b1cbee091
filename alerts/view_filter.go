package alerts

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-risk/weir/schemas"
)

// Filter says which alerts are asked for. Its zero value asks for all that are not
// closed.
type Filter struct {
	Statuses             []Status // at the time of the question; empty: all that are not closed
	Escalated            *bool
	Owner                string
	ProbMin, ProbMax     float64 // both included; 0 is no bound
	AmountMin, AmountMax int64   // the same, in the base currency's minor units
	RaisedFrom, RaisedTo int64   // ms since the Unix epoch, the end not included; 0 is no bound
	Reason               string  // name of a group of the reasons
	// Entity is one of the texts that alerts are searched by: the transaction's id,
	// card, customer, account, counterparty, merchant, terminal, device or ip.
	Entity      schemas.TextField
	EntityValue string // empty: any
	Channel     string
	// Text is a prefix of a token or id: alert (its shard, and a digit of its offset
	// at least), transaction, card, customer, merchant, terminal, device, account; or
	// words that stand in a note in this order, the last one perhaps begun only. One
	// that too many have gives ErrWide.
	Text string
}

// ErrWide is of a Filter.Text that too many alerts have: more letters are to be typed.
var ErrWide = errors.New("too many tokens and ids begin with this text")

// wideMax is how many tokens and ids Filter.Text may be a prefix of. All of them are
// looked at, which takes a quarter of a microsecond each.
const wideMax = 50_000

// ErrFilter is of a filter that asks for what alerts are not searched by.
var ErrFilter = errors.New("alerts are not searched by this field")

// textFields are the texts that Filter.Text looks into.
var textFields = []schemas.TextField{schemas.ID, schemas.Card, schemas.Customer, schemas.Merchant, schemas.Terminal, schemas.Device, schemas.Account}

// query is a filter against the rows in memory.
type query struct {
	memory           *memory
	now              int64
	statuses         [NumStatuses]bool
	open             bool // it asks for nothing closed
	escalated        *bool
	owned            bool
	owner            uint32
	probMin, probMax float64
	anyProb          bool
	amount, raised   [2]int64 // both included
	reasons          []bool   // by the number of a set, nil for any
	byChannel        bool
	channel          uint32
	// Where single alerts are asked for: their rows, as a list and as a set.
	narrow bool
	list   []int32
	set    []uint64
	void   bool // nothing can match
	// Whom it is asked for, where verdicts may be hidden from them.
	blind  bool
	reader uint32
	readAt int64
}

// compile makes a query of a filter, for the reader of a context; keys are the alerts that
// entity and text leave, if they ask for any. It is called, and its query used, with the
// view's lock held.
func (m *memory) compile(ctx context.Context, f *Filter, now int64, keys []int64, narrow bool) *query {
	q := &query{memory: m, now: now, open: true, escalated: f.Escalated, narrow: narrow}
	if r, ok := readerOf(ctx); ok {
		q.blind, q.reader, q.readAt = true, m.numberOf(r.who), r.now
	}
	for s := range NumStatuses {
		q.statuses[s] = slices.Contains(f.Statuses, s) || len(f.Statuses) == 0 && !s.Closed()
		q.open = q.open && !(q.statuses[s] && s.Closed())
	}
	known := func(n *names, text string) (uint32, bool) {
		i, ok := n.number[text]
		q.void = q.void || !ok
		return i, true
	}
	if f.Owner != "" {
		q.owner, q.owned = known(&m.owners, f.Owner)
	}
	if f.Channel != "" {
		q.channel, q.byChannel = known(&m.channels, f.Channel)
	}
	q.probMin, q.probMax, q.anyProb = f.ProbMin, f.ProbMax, f.ProbMin == 0 && f.ProbMax == 0
	if q.probMax == 0 {
		q.probMax = math.Inf(1)
	}
	q.amount = [2]int64{math.MinInt64, math.MaxInt64}
	q.raised = q.amount
	bound(&q.amount, f.AmountMin, f.AmountMax)
	bound(&q.raised, f.RaisedFrom, f.RaisedTo)
	if f.RaisedTo != 0 {
		q.raised[1]--
	}
	if f.Reason != "" {
		q.reasons = make([]bool, len(m.reasons.text))
		for i, set := range m.reasons.text {
			q.reasons[i] = slices.Contains(strings.Split(set, "\n"), f.Reason)
		}
	}
	if narrow {
		q.narrowTo(keys)
	}
	return q
}

func bound(to *[2]int64, low, high int64) {
	if low != 0 {
		to[0] = low
	}
	if high != 0 {
		to[1] = high
	}
}

func (q *query) narrowTo(keys []int64) {
	q.set = make([]uint64, (len(q.memory.rows)+63)/64)
	for _, key := range keys {
		if i, ok := q.memory.byKey[key]; ok && q.set[i/64]>>(i%64)&1 == 0 {
			q.set[i/64] |= 1 << (i % 64)
			q.list = append(q.list, i)
		}
	}
}

// match reports whether row i is asked for.
func (q *query) match(i int32) bool {
	r := &q.memory.rows[i]
	switch {
	case !q.statuses[r.at(q.now)],
		r.amount < q.amount[0], r.amount > q.amount[1],
		r.raised < q.raised[0], r.raised > q.raised[1],
		!q.anyProb && !(float64(r.prob) >= q.probMin && float64(r.prob) <= q.probMax),
		q.escalated != nil && r.escalated != *q.escalated,
		q.owned && r.owner != q.owner,
		q.byChannel && r.channel != q.channel,
		q.reasons != nil && !q.reasons[r.reasons],
		q.set != nil && q.set[i/64]>>(i%64)&1 == 0,
		q.blind && r.status.Closed() && q.memory.tally.closed[q.memory.tally.place[i]].hides(q.reader, q.readAt):
		return false
	}
	return true
}

// each calls do for the rows that match and are ranked above the last one that is
// still wanted, which worst returns (nil: any).
func (q *query) each(worst func() *row, do func(i int32)) {
	if q.void {
		return
	}
	if q.narrow {
		for _, i := range q.list {
			if q.match(i) {
				do(i)
			}
		}
		return
	}
	m := q.memory
	for b := range m.blocks {
		w := worst()
		if q.open && m.blocks[b].open == 0 || w != nil && m.blocks[b].top < w.rank {
			continue
		}
		for i := b * blockRows; i < min(len(m.rows), (b+1)*blockRows); i++ {
			if (w == nil || m.rows[i].rank >= w.rank) && q.match(int32(i)) {
				do(int32(i))
				w = worst()
			}
		}
	}
}

// narrow returns the alerts that a filter's entity and text leave; narrow is false
// where it asks for neither.
func (v *View) narrow(ctx context.Context, f *Filter) (keys []int64, narrow bool, err error) {
	if f.EntityValue != "" {
		if !slices.Contains(entityFields, f.Entity) {
			return nil, false, fmt.Errorf("%v: %w", f.Entity, ErrFilter)
		}
		if keys, err = v.keys(ctx, nil, `SELECT key FROM alerts WHERE `+column(f.Entity)+` = ?`, f.EntityValue); err != nil {
			return nil, false, err
		}
	}
	if f.Text == "" {
		return keys, f.EntityValue != "", nil
	}
	found := v.keysOfID(f.Text)
	ids := len(found)
	for _, field := range textFields {
		text, args := `SELECT key FROM alerts WHERE `+column(field)+` >= ?`, []any{f.Text}
		if end, ok := after(f.Text); ok {
			text, args = text+` AND `+column(field)+` < ?`, append(args, end)
		}
		if found, err = v.keys(ctx, found, text+` LIMIT ?`, append(args, v.wide+1)...); err != nil {
			return nil, false, err
		}
		if len(found) > ids+v.wide {
			return nil, false, fmt.Errorf("%.40q: more than %d: %w", f.Text, v.wide, ErrWide)
		}
	}
	if found, err = v.keys(ctx, found, `SELECT key FROM notes WHERE notes MATCH ? LIMIT ?`, words(f.Text), v.wide+1); err != nil {
		return nil, false, err
	}
	if len(found) > ids+v.wide {
		return nil, false, fmt.Errorf("%.40q: more than %d: %w", f.Text, v.wide, ErrWide)
	}
	if f.EntityValue == "" {
		return found, true, nil
	}
	both := make(map[int64]bool, len(keys))
	for _, key := range keys {
		both[key] = true
	}
	return slices.DeleteFunc(found, func(key int64) bool { return !both[key] }), true, nil
}

// words asks FTS5 for the words of a text, whatever else stands in it.
func words(text string) string {
	return `"` + strings.NewReplacer(`"`, ` `, "\x00", ` `).Replace(text) + `"*`
}

// after is the first text behind all that begin with a prefix. SQLite compares bytes.
func after(prefix string) (string, bool) {
	b := []byte(prefix)
	for len(b) > 0 {
		if last := len(b) - 1; b[last] < 0xff {
			b[last]++
			return string(b), true
		}
		b = b[:len(b)-1]
	}
	return "", false
}

// keys appends the keys that a statement finds.
func (v *View) keys(ctx context.Context, list []int64, text string, args ...any) ([]int64, error) {
	stmt, err := v.prepared(ctx, text)
	if err != nil {
		return nil, err
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var key int64
		if err := rows.Scan(&key); err != nil {
			return nil, err
		}
		list = append(list, key)
	}
	return list, rows.Err()
}

// keysOfID returns the alerts whose ids begin with a text. Offsets that begin with the
// same digits are a range for each number of digits.
func (v *View) keysOfID(prefix string) (list []int64) {
	a, digits, _ := strings.Cut(prefix, "-")
	shard, err := strconv.ParseInt(a, 10, 32)
	low, err2 := strconv.ParseInt(digits, 10, 64)
	key, err3 := keyOf(int32(shard), low)
	if err != nil || err2 != nil || err3 != nil || idOf(key) != prefix {
		return nil
	}
	var ranges [][2]int64
	for high := low + 1; low < 1<<offsetBits; low, high = low*10, high*10 {
		ranges = append(ranges, [2]int64{key - key&(1<<offsetBits-1) + low, key - key&(1<<offsetBits-1) + min(high, 1<<offsetBits)})
		if low == 0 {
			break
		}
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	for i := range v.memory.rows {
		k := v.memory.rows[i].key
		if slices.ContainsFunc(ranges, func(r [2]int64) bool { return k >= r[0] && k < r[1] }) {
			list = append(list, k)
		}
	}
	return list
}
