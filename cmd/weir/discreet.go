package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"regexp"

	"github.com/weir-risk/weir/schemas"
)

// discreet returns JSON and text as [readable] does, card numbers without their
// middle. Anything else may hold one: what it is says the rest.
func discreet(b []byte) any {
	switch {
	case b == nil:
		return nil
	case json.Valid(b):
		return json.RawMessage(hideInJSON(b))
	case isText(b):
		return string(schemas.HideCards(b))
	case len(b) >= 5 && b[0] == 0: // as of a schema registry
		return map[string]any{"schema": binary.BigEndian.Uint32(b[1:]), "bytes": len(b)}
	}
	return map[string]any{"bytes": len(b)}
}

// scalars finds strings and numbers in JSON that is valid.
var scalars = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|-?[0-9][-+.0-9eE]*`)

// hideInJSON hides the card numbers in JSON; one that was a number is a string then.
func hideInJSON(b []byte) []byte {
	return scalars.ReplaceAllFunc(b, func(token []byte) []byte {
		if token[0] == '"' {
			return schemas.HideCards(token)
		}
		for _, c := range token {
			if c < '0' || c > '9' {
				return token
			}
		}
		if hidden := schemas.HideCards(token); bytes.IndexByte(hidden, '*') >= 0 {
			return append(append([]byte{'"'}, hidden...), '"')
		}
		return token
	})
}
