package trainer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
)

// Continue returns a network that begins as n and goes on learning from all rows
// of d, whose columns are those that n was learnt from; n stays as it is. The
// encoding is kept, so that what was learnt keeps its meaning: after a few weeks
// learn one from scratch. The errors are those of LearnNetwork, and of other
// columns, widths or members.
func (n *Network) Continue(ctx context.Context, d *Dataset, o NetworkOptions, progress func(done, total int)) (*Network, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("check options: %w", err)
	}
	if err := n.Fits(len(d.Names), &o); err != nil {
		return nil, err
	}
	if f := d.Frauds(); f < fitFraudsMin || d.Rows()-f < fitFraudsMin {
		return nil, fmt.Errorf("%d rows with %d frauds: %w", d.Rows(), f, ErrTooFew)
	}
	next := *n
	next.p = slices.Clone(n.p)
	l := &learner{data: encode(d, next.inputs), pass: newPass(&next, o.Dropout), adam: newAdam(&next, &o), rng: rand.NewPCG(o.Seed, 0), options: &o}
	l.pass.rng = *rand.NewPCG(o.Seed, 1)
	return &next, l.run(ctx, progress)
}

// Fits returns an error that says what differs where n cannot go on with so many
// columns and these options.
func (n *Network) Fits(columns int, o *NetworkOptions) error {
	if columns != n.columns || o.Members != n.members || !slices.Equal(o.Widths, n.widths) {
		return fmt.Errorf("a network of %d columns, %d members and widths %v cannot go on with %d, %d and %v",
			n.columns, n.members, n.widths, columns, o.Members, o.Widths)
	}
	return nil
}
