package alerts

import (
	"container/heap"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/weir-risk/weir/schemas"
)

// Item is one alert as a page shows it.
type Item struct {
	schemas.Alert
	State
	Raised int64 // timestamp of its record in alerts: the service-level clock begins here
}

// Case is those alerts of one entity that a filter asks for: of the card, else of the
// customer, account or transaction.
type Case struct {
	Entity schemas.TextField
	Value  string
	Alerts int
	Best   Item  // the first of them by rank
	Amount int64 // of all, in the base currency
	Oldest int64 // when the first of them was raised
}

// Cursor says where a page of a list ended: at an alert's rank, age and number. What
// arrives meanwhile takes its place in the order and moves nothing to the other side.
// The empty one is the beginning, and is returned where nothing is left.
type Cursor string

// ErrCursor is of a cursor that none was given out as.
var ErrCursor = errors.New("the cursor is not one that was given out")

// ErrNoAlert is of an alert that the view does not hold.
var ErrNoAlert = errors.New("there is no such alert")

// limitMax bounds a page.
const limitMax = 1000

// cursorOf is the cursor behind a row.
func cursorOf(r *row) Cursor {
	return Cursor(fmt.Sprintf("%08x-%x-%x", math.Float32bits(r.rank), r.raised, r.key))
}

// place is the row that a cursor stands behind, as far as the order goes; nil is the
// beginning.
func (c Cursor) place() (*row, error) {
	if c == "" {
		return nil, nil
	}
	var r row
	var bits uint32
	if _, err := fmt.Sscanf(string(c), "%08x-%x-%x", &bits, &r.raised, &r.key); err != nil {
		return nil, fmt.Errorf("%.60q: %w", string(c), ErrCursor)
	}
	if r.rank = math.Float32frombits(bits); r.rank != r.rank || cursorOf(&r) != c {
		return nil, fmt.Errorf("%.60q: %w", string(c), ErrCursor)
	}
	return &r, nil
}

// best keeps the first so many rows of the order, the last of them on top.
type best struct {
	memory *memory
	limit  int
	rows   []int32
}

func (b *best) Len() int { return len(b.rows) }
func (b *best) Less(i, j int) bool {
	return compareRows(&b.memory.rows[b.rows[i]], &b.memory.rows[b.rows[j]]) > 0
}
func (b *best) Swap(i, j int) { b.rows[i], b.rows[j] = b.rows[j], b.rows[i] }

// Push is for container/heap.
func (b *best) Push(x any) { b.rows = append(b.rows, x.(int32)) }

// Pop is for container/heap.
func (b *best) Pop() any {
	last := b.rows[len(b.rows)-1]
	b.rows = b.rows[:len(b.rows)-1]
	return last
}

// worst is the last row of those kept, nil while there is room for any.
func (b *best) worst() *row {
	if len(b.rows) < b.limit {
		return nil
	}
	return &b.memory.rows[b.rows[0]]
}

// wants reports whether a row would be kept.
func (b *best) wants(r *row) bool {
	w := b.worst()
	return w == nil || compareRows(r, w) < 0
}

func (b *best) add(i int32) {
	if heap.Push(b, i); len(b.rows) > b.limit {
		heap.Pop(b)
	}
}

// sorted returns the rows in their order.
func (b *best) sorted() []int32 {
	slices.SortFunc(b.rows, func(i, j int32) int { return compareRows(&b.memory.rows[i], &b.memory.rows[j]) })
	return b.rows
}

// first returns the first rows behind a place that are asked for and that also, if it
// is given, wants. It does not want what comes behind those it has.
func (q *query) first(behind *row, limit int, also func(i int32) bool) []int32 {
	if list, ok := q.inOrder(behind, limit, also); ok {
		return list
	}
	b := &best{memory: q.memory, limit: limit}
	q.each(b.worst, func(i int32) {
		r := &q.memory.rows[i]
		if b.wants(r) && (behind == nil || compareRows(r, behind) > 0) && (also == nil || also(i)) {
			b.add(i)
		}
	})
	return b.sorted()
}

// walkMax is how many rows are looked at in the queue's order, one cache miss each, before
// all are in the order in which memory has them.
const walkMax = 16_384

// inOrder is first for what asks for nothing closed: it walks the queue until it has
// enough. ok is false where it cannot, or few of those at the queue's head match.
func (q *query) inOrder(behind *row, limit int, also func(i int32) bool) (list []int32, ok bool) {
	if q.void || q.narrow || !q.open {
		return nil, false
	}
	left := q.memory.walk
	each := func(p place) bool {
		r := &q.memory.rows[p.row]
		if left--; q.match(p.row) && (behind == nil || compareRows(r, behind) > 0) && (also == nil || also(p.row)) {
			list = append(list, p.row)
		}
		return len(list) < limit && left > 0
	}
	if behind == nil {
		q.memory.open.Scan(each)
	} else {
		q.memory.open.Ascend(behind.place(0), each)
	}
	return list, left > 0 || len(list) == limit
}

