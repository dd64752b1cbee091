package simulate

import (
	"slices"

	"github.com/weir-risk/weir/schemas"
)

// attack is a fraud under way.
type attack struct {
	kind    FraudKind
	left    uint8 // transactions to come
	step    uint8
	country uint8
	who     uint32  // the victim
	device  uint32  // the attacker's, as in [Transaction]
	ip      uint32  // likewise
	rate    float64 // of a compromised terminal: what it added to Bank.exposed
}

// moves is how many transactions an attack of a kind makes, at least and at
// most. A compromised terminal makes what its customers make.
var moves = [NumFraudKinds][2]int{
	HighAmount: {1, 2}, CompromisedTerminal: {1, 1}, StolenCard: {4, 9},
	CardTesting: {6, 13}, AccountTakeover: {2, 5}, PushPayment: {1, 2},
}

// planAttempts sets when the first attacker of each kind tries. Attackers come
// at random, twice as often as the kind's share needs, and give up where the
// share is met: so the shares hold and the times are still chance's.
func (b *Bank) planAttempts() {
	for k := range b.attempts {
		b.attempts[k] = never
		if b.share(FraudKind(k)) > 0 {
			first := b.start
			if FraudKind(k) == PushPayment {
				first += int64(b.cfg.Drift.PushPaymentDay) * dayMs
			}
			b.attempts[k] = first + b.pause(FraudKind(k))
		}
	}
	if b.cfg.Drift.ShiftDay > 0 {
		b.attempts[shift] = b.start + int64(b.cfg.Drift.ShiftDay)*dayMs
	}
	b.attempt = slices.Min(b.attempts[:])
}

// shift stands among the attempts for the moment from which the kinds weigh
// otherwise: a genuine payment is no attempt.
const shift = Genuine

// shiftKinds has the kinds weigh otherwise from now on. Shares are of what comes from
// here on; attacks under way go on.
func (b *Bank) shiftKinds(at int64) {
	b.cfg.Kinds = b.cfg.Drift.Shift
	b.cfg.Drift.PushPaymentDay = int((at - b.start) / dayMs)
	b.before, b.doneBefore = b.total, b.done
	b.attempts[shift] = never
	for k := HighAmount; k < NumFraudKinds; k++ {
		b.attempts[k] = never
		if b.share(k) > 0 {
			b.attempts[k] = at + b.pause(k)
		}
	}
	b.attempt = slices.Min(b.attempts[:])
}

// share is the share of all transactions that are to be fraud of a kind.
func (b *Bank) share(k FraudKind) float64 {
	total := 0.0
	for _, w := range b.cfg.Kinds[1:] {
		total += w
	}
	if k == Genuine || total == 0 || k == PushPayment && b.cfg.Drift.PushPaymentDay < 0 {
		return 0
	}
	return b.cfg.FraudShare * b.cfg.Kinds[k] / total
}

// pause draws the time until the next attempt of a kind.
func (b *Bank) pause(k FraudKind) int64 {
	mean := float64(moves[k][0]+moves[k][1]) / 2
	perMs := b.cfg.Rate() / 1000 * b.share(k) / mean
	return 1 + int64(min(b.draw.exponential()/(2*perMs), float64(yearMs)))
}

// tryAttack begins an attack of the kind whose attempt is due, unless there is
// enough of it.
func (b *Bank) tryAttack() {
	k := Genuine
	for b.attempts[k] != b.attempt {
		k++
	}
	at := b.attempt
	if k == shift {
		b.shiftKinds(at)
		return
	}
	b.attempts[k] = at + b.pause(k)
	b.attempt = slices.Min(b.attempts[:])
	if k == CompromisedTerminal {
		b.compromise(at)
		return
	}
	total := float64(b.total - b.before)
	if k == PushPayment && b.before == 0 {
		// Its share is one of the time in which it exists.
		since := float64(at-b.start) - float64(int64(b.cfg.Drift.PushPaymentDay)*dayMs)
		total = float64(total * since / float64(at-b.start))
	}
	if float64(b.done[k]-b.doneBefore[k]+b.planned[k]) >= b.share(k)*total {
		return
	}
	d := &b.draw
	a := attack{kind: k, who: uint32(d.below(len(b.customers))), left: uint8(d.between(moves[k][0], moves[k][1]))}
	home := b.world.cities[b.customers[a.who].home]
	switch k {
	case CardTesting, AccountTakeover:
		b.attackers++
		a.device = attackerDevices | b.attackers%(DevicesMax-1)
		a.country = b.world.cities[b.world.abroad(d, b.customers[a.who].home)].country
	case StolenCard:
		a.country = home.country
	}
	a.ip = address(a.country, uint32(d.below(1<<19)))
	b.planned[k] += int(a.left)
	b.move(&a, at)
}

