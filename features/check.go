package features

import (
	"errors"
	"fmt"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

// The limits of a spec as the engine sees them.
const (
	entitiesMax   = 64
	aggregatesMax = 1 << 14
	featuresMax   = 1 << 14
)

// Check returns why the engine cannot keep what s asks for, every reason at
// once, or nil. What the parser of specs lets through passes; a spec made by
// hand may not.
func Check(s *spec.Spec) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(s.Entities) > entitiesMax || len(s.Aggregates) > aggregatesMax || len(s.Features) > featuresMax {
		bad("check spec: %d entities, %d aggregates, %d features, expected at most %d, %d, %d",
			len(s.Entities), len(s.Aggregates), len(s.Features), entitiesMax, aggregatesMax, featuresMax)
	}
	if len(s.Predicates) > spec.MaxPredicates {
		bad("check spec: %d where clauses, expected at most %d", len(s.Predicates), spec.MaxPredicates)
	}
	if s.Home < -1 || s.Home >= len(s.Entities) {
		bad("check spec: home is entity %d of %d", s.Home, len(s.Entities))
	}
	if s.BaseDigits < 0 || s.BaseDigits > 6 {
		bad("check spec: base currency has %d decimals, expected 0 to 6", s.BaseDigits)
	}
	for i := range s.Entities {
		if len(s.Entities[i].Keys) == 0 {
			bad("check spec: entity %d has no key", i)
		}
		for _, k := range s.Entities[i].Keys {
			if !isText(k) {
				bad("check spec: entity %d is keyed by a field that is no text", i)
			}
		}
	}
	for i := range s.Aggregates {
		if err := checkAggregate(s, &s.Aggregates[i]); err != nil {
			bad("check spec: aggregate %d, line %d: %w", i, s.Aggregates[i].Line, err)
		}
	}
	if len(errs) == 0 {
		if _, err := orderOf(s); err != nil {
			bad("check spec: %w", err)
		}
	}
	return errors.Join(errs...)
}

func checkAggregate(s *spec.Spec, a *spec.Aggregate) error {
	switch {
	case a.Fn >= spec.NumAggFns:
		return fmt.Errorf("aggregate function %d", a.Fn)
	case a.Entity < 0 || a.Entity >= len(s.Entities):
		return fmt.Errorf("entity %d of %d", a.Entity, len(s.Entities))
	case a.Where < -1 || a.Where >= len(s.Predicates):
		return fmt.Errorf("where clause %d of %d", a.Where, len(s.Predicates))
	case a.Window < 0 || a.Delay < 0:
		return fmt.Errorf("window of %d ms with a delay of %d ms, expected none below 0", a.Window, a.Delay)
	case a.Fn == spec.Distinct && a.Window == 0:
		return errors.New("distinct over all would keep every value for ever, expected a window")
	case a.Fn == spec.Distinct && !isText(a.Arg):
		return errors.New("distinct of a field that is no text")
	case takesNumber(a.Fn) && isText(a.Arg):
		return errors.New("a number's aggregate over a text")
	}
	return nil
}

// takesNumber says whether the function needs a numeric argument.
func takesNumber(fn spec.AggFn) bool {
	switch fn {
	case spec.Sum, spec.Mean, spec.GeoMean, spec.Std, spec.Min, spec.Max, spec.Last:
		return true
	}
	return false
}

// isText says whether the field is hashed where it is kept: a text, or a type
// or status.
func isText(f spec.FieldRef) bool {
	switch f.Kind {
	case spec.TextRef, spec.OwnTextRef, spec.TypeRef, spec.StatusRef:
		return true
	}
	return false
}

// reversible says whether a record can name the transaction it undoes.
func reversible(s *spec.Spec) bool {
	in := s.Input.Text[schemas.OriginalID]
	return s.Home >= 0 && (in.Path != nil || in.Constant != "")
}

// isLabelled says whether entity i has aggregates of labels.
func isLabelled(s *spec.Spec, i int) bool {
	for k := range s.Aggregates {
		if a := &s.Aggregates[k]; a.Entity == i && a.Fn.ReadsLabels() {
			return true
		}
	}
	return false
}
