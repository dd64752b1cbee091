package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/ingest/simulate"
	"github.com/weir-risk/weir/schemas"
)

// live is the demo's present: it sends at a steady rate, and watches decisions
// and alerts as they come.
type live struct {
	demo  *demo
	clock atomic.Int64  // the bank's time, ms
	begun chan struct{} // closed when the present begins

	mu     sync.Mutex
	from   []int64         // first live offset of each partition; nil before the present
	due    [][]int64       // when the record at an offset was sent, ns, by partition and offset modulo the window
	first  time.Time       // when the first live decision of the model was durable
	took   []float64       // ms from record to durable decision, of this second
	frauds map[string]bool // live frauds by transaction id; true once alerted
	found  int64           // frauds alerted
	alerts int64           // on live transactions
	told   bool            // whether first was shown

	lessons []lesson // those that were told
	busy    bool     // whether a lesson is under way
	asked   int      // days of the present after which it was asked to learn anew
	shifted bool     // whether it was said that the fraud changes
	shown   []found  // as of the last lines of the table, foundLines at most
}

// found are counts of the present so far.
type found struct{ alerts, right, frauds int64 }

// foundLines is over how many lines of the table the shares of alerts that were right
// and of frauds that were found go: few enough to see a new model at work.
const foundLines = 10

// recent returns what was found within the last lines of the table.
func (l *live) recent(now found) found {
	if l.shown = append(l.shown, now); len(l.shown) > foundLines {
		was := l.shown[0]
		l.shown = slices.Delete(l.shown, 0, 1)
		return found{now.alerts - was.alerts, now.right - was.right, now.frauds - was.frauds}
	}
	return now
}

// dueWindow is how many records of a partition may be on their way.
const dueWindow = 1 << 16

func newLive(d *demo) *live {
	return &live{demo: d, begun: make(chan struct{}), frauds: make(map[string]bool)}
}

// published takes in a durable step; it is called by the node's publisher.
func (l *live) published(places []schemas.Place, verdicts []schemas.Verdict) {
	at := time.Now()
	now := at.UnixNano()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.from == nil {
		return
	}
	for i, p := range places {
		if p.Offset >= l.from[p.Partition] {
			if l.first.IsZero() && verdicts[i].Outcome == schemas.Scored {
				l.first = at
			}
			l.took = append(l.took, float64(now-l.due[p.Partition][p.Offset%dueWindow])/1e6)
		}
	}
}

// watch follows the topic of alerts as a desk would.
func (l *live) watch(ctx context.Context) error {
	r := kafka.NewReader(l.demo.s.client, l.demo.s.topics.Alerts, 0, kafka.Earliest)
	for {
		records, err := r.Next(ctx, math.MaxInt64)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		for records != nil && records.Next() {
			var a struct {
				TxID   string `json:"tx_id"`
				Source struct {
					Partition int32 `json:"partition"`
					Offset    int64 `json:"offset"`
				} `json:"source"`
			}
			if err := json.Unmarshal(records.Record().Value, &a); err != nil {
				return fmt.Errorf("read an alert: %w", err)
			}
			l.alerted(a.TxID, a.Source.Partition, a.Source.Offset)
		}
	}
}

func (l *live) alerted(id string, partition int32, offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.from == nil || offset < l.from[partition] {
		return
	}
	l.alerts++
	if seen, fraud := l.frauds[id]; fraud && !seen {
		l.frauds[id] = true
		l.found++
	}
}

// begin starts the present: what is sent from here on is watched.
func (l *live) begin() {
	f := l.demo.feed
	l.mu.Lock()
	defer l.mu.Unlock()
	l.from = slices.Clone(f.sent)
	l.due = make([][]int64, len(f.sent))
	for p := range l.due {
		l.due[p] = make([]int64, dueWindow)
	}
	f.stamp = func(p int, offset int64) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.due[p][offset%dueWindow] = time.Now().UnixNano()
	}
	f.truth = func(tx *simulate.Transaction) {
		if tx.Fraud() && !tx.Resent {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.frauds[string(tx.AppendID(nil))] = false
		}
	}
}

