package decode

import (
	"bytes"
	"errors"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weir-risk/weir/schemas"
)

func TestParseRateSuccess(t *testing.T) {
	f := func(currency, rate, base string, num, den int64) {
		t.Helper()
		r, err := ParseRate([]byte(`{"currency":"`+currency+`","since":"2026-01-01T00:00:00Z","rate":`+rate+`}`), base)
		if err != nil || string(r.Currency) != currency || r.Since != 1767225600000 || r.Num != num || r.Den != den {
			t.Errorf("%s %s: %+v, %v, want %d/%d", currency, rate, r, err, num, den)
		}
	}
	f("USD", `"0.9132"`, "EUR", 2283, 2500)
	f("USD", `0.9132`, "EUR", 2283, 2500)
	f("USD", `1`, "EUR", 1, 1)
	f("JPY", `"0.0061"`, "EUR", 61, 100) // a yen is a minor unit
	f("KWD", `"3"`, "EUR", 3, 10)        // a fils is a thousandth
	f("EUR", `"163.5"`, "JPY", 327, 200)
	f("USD", `1.5e3`, "EUR", 1500, 1)
	f("USD", `"0.123456789012345678"`, "EUR", 61728394506172839, 500000000000000000)
	f("USD", `"1","note":{"by":["a",null]},"note":1,"Rate":"2"`, "EUR", 1, 1) // other keys are passed over
}

func TestParseRateFailure(t *testing.T) {
	f := func(record string, words ...string) {
		t.Helper()
		r, err := ParseRate([]byte(record), "EUR")
		if !errors.Is(err, ErrRate) {
			t.Errorf("%s: %+v, %v", record, r, err)
			return
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want %q", record, err, w)
			}
		}
	}
	f(``)
	f(`[]`, "expected an object")
	f(`{} {}`, "not JSON")
	f(`{"currency":"USD","since":"2026-01-01T00:00:00Z","rate":"1","currency":"GBP"}`, "currency comes twice")
	f(`{"currency":"USD","since":"2026-01-01T00:00:00Z","rate":"1","sinc\u0065":"2027-01-01T00:00:00Z"}`, "since comes twice")
	f(`{"rate":null,"currency":"USD","since":"2026-01-01T00:00:00Z","rate":"1"}`, "rate comes twice")
	f(`{"Currency":"USD","since":"2026-01-01T00:00:00Z","rate":"1"}`, "currency")
	f("{\"currency\":\"USD\",\"since\":\"2026-01-01T00:00:00Z\",\"rate\":\"1\",\"x\":\"\xff\"}")
	for _, currency := range []string{`"EUR"`, `"usd"`, `"USDX"`, `""`, `5`} {
		f(`{"currency":` + currency + `,"since":"2026-01-01T00:00:00Z","rate":"1"}`)
	}
	for _, since := range []string{`"2026-01-01"`, `"1969-12-31T23:59:59Z"`, `"2200-01-01T00:00:00Z"`, `1`} {
		f(`{"currency":"USD","since":` + since + `,"rate":"1"}`)
	}
	for _, rate := range []string{`"0"`, `"-1"`, `""`, `"x"`, `null`, `true`, `1e400`, `1e-19`, `"1234567890123456789"`} {
		f(`{"currency":"USD","since":"2026-01-01T00:00:00Z","rate":` + rate + `}`)
	}
	if _, err := ParseRate([]byte(`{"currency":"USD","since":"2026-01-01T00:00:00Z","rate":"1"}`), "EUX"); !errors.Is(err, ErrRate) {
		t.Error(err)
	}
}

func TestConvert(t *testing.T) {
	var r Rates
	r.Set(&schemas.Rate{Currency: []byte("USD"), Since: 1000, Num: 1, Den: 2})
	r.Set(&schemas.Rate{Currency: []byte("USD"), Since: 2000, Num: 3, Den: 2})
	r.Set(&schemas.Rate{Currency: []byte("ABC"), Since: 0, Num: 1, Den: 1})
	r.Set(&schemas.Rate{Currency: []byte("JPY"), Since: 0, Num: 1e18, Den: 1})
	r.Set(&schemas.Rate{Currency: []byte("US"), Since: 0, Num: 1, Den: 1}) // none of these three is a rate
	r.Set(&schemas.Rate{Currency: []byte("GBP"), Since: 0, Num: 0, Den: 1})
	r.Set(&schemas.Rate{Currency: []byte("GBP"), Since: 0, Num: 1, Den: -1})
	f := func(currency string, amount, at, want int64, ok bool) {
		t.Helper()
		if got, k := r.Convert([]byte(currency), amount, at); got != want || k != ok {
			t.Errorf("%d %s at %d: %d %v, want %d %v", amount, currency, at, got, k, want, ok)
		}
	}
	f("USD", 100, 999, 0, false)
	f("USD", 100, 1000, 50, true)
	f("USD", 100, 1999, 50, true)
	f("USD", 100, 2000, 150, true)
	// Half to even, and the same below zero.
	f("USD", 1, 1000, 0, true)
	f("USD", 3, 1000, 2, true)
	f("USD", 5, 1000, 2, true)
	f("USD", -1, 1000, 0, true)
	f("USD", -3, 1000, -2, true)
	f("USD", 1, 2000, 2, true)
	f("GBP", 1, 2000, 0, false)
	f("US", 1, 2000, 0, false)
	f("", 1, 2000, 0, false)
	f("JPY", 0, 0, 0, true)
	f("JPY", 1, 0, 0, false) // 10^18 is 19 digits
	f("JPY", 1e18-1, 0, 0, false)
}

