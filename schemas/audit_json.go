package schemas

import (
	"fmt"
	"unicode/utf8"
)

// auditKeys are the keys of an audit entry, in the order in which they are written.
var auditKeys = []string{"id", "at", "who", "what", "of", "address", "detail"}

// ParseAudit reads an audit entry from its JSON form (audit.schema.json) into a,
// whose texts alias value. Errors wrap [ErrJSON] and name the key.
func ParseAudit(value []byte, a *AuditEntry) error {
	*a = AuditEntry{What: NumAuditActs}
	if !utf8.Valid(value) {
		return fmt.Errorf("%w: broken UTF-8", ErrJSON)
	}
	keys := keySet{names: auditKeys}
	err := flatObject(value, func(key, v []byte, quoted bool) error {
		i, err := keys.index(key)
		if err != nil || i < 0 {
			return err
		}
		if err := a.take(i, v, quoted); err != nil {
			return fmt.Errorf("%s: %w", auditKeys[i], err)
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case len(a.ID) == 0:
		return fmt.Errorf("%w: id is missing", ErrJSON)
	case keys.seen>>1&1 == 0:
		return fmt.Errorf("%w: at is missing", ErrJSON)
	case len(a.Who) == 0:
		return fmt.Errorf("%w: who is missing", ErrJSON)
	case a.What == NumAuditActs:
		return fmt.Errorf("%w: what is missing", ErrJSON)
	}
	for i, text := range [][]byte{a.ID, nil, a.Who, nil, a.Of, a.Address, a.Detail} {
		if len(text) > AuditTextBytesMax {
			return fmt.Errorf("%w: %s of %d bytes, expected %d at most", ErrJSON, auditKeys[i], len(text), AuditTextBytesMax)
		}
	}
	return nil
}

// take takes the value of key i.
func (a *AuditEntry) take(i int, v []byte, quoted bool) error {
	switch auditKeys[i] {
	case "id":
		return parseText(&a.ID, v, quoted)
	case "at":
		return parseTime(&a.At, v, quoted)
	case "who":
		return parseText(&a.Who, v, quoted)
	case "what":
		what, ok := ParseAuditAct(string(v))
		if !ok || !quoted {
			return fmt.Errorf("%w: %.40q is none of %v", ErrJSON, string(v), auditNames)
		}
		a.What = what
	case "of":
		return parseText(&a.Of, v, quoted)
	case "address":
		return parseText(&a.Address, v, quoted)
	case "detail":
		return parseText(&a.Detail, v, quoted)
	}
	return nil
}

// AppendAuditJSON appends a in its JSON form. A text that is too long is cut.
func AppendAuditJSON(dst []byte, a *AuditEntry) []byte {
	dst = appendJSONText(append(dst, `{"id":`...), cut(a.ID))
	dst = appendJSONTime(append(dst, `,"at":"`...), a.At)
	dst = appendJSONText(append(dst, `","who":`...), cut(a.Who))
	dst = append(append(dst, `,"what":"`...), a.What.String()...)
	dst = append(dst, '"')
	for _, f := range []struct {
		key  string
		text []byte
	}{{`,"of":`, a.Of}, {`,"address":`, a.Address}, {`,"detail":`, a.Detail}} {
		if len(f.text) > 0 {
			dst = appendJSONText(append(dst, f.key...), cut(f.text))
		}
	}
	return append(dst, '}')
}

// cut returns the beginning of text that an audit entry may hold, whole characters
// of it. What is not UTF-8 is written as U+FFFD, which is up to three times as long.
func cut(text []byte) []byte {
	for n, size := 0, 0; n < len(text); {
		r, width := utf8.DecodeRune(text[n:])
		if size += utf8.RuneLen(r); size > AuditTextBytesMax {
			return text[:n]
		}
		n += width
	}
	return text
}