// run sends and shows until the time is up or the context ends.
func (l *live) run(ctx context.Context) error {
	d := l.demo
	// The swap is between two steps; the past is decided, so it comes with the
	// first live record.
	for d.node.Champion() == [32]byte{} {
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	l.begin()
	close(l.begun)
	d.env.printf("the present   %s transactions a second, %s times the speed of life;\n              Ctrl-C stops\n\n", thousands(int64(d.rate)), thousands(int64(l.speed())))
	began, shown, before := time.Now(), 0, d.node.Status()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for sent := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		passed := time.Since(began)
		if l.school() {
			sent = int(passed.Seconds() * float64(d.rate))
		}
		if due := int(passed.Seconds() * float64(d.rate)); due > sent {
			if !d.feed.draw(min(due-sent, d.rate)) {
				return nil
			}
			sent = due
			if err := d.feed.flush(ctx); err != nil {
				return err
			}
			l.clock.Store(d.feed.bank.Now())
		}
		if s := int(passed.Seconds()); s > shown {
			now := d.node.Status()
			l.show(shown, before, now)
			before, shown = now, s
		}
		if d.seconds > 0 && passed >= time.Duration(d.seconds)*time.Second {
			return l.settle(ctx)
		}
	}
}

// school asks for a lesson where one is due, and tells of one that has ended. Hold is
// where one is due and the one before has not ended: the bank's time waits for it then,
// so that on a slow machine too a lesson is of its day.
func (l *live) school() (hold bool) {
	d := l.demo
	now := d.feed.bank.Now() - d.presentMs()
	if now >= dayMs && !l.shifted {
		l.shifted = true
		d.env.printf("\n%s\n\n", paragraph("day 2", "the fraud changes: most attackers now talk customers into transfers, which no model has seen"))
	}
	select {
	case done := <-d.lessons:
		l.busy = false
		l.lessons = append(l.lessons, done)
		done.tell(d.env)
	default:
	}
	if now < int64(l.asked+demoEvery)*dayMs {
		return false
	}
	if !l.busy {
		l.busy, l.asked = true, int(now/dayMs)
		d.asks <- d.feed.bank.Now() // there is room for one
		return false
	}
	return true
}

// settle waits until what was sent is decided.
func (l *live) settle(ctx context.Context) error {
	for l.demo.node.Status().Counts.Decisions() < l.demo.feed.total {
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// speed is how much faster than life the present goes.
func (l *live) speed() float64 {
	cfg := simulate.DefaultConfig()
	cfg.Customers = l.demo.customers
	return float64(l.demo.rate) / cfg.Rate()
}

// headEvery is after how many lines the table's head is printed again.
const headEvery = 20

// The table is as wide as a terminal that nobody has made larger.
const (
	tableWidth = 80

	tableHead = "      ms to a decision  decided, the past included                        frauds\n" +
		" tx/s  p50   p99 p99.9    scored degraded unscored dupl. rej. alerts right found\n"
	tableRow = "%5s %4s %5s %5s %9s %8s %8s %5s %4s %6s %4s%% %4s%%\n"
)

// show prints one line of the table.
func (l *live) show(row int, before, now ingest.Status) {
	l.mu.Lock()
	if !l.first.IsZero() && !l.told {
		l.told = true
		l.demo.env.printf("first live transactions scored %.1f s after the start\n\n", l.first.Sub(l.demo.started).Seconds())
	}
	took := slices.Clone(l.took)
	l.took = l.took[:0]
	all := found{l.alerts, l.found, int64(len(l.frauds))}
	l.mu.Unlock()
	f := l.recent(all)
	if row%headEvery == 0 {
		l.demo.env.printf(tableHead)
	}
	slices.Sort(took)
	o := now.Counts.Outcomes
	line := fmt.Sprintf(tableRow,
		thousands(now.Counts.Decisions()-before.Counts.Decisions()), msText(quantile(took, .5), 4), msText(quantile(took, .99), 5), msText(quantile(took, .999), 5),
		thousands(o[schemas.Scored]), thousands(o[schemas.Degraded]), thousands(o[schemas.Unscored]), thousands(o[schemas.Duplicate]), thousands(o[schemas.Rejected]),
		thousands(all.alerts), share(f.right, f.alerts), share(f.right, f.frauds))
	l.demo.env.printf("%s", fitted(line))
}

// fitted gives a cell that is wider than its column room from the first blanks
// behind which others begin, so that the rest of the row stays below its names.
func fitted(row string) string {
	for at := 0; len(row) > tableWidth+len("\n"); row = row[:at] + row[at+1:] {
		if at = strings.Index(row, "  "); at < 0 {
			break
		}
	}
	return row
}

// quantile is the smallest value that a share q of the sorted values does not
// pass; 0 where there are none.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// msText writes milliseconds in no more than so many places, where that can be.
func msText(v float64, places int) string {
	for digits := 2; digits > 0; digits-- {
		if s := fmt.Sprintf("%.*f", digits, v); len(s) <= places {
			return s
		}
	}
	return fmt.Sprintf("%.0f", v)
}

func share(part, whole int64) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f", 100*float64(part)/float64(whole))
}