// compromise begins an episode at a terminal, if what the compromised ones take
// is less than their share.
func (b *Bank) compromise(at int64) {
	const k = CompromisedTerminal
	want := b.share(k) * b.cfg.Rate() / 1000
	if b.exposed >= want || float64(b.done[k]-b.doneBefore[k]) >= float64(1.05*b.share(k)*float64(b.total-b.before))+5 {
		return
	}
	w, d := b.world, &b.draw
	mean := b.cfg.Rate() / 1000 / float64(len(w.terminals))
	var best uint32
	rate := 0.0
	for range 8 {
		c := &b.customers[d.below(len(b.customers))]
		t := c.shops[d.below(len(c.shops))]
		term := &w.terminals[t]
		if int64(term.until)*1000 > at {
			continue
		}
		// A day's worth of the mean tempers what little has been seen.
		r := (float64(term.seen) + float64(mean*float64(dayMs))) / float64(at-b.start+dayMs)
		if rate == 0 || r < rate {
			best, rate = t, r
		}
		if rate*0.6 <= want-b.exposed {
			break
		}
	}
	if rate == 0 {
		return
	}
	quota := min(0.6, max(want/rate, 0.02))
	days := int64(d.between(3, 21))
	end := at + days*dayMs
	w.terminals[best].until = uint32(end / 1000)
	w.terminals[best].quota = uint16(quota * (1 << 16))
	a := attack{kind: k, rate: float64(rate * quota)}
	b.exposed += a.rate
	b.order++
	b.attacks.push(end, b.order, a)
}

// move sets when an attacker strikes next.
func (b *Bank) move(a *attack, at int64) {
	d := &b.draw
	var wait float64
	switch a.kind {
	case HighAmount:
		wait = d.logNormal(float64(2*hourMs), 1)
	case StolenCard:
		wait = d.logNormal(float64(70*minuteMs), 1.1)
	case CardTesting:
		wait = d.logNormal(25_000, 0.8)
		if a.left == 1 {
			wait = d.logNormal(float64(50*minuteMs), 0.8)
		}
	default:
		wait = d.logNormal(float64(12*minuteMs), 1)
	}
	b.order++
	b.attacks.push(at+1+int64(wait), b.order, *a)
}

// strike makes the attacker's next transaction, and reports whether there is
// one: the end of a terminal's episode is none.
func (b *Bank) strike(tx *Transaction, a *attack, at int64) bool {
	if a.kind == CompromisedTerminal {
		b.exposed = max(b.exposed-a.rate, 0)
		return false
	}
	b.begin(tx, a.who, at)
	c := &b.customers[a.who]
	b.planned[a.kind]--
	a.left--
	switch a.kind {
	case HighAmount:
		b.strikeHigh(tx, c)
	case StolenCard:
		b.strikeStolen(tx, a, c)
	case CardTesting:
		b.strikeTesting(tx, a, c)
	case AccountTakeover:
		b.takeOver(tx, a, c)
	case PushPayment:
		b.transfer(tx, c, b.mule())
		b.money(tx, b.draw.logNormal(900*float64(c.size), 0.6))
	}
	tx.Kind = a.kind
	a.step++
	if a.left > 0 {
		b.move(a, at)
	} else if tx.HasCard && a.kind != HighAmount && c.card < cardsMax {
		c.card++ // blocked, and replaced by a new one
	}
	return true
}

// cunning is the factor by which attackers keep their amounts low by now.
func (b *Bank) cunning(at int64) float64 {
	years := float64(at-b.start) / float64(yearMs)
	return 1 / (1 + float64(b.cfg.Drift.Cunning*years))
}

func (b *Bank) strikeHigh(tx *Transaction, c *customer) {
	d := &b.draw
	if d.chance(0.5) {
		b.buyOnline(tx, c)
	} else {
		b.shopping(tx, c, 0)
	}
	b.money(tx, d.logNormal(420*float64(c.size), 0.5)*b.cunning(tx.Time))
	if d.chance(0.1) {
		tx.Status = schemas.Declined
	}
}

func (b *Bank) strikeStolen(tx *Transaction, a *attack, c *customer) {
	d := &b.draw
	// Near where the card was stolen: the customer's own town.
	t := b.world.shop(d, c.home)
	b.at(tx, t)
	b.useCard(tx, c)
	tx.Entry = Contactless
	if d.chance(0.3) {
		tx.Entry = Swipe
	}
	m := &b.world.merchants[b.world.terminals[t].merchant]
	factor := 1.2
	if a.step > 1 { // the first ones feel the way
		factor = 2.4
	}
	b.money(tx, d.logNormal(trades[m.trade].amount*factor, 0.6)*b.cunning(tx.Time))
	if d.chance(0.12) {
		tx.Status = schemas.Declined
	}
}

func (b *Bank) strikeTesting(tx *Transaction, a *attack, c *customer) {
	d := &b.draw
	t := b.world.webShop(d)
	b.at(tx, t)
	b.useCard(tx, c)
	tx.Channel, tx.Entry, tx.Device, tx.IP = Ecommerce, Keyed, a.device, a.ip
	if a.left > 0 {
		b.money(tx, d.logNormal(1.4, 0.4))
		if d.chance(0.35) {
			tx.Status = schemas.Declined
		}
		return
	}
	b.money(tx, d.logNormal(380, 0.5)*b.cunning(tx.Time))
}

func (b *Bank) takeOver(tx *Transaction, a *attack, c *customer) {
	b.transfer(tx, c, b.mule())
	tx.Device, tx.IP, tx.Country = a.device, a.ip, b.world.countries[a.country].code
	b.money(tx, b.draw.logNormal(600*float64(c.size), 0.7)*b.cunning(tx.Time))
}

// mule returns an account that no customer knew before.
func (b *Bank) mule() uint32 { return 10_000_000 + uint32(b.draw.below(2_000)) }
