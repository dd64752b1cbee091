package schemas

import (
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// ParseLabel reads a label from its JSON form (label.schema.json) into l, whose
// texts alias value. Place is left alone. Errors wrap [ErrJSON] and name the key.
func ParseLabel(value []byte, l *Label) error {
	*l = Label{Place: l.Place, Version: 1}
	if !utf8.Valid(value) {
		return fmt.Errorf("%w: broken UTF-8", ErrJSON)
	}
	var known, verdict, source bool
	err := flatObject(value, func(key, v []byte, quoted bool) error {
		var err error
		switch string(key) {
		case "tx_id":
			l.TxID = v
		case "verdict":
			l.Verdict, verdict = ParseLabelVerdict(string(v))
		case "fraud_type":
			l.FraudType = v
		case "source":
			l.Source, source = ParseLabelSource(string(v))
		case "known_at":
			l.KnownAt, err = parseTime(v)
			known = err == nil
		case "version":
			l.Version, err = parseVersion(v, quoted)
		case "selected":
			l.Selected = v
		case "selected_probability":
			var x float64
			x, err = parseNumber(v, quoted)
			l.SelectedProb = float32(x)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case len(l.TxID) == 0:
		return fmt.Errorf("%w: tx_id is missing", ErrJSON)
	case !verdict:
		return fmt.Errorf("%w: verdict is missing or not one of none, genuine, fraud", ErrJSON)
	case !source:
		return fmt.Errorf("%w: source is missing or not one of chargeback, issuer_report, customer_report, analyst, default", ErrJSON)
	case !known:
		return fmt.Errorf("%w: known_at is missing", ErrJSON)
	}
	return nil
}

func parseTime(v []byte) (int64, error) {
	t, err := time.Parse(time.RFC3339, string(v))
	if err != nil {
		return 0, fmt.Errorf("%w: %q is not a time of RFC 3339", ErrJSON, string(v))
	}
	return t.UnixMilli(), nil
}

func parseVersion(v []byte, quoted bool) (uint32, error) {
	x, err := parseNumber(v, quoted)
	if err != nil || x != float64(uint32(x)) || x < 1 || x > LabelVersionMax {
		return 0, fmt.Errorf("%w: a version is a whole number from 1 to %d", ErrJSON, LabelVersionMax)
	}
	return uint32(x), nil
}

// AppendLabelJSON appends l in its JSON form.
func AppendLabelJSON(dst []byte, l *Label) []byte {
	dst = appendJSONText(append(dst, `{"tx_id":`...), l.TxID)
	dst = append(append(dst, `,"verdict":"`...), l.Verdict.String()...)
	dst = append(append(dst, `","source":"`...), l.Source.String()...)
	dst = append(appendJSONTime(append(dst, `","known_at":"`...), l.KnownAt), `","version":`...)
	dst = strconv.AppendUint(dst, uint64(max(l.Version, 1)), 10)
	if len(l.FraudType) > 0 {
		dst = appendJSONText(append(dst, `,"fraud_type":`...), l.FraudType)
	}
	if len(l.Selected) > 0 {
		dst = appendJSONText(append(dst, `,"selected":`...), l.Selected)
		dst = appendJSONFloat(append(dst, `,"selected_probability":`...), l.SelectedProb)
	}
	return append(dst, '}')
}

// appendJSONTime appends ms since the Unix epoch as RFC 3339 in UTC.
func appendJSONTime(dst []byte, ms int64) []byte {
	return time.UnixMilli(ms).UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
}

func appendJSONFloat(dst []byte, x float32) []byte {
	if x != x || x > 3.4e38 || x < -3.4e38 {
		return append(dst, "null"...) // JSON has no NaN and no infinity
	}
	return strconv.AppendFloat(dst, float64(x), 'g', -1, 32)
}

// appendJSONText appends text as a JSON string; what is not UTF-8 becomes U+FFFD.
func appendJSONText(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for len(text) > 0 {
		c := text[0]
		if c < utf8.RuneSelf {
			switch {
			case c == '"' || c == '\\':
				dst = append(dst, '\\', c)
			case c < 0x20:
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			default:
				dst = append(dst, c)
			}
			text = text[1:]
			continue
		}
		r, n := utf8.DecodeRune(text)
		dst = utf8.AppendRune(dst, r)
		text = text[n:]
	}
	return append(dst, '"')
}
