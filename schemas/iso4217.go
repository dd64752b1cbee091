package schemas

// The currencies of ISO 4217, list one, with their decimals.
// Those that are not in the exceptions have two.
const (
	currencies2 = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG "
	currencies0 = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF "
	currencies3 = "BHD IQD JOD KWD LYD OMR TND "
	currencies4 = "CLF UYW "
)

// digits holds one more than the decimals of each code, 0 where there is none.
var digits = func() (t [26 * 26 * 26]uint8) {
	for d, list := range map[uint8]string{0: currencies0, 2: currencies2, 3: currencies3, 4: currencies4} {
		for ; len(list) >= 4; list = list[4:] {
			i, _ := currencyIndex([]byte(list[:3]))
			t[i] = d + 1
		}
	}
	return t
}()

func currencyIndex(code []byte) (int, bool) {
	if len(code) != 3 {
		return 0, false
	}
	i := 0
	for _, c := range code {
		if c < 'A' || c > 'Z' {
			return 0, false
		}
		i = i*26 + int(c-'A')
	}
	return i, true
}

// CurrencyDigits returns the number of decimals of the minor unit of a currency
// of ISO 4217; false where the code is none, or is a metal or a unit of account
// that no payment is made in.
func CurrencyDigits(code []byte) (int, bool) {
	i, ok := currencyIndex(code)
	if !ok || digits[i] == 0 {
		return 0, false
	}
	return int(digits[i]) - 1, true
}