// leads is the first row of its case that is asked for, remembered from call to call.
func (q *query) leads() func(i int32) bool {
	leaders := make(map[uint32]int32)
	return func(i int32) bool {
		rows := q.memory.rows
		leader, ok := leaders[rows[i].entity]
		if !ok {
			leader = i
			for j := q.memory.last[rows[i].entity]; j >= 0; j = rows[j].before {
				if q.match(j) && compareRows(&rows[j], &rows[leader]) < 0 {
					leader = j
				}
			}
			leaders[rows[i].entity] = leader
		}
		return leader == i
	}
}

// Queue returns the cases of a filter by the highest rank of their alerts, then the
// oldest. now is what snoozes end by. A case that was on an earlier page and lost its
// best alert since may come again, with what is left of it.
func (v *View) Queue(ctx context.Context, f Filter, now int64, after Cursor, limit int) ([]Case, Cursor, error) {
	var cases []Case
	keys, next, err := v.page(ctx, &f, now, after, limit, func(q *query, behind *row, limit int) []int32 {
		found := q.first(behind, limit, q.leads())
		for _, i := range found {
			cases = append(cases, q.total(i))
		}
		return found
	})
	if err != nil {
		return nil, "", fmt.Errorf("queue: %w", err)
	}
	out := make([]Case, 0, len(keys))
	for i, key := range keys {
		c := cases[i]
		if c.Best, err = v.item(ctx, key); errors.Is(err, ErrNoAlert) {
			continue // the view was emptied meanwhile
		} else if err != nil {
			return nil, "", fmt.Errorf("queue: %w", err)
		}
		c.Entity, c.Value = c.Best.Case()
		out = append(out, c)
	}
	return out, next, nil
}

// total sums up the case of a row.
func (q *query) total(i int32) (c Case) {
	c.Oldest = math.MaxInt64
	rows := q.memory.rows
	for j := q.memory.last[rows[i].entity]; j >= 0; j = rows[j].before {
		if q.match(j) {
			c.Alerts++
			c.Amount += rows[j].amount
			c.Oldest = min(c.Oldest, rows[j].raised)
		}
	}
	return c
}

// page finds a page of rows with find, which is called with the lock held and one row
// more than asked for, to see if there is more. It returns the rows' keys and where the
// next page begins.
func (v *View) page(ctx context.Context, f *Filter, now int64, after Cursor, limit int, find func(q *query, behind *row, limit int) []int32) ([]int64, Cursor, error) {
	behind, err := after.place()
	if err != nil {
		return nil, "", err
	}
	keys, narrow, err := v.narrow(ctx, f)
	if err != nil {
		return nil, "", err
	}
	limit = min(max(1, limit), limitMax)
	v.mu.RLock()
	defer v.mu.RUnlock()
	found := find(v.memory.compile(ctx, f, now, keys, narrow), behind, limit+1)
	var next Cursor
	if len(found) > limit {
		found = found[:limit]
		next = cursorOf(&v.memory.rows[found[limit-1]])
	}
	out := make([]int64, 0, len(found))
	for _, i := range found {
		out = append(out, v.memory.rows[i].key)
	}
	return out, next, nil
}

// Items returns the alerts of a filter, in the order of Queue.
func (v *View) Items(ctx context.Context, f Filter, now int64, after Cursor, limit int) ([]Item, Cursor, error) {
	keys, next, err := v.page(ctx, &f, now, after, limit, func(q *query, behind *row, limit int) []int32 {
		return q.first(behind, limit, nil)
	})
	var list []Item
	if err == nil {
		list, err = v.items(ctx, keys)
	}
	if err != nil {
		return nil, "", fmt.Errorf("list alerts: %w", err)
	}
	return list, next, nil
}

// items returns the alerts of keys; those that are gone are left out.
func (v *View) items(ctx context.Context, keys []int64) ([]Item, error) {
	list := make([]Item, 0, len(keys))
	for _, key := range keys {
		x, err := v.item(ctx, key)
		if errors.Is(err, ErrNoAlert) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, x)
	}
	return list, nil
}

// Item returns an alert. ErrNoAlert is wrapped where there is none.
func (v *View) Item(ctx context.Context, id string) (Item, error) {
	key, err := parseID(id)
	if err != nil {
		return Item{}, fmt.Errorf("alert %.40q: %w", id, ErrNoAlert)
	}
	x, err := v.item(ctx, key)
	if err != nil {
		return x, fmt.Errorf("alert %s: %w", id, err)
	}
	return x, nil
}

// item returns an alert and its state, which are of one moment. What it points to is
// shared with others who read it.
func (v *View) item(ctx context.Context, key int64) (Item, error) {
	x, at, ok := v.recent.get(key)
	if !ok {
		var err error
		if x, err = v.read(ctx, key); err != nil {
			return x, err
		}
		v.recent.put(key, x, at)
	}
	v.blind(ctx, &x.State)
	return x, nil
}

