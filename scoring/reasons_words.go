package scoring

import (
	"regexp"
	"strconv"
	"strings"
)

// The canonical forms of features that can be said in words: an aggregate, and
// the amount beside one. Whatever else a spec says is quoted as it is.
var (
	aggregateForm = regexp.MustCompile(`^(\w+)\((\w*)\) by ([^ ]+(?: × [^ ]+)*)(?: over (\w+))?( before)?(?: delay (\w+))?(?: where (.+))?$`)
	ratioForm     = regexp.MustCompile(`^(\w+) / (\w+\(.*)$`)
)

// nouns are what aggregates are of a thing, %s their argument.
var nouns = map[string]string{
	"count": "number of payments", "sum": "total %s", "mean": "mean %s", "geo_mean": "geometric mean %s",
	"std": "standard deviation of %s", "min": "smallest %s", "max": "largest %s", "distinct": "number of different %s",
	"last": "last %s", "first_seen": "seconds since the first payment", "since_last": "seconds since the last payment",
	"fraud_count": "number of known frauds", "fraud_rate": "share of known fraud", "fraud_run": "run of known frauds",
	"fraud_run_age": "seconds since the first of a run of known frauds",
}

// Words says unusual values of one feature as an analyst reads them.
type Words struct {
	text, before, phrase string
	ratio                bool // the value is so many times the phrase
}

// NewWords returns the words of a feature whose canonical expression is text.
func NewWords(text string) Words {
	if m := ratioForm.FindStringSubmatch(text); m != nil {
		if phrase, ok := aggregateWords(m[2]); ok {
			w := Words{text: text, phrase: phrase, ratio: true}
			if m[1] != "amount" {
				w.before = m[1] + " is "
			}
			return w
		}
	}
	if phrase, ok := aggregateWords(text); ok {
		return Words{text: phrase}
	}
	return Words{text: text}
}

// Append appends what an analyst reads of an unusual value, with the entity's
// own baseline:
//
//	amount / mean(amount) by customer over 30d   9.2 times this customer's 30-day mean amount
//	count() by card over 1h                      this card's 1-hour number of payments is 14, usually 1
//	hour(time)                                   hour(time) is 3, usually 14
func (w *Words) Append(dst []byte, u Unusual) []byte {
	if w.ratio && u.Value == u.Value {
		return append(append(appendValue(append(dst, w.before...), u.Value), " times "...), w.phrase...)
	}
	dst = append(append(dst, w.text...), " is "...)
	return appendValue(append(appendValue(dst, u.Value), ", usually "...), u.Usual)
}

// Meaning says what the number of the feature is:
//
//	amount / mean(amount) by customer over 30d   amount, in times this customer's 30-day mean amount
//	count() by card over 1h                      this card's 1-hour number of payments
//	hour(time)                                   hour(time)
func (w *Words) Meaning() string {
	if !w.ratio {
		return w.text
	}
	what := "amount"
	if w.before != "" {
		what = strings.TrimSuffix(w.before, " is ")
	}
	return what + ", in times " + w.phrase
}

// aggregateWords says an aggregate in words, if text is one.
func aggregateWords(text string) (string, bool) {
	m := aggregateForm.FindStringSubmatch(text)
	if m == nil {
		return "", false
	}
	fn, arg, entity, over, delay, where := m[1], m[2], m[3], m[4], m[6], m[7]
	noun, ok := nouns[fn]
	if !ok {
		return "", false
	}
	noun = strings.Replace(noun, "%s", arg, 1)
	words := "this " + strings.ReplaceAll(entity, " × ", " and ") + "'s "
	if n, unit, ok := span(over); ok {
		words += n + "-" + unit + " "
	} else if over != "" && over != "all" {
		words += over + " "
	}
	words += noun
	if n, unit, ok := span(delay); ok {
		words += " until " + n + " " + unit + "s ago"
	} else if delay != "" {
		words += " until " + delay + " ago"
	}
	if where != "" {
		words += " where " + where
	}
	return words, true
}

// span takes a length of time apart: 30d is 30 days.
func span(text string) (n, unit string, ok bool) {
	if text == "" {
		return "", "", false
	}
	last := len(text) - 1
	unit, ok = map[byte]string{'s': "second", 'm': "minute", 'h': "hour", 'd': "day", 'w': "week"}[text[last]]
	return text[:last], unit, ok && strings.Trim(text[:last], "0123456789") == ""
}

// appendValue appends a number in three digits or so, as people read it.
func appendValue(dst []byte, v float32) []byte {
	switch {
	case v != v:
		return append(dst, "missing"...)
	case v >= 100 || v <= -100:
		return strconv.AppendFloat(dst, float64(v), 'f', 0, 32)
	}
	return strconv.AppendFloat(dst, float64(v), 'g', 3, 32)
}
