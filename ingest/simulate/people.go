package simulate

// customer is what a customer does and where; 96 bytes, whatever he does.
type customer struct {
	clock float64 // his own time: weeks in which he is always awake
	gap   float64 // mean of his own time between two payments
	size  float32 // factor of what he pays
	sigma float32 // of the logarithm of his amounts

	// shops are his favourites, the first the most; the last two are online.
	shops [8]uint32

	abroadUntil int64 // ms since the Unix epoch; he is away until then
	home, away  uint16

	life   uint8 // index in world.weeks
	card   uint8 // how many of his cards were replaced
	online uint8 // inclination to pay online, of 1<<8
	local  uint8 // inclination to his favourites, of 1<<8
}

// Sizes of what a customer keeps to.
const (
	localShops = 6
	payees     = 4 // accounts that he transfers to
	cardsMax   = 63
)

func newCustomer(w *world, cfg *Config, d *draw) customer {
	c := customer{
		home: w.pickCity(d), life: uint8(d.small(numLives)),
		online: uint8(d.between(10, 110)), local: uint8(d.between(130, 235)),
	}
	// Mean 1 needs a median of exp(-sigma^2/2).
	perWeek := 7 * cfg.TxPerDay * d.logNormal(0.8353, 0.6)
	c.gap = 1 / perWeek
	c.size = float32(d.logNormal(0.9, 0.45))
	c.sigma = float32(0.35 + float64(0.3*d.unit()))
	for i := range c.shops {
		if i < localShops {
			c.shops[i] = w.shop(d, c.home)
		} else {
			c.shops[i] = w.webShop(d)
		}
	}
	return c
}

// place is the city where the customer is.
func (c *customer) place(now int64) uint16 {
	if now < c.abroadUntil {
		return c.away
	}
	return c.home
}

// advance moves the customer's clock to his next payment and returns its time;
// monday is the start of the week in which the bank began.
func (c *customer) advance(w *world, d *draw, monday int64) int64 {
	c.clock += float64(c.gap * d.exponential())
	weeks := int64(c.clock)
	return monday + weeks*weekMs + w.weeks[c.life].at(c.clock-float64(weeks))
}

// scramble is a fixed one-to-one map of 64 bits, from which what need not be
// stored is derived: home addresses, phones, payees.
func scramble(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// device returns the customer's phone at a time or, for a third of them now and
// then, a second one, which a household may share. People buy a new phone every
// one to three years.
func (b *Bank) device(who uint32, second bool, now int64) uint32 {
	h := scramble(uint64(who))
	if second && h%3 == 0 {
		return uint32((h >> 8) % uint64(b.cfg.Devices))
	}
	days := int64(365 + h>>16%730)
	phone := (now/dayMs + int64(h>>32)%days) / days
	return uint32(uint64(who)%uint64(b.cfg.Devices) + uint64(phone)<<24)
}

// attackerDevices is the top byte of devices that no customer has: their
// 255th phone since 1970.
const attackerDevices = 0xff << 24

// address returns an IP address of 10.0.0.0/8: the second byte says the
// country, the rest who, or for a phone network what was drawn.
func address(country uint8, host uint32) uint32 {
	return 10<<24 | uint32(country)*8<<16 | host&0x7ffff
}
