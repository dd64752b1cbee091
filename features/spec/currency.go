package spec

import "strings"

// The codes of ISO 4217 in use, by their number of decimals. Codes of precious
// metals and of testing have none and are left out.
const (
	currencies0 = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
	currencies2 = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN " +
		"BZD CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS " +
		"GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD " +
		"MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR " +
		"PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY " +
		"TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG " +
		"ANG CUC HRK SLL ZWL" // ended since 2022; histories still hold them
	currencies3 = "BHD IQD JOD KWD LYD OMR TND"
	currencies4 = "CLF UYW"
)

// CurrencyDigits returns the decimals of a currency by its ISO 4217 letters, and
// whether there is such a currency. It does not allocate.
func CurrencyDigits(code string) (digits int, ok bool) {
	if len(code) != 3 {
		return 0, false
	}
	for _, list := range [...]struct {
		codes  string
		digits int
	}{{currencies2, 2}, {currencies0, 0}, {currencies3, 3}, {currencies4, 4}} {
		if i := strings.Index(list.codes, code); i >= 0 && i%4 == 0 {
			return list.digits, true
		}
	}
	return 0, false
}
