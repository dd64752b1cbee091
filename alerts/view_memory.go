package alerts

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/tidwall/btree"

	"github.com/weir-risk/weir/schemas"
)

// row is what an alert is ranked and filtered by: 64 bytes, a cache line, because
// every query walks them all.
type row struct {
	key       int64
	raised    int64
	amount    int64 // in the base currency
	until     int64
	rank      float32 // -Inf where the alert has none
	prob      float32 // NaN where it has none
	entity    uint32  // number of the case it belongs to
	before    int32   // the row of the same case that came before it, -1 for none
	owner     uint32
	channel   uint32
	reasons   uint32 // number of the set of its reasons' groups
	status    Status
	escalated bool
}

// at is the status at a time, as of [State.At].
func (r *row) at(now int64) Status { return r.status.at(r.until, now) }

// place is where a row stands in the queue.
type place struct {
	key, raised int64
	rank        float32
	row         int32
}

func (r *row) place(i int32) place { return place{r.key, r.raised, r.rank, i} }

// ahead orders the queue: the highest rank, then the oldest, then the first in the
// ledger.
func ahead(a, b place) bool {
	return comparePlaces(a, b) < 0
}

func comparePlaces(a, b place) int {
	return cmp.Or(cmp.Compare(b.rank, a.rank), cmp.Compare(a.raised, b.raised), cmp.Compare(a.key, b.key))
}

// compareRows is the same order, of rows.
func compareRows(a, b *row) int { return comparePlaces(a.place(0), b.place(0)) }

// names numbers texts in the order in which they come.
type names struct {
	number map[string]uint32
	text   []string
}

func (n *names) of(text string) uint32 {
	i, ok := n.number[text]
	if !ok {
		i = uint32(len(n.text))
		text = strings.Clone(text)
		n.number[text], n.text = i, append(n.text, text)
	}
	return i
}

// blockRows is how many rows a block has, which is passed over as a whole where
// nothing in it can be asked for.
const blockRows = 1024

// block says of its rows what may pass them over.
type block struct {
	top  float32 // their highest rank
	open int     // how many are not closed
}

// memory are the rows, in the order in which the alerts came, and what finds them.
type memory struct {
	rows     []row
	blocks   []block
	open     *btree.BTreeG[place] // those that are not closed, as the queue has them
	byKey    map[int64]int32
	entities map[string]uint32 // the cases' numbers
	last     []int32           // each case's last row
	owners   names
	channels names
	reasons  names           // sets of groups, joined
	early    map[int64]State // of alerts that have not come yet
	walk     int             // walkMax, less in tests
	tally    *tally
}

func newMemory(g Goals) *memory {
	m := &memory{byKey: make(map[int64]int32), entities: make(map[string]uint32), early: make(map[int64]State), tally: newTally(g), walk: walkMax,
		open: btree.NewBTreeGOptions(ahead, btree.Options{NoLocks: true})} // the view has a lock
	for _, n := range []*names{&m.owners, &m.channels, &m.reasons} {
		n.number = make(map[string]uint32)
	}
	m.owners.of("") // 0 is nobody
	return m
}

// arrival is an alert as it comes into memory.
type arrival struct {
	row             row
	entity          string // field and value of its case
	channel, reason string
}

func (m *memory) arrive(a *arrival) {
	r, i := a.row, int32(len(m.rows))
	number, known := m.entities[a.entity]
	if !known {
		number = uint32(len(m.last))
		m.entities[strings.Clone(a.entity)], m.last = number, append(m.last, -1)
	}
	r.entity, r.before, m.last[number] = number, m.last[number], i
	r.channel, r.reasons = m.channels.of(a.channel), m.reasons.of(a.reason)
	m.rows, m.byKey[r.key] = append(m.rows, r), i
	if int(i)/blockRows == len(m.blocks) {
		m.blocks = append(m.blocks, block{top: r.rank})
	}
	b := &m.blocks[i/blockRows]
	b.top = max(b.top, r.rank)
	b.open++
	m.open.Set(r.place(i))
	m.tally.arrive(i, &r)
	if s, ok := m.early[r.key]; ok {
		delete(m.early, r.key)
		m.change(r.key, s)
	}
}

// change takes the state of an alert.
func (m *memory) change(key int64, s State) {
	i, ok := m.byKey[key]
	if !ok {
		m.early[key] = s
		return
	}
	r, b := &m.rows[i], &m.blocks[i/blockRows]
	if r.status.Closed() != s.Status.Closed() {
		if s.Status.Closed() {
			b.open--
			m.open.Delete(r.place(i))
		} else {
			b.open++
			m.open.Set(r.place(i))
		}
	}
	m.tally.drop(i, r)
	r.status, r.escalated, r.owner, r.until = s.Status, s.Escalated, m.owners.of(s.Owner), s.Until
	m.tally.take(i, r, m.rows, &s, m.owners.of)
}

// number is a number as memory and the file have it: none is NaN there and NULL here.
func number(x sql.NullFloat64) float32 {
	if !x.Valid {
		return float32(math.NaN())
	}
	return float32(x.Float64)
}

// rankOf ranks an alert without a rank last.
func rankOf(x float32) float32 {
	if x != x {
		return float32(math.Inf(-1))
	}
	return x
}

// caseOf is the entity whose case an alert belongs to.
func caseOf(text func(schemas.TextField) string) (schemas.TextField, string) {
	for _, f := range []schemas.TextField{schemas.Card, schemas.Customer, schemas.Account} {
		if value := text(f); value != "" {
			return f, value
		}
	}
	return schemas.ID, text(schemas.ID)
}

// Case returns the entity whose case the alert belongs to.
func (i *Item) Case() (schemas.TextField, string) {
	return caseOf(func(f schemas.TextField) string { return string(i.Text[f]) })
}

// caseKey is a case's name in memory.
func caseKey(f schemas.TextField, value string) string { return string(rune('a'+f)) + value }

// load reads the file into memory.
func (v *View) load(ctx context.Context) error {
	m := newMemory(v.goals)
	if err := m.loadAlerts(ctx, v.writer); err != nil {
		return fmt.Errorf("load the alerts: %w", err)
	}
	rows, err := v.writer.QueryContext(ctx, `SELECT key, state FROM states ORDER BY key`)
	if err != nil {
		return fmt.Errorf("load the states: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var key int64
		var text []byte
		var s State
		if err := rows.Scan(&key, &text); err != nil {
			return err
		}
		if err := json.Unmarshal(text, &s); err != nil {
			return fmt.Errorf("state of alert %s: %w", idOf(key), err)
		}
		m.change(key, s)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.memory = m
	return nil
}

func (m *memory) loadAlerts(ctx context.Context, db *sql.DB) error {
	rows, err := db.QueryContext(ctx, `SELECT key, raised, rank, prob, amount, channel, reasons, card, customer, account, tx_id FROM alerts ORDER BY key`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var a arrival
		var rank, prob sql.NullFloat64
		var texts [4]sql.NullString
		if err := rows.Scan(&a.row.key, &a.row.raised, &rank, &prob, &a.row.amount, &a.channel, &a.reason, &texts[0], &texts[1], &texts[2], &texts[3]); err != nil {
			return err
		}
		a.row.rank, a.row.prob = rankOf(number(rank)), number(prob)
		a.entity = caseKey(caseOf(func(f schemas.TextField) string {
			return texts[slices.Index([]schemas.TextField{schemas.Card, schemas.Customer, schemas.Account, schemas.ID}, f)].String
		}))
		m.arrive(&a)
	}
	return rows.Err()
}