// TestConvertRandom compares with big rationals.
func TestConvertRandom(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	random := func() int64 { return rnd.Int64()>>rnd.IntN(62) + 1 }
	for range 50_000 {
		var r Rates
		num, den, amount := random(), random(), random()
		amount -= random()
		r.Set(&schemas.Rate{Currency: []byte("USD"), Num: num, Den: den})
		x := new(big.Int).Mul(big.NewInt(amount), big.NewInt(num))
		x.Mul(x, big.NewInt(2)).Add(x, big.NewInt(den))
		want, rest := new(big.Int).DivMod(x, new(big.Int).Mul(big.NewInt(2), big.NewInt(den)), new(big.Int))
		if rest.Sign() == 0 && want.Bit(0) == 1 {
			want.Sub(want, big.NewInt(1))
		}
		fits := new(big.Int).Abs(want).Cmp(big.NewInt(1e18)) < 0
		got, ok := r.Convert([]byte("USD"), amount, 0)
		if ok != fits || ok && got != want.Int64() {
			t.Fatalf("seed %d: %d × %d / %d: %d %v, want %v %v", seed, amount, num, den, got, ok, want, fits)
		}
	}
}

// TestRatesOrder sets rates in different orders, more of a currency than are
// kept, and expects the same bytes; and that they survive storing.
func TestRatesOrder(t *testing.T) {
	var list []schemas.Rate
	for k := range int64(RatesMax + 50) {
		list = append(list, schemas.Rate{Currency: []byte("USD"), Since: k * 7, Num: k + 1, Den: 3})
	}
	for k := range int64(40) {
		list = append(list, schemas.Rate{Currency: []byte("GBP"), Since: k, Num: k + 1, Den: 5}, schemas.Rate{Currency: []byte("ZAR"), Since: k, Num: 1, Den: k + 5})
	}
	oldest := list[0]
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	var first []byte
	for range 3 {
		var r, loaded Rates
		for k := range list {
			r.Set(&list[k])
		}
		r.Set(&list[len(list)-1]) // a second time changes nothing
		r.Set(&oldest)            // nor does what is older than all that may be kept
		if r.Len() != RatesMax+80 {
			t.Fatalf("%d rates", r.Len())
		}
		if _, ok := r.Convert([]byte("USD"), 3, 49*7); ok {
			t.Fatal("the oldest rates are still there")
		}
		if v, ok := r.Convert([]byte("USD"), 3, 50*7); !ok || v != 51 {
			t.Fatal("the oldest rate that should be kept is not there", v, ok)
		}
		stored := r.AppendTo(nil)
		if first == nil {
			first = stored
		}
		if !bytes.Equal(stored, first) {
			t.Fatalf("seed %d: another order of the same rates gives other bytes", seed)
		}
		if err := loaded.Load(stored); err != nil || !bytes.Equal(loaded.AppendTo(nil), stored) {
			t.Fatal("not the same after loading", err)
		}
		rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
}

// FuzzRatesLoad loads any bytes: what is taken gives the same bytes again.
func FuzzRatesLoad(f *testing.F) {
	var r Rates
	r.Set(&schemas.Rate{Currency: []byte("USD"), Since: 5, Num: 1, Den: 2})
	r.Set(&schemas.Rate{Currency: []byte("GBP"), Since: 5, Num: 1, Den: 2})
	good := r.AppendTo(nil)
	f.Add(good)
	f.Add(good[:1])
	f.Add(good[:20])
	f.Add(append(append([]byte{1}, good[1+rateBytes:]...), good[1:1+rateBytes]...)) // not in order
	f.Fuzz(func(t *testing.T, data []byte) {
		var r Rates
		if err := r.Load(data); err != nil {
			if !errors.Is(err, ErrRates) || r.Len() != 0 {
				t.Fatal(err, r.Len())
			}
			return
		}
		if !bytes.Equal(r.AppendTo(nil), data) {
			t.Fatal("other bytes")
		}
	})
}
