package schemas

import "fmt"

// keySet knows the keys of an object, and which of them it has had: one that
// comes twice could be read one way here and another way elsewhere.
type keySet struct {
	names []string // 64 at most
	seen  uint64
}

// index returns which key it is, -1 one that is not known and is passed over.
func (s *keySet) index(key []byte) (int, error) {
	for i, name := range s.names {
		if string(key) != name {
			continue
		}
		if s.seen>>i&1 == 1 {
			return 0, fmt.Errorf("%w: %s comes twice", ErrJSON, name)
		}
		s.seen |= 1 << i
		return i, nil
	}
	return -1, nil
}

// parseText takes a string.
func parseText(to *[]byte, v []byte, quoted bool) error {
	if !quoted {
		return fmt.Errorf("%w: expected a string", ErrJSON)
	}
	*to = v
	return nil
}

// parseTime takes a time of RFC 3339 and makes it ms since the Unix epoch.
func parseTime(to *int64, v []byte, quoted bool) error {
	var text []byte
	if err := parseText(&text, v, quoted); err != nil {
		return err
	}
	t, err := timeOf(text)
	if err != nil {
		return fmt.Errorf("%w: %q is not a time of RFC 3339", ErrJSON, string(text))
	}
	*to = t
	return nil
}
