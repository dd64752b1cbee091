package simulate

// world is what never changes once a bank is made: places, merchants,
// currencies, and when people pay.
type world struct {
	currencies []Currency
	num, den   []int64 // rates of the currencies between minor units
	base       uint8
	countries  []country
	cities     []city
	merchants  []merchant
	terminals  []terminal
	// byCity holds the numbers of the terminals city by city; those of online
	// merchants come last, from online on.
	byCity []uint32
	online int
	weeks  [numLives]week
}

type country struct {
	code     [2]byte
	currency uint8 // index in world.currencies
}

// city is a place in which people live and merchants sell.
type city struct {
	country   uint8
	from, end uint32 // in world.byCity
}

type merchant struct {
	trade  uint8
	city   uint16
	online bool
}

// terminal is where a merchant is paid; an online merchant's is virtual. All
// but the merchant changes with time.
type terminal struct {
	merchant uint32
	seen     uint32 // payments so far
	until    uint32 // end of its being compromised, s since the Unix epoch
	quota    uint16 // share of its payments that are fraud until then, of 1<<16
}

// trade is a merchant category.
type trade struct {
	mcc    uint16
	weight int
	amount float64 // median of what an average customer pays, major units of the base currency
	online bool
}

var trades = [...]trade{
	{5411, 24, 32, false}, // groceries
	{5812, 16, 24, false}, // restaurants
	{5814, 12, 9, false},  // fast food
	{5541, 9, 48, false},  // fuel
	{4111, 8, 6, false},   // local transport
	{5912, 7, 18, false},  // pharmacy
	{5651, 7, 55, false},  // clothing
	{5732, 4, 140, false}, // electronics
	{7011, 3, 160, false}, // hotels
	{7230, 4, 38, false},  // hairdressers
	{5999, 6, 27, false},  // other shops
	{5942, 10, 22, true},  // books
	{5816, 14, 8, true},   // games
	{4899, 10, 13, true},  // streaming
	{5311, 20, 46, true},  // department stores
	{4722, 6, 210, true},  // travel agencies
	{5691, 16, 60, true},  // fashion
	{5734, 8, 75, true},   // software
}

// Categories that belong to no merchant of the list.
const (
	mccCash     = 6011
	mccTransfer = 4829
)

var nations = [...]struct {
	code, currency string
	weight         int // of the bank's customers and merchants
}{
	{"BE", "EUR", 40}, {"NL", "EUR", 12}, {"FR", "EUR", 14}, {"DE", "EUR", 10}, {"ES", "EUR", 6},
	{"GB", "GBP", 7}, {"US", "USD", 5}, {"PL", "PLN", 3}, {"JP", "JPY", 2}, {"TN", "TND", 1},
}

func newWorld(cfg *Config, d *draw) *world {
	w := &world{currencies: cfg.Currencies}
	for i, cur := range cfg.Currencies {
		if cur.Code == cfg.BaseCurrency {
			w.base = uint8(i)
		}
	}
	for i := range cfg.Currencies {
		num, den := cfg.Currencies[i].ratio(cfg.Currencies[w.base].Digits)
		w.num, w.den = append(w.num, num), append(w.den, den)
	}
	for _, n := range nations {
		c := country{code: [2]byte{n.code[0], n.code[1]}, currency: w.base}
		for i, cur := range cfg.Currencies {
			if cur.Code == n.currency {
				c.currency = uint8(i)
			}
		}
		w.countries = append(w.countries, c)
	}
	// A city needs about forty merchants for its people to have favourites of
	// their own among them; every country has a city.
	n := min(max(cfg.Merchants/40, len(nations)), 5000)
	for i := range n {
		c := i
		if i >= len(nations) {
			c = pickNation(d)
		}
		w.cities = append(w.cities, city{country: uint8(c)})
	}
	w.addMerchants(cfg, d)
	w.placeTerminals()
	for life := range w.weeks {
		w.weeks[life] = newWeek(life)
	}
	return w
}

func pickNation(d *draw) int {
	total := 0
	for _, n := range nations {
		total += n.weight
	}
	u := d.below(total)
	for i, n := range nations {
		if u < n.weight {
			return i
		}
		u -= n.weight
	}
	panic("BUG: the weights of the nations do not add up")
}

func (w *world) addMerchants(cfg *Config, d *draw) {
	w.merchants = make([]merchant, cfg.Merchants)
	for i := range w.merchants {
		// The last city's merchants and one in eight sell online; a bank of few
		// merchants still has both sorts.
		m := merchant{online: i%8 == 1, city: w.pickCity(d)}
		m.trade = pickTrade(d, m.online)
		w.merchants[i] = m
	}
	w.terminals = make([]terminal, cfg.Terminals)
	for i := range w.terminals {
		m := i
		if i >= cfg.Merchants {
			m = d.small(cfg.Merchants)
		}
		w.terminals[i].merchant = uint32(m)
	}
}

// pickCity draws where somebody lives or sells: a nation by weight, one of its
// cities evenly.
func (w *world) pickCity(d *draw) uint16 {
	nation := uint8(pickNation(d))
	for range 64 {
		if i := d.below(len(w.cities)); w.cities[i].country == nation {
			return uint16(i)
		}
	}
	return uint16(nation) // the first cities are one of each nation
}

func pickTrade(d *draw, online bool) uint8 {
	total := 0
	for _, t := range trades {
		if t.online == online {
			total += t.weight
		}
	}
	u := d.below(total)
	for i, t := range trades {
		if t.online != online {
			continue
		}
		if u < t.weight {
			return uint8(i)
		}
		u -= t.weight
	}
	panic("BUG: the weights of the trades do not add up")
}

// placeTerminals sorts the terminals by city, those of online merchants last.
// A city without any borrows the first terminals of its neighbour.
func (w *world) placeTerminals() {
	group := func(t int) int {
		m := &w.merchants[w.terminals[t].merchant]
		if m.online {
			return len(w.cities)
		}
		return int(m.city)
	}
	from := make([]int, len(w.cities)+2)
	for t := range w.terminals {
		from[group(t)+1]++
	}
	for g := range len(w.cities) + 1 {
		from[g+1] += from[g]
	}
	w.online = from[len(w.cities)]
	for g := range w.cities {
		lo, hi := from[g], from[g+1]
		if lo == hi {
			lo = min(lo, w.online-1)
			hi = lo + 1
		}
		w.cities[g].from, w.cities[g].end = uint32(lo), uint32(hi)
	}
	w.byCity = make([]uint32, len(w.terminals))
	for t := range w.terminals {
		g := group(t)
		w.byCity[from[g]] = uint32(t)
		from[g]++
	}
}

// shop draws a terminal of a city, the first ones more often.
func (w *world) shop(d *draw, place uint16) uint32 {
	c := &w.cities[place]
	return w.byCity[int(c.from)+d.small(int(c.end-c.from))]
}

// webShop draws a terminal of an online merchant.
func (w *world) webShop(d *draw) uint32 {
	return w.byCity[w.online+d.small(len(w.byCity)-w.online)]
}

// abroad draws a city of another country than that of home.
func (w *world) abroad(d *draw, home uint16) uint16 {
	for range 64 {
		if c := d.below(len(w.cities)); w.cities[c].country != w.cities[home].country {
			return uint16(c)
		}
	}
	return uint16((int(w.cities[home].country) + 1) % len(w.countries))
}
