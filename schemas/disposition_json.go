package schemas

import (
	"fmt"
	"unicode/utf8"
)

// dispositionKeys are the keys of a disposition, in the order in which they are
// written.
var dispositionKeys = []string{"id", "alert_id", "tx_id", "kind", "by", "at", "reason", "note", "previous", "until", "to", "as"}

// ParseDisposition reads a disposition from its JSON form
// (disposition.schema.json) into d, whose texts alias value. Errors wrap
// [ErrJSON] and name the key.
func ParseDisposition(value []byte, d *Disposition) error {
	*d = Disposition{Kind: NumDispositionKinds}
	if !utf8.Valid(value) {
		return fmt.Errorf("%w: broken UTF-8", ErrJSON)
	}
	keys := keySet{names: dispositionKeys}
	err := flatObject(value, func(key, v []byte, quoted bool) error {
		i, err := keys.index(key)
		if err != nil || i < 0 {
			return err
		}
		if err := d.take(i, v, quoted); err != nil {
			return fmt.Errorf("%s: %w", dispositionKeys[i], err)
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case len(d.ID) == 0:
		return fmt.Errorf("%w: id is missing", ErrJSON)
	case len(d.AlertID) == 0:
		return fmt.Errorf("%w: alert_id is missing", ErrJSON)
	case len(d.TxID) == 0:
		return fmt.Errorf("%w: tx_id is missing", ErrJSON)
	case d.Kind == NumDispositionKinds:
		return fmt.Errorf("%w: kind is missing", ErrJSON)
	case len(d.By) == 0:
		return fmt.Errorf("%w: by is missing", ErrJSON)
	case keys.seen>>5&1 == 0:
		return fmt.Errorf("%w: at is missing", ErrJSON)
	case len(d.Note) > NoteBytesMax:
		return fmt.Errorf("%w: note of %d bytes, expected %d at most", ErrJSON, len(d.Note), NoteBytesMax)
	case (d.Kind == Snoozed) != (keys.seen>>9&1 == 1):
		return fmt.Errorf("%w: until belongs to kind snoozed, and to no other", ErrJSON)
	case (d.Kind == Assigned) != (len(d.To) > 0):
		return fmt.Errorf("%w: to belongs to kind assigned, and to no other", ErrJSON)
	case d.Kind == Undone && len(d.Previous) == 0:
		return fmt.Errorf("%w: previous is missing: nothing to undo", ErrJSON)
	}
	return nil
}

// take takes the value of key i.
func (d *Disposition) take(i int, v []byte, quoted bool) error {
	switch dispositionKeys[i] {
	case "id":
		return parseText(&d.ID, v, quoted)
	case "alert_id":
		return parseText(&d.AlertID, v, quoted)
	case "tx_id":
		return parseText(&d.TxID, v, quoted)
	case "kind":
		kind, ok := ParseDispositionKind(string(v))
		if !ok || !quoted {
			return fmt.Errorf("%w: %.40q is none of %v", ErrJSON, string(v), dispositionNames)
		}
		d.Kind = kind
	case "by":
		return parseText(&d.By, v, quoted)
	case "at":
		return parseTime(&d.At, v, quoted)
	case "reason":
		return parseText(&d.Reason, v, quoted)
	case "note":
		return parseText(&d.Note, v, quoted)
	case "previous":
		return parseText(&d.Previous, v, quoted)
	case "until":
		return parseTime(&d.Until, v, quoted)
	case "to":
		return parseText(&d.To, v, quoted)
	case "as":
		as, ok := ParseStanding(string(v))
		if !ok || !quoted {
			return fmt.Errorf("%w: %.40q is none of %v", ErrJSON, string(v), standingNames[1:])
		}
		d.As = as
	}
	return nil
}

// AppendDispositionJSON appends d in its JSON form.
func AppendDispositionJSON(dst []byte, d *Disposition) []byte {
	dst = appendJSONText(append(dst, `{"id":`...), d.ID)
	dst = appendJSONText(append(dst, `,"alert_id":`...), d.AlertID)
	dst = appendJSONText(append(dst, `,"tx_id":`...), d.TxID)
	dst = append(append(dst, `,"kind":"`...), d.Kind.String()...)
	dst = appendJSONText(append(dst, `","by":`...), d.By)
	dst = append(appendJSONTime(append(dst, `,"at":"`...), d.At), '"')
	for _, f := range []struct {
		key  string
		text []byte
	}{{`,"reason":`, d.Reason}, {`,"note":`, d.Note}, {`,"previous":`, d.Previous}, {`,"to":`, d.To}} {
		if len(f.text) > 0 {
			dst = appendJSONText(append(dst, f.key...), f.text)
		}
	}
	if d.Kind == Snoozed {
		dst = append(appendJSONTime(append(dst, `,"until":"`...), d.Until), '"')
	}
	if d.As != UnknownStanding {
		dst = append(append(append(dst, `,"as":"`...), d.As.String()...), '"')
	}
	return append(dst, '}')
}
