package simulate

import "github.com/weir-risk/weir/schemas"

// plan puts off what follows from a genuine payment: its capture, its being
// undone, money coming back. A transaction has one of them at most.
func (b *Bank) plan(tx *Transaction) {
	if tx.Fraud() || tx.Type != schemas.Authorisation || tx.Status != schemas.Approved || tx.Channel == ATM {
		return
	}
	cfg, d := &b.cfg, &b.draw
	u := d.unit()
	if u < cfg.Reversed {
		b.refer(tx, schemas.Reversal, int64(d.logNormal(float64(10*minuteMs), 1.5)), 100)
		return
	}
	if u -= cfg.Reversed; u < cfg.Refunded {
		part := 100
		if d.chance(0.3) {
			part = d.between(10, 90)
		}
		b.refer(tx, schemas.Refund, int64(d.logNormal(float64(6*dayMs), 0.7)), part)
		return
	}
	if u -= cfg.Refunded; tx.Channel == Ecommerce && u < cfg.Captured {
		b.refer(tx, schemas.Capture, int64(d.logNormal(float64(dayMs), 0.5)), 100)
	}
}

// refer sends a transaction that refers to tx after a delay of ms, of percent
// of its amount.
func (b *Bank) refer(tx *Transaction, typ schemas.TxType, delay int64, percent int) {
	f := *tx
	b.number++
	f.Number, f.Original, f.Type = b.number, tx.Number, typ
	f.Time = tx.Sent + 1 + min(delay, 90*dayMs)
	f.Sent, f.Late = f.Time, false
	f.Amount = max(tx.Amount*int64(percent)/100, 1)
	f.Device, f.IP, f.Entry = 0, 0, NoEntry
	b.follow(f.Sent, &f)
}

// tell puts off what will be said about tx.
func (b *Bank) tell(tx *Transaction) {
	if tx.Type != schemas.Authorisation && tx.Type != schemas.Transfer {
		return
	}
	l, d := &b.cfg.Labels, &b.draw
	if !tx.Fraud() {
		u := d.unit()
		if u < l.AnalystGenuine {
			b.analyse(tx)
		} else if u-l.AnalystGenuine < l.Friendly && tx.HasCard {
			b.chargeBack(tx)
		}
		return
	}
	if d.chance(l.Analyst) {
		b.analyse(tx)
	}
	if tx.Status != schemas.Approved {
		return // nobody lost anything
	}
	if d.chance(l.Customer) {
		b.say(tx, schemas.CustomerReport, schemas.LabelFraud, 1, d.logNormal(l.CustomerHours*float64(hourMs), 0.8))
	}
	if d.chance(l.Chargeback) {
		b.chargeBack(tx)
	}
}

// analyse has an analyst look at tx.
func (b *Bank) analyse(tx *Transaction) {
	l, d := &b.cfg.Labels, &b.draw
	verdict := schemas.LabelGenuine
	if tx.Fraud() != d.chance(l.AnalystWrong) {
		verdict = schemas.LabelFraud
	}
	b.say(tx, schemas.Analyst, verdict, 1, d.logNormal(l.AnalystHours*float64(hourMs), 0.7))
}

// chargeBack has the money called back, and seldom the call withdrawn. What is
// no card payment is reported by the bank's own people in its place.
func (b *Bank) chargeBack(tx *Transaction) {
	l, d := &b.cfg.Labels, &b.draw
	source := schemas.Chargeback
	if !tx.HasCard {
		source = schemas.IssuerReport
	}
	delay := min(d.logNormal(l.ChargebackDays*float64(dayMs), 0.6), float64(120*dayMs))
	b.say(tx, source, schemas.LabelFraud, 1, delay)
	if d.chance(l.Withdrawn) {
		b.say(tx, source, schemas.LabelNone, 2, delay+d.logNormal(float64(20*dayMs), 0.4))
	}
}

// say makes a label known after a delay of ms from when tx was sent.
func (b *Bank) say(tx *Transaction, source schemas.LabelSource, verdict schemas.LabelVerdict, version uint8, delay float64) {
	l := Label{
		Number: tx.Number, Time: tx.Time, KnownAt: tx.Sent + 1000 + int64(delay),
		Verdict: verdict, Source: source, Version: version, Alert: source == schemas.Analyst,
	}
	if verdict == schemas.LabelFraud {
		l.Kind = tx.Kind
	}
	b.order++
	b.labels.push(l.KnownAt, b.order, l)
}
