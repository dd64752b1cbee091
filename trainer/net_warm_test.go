package trainer

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/weir-risk/weir/scoring"
)

// TestNetworkGoesOn takes a network that has learnt little on through one epoch: it
// is better than it was and than one epoch from scratch, and the old one is left as
// it was.
func TestNetworkGoesOn(t *testing.T) {
	d, _ := hills(11, 6000)
	held, _ := hills(12, 6000)
	o := DefaultNetwork()
	o.Epochs = 3
	first, err := LearnNetwork(t.Context(), d, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := slices.Clone(first.p)
	o.Epochs = 1
	next, err := first.Continue(t.Context(), d, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(first.p, before) || slices.Equal(next.p, before) {
		t.Error("the old network changed, or the new one did not")
	}
	scratch, err := LearnNetwork(t.Context(), d, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	ap := func(n *Network) float64 { return AveragePrecision(scores(t, n.Model(), held), held.Y) }
	was, is, cold := ap(first), ap(next), ap(scratch)
	if is < was || is < cold+0.02 {
		t.Errorf("average precision %.3f after going on, %.3f before, %.3f from scratch", is, was, cold)
	}
	narrow := NewDataset([]string{"x"})
	if _, err := first.Continue(t.Context(), narrow, o, nil); err == nil {
		t.Error("it goes on with other columns")
	}
	warm := DefaultOptions()
	if warm.Warm = first; warm.Validate() == nil {
		t.Error("a logistic regression begins from a network")
	}
}

// TestNetworkResumes takes a network back from what is served: it gives the same
// probabilities, and learns on as the one that it was does.
func TestNetworkResumes(t *testing.T) {
	d, _ := hills(11, 6000)
	for i := range d.Rows() { // values far out, so that bins reach beyond the linear term
		if i%50 == 0 {
			d.Row(i)[0], d.Row(i)[1] = -1e6, 1e6
		}
	}
	held, _ := hills(12, 4000)
	held.Row(0)[0], held.Row(1)[0], held.Row(2)[1] = -1e9, 1e9, 0
	o := DefaultNetwork()
	o.Epochs = 2
	first, err := LearnNetwork(t.Context(), d, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ResumeNetwork(first.Model())
	if err != nil {
		t.Fatal(err)
	}
	far := func(a, b *Network) (most float64) {
		y := scores(t, b.Model(), held)
		for i, v := range scores(t, a.Model(), held) {
			most = max(most, math.Abs(float64(v-y[i])))
		}
		return most
	}
	if most := far(first, again); most > 1e-4 {
		t.Errorf("scores differ by %g", most)
	}
	o.Epochs = 1
	on, err := first.Continue(t.Context(), d, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	onAgain, err := again.Continue(t.Context(), d, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	ap := func(n *Network) float64 { return AveragePrecision(scores(t, n.Model(), held), held.Y) }
	if a, b := ap(on), ap(onAgain); math.Abs(a-b) > 0.01 || far(on, first) < 1e-2 {
		t.Errorf("average precision %.3f after going on, %.3f after being taken back first", a, b)
	}
	l := DefaultOptions()
	r, err := Fit(t.Context(), d, l, nil)
	if err != nil {
		t.Fatal(err)
	}
	narrow := first.Model()
	narrow.Hidden = slices.Clone(narrow.Hidden)
	narrow.Hidden[1].Width = 40
	for _, m := range []*scoring.Model{r.Model(), RandomModel(1, 4, 64, 1), narrow} {
		if _, err := ResumeNetwork(m); !errors.Is(err, ErrNoNetwork) {
			t.Errorf("%v", err)
		}
	}
}
