package alerts

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"github.com/weir-risk/weir/schemas"
)

// Record is one record of a topic.
type Record struct {
	Offset    int64
	Timestamp int64 // ms since the Unix epoch
	Value     []byte
}

// foldRecords is how many records whoever is behind folds at once: a fold has a fixed
// cost, and one of more holds up the actions that wait beside it.
const foldRecords = 10_000

// Folded is what became of records.
type Folded struct {
	Arrived   []string  // ids of alerts that are new
	Settled   []Settled // what became of each disposition, in order
	Labels    int       // how many became due, see [View.Unpublished]
	Malformed int       // records that could not be read, and were passed over
	Causes    []error   // of the first of those, with partition and offset
}

// causesMax bounds Folded.Causes: a topic of something else would fill the log.
const causesMax = 20

func (f *Folded) malformed(p Place, offset int64, err error) {
	f.Malformed++
	if len(f.Causes) < causesMax {
		f.Causes = append(f.Causes, fmt.Errorf("%s partition %d offset %d: %w", p.Topic, p.Partition, offset, err))
	}
}

// Settled is what became of a disposition. Err is as of [State.Apply]; nil says that
// it counted.
type Settled struct {
	ID, AlertID string
	State       State // after it
	Err         error
}

// The bounds of an alert's number: 48 bits of offset behind the shard.
const (
	offsetBits = 48
	shardMax   = 1<<14 - 1
)

var errAlertID = errors.New("no alert has this id")

// keyOf is the number of an alert. Those of a shard are numbered in the order in
// which they are in its log, so that the tables grow at their ends.
func keyOf(shard int32, offset int64) (int64, error) {
	if shard < 0 || shard > shardMax || offset < 0 || offset >= 1<<offsetBits {
		return 0, fmt.Errorf("shard %d offset %d: %w", shard, offset, errAlertID)
	}
	return int64(shard)<<offsetBits | offset, nil
}

// idOf is the id of the alert of a number.
func idOf(key int64) string {
	return string(schemas.AppendAlertID(nil, int32(key>>offsetBits), key&(1<<offsetBits-1)))
}

// parseID is the number of the alert of an id.
func parseID(id string) (int64, error) {
	a, b, _ := strings.Cut(id, "-")
	shard, err := strconv.ParseInt(a, 10, 32)
	offset, err2 := strconv.ParseInt(b, 10, 64)
	if err != nil || err2 != nil {
		return 0, fmt.Errorf("%.40q: %w", id, errAlertID)
	}
	key, err := keyOf(int32(shard), offset)
	if err == nil && idOf(key) != id {
		err = fmt.Errorf("%.40q: %w", id, errAlertID)
	}
	return key, err
}

// parsed is an alert that was read, or why it was not.
type parsed struct {
	alert schemas.Alert
	key   int64
	err   error
}

