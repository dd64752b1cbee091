package simulate

import (
	"math"

	"github.com/weir-risk/weir/schemas"
)

const never = math.MaxInt64

// Bank is a stream of transactions and of labels. It belongs to one goroutine.
type Bank struct {
	cfg   Config
	world *world
	draw  draw

	start, end int64 // ms since the Unix epoch
	monday     int64 // of the week of start
	now        int64 // Sent of the last transaction

	customers []customer
	payments  agenda             // the next payment of each customer
	attacks   queue[attack]      // the next move of each attacker
	later     queue[Transaction] // what follows from earlier transactions
	labels    queue[Label]

	attempts [NumFraudKinds]int64 // when the next attacker of a kind tries his luck; [shift] is of none
	attempt  int64                // the first of attempts
	planned  [NumFraudKinds]int   // transactions that running attacks will make yet
	done     [NumFraudKinds]int   // transactions by truth
	total    int
	// What total and done were when the kinds' weights changed; 0 before.
	before     int
	doneBefore [NumFraudKinds]int
	exposed    float64 // frauds a ms expected at the compromised terminals
	number     uint64  // of transactions
	attackers  uint32
	order      uint64 // of pushes: what is due at the same time comes in order
}

// New returns the bank of cfg at its start. It takes about 100 bytes a
// customer, 20 a merchant or terminal, and what is under way: attacks, labels
// not yet known, captures not yet made.
func New(cfg Config) (*Bank, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	build := newDraw(cfg.Seed, 1)
	b := &Bank{cfg: cfg, world: newWorld(&cfg, &build), draw: newDraw(cfg.Seed, 2)}
	if cfg.Days == 0 {
		cfg.Days = DaysMax
	}
	b.start = cfg.Start.UnixMilli()
	b.end = b.start + int64(cfg.Days)*dayMs
	// 1970 began on a Thursday.
	b.monday = (b.start+3*dayMs)/weekMs*weekMs - 3*dayMs
	b.now = b.start
	b.customers = make([]customer, cfg.Customers)
	b.payments = make(agenda, cfg.Customers)
	for i := range b.customers {
		c := &b.customers[i]
		*c = newCustomer(b.world, &cfg, &build)
		c.clock = b.world.weeks[c.life].share(b.start - b.monday)
		at := max(c.advance(b.world, &b.draw, b.monday), b.start)
		b.payments[i] = entry(min(at, b.end)-b.start, uint32(i))
	}
	b.payments.order()
	b.planAttempts()
	return b, nil
}

// Next stores the next transaction in tx, in the order of Sent, and reports
// whether there was one before the last day's end.
func (b *Bank) Next(tx *Transaction) bool {
	for {
		pay, who := b.payments.first()
		hit, follow := b.attacks.due(), b.later.due()
		at := min(b.start+pay, hit, follow, b.attempt)
		if at >= b.end {
			return false
		}
		switch at {
		case b.attempt:
			b.tryAttack()
		case follow:
			b.later.pop(tx)
			b.emit(tx)
			return true
		case hit:
			var a attack
			b.attacks.pop(&a)
			if b.strike(tx, &a, at) && b.launch(tx) {
				return true
			}
		default:
			b.pay(tx, who, at)
			if b.launch(tx) {
				return true
			}
		}
	}
}

// Now returns the time of the stream: Sent of the last transaction.
func (b *Bank) Now() int64 { return b.now }

// NextLabel stores in l the next label that was known at or before the last
// transaction was sent, in the order of KnownAt, and reports whether there was
// one. A caller who asks after each [Bank.Next], and writes what he gets before
// that transaction, has both streams in order.
func (b *Bank) NextLabel(l *Label) bool { return b.nextLabel(l, b.now) }

// LastLabel does as [Bank.NextLabel] for the labels that become known after the
// stream has ended.
func (b *Bank) LastLabel(l *Label) bool { return b.nextLabel(l, never-1) }

func (b *Bank) nextLabel(l *Label, until int64) bool {
	if b.labels.due() > until {
		return false
	}
	b.labels.pop(l)
	return true
}

// launch gives a new transaction its way: most are sent at once, which it
// reports.
func (b *Bank) launch(tx *Transaction) bool {
	cfg := &b.cfg
	tx.Sent = tx.Time
	u := b.draw.unit()
	if u < cfg.Late {
		tx.Late = true
		tx.Sent += min(int64(b.draw.logNormal(float64(30*minuteMs), 1.3)), 20*hourMs)
		b.follow(tx.Sent, tx)
		return false
	}
	if u-cfg.Late < cfg.Resent {
		again := *tx
		again.Resent = true
		again.Sent += 1 + int64(b.draw.logNormal(float64(20_000), 2))
		b.follow(again.Sent, &again)
	}
	b.emit(tx)
	return true
}

// emit counts a transaction that is sent now, and plans what follows from it.
func (b *Bank) emit(tx *Transaction) {
	b.now = tx.Sent
	b.total++
	if tx.Resent {
		return
	}
	b.done[tx.Kind]++
	b.plan(tx)
	b.tell(tx)
}

// follow sends tx at a later time.
func (b *Bank) follow(at int64, tx *Transaction) {
	b.order++
	b.later.push(at, b.order, *tx)
}

// begin makes tx an empty authorisation of a customer.
func (b *Bank) begin(tx *Transaction, who uint32, at int64) {
	b.number++
	*tx = Transaction{Number: b.number, Time: at, Customer: who, Status: schemas.Approved}
}

// Counts returns how many transactions there were so far, and how many of each
// kind; those that were sent again count in the first only.
func (b *Bank) Counts() (total int, kinds [NumFraudKinds]int) { return b.total, b.done }
