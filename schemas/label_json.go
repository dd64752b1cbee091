package schemas

import (
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// labelKeys are the keys of a label; those of LabelEntities come last.
var labelKeys = func() []string {
	list := []string{"tx_id", "verdict", "source", "known_at", "version", "fraud_type", "selected", "selected_probability", "time", "disposition_id"}
	for _, f := range LabelEntities {
		list = append(list, f.String())
	}
	return list
}()

// labelEntity is the first of the keys of LabelEntities.
const labelEntity = 10

// ParseLabel reads a label from its JSON form (label.schema.json) into l, whose
// texts alias value. Place is left alone. Errors wrap [ErrJSON] and name the key.
func ParseLabel(value []byte, l *Label) error {
	*l = Label{Place: l.Place, Version: 1}
	if !utf8.Valid(value) {
		return fmt.Errorf("%w: broken UTF-8", ErrJSON)
	}
	keys := keySet{names: labelKeys}
	err := flatObject(value, func(key, v []byte, quoted bool) error {
		i, err := keys.index(key)
		if err != nil || i < 0 {
			return err
		}
		if err := l.take(i, v, quoted); err != nil {
			return fmt.Errorf("%s: %w", labelKeys[i], err)
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case len(l.TxID) == 0:
		return fmt.Errorf("%w: tx_id is missing", ErrJSON)
	}
	for i, name := range labelKeys[:4] {
		if keys.seen>>i&1 == 0 {
			return fmt.Errorf("%w: %s is missing", ErrJSON, name)
		}
	}
	return nil
}

// take takes the value of key i.
func (l *Label) take(i int, v []byte, quoted bool) error {
	if i >= labelEntity {
		return parseText(&l.Entity[i-labelEntity], v, quoted)
	}
	switch labelKeys[i] {
	case "tx_id":
		return parseText(&l.TxID, v, quoted)
	case "verdict":
		x, ok := ParseLabelVerdict(string(v))
		if !ok || !quoted {
			return fmt.Errorf("%w: %.40q is none of %v", ErrJSON, string(v), verdictNames)
		}
		l.Verdict = x
	case "source":
		x, ok := ParseLabelSource(string(v))
		if !ok || !quoted {
			return fmt.Errorf("%w: %.40q is none of %v", ErrJSON, string(v), sourceNames)
		}
		l.Source = x
	case "known_at":
		return parseTime(&l.KnownAt, v, quoted)
	case "version":
		x, err := parseVersion(v, quoted)
		l.Version = x
		return err
	case "fraud_type":
		return parseText(&l.FraudType, v, quoted)
	case "time":
		return parseTime(&l.Time, v, quoted)
	case "disposition_id":
		return parseText(&l.DispositionID, v, quoted)
	case "selected":
		if len(v) > 0 && !slices.Contains(selectedNames[:], string(v)) {
			return fmt.Errorf("%w: %.40q is none of %v", ErrJSON, string(v), selectedNames)
		}
		return parseText(&l.Selected, v, quoted)
	case "selected_probability":
		x, err := parseNumber(v, quoted)
		if err == nil && !(x >= 0 && x <= 1) {
			err = fmt.Errorf("%w: a probability is from 0 to 1", ErrJSON)
		}
		l.SelectedProb = float32(x)
		return err
	}
	return nil
}

// timeOf reads a time of RFC 3339 as ms since the Unix epoch.
func timeOf(v []byte) (int64, error) {
	t, err := time.Parse(time.RFC3339, string(v))
	return t.UnixMilli(), err
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
	if l.Time != 0 {
		dst = append(appendJSONTime(append(dst, `,"time":"`...), l.Time), '"')
	}
	if len(l.DispositionID) > 0 {
		dst = appendJSONText(append(dst, `,"disposition_id":`...), l.DispositionID)
	}
	for i, text := range l.Entity {
		if len(text) > 0 {
			dst = append(append(append(dst, `,"`...), labelKeys[labelEntity+i]...), `":`...)
			dst = appendJSONText(dst, text)
		}
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
