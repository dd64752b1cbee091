package config

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Schema writes the JSON Schema of the file, for editors: the keys, what they mean, and
// of values what a schema can tell.
func Schema(all []Description) ([]byte, error) {
	root := map[string]any{}
	parts := map[string]map[string]any{}
	for _, section := range sections[1:] {
		parts[section.name] = map[string]any{}
		root[section.name] = map[string]any{"description": section.about, "type": []string{"object", "null"}, "additionalProperties": false, "properties": parts[section.name]}
	}
	for i := range all {
		d := &all[i]
		if d.Section() == "" {
			root[d.Name()] = d.schema()
		} else {
			parts[d.Section()][d.Name()] = d.schema()
		}
	}
	text, err := json.MarshalIndent(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "weir.yaml", "description": "The settings of weir's roles.",
		"type": []string{"object", "null"}, "additionalProperties": false, "properties": root,
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the schema: %w", err)
	}
	return append(text, '\n'), nil
}

// schema is that of one key.
func (d *Description) schema() map[string]any {
	item := d.itemSchema()
	if d.Join != "" {
		item = map[string]any{"anyOf": []any{item, map[string]any{"type": "array", "minItems": 1, "uniqueItems": true, "items": item}}}
	}
	item["description"] = fmt.Sprintf("%s. %s (%s)", upper(d.Usage), d.More, d.names())
	if text, same := d.Default(); same && d.Join == "" {
		item["default"] = d.value(text)
	}
	return item
}

// value is a text as JSON has it.
func (d *Description) value(text string) any {
	switch d.Kind {
	case Switch:
		return text == "true"
	case Whole, Number:
		if x, err := strconv.ParseFloat(text, 64); err == nil {
			return x
		}
	}
	if unquoted, err := strconv.Unquote(text); err == nil {
		return unquoted
	}
	return text
}

func (d *Description) itemSchema() map[string]any {
	s := map[string]any{"type": "string", "minLength": 1}
	switch d.Kind {
	case Switch:
		return map[string]any{"type": "boolean"}
	case Whole, Number:
		s = map[string]any{"type": "number"}
		if d.Kind == Whole {
			s["type"] = "integer"
		}
		if d.Above {
			s["exclusiveMinimum"] = d.Min
		} else {
			s["minimum"] = d.Min
		}
		if d.Max > d.Min {
			s["maximum"] = d.Max
		}
	case Choice:
		return map[string]any{"enum": append([]string(nil), d.Words...)}
	case Span:
		units := "ns|us|µs|ms|s|m|h"
		pattern := `^([0-9]+(\.[0-9]+)?(` + units + `))+$|^0$`
		if d.Days {
			pattern += `|^[0-9]+(\.[0-9]+)?[dw]$`
		}
		return zeroToo(map[string]any{"type": "string", "pattern": pattern}, !d.Above)
	case Bytes:
		return map[string]any{"anyOf": []any{map[string]any{"type": "string", "pattern": sizes.String()}, map[string]any{"type": "integer", "minimum": 0}}}
	case Address:
		pattern := `^[^/]*:[0-9]+$`
		for _, w := range d.Words {
			pattern += "|^" + w + "$"
		}
		s["pattern"] = pattern
		if d.Join != "" {
			s["pattern"] = `^[^/]*:[0-9]+(,[^/]*:[0-9]+)*$`
		}
	case URL:
		s["pattern"] = "^https?://"
	case Text:
		return d.bareWords(s)
	}
	return s
}

// zeroToo lets a bare 0 be a length of time.
func zeroToo(s map[string]any, zero bool) map[string]any {
	if !zero {
		return s
	}
	return map[string]any{"anyOf": []any{s, map[string]any{"const": 0}}}
}

// bareWords lets words be written without quotes that YAML takes for something else.
func (d *Description) bareWords(s map[string]any) map[string]any {
	list := []any{s}
	for _, w := range d.Words {
		switch w {
		case "true", "false":
			list = append(list, map[string]any{"const": w == "true"})
		case "1":
			list = append(list, map[string]any{"const": 1})
		}
	}
	if len(list) == 1 {
		return s
	}
	return map[string]any{"anyOf": list}
}
