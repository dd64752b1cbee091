package simulate

import (
	"errors"
	"fmt"
	"time"
)

// Limits of a bank.
const (
	CustomersMax = 10_000_000
	TerminalsMax = 10_000_000
	DevicesMax   = 1 << 24
	DaysMax      = 12_000
)

// Config is a bank and the time it is watched for. The same Config gives the
// same bytes, on every processor. The shares are of transactions unless they
// say otherwise; 0 switches a thing off.
type Config struct {
	Seed uint64

	Customers int
	Merchants int // an eighth of them sell online only
	Terminals int // at least Merchants
	Devices   int // that customers have at a time; attackers bring their own

	Start time.Time // of the first day, to the millisecond
	Days  int       // 0: as many as there can be, which is DaysMax
	// TxPerDay is the mean of a customer's own transactions a day; customers
	// differ by a log-normal factor. Declines, frauds, captures and what else
	// follows from them come on top, about a twentieth.
	TxPerDay float64

	FraudShare float64
	// Kinds weighs the kinds of fraud; index 0 (genuine) is ignored. The share
	// of a kind that has not appeared yet is left empty.
	Kinds [NumFraudKinds]float64

	Declined float64 // share of genuine payments that the bank declines
	Captured float64 // share of online payments that are captured days later
	Reversed float64
	Refunded float64
	Resent   float64 // share of records sent a second time, the same bytes
	Late     float64 // share of records that come minutes to hours late

	Labels Labels
	Drift  Drift

	BaseCurrency string
	// Currencies are those of the bank's world, the base currency among them.
	// A country whose currency is not here pays in the base currency.
	Currencies []Currency
}

// Currency is a currency and its rate, which never changes: one of its units is
// Rate millionths of a unit of the base currency.
type Currency struct {
	Code   string // ISO 4217 letters
	Digits int    // decimals, 0 to 3, as ISO 4217 says
	Rate   int64
}

// Labels is how the truth becomes known.
type Labels struct {
	// Chargeback, Customer and Analyst are the shares of frauds of which the
	// source says so; one fraud may have all three. Analysts look at a few
	// genuine payments as well, and are wrong now and then.
	Chargeback, Customer, Analyst float64
	// The medians of the log-normal delays.
	ChargebackDays, CustomerHours, AnalystHours float64
	AnalystGenuine                              float64 // share of genuine payments that an analyst finds genuine
	AnalystWrong                                float64 // share of analysts' verdicts that are not the truth
	Friendly                                    float64 // share of genuine payments that are charged back all the same
	Withdrawn                                   float64 // share of chargebacks withdrawn weeks later
}

// Drift is how the bank's world changes.
type Drift struct {
	Inflation   float64 // of amounts, a year
	Online      float64 // growth of the share of online payments, a year
	Contactless float64 // what the share of contactless entry gains, a year
	// Cunning is by how much attackers lower their amounts a year.
	Cunning float64
	// PushPaymentDay is the day from which PushPayment fraud appears; negative
	// is never.
	PushPaymentDay int
	// ShiftDay is the day from which the kinds of fraud have the weights Shift in
	// place of Config.Kinds, as where a gang moves on; 0 is never.
	ShiftDay int
	Shift    [NumFraudKinds]float64
}

// DefaultConfig returns a bank of 5,000 customers watched for 180 days: about
// 1.9 million transactions, of which 0.6 % are fraud.
func DefaultConfig() Config {
	return Config{
		Seed:      1,
		Customers: 5_000, Merchants: 2_000, Terminals: 4_000, Devices: 5_500,
		Start: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), Days: 180, TxPerDay: 2,
		FraudShare: 0.006,
		Kinds: [NumFraudKinds]float64{
			HighAmount: 0.15, CompromisedTerminal: 0.30, StolenCard: 0.25,
			CardTesting: 0.15, AccountTakeover: 0.10, PushPayment: 0.05,
		},
		Declined: 0.025, Captured: 0.10, Reversed: 0.004, Refunded: 0.006, Resent: 0.001, Late: 0.002,
		Labels: Labels{
			Chargeback: 0.85, Customer: 0.25, Analyst: 0.35,
			ChargebackDays: 6, CustomerHours: 20, AnalystHours: 4,
			AnalystGenuine: 0.002, AnalystWrong: 0.02, Friendly: 0.0001, Withdrawn: 0.02,
		},
		Drift:        Drift{Inflation: 0.04, Online: 0.25, Contactless: 0.15, Cunning: 0.30, PushPaymentDay: 90},
		BaseCurrency: "EUR",
		Currencies: []Currency{
			{"EUR", 2, 1_000_000}, {"USD", 2, 920_000}, {"GBP", 2, 1_170_000},
			{"PLN", 2, 230_000}, {"JPY", 0, 6_100}, {"TND", 3, 300_000},
		},
	}
}

