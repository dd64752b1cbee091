package simulate

import "github.com/weir-risk/weir/schemas"

// pay makes the customer's own payment, and sets when his next one is due.
func (b *Bank) pay(tx *Transaction, who uint32, at int64) {
	c := &b.customers[who]
	next := max(c.advance(b.world, &b.draw, b.monday), at)
	b.payments.sink(0, entry(min(next, b.end)-b.start, who))
	b.begin(tx, who, at)
	years := float64(at-b.start) / float64(yearMs)
	online := float64(c.online) / 256 * (1 + float64(b.cfg.Drift.Online*years))
	switch u := b.draw.unit(); {
	case u < 0.03:
		known := uint64(b.draw.below(payees))
		if b.draw.chance(0.12) { // somebody new
			known = b.draw.pcg.Uint64()
		}
		b.transfer(tx, c, payee(who, known))
		b.money(tx, b.draw.logNormal(120*float64(c.size), 0.8))
		return
	case u < 0.07:
		b.cash(tx, c)
	case u < 0.07+float64(0.93*online):
		b.buyOnline(tx, c)
	default:
		b.shopping(tx, c, years)
	}
	if b.draw.chance(b.cfg.Declined) {
		tx.Status = schemas.Declined
		if b.draw.chance(0.4) {
			b.again(tx)
		}
	}
}

// again has the customer try a second time, a little later.
func (b *Bank) again(tx *Transaction) {
	retry := *tx
	b.number++
	retry.Number = b.number
	retry.Time += int64(b.draw.between(4_000, 90_000))
	retry.Sent = retry.Time
	retry.Status = schemas.Approved
	b.follow(retry.Sent, &retry)
}

func (b *Bank) shopping(tx *Transaction, c *customer, years float64) {
	d := &b.draw
	if tx.Time >= c.abroadUntil && d.chance(0.003) {
		c.away = b.world.abroad(d, c.home)
		if d.chance(0.4) {
			c.away = uint16(d.below(len(b.world.cities)))
		}
		c.abroadUntil = tx.Time + int64(d.between(2, 12))*dayMs
	}
	place := c.place(tx.Time)
	t := b.world.shop(d, place)
	if place == c.home && uint8(d.below(256)) < c.local {
		t = c.shops[d.small(localShops)]
	}
	b.at(tx, t)
	b.useCard(tx, c)
	touch := min(0.45+float64(b.cfg.Drift.Contactless*years), 0.9)
	switch u := d.unit(); {
	case u < touch:
		tx.Entry = Contactless
	case u < 0.985:
		tx.Entry = Chip
	default:
		tx.Entry = Swipe
	}
	b.price(tx, c, t)
	b.skim(tx, t)
}

func (b *Bank) buyOnline(tx *Transaction, c *customer) {
	d := &b.draw
	t := b.world.webShop(d)
	regular := d.chance(0.6)
	if regular {
		t = c.shops[localShops+d.below(len(c.shops)-localShops)]
	}
	b.at(tx, t)
	b.useCard(tx, c)
	tx.Channel, tx.Entry = Ecommerce, Keyed
	if regular && d.chance(0.7) {
		tx.Entry = OnFile
	}
	tx.Device = 1 + b.device(tx.Customer, d.chance(0.2), tx.Time)
	b.surf(tx, c)
	b.price(tx, c, t)
	b.skim(tx, t)
}

// cash takes money from a machine: notes only.
func (b *Bank) cash(tx *Transaction, c *customer) {
	place := c.place(tx.Time)
	t := b.world.shop(&b.draw, place)
	b.at(tx, t)
	b.useCard(tx, c)
	tx.Merchant, tx.MCC = 0, mccCash
	tx.Channel, tx.Entry = ATM, Chip
	b.money(tx, b.draw.logNormal(70*float64(c.size), 0.5))
	note := int64(10)
	for range tx.Digits {
		note *= 10
	}
	tx.Amount = max((tx.Amount+note/2)/note, 1) * note
}

// transfer moves money to another account.
func (b *Bank) transfer(tx *Transaction, c *customer, payee uint32) {
	tx.Type, tx.MCC = schemas.Transfer, mccTransfer
	tx.Channel = Mobile
	if b.draw.chance(0.3) {
		tx.Channel = Web
	}
	tx.Payee = payee
	tx.Device = 1 + b.device(tx.Customer, b.draw.chance(0.1), tx.Time)
	tx.Country = b.world.countries[b.world.cities[c.home].country].code
	b.currency(tx, b.world.base)
	b.surf(tx, c)
}

// payee returns the number of the k-th account that the customer pays to.
func payee(who uint32, k uint64) uint32 {
	return 1 + uint32(scramble(uint64(who)<<8^k)>>32)%9_999_999
}

// surf gives tx the customer's address: at home mostly, else of a phone.
func (b *Bank) surf(tx *Transaction, c *customer) {
	country := b.world.cities[c.place(tx.Time)].country
	host := uint32(scramble(uint64(tx.Customer) << 20))
	if b.draw.chance(0.3) {
		host = uint32(b.draw.below(1 << 19))
	}
	tx.IP = address(country, host)
}

// at puts tx at a terminal.
func (b *Bank) at(tx *Transaction, t uint32) {
	w := b.world
	term := &w.terminals[t]
	m := &w.merchants[term.merchant]
	c := &w.countries[w.cities[m.city].country]
	term.seen++
	tx.Terminal, tx.Merchant = t+1, term.merchant+1
	tx.MCC, tx.Country = trades[m.trade].mcc, c.code
	b.currency(tx, c.currency)
}

func (b *Bank) currency(tx *Transaction, i uint8) {
	cur := &b.world.currencies[i]
	tx.Currency, tx.Digits = [3]byte([]byte(cur.Code)), uint8(cur.Digits)
}

func (b *Bank) useCard(tx *Transaction, c *customer) { tx.HasCard, tx.Card = true, c.card }

// price draws what the customer pays at a terminal.
func (b *Bank) price(tx *Transaction, c *customer, t uint32) {
	m := &b.world.merchants[b.world.terminals[t].merchant]
	b.money(tx, b.draw.logNormal(trades[m.trade].amount*float64(c.size), float64(c.sigma)))
}

// skim makes tx a fraud if its terminal is compromised: a copied card, so often
// by its magnetic stripe, and somewhat dearer goods.
func (b *Bank) skim(tx *Transaction, t uint32) {
	term := &b.world.terminals[t]
	if int64(term.until)*1000 <= tx.Time || uint16(b.draw.below(1<<16)) >= term.quota {
		return
	}
	tx.Kind = CompromisedTerminal
	tx.Amount += tx.Amount * int64(b.draw.between(0, 80)) / 100
	if tx.Channel == POS && b.draw.chance(0.3) {
		tx.Entry = Swipe
	}
}
