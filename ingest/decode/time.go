package decode

const (
	dayMs   = 24 * 60 * 60 * 1000
	timeEnd = 7258118400000 // 2200-01-01T00:00:00Z in ms
)

// parseTime reads a time of RFC 3339 and returns ms since the Unix epoch, which
// may be before it. A space may stand for the T; without a zone it is UTC; what
// is beyond milliseconds is cut off. A leap second, 23:59:60 UTC, counts as the
// second behind it, as in Unix time.
func parseTime(s []byte) (ms int64, c check) {
	if len(s) < 19 || s[4] != '-' || s[7] != '-' || s[10]|0x20 != 't' && s[10] != ' ' || s[13] != ':' || s[16] != ':' {
		return 0, timeForm
	}
	century, year, month, day := two(s, 0), two(s, 2), two(s, 5), two(s, 8)
	hour, minute, second := two(s, 11), two(s, 14), two(s, 17)
	if (century | year | month | day | hour | minute | second) < 0 {
		return 0, timeForm
	}
	year += 100 * century
	if month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return 0, timeCalendar
	}
	if hour > 23 || minute > 59 || second > 60 {
		return 0, timeClock
	}
	fraction, rest := parseFraction(s[19:])
	if fraction < 0 {
		return 0, timeForm
	}
	offset, c := parseOffset(rest)
	if c != passed {
		return 0, c
	}
	ms = daysFrom1970(int64(year), int64(month), int64(day))*dayMs + int64((hour*60+minute)*60+second)*1000
	ms -= offset
	if second == 60 && ms%dayMs != 0 {
		return 0, timeClock
	}
	return ms + int64(fraction), passed
}

// two returns the number of two digits, below 0 where there are none.
func two(s []byte, at int) int {
	a, b := s[at]-'0', s[at+1]-'0'
	if a > 9 || b > 9 {
		return -1
	}
	return int(a)*10 + int(b)
}

// parseFraction reads a point and digits, if there are, and returns their
// milliseconds, -1 where the digits are missing.
func parseFraction(s []byte) (ms int, rest []byte) {
	if len(s) == 0 || s[0] != '.' {
		return 0, s
	}
	at := 1
	for unit := 100; at < len(s) && s[at]-'0' <= 9; at++ {
		ms += unit * int(s[at]-'0')
		unit /= 10
	}
	if at == 1 {
		return -1, s
	}
	return ms, s[at:]
}

// parseOffset reads Z, +hh:mm, -hh:mm or nothing, and returns ms east of UTC.
func parseOffset(s []byte) (ms int64, c check) {
	switch {
	case len(s) == 0 || len(s) == 1 && s[0]|0x20 == 'z':
		return 0, passed
	case len(s) != 6 || s[0] != '+' && s[0] != '-' || s[3] != ':':
		return 0, timeZone
	}
	hour, minute := two(s, 1), two(s, 4)
	if hour < 0 || hour > 23 || minute < 0 || minute > 59 {
		return 0, timeZone
	}
	ms = int64(hour*60+minute) * 60_000
	if s[0] == '-' {
		ms = -ms
	}
	return ms, passed
}

func daysIn(year, month int) int {
	if month == 2 {
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 30 + (month+month>>3)&1
}

// daysFrom1970 counts days of the Gregorian calendar: years that begin in March,
// in eras of 400 (Howard Hinnant's days_from_civil). The year is 0 or later.
func daysFrom1970(year, month, day int64) int64 {
	if month <= 2 {
		year, month = year-1, month+12
	}
	year += 400 // so that January of the year 0 is in an era of its own
	era := year / 400
	ofEra := year % 400
	ofYear := (153*(month-3)+2)/5 + day - 1
	return era*146097 + ofEra*365 + ofEra/4 - ofEra/100 + ofYear - 719468 - 146097
}
