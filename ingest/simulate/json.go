package simulate

import (
	"strconv"

	"github.com/weir-risk/weir/schemas"
)

// AppendID appends the transaction's id.
func (t *Transaction) AppendID(dst []byte) []byte { return appendID(dst, t.Number) }

// AppendCustomer appends the customer's id, the usual key of a record whose
// card number may not be one.
func (t *Transaction) AppendCustomer(dst []byte) []byte {
	return appendDigits(append(dst, 'C'), uint64(t.Customer), 8)
}

// AppendCard appends the card's number: sixteen digits with a right check
// digit, of the range 4000 00 that no issuer has. Nothing for a transfer.
func (t *Transaction) AppendCard(dst []byte) []byte {
	if !t.HasCard {
		return dst
	}
	// One to one, since the factor has no divisor in common with 1e9, and a
	// customer's 64 cards times 1e7 customers stay below it.
	n := (uint64(t.Customer)*(cardsMax+1) + uint64(t.Card)) * 387_420_489 % 1_000_000_000
	from := len(dst)
	dst = appendDigits(append(dst, "400000"...), n, 9)
	sum := 0
	for i, c := range dst[from:] {
		v := int(c - '0')
		if i%2 == 0 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return append(dst, byte('0'+(10-sum%10)%10))
}

// AppendJSON appends the record as the built-in payments spec reads it: one
// object, no line end. Fields that a record has not are left out.
func (t *Transaction) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"id":"`...)
	dst = t.AppendID(dst)
	if t.Original != 0 {
		dst = append(dst, `","original_id":"`...)
		dst = appendID(dst, t.Original)
	}
	dst = append(dst, `","type":"`...)
	dst = append(dst, t.Type.String()...)
	dst = append(dst, `","status":"`...)
	dst = append(dst, t.Status.String()...)
	dst = append(dst, `","time":"`...)
	dst = appendTime(dst, t.Time)
	dst = append(dst, `","amount":"`...)
	dst = appendAmount(dst, t.Amount, int(t.Digits))
	dst = append(dst, `","currency":"`...)
	dst = append(dst, t.Currency[:]...)
	if t.HasCard {
		dst = append(dst, `","card":"`...)
		dst = t.AppendCard(dst)
	}
	dst = append(dst, `","customer":"`...)
	dst = t.AppendCustomer(dst)
	dst = appendNumber(dst, `","account":"A`, uint64(t.Customer)+1)
	dst = appendNumber(dst, `","counterparty":"A`, uint64(t.Payee))
	dst = appendNumber(dst, `","merchant":"M`, uint64(t.Merchant))
	dst = append(dst, `","mcc":"`...)
	dst = appendDigits(dst, uint64(t.MCC), 4)
	dst = appendNumber(dst, `","terminal":"T`, uint64(t.Terminal))
	dst = append(dst, `","country":"`...)
	dst = append(dst, t.Country[:]...)
	dst = append(dst, `","channel":"`...)
	dst = append(dst, channelNames[t.Channel]...)
	if t.Entry != NoEntry {
		dst = append(dst, `","entry_mode":"`...)
		dst = append(dst, entryNames[t.Entry]...)
	}
	if t.Device != 0 {
		dst = appendHex(append(dst, `","device":"D`...), mix(t.Device-1))
	}
	if t.IP != 0 {
		dst = append(dst, `","ip":"`...)
		for shift := 24; shift >= 0; shift -= 8 {
			dst = append(strconv.AppendUint(dst, uint64(t.IP>>shift&0xff), 10), '.')
		}
		dst = dst[:len(dst)-1]
	}
	return append(dst, `"}`...)
}

// appendNumber appends an id that is a number; 0 is none. Ids count from 0.
func appendNumber(dst []byte, name string, n uint64) []byte {
	if n == 0 {
		return dst
	}
	return appendDigits(append(dst, name...), n-1, 8)
}

func appendID(dst []byte, n uint64) []byte { return appendDigits(append(dst, "tx"...), n, 12) }

// appendDigits appends n with zeros before it up to width.
func appendDigits(dst []byte, n uint64, width int) []byte {
	var buf [20]byte
	i := len(buf)
	for n > 0 || len(buf)-i < width {
		i--
		buf[i] = byte('0' + n%10)
		n /= 10
	}
	return append(dst, buf[i:]...)
}

// mix is a one-to-one map of 32 bits: a device's name must not tell whose it is.
func mix(x uint32) uint32 {
	x = (x ^ x>>16) * 0x7feb352d
	x = (x ^ x>>15) * 0x846ca68b
	return x ^ x>>16
}

func appendHex(dst []byte, x uint32) []byte {
	for shift := 28; shift >= 0; shift -= 4 {
		dst = append(dst, "0123456789abcdef"[x>>shift&15])
	}
	return dst
}

func appendAmount(dst []byte, minor int64, digits int) []byte {
	unit := uint64(1)
	for range digits {
		unit *= 10
	}
	dst = strconv.AppendUint(dst, uint64(minor)/unit, 10)
	if digits > 0 {
		dst = appendDigits(append(dst, '.'), uint64(minor)%unit, digits)
	}
	return dst
}

// appendTime appends ms since the Unix epoch, not before it, as RFC 3339 with
// milliseconds in UTC. The date is Howard Hinnant's days_from_civil turned
// round: years that begin in March, in eras of 400.
func appendTime(dst []byte, ms int64) []byte {
	days, rest := ms/dayMs+719468, uint64(ms%dayMs)
	era, doe := days/146097, days%146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	year, month := yoe+era*400, mp+3
	if month > 12 {
		year, month = year+1, month-12
	}
	dst = append(appendDigits(dst, uint64(year), 4), '-')
	dst = append(appendDigits(dst, uint64(month), 2), '-')
	dst = append(appendDigits(dst, uint64(doy-(153*mp+2)/5+1), 2), 'T')
	dst = append(appendDigits(dst, rest/3_600_000, 2), ':')
	dst = append(appendDigits(dst, rest/60_000%60, 2), ':')
	dst = append(appendDigits(dst, rest/1000%60, 2), '.')
	return append(appendDigits(dst, rest%1000, 3), 'Z')
}

// AppendID appends the id of the transaction that the label is about.
func (l *Label) AppendID(dst []byte) []byte { return appendID(dst, l.Number) }

// AppendJSON appends the label as the labels topic takes it: one object, no
// line end.
func (l *Label) AppendJSON(dst []byte) []byte {
	var id [24]byte
	s := schemas.Label{
		TxID: appendID(id[:0], l.Number), Verdict: l.Verdict, Source: l.Source,
		KnownAt: l.KnownAt, Version: uint32(l.Version),
	}
	if l.Kind != Genuine {
		s.FraudType = kindTexts[l.Kind]
	}
	if l.Alert {
		s.Selected, s.SelectedProb = alertText, 1
	}
	return schemas.AppendLabelJSON(dst, &s)
}

// The texts of labels as bytes, so that none is made for each.
var (
	alertText = []byte("alert")
	kindTexts = func() (list [NumFraudKinds][]byte) {
		for k, name := range kindNames {
			list[k] = []byte(name)
		}
		return list
	}()
)
