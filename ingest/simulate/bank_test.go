package simulate

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/weir-risk/weir/schemas"
)

func small() Config {
	cfg := DefaultConfig()
	cfg.Customers, cfg.Merchants, cfg.Terminals, cfg.Devices, cfg.Days = 800, 400, 700, 850, 120
	return cfg
}

func mustNew(t testing.TB, cfg Config) *Bank {
	t.Helper()
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func hashOf(t *testing.T, cfg Config) string {
	b := mustNew(t, cfg)
	h := sha256.New()
	var tx Transaction
	var l Label
	var buf []byte
	for b.Next(&tx) {
		for b.NextLabel(&l) {
			buf = append(l.AppendJSON(buf[:0]), '\n')
			h.Write(buf)
		}
		buf = append(tx.AppendJSON(buf[:0]), byte('0'+tx.Kind), '\n')
		h.Write(buf)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// The bytes of a seed are a promise to whoever reports figures on it: the
// golden hash says when a change breaks it, here and on other processors.
func TestSameSeedGivesSameBytes(t *testing.T) {
	cfg := small()
	cfg.Days = 40
	const golden = "eda2edb722fa55dd"
	a, b := hashOf(t, cfg), hashOf(t, cfg)
	if a != b {
		t.Fatalf("one seed gives %s and %s", a, b)
	}
	if a != golden {
		t.Errorf("seed %d gives %s, golden is %s", cfg.Seed, a, golden)
	}
	cfg.Seed++
	if c := hashOf(t, cfg); c == a {
		t.Error("another seed gives the same bytes")
	}
}

func TestStreamIsInOrder(t *testing.T) {
	cfg := small()
	cfg.Late, cfg.Resent = 0.02, 0.02
	b := mustNew(t, cfg)
	var tx Transaction
	var l Label
	var sent, known int64
	lates, resents, labels := 0, 0, 0
	seen := make(map[uint64]Transaction)
	check := func() {
		if l.KnownAt < known {
			t.Fatalf("label known at %d after one at %d", l.KnownAt, known)
		}
		known = l.KnownAt
		first, ok := seen[l.Number]
		if !ok || first.Time != l.Time || l.KnownAt <= first.Sent {
			t.Fatalf("label %+v of a transaction not yet sent: %+v", l, first)
		}
		labels++
	}
	for b.Next(&tx) {
		if tx.Sent < sent {
			t.Fatalf("%+v sent before %d", tx, sent)
		}
		if tx.Time > tx.Sent || tx.Time < tx.Sent && !tx.Late && !tx.Resent {
			t.Fatalf("%+v is late and does not say so", tx)
		}
		sent = tx.Sent
		for b.NextLabel(&l) {
			if check(); l.KnownAt > tx.Sent {
				t.Fatalf("label of %d before a transaction of %d", l.KnownAt, tx.Sent)
			}
		}
		first, again := seen[tx.Number]
		if again != tx.Resent {
			t.Fatalf("%+v: number seen before: %t", tx, again)
		}
		if again {
			first.Sent, first.Resent = tx.Sent, true
			if resents++; first != tx {
				t.Fatalf("sent again as %+v, first as %+v", tx, first)
			}
			continue
		}
		if tx.Late {
			lates++
		}
		if _, ok := seen[tx.Original]; tx.Original != 0 && !ok {
			t.Fatalf("%+v refers to what was not sent", tx)
		}
		seen[tx.Number] = tx
	}
	for b.LastLabel(&l) {
		check()
	}
	if min(lates, resents, labels) < 500 {
		t.Errorf("%d late, %d sent again, %d labels: too few to tell", lates, resents, labels)
	}
}

func TestShares(t *testing.T) {
	cfg := small()
	b := mustNew(t, cfg)
	var tx Transaction
	var types [schemas.NumTxTypes]int
	declined, customers := 0, make(map[uint32]bool)
	lastDay := cfg.Start.AddDate(0, 0, cfg.Days).UnixMilli()
	firstPush := int64(math.MaxInt64)
	for b.Next(&tx) {
		if tx.Sent >= lastDay || tx.Time < cfg.Start.UnixMilli() {
			t.Fatalf("%+v is outside of the days asked for", tx)
		}
		types[tx.Type]++
		customers[tx.Customer] = true
		if tx.Status == schemas.Declined {
			declined++
		}
		if tx.Kind == PushPayment {
			firstPush = min(firstPush, tx.Time)
		}
	}
	total, kinds := b.Counts()
	f := func(name string, got int, share, slack float64) {
		t.Helper()
		want := share * float64(total)
		t.Logf("%-22s %7d of %d, %.4f of what was asked", name, got, total, float64(got)/want)
		if math.Abs(float64(got)-want) > slack*want {
			t.Errorf("%s: %d, want about %.0f", name, got, want)
		}
	}
	f("asked", int(cfg.TxPerDay*float64(cfg.Customers*cfg.Days)), 1, 0.15)
	for k := HighAmount; k < PushPayment; k++ {
		f(k.String(), kinds[k], cfg.FraudShare*cfg.Kinds[k], 0.25)
	}
	months := float64(cfg.Days-cfg.Drift.PushPaymentDay) / float64(cfg.Days)
	f(PushPayment.String(), kinds[PushPayment], cfg.FraudShare*cfg.Kinds[PushPayment]*months, 0.4)
	if appear := cfg.Start.AddDate(0, 0, cfg.Drift.PushPaymentDay).UnixMilli(); firstPush < appear {
		t.Error("the new kind of fraud came too soon")
	}
	f("reversal", types[schemas.Reversal], cfg.Reversed*0.85, 0.25)
	f("refund", types[schemas.Refund], cfg.Refunded*0.85, 0.25)
	f("declined", declined, cfg.Declined, 0.25)
	if types[schemas.Capture] == 0 || types[schemas.Transfer] == 0 {
		t.Errorf("types %v", types)
	}
	if len(customers) < cfg.Customers*98/100 {
		t.Errorf("only %d of %d customers paid", len(customers), cfg.Customers)
	}
}

// TestShift has the kinds of fraud weigh otherwise from a day on: all is as it was
// before, and then the shares are the new ones.
func TestShift(t *testing.T) {
	cfg := small()
	cfg.Customers, cfg.Drift.PushPaymentDay, cfg.Days = 2000, -1, 60
	cfg.Drift.ShiftDay, cfg.Drift.Shift = 30, [NumFraudKinds]float64{HighAmount: 1, PushPayment: 3}
	same := cfg
	same.Drift.ShiftDay = 0
	a, b := mustNew(t, cfg), mustNew(t, same)
	day := cfg.Start.UnixMilli() + 30*dayMs
	var x, y Transaction
	for a.Next(&x) && x.Sent < day {
		if b.Next(&y); x != y {
			t.Fatalf("before the shift it is %+v, without one %+v", x, y)
		}
	}
	var kinds [NumFraudKinds]int
	total := 0
	for a.Next(&x) {
		if total++; x.Sent > day+2*dayMs { // what was under way goes on
			kinds[x.Kind]++
		}
	}
	frauds := 0
	for _, n := range kinds[1:] {
		frauds += n
	}
	share := func(k FraudKind) float64 { return float64(kinds[k]) / float64(frauds) }
	if got := float64(frauds) / float64(total); math.Abs(got-cfg.FraudShare) > 0.25*cfg.FraudShare {
		t.Errorf("%.4f are fraud after the shift, want %.4f", got, cfg.FraudShare)
	}
	if share(PushPayment) < 0.6 || share(HighAmount) < 0.1 || share(StolenCard)+share(CardTesting)+share(AccountTakeover) > 0.05 {
		t.Errorf("kinds after the shift: %v", kinds)
	}
	_, before := b.Counts()
	if before[PushPayment] > 0 || before[StolenCard] == 0 {
		t.Errorf("kinds without a shift: %v", before)
	}
}

func TestSwitchedOffThingsStayAway(t *testing.T) {
	cfg := small()
	cfg.FraudShare, cfg.Declined, cfg.Captured, cfg.Reversed, cfg.Refunded, cfg.Resent, cfg.Late = 0, 0, 0, 0, 0, 0, 0
	cfg.Labels = Labels{}
	b := mustNew(t, cfg)
	var tx Transaction
	var l Label
	for b.Next(&tx) {
		if tx.Fraud() || tx.Status != schemas.Approved || tx.Original != 0 || tx.Sent != tx.Time || tx.Resent {
			t.Fatalf("%+v", tx)
		}
	}
	if b.LastLabel(&l) {
		t.Fatalf("%+v", l)
	}
	cfg = small()
	cfg.Days, cfg.Drift.PushPaymentDay = 30, -1
	b = mustNew(t, cfg)
	for b.Next(&tx) {
		if tx.Kind == PushPayment {
			t.Fatalf("%+v", tx)
		}
	}
}

// record is the JSON of a record, decoded by somebody else's decoder.
type record struct {
	ID, Type, Status, Time, Amount, Currency, Card, Customer, Account string
	Counterparty, Merchant, MCC, Terminal, Country, Channel, Device   string
	IP                                                                string
	OriginalID                                                        string `json:"original_id"`
	EntryMode                                                         string `json:"entry_mode"`
}

func TestJSONIsValidAndSaysWhatTheTransactionIs(t *testing.T) {
	cfg := small()
	if cfg.Days = 60; testing.Short() {
		cfg.Days = 15
	}
	b := mustNew(t, cfg)
	var tx Transaction
	var buf []byte
	currencies := make(map[string]int)
	var l Label
	var parsed schemas.Label
	for b.Next(&tx) {
		for b.NextLabel(&l) {
			buf = l.AppendJSON(buf[:0])
			if err := schemas.ParseLabel(buf, &parsed); err != nil {
				t.Fatalf("%s: %v", buf, err)
			}
			if string(parsed.TxID) != string(l.AppendID(nil)) || parsed.KnownAt != l.KnownAt || parsed.Verdict != l.Verdict ||
				parsed.Source != l.Source || parsed.Version != uint32(l.Version) {
				t.Fatalf("%s: %+v, of %+v", buf, parsed, l)
			}
		}
		buf = tx.AppendJSON(buf[:0])
		var r record
		dec := json.NewDecoder(bytes.NewReader(buf))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&r); err != nil {
			t.Fatalf("%s: %v", buf, err)
		}
		at, err := time.Parse(time.RFC3339Nano, r.Time)
		if err != nil || at.UnixMilli() != tx.Time || len(r.Time) != len("2025-01-01T00:00:00.000Z") {
			t.Fatalf("%s: time of %d: %v", buf, tx.Time, err)
		}
		amount, err := strconv.ParseFloat(r.Amount, 64)
		if err != nil || math.Round(amount*math.Pow10(int(tx.Digits))) != float64(tx.Amount) || tx.Amount <= 0 {
			t.Fatalf("%s: amount of %d: %v", buf, tx.Amount, err)
		}
		if tx.HasCard != (r.Card != "") || r.Card != "" && !luhn(r.Card) {
			t.Fatalf("%s: card %q", buf, r.Card)
		}
		if (r.Counterparty != "") != (r.Type == "transfer") || (r.OriginalID != "") != (tx.Original != 0) {
			t.Fatalf("%s", buf)
		}
		if r.ID == "" || r.Customer == "" || r.Country == "" || len(r.MCC) != 4 || r.Channel == "" {
			t.Fatalf("%s: a field is missing", buf)
		}
		currencies[r.Currency]++
	}
	if len(currencies) != len(cfg.Currencies) {
		t.Errorf("currencies %v", currencies)
	}
}

// luhn holds a card number to ISO/IEC 7812 from the right, unlike AppendCard.
func luhn(card string) bool {
	sum := 0
	for i := range len(card) {
		v := int(card[len(card)-1-i] - '0')
		if i%2 == 1 {
			v = v*2/10 + v*2%10
		}
		sum += v
	}
	return len(card) == 16 && card[:6] == "400000" && sum%10 == 0
}

func TestAppendTime(t *testing.T) {
	f := func(want string) {
		t.Helper()
		at, err := time.Parse(time.RFC3339Nano, want)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(appendTime(nil, at.UnixMilli())); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	f("1970-01-01T00:00:00.000Z")
	f("1999-12-31T23:59:59.999Z")
	f("2000-02-29T12:00:00.001Z")
	f("2000-03-01T00:00:00.000Z")
	f("2100-02-28T23:00:00.010Z")
	f("2100-03-01T00:00:00.000Z")
	f("2024-02-29T00:00:00.000Z")
	d := newDraw(3, 3)
	for range 20_000 {
		ms := int64(d.below(250 * 365 * int(dayMs)))
		want := time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
		if got := string(appendTime(nil, ms)); got != want {
			t.Fatalf("%d: %s, want %s", ms, got, want)
		}
	}
}

func TestBankDoesNotAllocate(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine, and long before it is at its size")
	}
	cfg := small()
	cfg.Days = 0
	b := mustNew(t, cfg)
	var tx Transaction
	var l Label
	for range 2_000_000 { // what is under way must have reached its size
		b.Next(&tx)
		for b.NextLabel(&l) {
		}
	}
	buf := make([]byte, 0, 1024)
	allocs := testing.AllocsPerRun(10, func() {
		for range 10_000 {
			b.Next(&tx)
			buf = tx.AppendJSON(buf[:0])
			for b.NextLabel(&l) {
				buf = l.AppendJSON(buf[:0])
			}
		}
	})
	// A queue may still grow once in a while.
	if allocs > 1 {
		t.Errorf("%g allocations in 10,000 transactions", allocs)
	}
}

// Banks at the edges of what is allowed run to their end.
func TestSmallAndSeldomBanks(t *testing.T) {
	f := func(change func(c *Config)) {
		t.Helper()
		cfg := small()
		cfg.Days = 20
		change(&cfg)
		b := mustNew(t, cfg)
		var tx Transaction
		n := 0
		for n < 200_000 && b.Next(&tx) {
			n++
		}
		if total, _ := b.Counts(); total != n {
			t.Errorf("%d transactions, counted %d", n, total)
		}
	}
	f(func(c *Config) { c.Customers, c.Merchants, c.Terminals, c.Devices = 1, 2, 2, 1 })
	f(func(c *Config) { c.Customers, c.TxPerDay = 3, 1e-4 })
	f(func(c *Config) { c.Customers, c.TxPerDay = 20, 1e6 })
	f(func(c *Config) { c.Customers, c.Days, c.TxPerDay = 2, 0, 1 })
	f(func(c *Config) { c.FraudShare = 0.2 })
	f(func(c *Config) { c.Labels.Chargeback, c.Labels.ChargebackDays = 1, 0 })
	f(func(c *Config) { c.Currencies = c.Currencies[:1] })
	f(func(c *Config) { c.Kinds = [NumFraudKinds]float64{} })
	f(func(c *Config) { c.Start = time.Date(2150, 12, 30, 23, 59, 59, 999, time.UTC) })
	f(func(c *Config) { c.Start = time.Date(1971, 1, 1, 0, 0, 0, 0, time.UTC) })
}

func TestConfigFailure(t *testing.T) {
	f := func(spoil func(c *Config)) {
		t.Helper()
		cfg := DefaultConfig()
		spoil(&cfg)
		if _, err := New(cfg); err == nil {
			t.Error("taken")
		}
	}
	f(func(c *Config) { c.Customers = 0 })
	f(func(c *Config) { c.Merchants = 1 })
	f(func(c *Config) { c.Terminals = c.Merchants - 1 })
	f(func(c *Config) { c.Devices = 0 })
	f(func(c *Config) { c.Devices = DevicesMax + 1 })
	f(func(c *Config) { c.Days = -1 })
	f(func(c *Config) { c.TxPerDay = 0 })
	f(func(c *Config) { c.TxPerDay = math.Inf(1) })
	f(func(c *Config) { c.FraudShare = 0.5 })
	f(func(c *Config) { c.FraudShare = math.NaN() })
	f(func(c *Config) { c.Kinds[StolenCard] = -1 })
	f(func(c *Config) { c.Late = 1.5 })
	f(func(c *Config) { c.BaseCurrency = "XXX" })
	f(func(c *Config) { c.Currencies = []Currency{{"EUR", 2, 2 * rateUnit}} })
	f(func(c *Config) { c.Currencies[0].Digits = 4 })
	f(func(c *Config) { c.Start = time.Time{} })
}
