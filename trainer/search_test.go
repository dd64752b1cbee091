package trainer

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"
)

// searchOptions are those of a quick network.
func searchOptions() Options {
	o, network := DefaultOptions(), DefaultNetwork()
	network.Epochs = 1
	o.Network = &network
	return o
}

// TestSearchDrawsOptions has a seed give the same options, valid ones, and none of
// them spoilt by a journal.
func TestSearchDrawsOptions(t *testing.T) {
	d, _ := hills(21, 1500)
	o := searchOptions()
	network := *o.Network
	s, err := NewSearch(d, o, 7)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Options(0); !reflect.DeepEqual(got, network) {
		t.Errorf("trial 0 has %+v", got)
	}
	seen := make(map[string]bool)
	for i := range 200 {
		a := s.Options(i)
		if err := a.Validate(); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		var b NetworkOptions
		if err := json.Unmarshal(text, &b); err != nil || !reflect.DeepEqual(a, b) || !reflect.DeepEqual(a, s.Options(i)) {
			t.Fatalf("trial %d has %+v, and read again %+v, %v", i, a, b, err)
		}
		seen[string(text)] = true
	}
	if len(seen) < 190 || network.Widths[0] != 64 {
		t.Errorf("%d different trials of 200; the widths of the base are %v", len(seen), network.Widths)
	}
	if best := Best([]TrialResult{{Trial: 0, AveragePrecision: .5}, {Trial: 2, AveragePrecision: .7}, {Trial: 1, AveragePrecision: .7}, {Trial: 3, AveragePrecision: math.Inf(-1)}}); best != 2 {
		t.Errorf("the best is at %d", best)
	}
	o.Network = nil
	if _, err := NewSearch(d, o, 7); err == nil {
		t.Error("a search for options of a regression")
	}
}

// TestSearchDoesNotSeeWhatIsHeldOut changes rows held out at random, which changes
// nothing, and one that calibrates, which does.
func TestSearchDoesNotSeeWhatIsHeldOut(t *testing.T) {
	if testing.Short() {
		t.Skip("learning is tested for races elsewhere")
	}
	d, _ := hills(21, 1500)
	o := searchOptions()
	s, err := NewSearch(d, o, 7)
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.Try(t.Context(), 1, nil)
	if err != nil || !(first.AveragePrecision > 0) {
		t.Fatal(first, err)
	}
	_, calibrate, held, err := Cut(d, &o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range held.X {
		held.X[i] = float32(i % 7)
	}
	for i := range held.Y {
		held.Y[i] = uint8(i % 2)
	}
	again, err := NewSearch(d, o, 7)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := again.Try(t.Context(), 1, nil); err != nil || !reflect.DeepEqual(first, second) {
		t.Errorf("%+v with other rows held out, was %+v, %v", second, first, err)
	}
	calibrate.X[0]++
	other, err := NewSearch(d, o, 7)
	if err != nil || other.Key() == s.Key() {
		t.Errorf("the key does not tell of another row that calibrates: %v", err)
	}
	if seeded, err := NewSearch(d, o, 8); err != nil || seeded.Key() == other.Key() {
		t.Errorf("the key does not tell of another seed: %v", err)
	}
}