// Rate returns the customers' own transactions per second of event time.
func (c *Config) Rate() float64 { return float64(c.Customers) * c.TxPerDay / 86400 }

// Validate reports every problem of c at once.
func (c *Config) Validate() error {
	var errs []error
	count := func(name string, got, lo, hi int) {
		if got < lo || got > hi {
			errs = append(errs, fmt.Errorf("%s is %d, not %d to %d", name, got, lo, hi))
		}
	}
	count("Customers", c.Customers, 1, CustomersMax)
	count("Merchants", c.Merchants, 2, TerminalsMax)
	count("Terminals", c.Terminals, max(c.Merchants, 2), TerminalsMax)
	count("Devices", c.Devices, 1, DevicesMax)
	count("Days", c.Days, 0, DaysMax)
	number := func(name string, got, hi float64) {
		if !(got >= 0 && got <= hi) {
			errs = append(errs, fmt.Errorf("%s is %g, not 0 to %g", name, got, hi))
		}
	}
	if !(c.TxPerDay >= 1e-4 && c.TxPerDay <= 1e6) {
		errs = append(errs, fmt.Errorf("TxPerDay is %g, not 0.0001 to 1e6", c.TxPerDay))
	}
	number("FraudShare", c.FraudShare, 0.2)
	for k, w := range c.Kinds {
		number("weight of "+FraudKind(k).String(), w, 1e6)
	}
	for k, w := range c.Drift.Shift {
		number("weight after the shift of "+FraudKind(k).String(), w, 1e6)
	}
	count("Drift.ShiftDay", c.Drift.ShiftDay, 0, DaysMax)
	l, d := &c.Labels, &c.Drift
	for _, s := range []struct {
		name string
		got  float64
	}{
		{"Declined", c.Declined}, {"Captured", c.Captured}, {"Reversed", c.Reversed}, {"Refunded", c.Refunded},
		{"Resent", c.Resent}, {"Late", c.Late}, {"Labels.Chargeback", l.Chargeback}, {"Labels.Customer", l.Customer},
		{"Labels.Analyst", l.Analyst}, {"Labels.AnalystGenuine", l.AnalystGenuine}, {"Labels.AnalystWrong", l.AnalystWrong},
		{"Labels.Friendly", l.Friendly}, {"Labels.Withdrawn", l.Withdrawn},
	} {
		number(s.name, s.got, 1)
	}
	number("Labels.ChargebackDays", l.ChargebackDays, 1000)
	number("Labels.CustomerHours", l.CustomerHours, 10_000)
	number("Labels.AnalystHours", l.AnalystHours, 10_000)
	number("Drift.Inflation", d.Inflation, 10)
	number("Drift.Online", d.Online, 10)
	number("Drift.Contactless", d.Contactless, 10)
	number("Drift.Cunning", d.Cunning, 10)
	return errors.Join(append(errs, c.validateMoney()...)...)
}

func (c *Config) validateMoney() (errs []error) {
	base := false
	for _, cur := range c.Currencies {
		base = base || cur.Code == c.BaseCurrency
		if len(cur.Code) != 3 || cur.Digits < 0 || cur.Digits > 3 || cur.Rate < 1 || cur.Rate > 1e9 {
			errs = append(errs, fmt.Errorf("currency %q has %d digits and the rate %d", cur.Code, cur.Digits, cur.Rate))
		}
		if cur.Code == c.BaseCurrency && cur.Rate != rateUnit {
			errs = append(errs, fmt.Errorf("base currency %s has the rate %d to itself", cur.Code, cur.Rate))
		}
	}
	if !base {
		errs = append(errs, fmt.Errorf("base currency %q is not among the currencies", c.BaseCurrency))
	}
	if y := c.Start.Year(); y < 1971 || y > 2150 {
		errs = append(errs, fmt.Errorf("the first day is in %d, not 1971 to 2150", y))
	}
	return errs
}