// read reads an alert and its state from the file.
func (v *View) read(ctx context.Context, key int64) (x Item, err error) {
	stmt, err := v.prepared(ctx, `SELECT a.raised, r.value, coalesce(s.state, '') FROM alerts a JOIN records r ON r.key = a.key
		LEFT JOIN states s ON s.key = a.key WHERE a.key = ?`)
	if err != nil {
		return x, err
	}
	var value, state []byte
	err = stmt.QueryRowContext(ctx, key).Scan(&x.Raised, &value, &state)
	if errors.Is(err, sql.ErrNoRows) {
		return x, ErrNoAlert
	}
	if err == nil {
		err = schemas.ParseAlert(value, &x.Alert)
	}
	if err == nil {
		err = parseState(state, &x.State)
	}
	return x, err
}

// Best returns the first open alert of a filter that nobody works on, besides one that
// the asker has before him. ErrNoAlert is returned where there is none.
func (v *View) Best(ctx context.Context, f Filter, now int64, besides string) (Item, error) {
	f.Statuses = []Status{Open}
	list, _, err := v.Items(ctx, f, now, "", 2)
	if err != nil {
		return Item{}, err
	}
	for _, x := range list {
		if string(x.ID) != besides {
			return x, nil
		}
	}
	return Item{}, ErrNoAlert
}

// Related returns the alerts of an entity, the newest first, whatever became of them.
func (v *View) Related(ctx context.Context, entity schemas.TextField, value string, limit int) ([]Item, error) {
	return v.related(ctx, entity, `SELECT key FROM alerts WHERE `+column(entity)+` = ?`, limit, value)
}

// Beside returns the alerts of an entity that are not of another one as well, in the
// order of Related.
func (v *View) Beside(ctx context.Context, entity schemas.TextField, value string, other schemas.TextField, not string, limit int) ([]Item, error) {
	if !slices.Contains(entityFields, other) {
		return nil, fmt.Errorf("alerts beside %v: %w", other, ErrFilter)
	}
	return v.related(ctx, entity, `SELECT key FROM alerts WHERE `+column(entity)+` = ? AND `+column(other)+` IS NOT ?`, limit, value, not)
}

func (v *View) related(ctx context.Context, entity schemas.TextField, text string, limit int, args ...any) ([]Item, error) {
	if !slices.Contains(entityFields, entity) {
		return nil, fmt.Errorf("alerts of %v: %w", entity, ErrFilter)
	}
	keys, err := v.keys(ctx, nil, text+` ORDER BY raised DESC, key DESC LIMIT ?`, append(args, min(max(1, limit), limitMax))...)
	if err != nil {
		return nil, fmt.Errorf("alerts of %v: %w", entity, err)
	}
	return v.items(ctx, keys)
}

// Action is a disposition. Err says why it did not count; empty where it did.
type Action struct {
	schemas.Disposition
	Err string
}

// Actions returns what was done with an alert, in the order of the log; to whoever is to
// look at it blind, what they did themselves.
func (v *View) Actions(ctx context.Context, alertID string) ([]Action, error) {
	key, err := parseID(alertID)
	if err != nil {
		return nil, fmt.Errorf("actions of alert %.40q: %w", alertID, ErrNoAlert)
	}
	stmt, err := v.prepared(ctx, `SELECT value, void FROM actions WHERE key = ? ORDER BY place`)
	if err != nil {
		return nil, err
	}
	rows, err := stmt.QueryContext(ctx, key)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Action
	for rows.Next() {
		var value []byte
		var a Action
		if err := rows.Scan(&value, &a.Err); err != nil {
			return nil, err
		}
		if err := schemas.ParseDisposition(value, &a.Disposition); err != nil {
			return nil, fmt.Errorf("actions of alert %s: %w", alertID, err)
		}
		list = append(list, a)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	r, ok := readerOf(ctx)
	if !ok {
		return list, nil
	}
	// The state is read behind the actions, so that it knows of each of them.
	s, err := stateOf(ctx, v.reader, key)
	if err == nil && v.blind(ctx, &s) {
		list = slices.DeleteFunc(list, func(a Action) bool { return string(a.By) != r.who })
	}
	return list, err
}

// Figures counts the alerts: each is one of open (what is proposed waits for somebody
// too), claimed, snoozed and closed. Escalated are those of the first three that were;
// OldestOpen is when the oldest was raised that is neither snoozed nor closed, Newest when
// the newest of all was; 0 where there is none.
type Figures struct {
	Open, Claimed, Snoozed, Escalated, Closed int64
	OldestOpen, Newest                        int64
}

// Figures returns them for a time.
func (v *View) Figures(_ context.Context, now int64) (Figures, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.memory.tally.figures(now), nil
}