// parseAlerts reads alerts side by side: that is a third of the work of a fold.
func parseAlerts(partition int32, rs []Record) []parsed {
	out := make([]parsed, len(rs))
	var wg sync.WaitGroup
	share := max(256, (len(rs)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	for from := 0; from < len(rs); from += share {
		wg.Go(func() {
			for i := from; i < min(from+share, len(rs)); i++ {
				p := &out[i]
				if p.err = schemas.ParseAlert(rs[i].Value, &p.alert); p.err != nil {
					continue
				}
				if p.alert.Shard != partition {
					p.err = fmt.Errorf("an alert of shard %d: %w", p.alert.Shard, errAlertID)
					continue
				}
				p.key, p.err = keyOf(p.alert.Shard, p.alert.Offset)
			}
		})
	}
	wg.Wait()
	return out
}

// from leaves out the records that were folded already.
func from(rs []Record, next int64) []Record {
	for len(rs) > 0 && rs[0].Offset < next {
		rs = rs[1:]
	}
	return rs
}

// FoldAlerts folds records of a partition of alerts, in their order. An alert is
// taken if its ledger offset is above that of the last one taken from there, since a
// node that recovers publishes its last ones again. Records before the position are
// passed over.
func (v *View) FoldAlerts(ctx context.Context, partition int32, rs []Record) (Folded, error) {
	v.fold.Lock()
	defer v.fold.Unlock()
	f, arrivals, err := v.foldAlerts(ctx, partition, rs)
	if err != nil {
		return Folded{}, fmt.Errorf("fold alerts of partition %d: %w", partition, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range arrivals {
		v.memory.arrive(&arrivals[i])
	}
	return f, nil
}

func (v *View) foldAlerts(ctx context.Context, partition int32, rs []Record) (f Folded, arrivals []arrival, err error) {
	place := Place{PlaceAlerts, partition}
	next, mark, err := position(ctx, v.writer, place)
	if rs = from(rs, next); len(rs) == 0 || err != nil {
		return f, nil, err
	}
	all := parseAlerts(partition, rs)
	err = v.write(ctx, func(tx *sql.Tx) error {
		w, err := newAlertWriter(ctx, tx)
		if err != nil {
			return err
		}
		defer w.close()
		for i := range all {
			p := &all[i]
			switch {
			case p.err != nil:
				f.malformed(place, rs[i].Offset, p.err)
				continue
			case p.alert.Offset <= mark:
				continue
			}
			mark = p.alert.Offset
			a, err := w.add(ctx, p, &rs[i])
			if err != nil {
				return err
			}
			arrivals = append(arrivals, a)
			f.Arrived = append(f.Arrived, string(p.alert.ID))
			if s, ok := v.memory.early[p.key]; ok && s.Labels > 0 { // memory changes under v.fold only
				n := 0
				if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM labels WHERE key = ?`, p.key).Scan(&n); err != nil {
					return err
				}
				f.Labels += n
			}
		}
		return setPosition(ctx, tx, place, rs[len(rs)-1].Offset+1, mark)
	})
	return f, arrivals, err
}

// alertWriter writes alerts within a transaction.
type alertWriter struct {
	alert, record *sql.Stmt
	args          []any
}

// alertColumns are the columns of alerts.
var alertColumns = func() []string {
	list := []string{"key", "raised", "rank", "prob", "amount"}
	for _, f := range entityFields {
		list = append(list, column(f))
	}
	return append(list, "channel", "reasons")
}()

func newAlertWriter(ctx context.Context, tx *sql.Tx) (*alertWriter, error) {
	w := &alertWriter{}
	var err error
	w.alert, err = tx.PrepareContext(ctx, "INSERT INTO alerts ("+strings.Join(alertColumns, ",")+") VALUES (?"+strings.Repeat(",?", len(alertColumns)-1)+")")
	if err == nil {
		w.record, err = tx.PrepareContext(ctx, `INSERT INTO records (key, value) VALUES (?, ?)`)
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *alertWriter) close() {
	for _, s := range []*sql.Stmt{w.alert, w.record} {
		if s != nil {
			_ = s.Close() // it ends with the transaction
		}
	}
}

func (w *alertWriter) add(ctx context.Context, p *parsed, r *Record) (a arrival, err error) {
	x := &p.alert
	a.row = row{key: p.key, raised: r.Timestamp, amount: x.Tx.AmountBase, rank: rankOf(x.Rank), prob: x.Prob}
	a.entity = caseKey(caseOf(func(f schemas.TextField) string { return string(x.Text[f]) }))
	a.channel = string(x.Text[schemas.Channel])
	var groups []string
	for _, reason := range x.Reasons {
		groups = append(groups, string(reason.Group))
	}
	a.reason = strings.Join(groups, "\n")
	w.args = append(w.args[:0], p.key, r.Timestamp, nullable(x.Rank), nullable(x.Prob), x.Tx.AmountBase)
	for _, f := range entityFields {
		if len(x.Text[f]) == 0 {
			w.args = append(w.args, nil)
		} else {
			w.args = append(w.args, string(x.Text[f]))
		}
	}
	if _, err := w.alert.ExecContext(ctx, append(w.args, a.channel, a.reason)...); err != nil {
		return a, fmt.Errorf("alert %s: %w", x.ID, err)
	}
	if _, err := w.record.ExecContext(ctx, p.key, r.Value); err != nil {
		return a, fmt.Errorf("alert %s: %w", x.ID, err)
	}
	return a, nil
}

func nullable(x float32) any {
	if x != x {
		return nil
	}
	return float64(x)
}

// change is the state that an alert came to.
type change struct {
	key   int64
	state State
}

// FoldDispositions folds records of dispositions, in their order. One whose alert has
// not come yet counts as well; its label waits for the alert. One whose id its alert
// has seen already was sent twice, and is passed over. Records before the position are
// passed over.
func (v *View) FoldDispositions(ctx context.Context, rs []Record) (Folded, error) {
	v.fold.Lock()
	defer v.fold.Unlock()
	f, changes, err := v.foldDispositions(ctx, rs)
	v.recent.forget(changes) // of a commit that failed nobody knows how much is there
	if err != nil {
		return Folded{}, fmt.Errorf("fold dispositions: %w", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range changes {
		v.memory.change(c.key, c.state)
	}
	return f, nil
}

func (v *View) foldDispositions(ctx context.Context, rs []Record) (f Folded, changes []change, err error) {
	place := Place{Topic: PlaceDispositions}
	next, mark, err := position(ctx, v.writer, place)
	if rs = from(rs, next); len(rs) == 0 || err != nil {
		return f, nil, err
	}
	err = v.write(ctx, func(tx *sql.Tx) error {
		b := &statements{Tx: tx, known: make(map[string]*sql.Stmt)}
		defer b.close()
		for i := range rs {
			var d schemas.Disposition
			err := schemas.ParseDisposition(rs[i].Value, &d)
			var key int64
			if err == nil {
				key, err = parseID(string(d.AlertID))
			}
			if err != nil {
				f.malformed(place, rs[i].Offset, err)
				continue
			}
			c, err := settle(ctx, b, key, &d, &rs[i], &f)
			if err != nil {
				return fmt.Errorf("offset %d: %w", rs[i].Offset, err)
			}
			changes = append(changes, c...)
		}
		v.recent.hold(changes)
		return setPosition(ctx, tx, place, rs[len(rs)-1].Offset+1, mark)
	})
	return f, changes, err
}

// statements is a transaction that prepares each statement once: to do so for every
// record would be most of the work.
type statements struct {
	*sql.Tx
	known map[string]*sql.Stmt
}

func (s *statements) stmt(ctx context.Context, text string) (*sql.Stmt, error) {
	if stmt, ok := s.known[text]; ok {
		return stmt, nil
	}
	stmt, err := s.PrepareContext(ctx, text)
	if err == nil {
		s.known[text] = stmt
	}
	return stmt, err
}

// ExecContext does as a transaction's.
func (s *statements) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	stmt, err := s.stmt(ctx, text)
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(ctx, args...)
}

// QueryRowContext does as a transaction's.
func (s *statements) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	stmt, err := s.stmt(ctx, text)
	if err != nil {
		return s.Tx.QueryRowContext(ctx, text, args...) // which fails the same way, and says so
	}
	return stmt.QueryRowContext(ctx, args...)
}

func (s *statements) close() {
	for _, stmt := range s.known {
		_ = stmt.Close() // it ends with the transaction
	}
}

// settle applies one disposition. It returns the state that followed, if one did.
func settle(ctx context.Context, tx *statements, key int64, d *schemas.Disposition, r *Record, f *Folded) ([]change, error) {
	s, err := stateOf(ctx, tx, key)
	if err != nil {
		return nil, err
	}
	next, verdict, label, void := s.Apply(d)
	why := ""
	if void != nil {
		why = void.Error()
	}
	added, err := tx.ExecContext(ctx, `INSERT OR IGNORE INTO actions (place, key, id, value, void) VALUES (?, ?, ?, ?, ?)`, r.Offset, key, string(d.ID), r.Value, why)
	if err != nil {
		return nil, err
	}
	if n, err := added.RowsAffected(); n == 0 || err != nil {
		return nil, err
	}
	if len(d.Note) > 0 {
		if _, err := tx.ExecContext(ctx, `INSERT INTO notes (rowid, key, note) VALUES (?, ?, ?)`, r.Offset, key, string(d.Note)); err != nil {
			return nil, err
		}
	}
	f.Settled = append(f.Settled, Settled{ID: string(d.ID), AlertID: string(d.AlertID), State: next, Err: void})
	if void != nil {
		return nil, nil
	}
	text, err := json.Marshal(&next)
	if err == nil {
		_, err = tx.ExecContext(ctx, `INSERT OR REPLACE INTO states (key, state) VALUES (?, ?)`, key, string(text))
	}
	if err == nil && label {
		err = addLabel(ctx, tx, labelRow{key: key, version: next.Labels, place: r.Offset, id: string(d.ID), verdict: verdict, known: d.At}, f)
	}
	return []change{{key, next}}, err
}

// stateOf reads an alert's state; one that nobody has touched has none.
func stateOf(ctx context.Context, q querier, key int64) (s State, err error) {
	var text []byte
	err = q.QueryRowContext(ctx, `SELECT state FROM states WHERE key = ?`, key).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return s, nil
	}
	if err == nil {
		err = parseState(text, &s)
	}
	if err != nil {
		return s, fmt.Errorf("read the state of alert %s: %w", idOf(key), err)
	}
	return s, nil
}

// parseState reads a state as the file has it; nothing is one that nobody has touched.
func parseState(text []byte, s *State) error {
	if len(text) == 0 {
		return nil
	}
	return json.Unmarshal(text, s)
}
