package spec

import (
	"slices"
	"testing"
)

func TestMovesByNature(t *testing.T) {
	s, ok := Builtin("payments")
	if !ok {
		t.Fatal("no payments spec")
	}
	var names []string
	for i := range s.Features {
		if s.MovesByNature(i) {
			names = append(names, s.Features[i].Name)
		}
	}
	for name, want := range map[string]bool{"weekday": true, "weekend": true, "first_seen_by_customer": true, "payments_before": true,
		"amount": false, "hour": false, "count_by_customer_30d": false, "amount_vs_max": false} {
		if got := slices.Contains(names, name); got != want {
			t.Errorf("%s: %v; those that move are %q", name, got, names)
		}
	}
	t.Log(names)
}
