package ingest

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

// ErrOtherSpec is of a ledger that was decided with another spec than the node's.
var ErrOtherSpec = errors.New("the ledger was decided with another spec: start with that one; or have the ledger go on by this one, with --spec-before and that one's file")

// pastSpecs are the specs that decisions of a ledger may be of, beside that of the
// state which they are folded into. What they decided is decided once more for it, of
// the same transactions in the same order: the state is a function of the ledger and
// its own spec, whoever decided.
type pastSpecs struct {
	specs  map[uint64]*spec.Spec       // by the hash's prefix, as decisions name it
	faults map[uint64]error            // why the ledger's text of one cannot be read
	known  map[uint64]*spec.Succession // of those that were needed
}

// add makes specs known.
func (p *pastSpecs) add(list ...*spec.Spec) {
	for _, s := range list {
		if p.specs == nil {
			p.specs = make(map[uint64]*spec.Spec)
		}
		p.specs[schemas.HashPrefix(s.Hash)] = s
	}
}

// learn makes the spec known that a record of the ledger holds, if it does.
func (p *pastSpecs) learn(e *schemas.Entry) {
	taken := &e.Spec
	if e.Kind == schemas.EntryGenesis {
		taken = &e.Genesis.Spec
	}
	hash := sha256.Sum256(taken.Text)
	prefix := schemas.HashPrefix(hash)
	if len(taken.Text) == 0 || e.Kind != schemas.EntryGenesis && e.Kind != schemas.EntrySpec || p.specs[prefix] != nil {
		return
	}
	s, err := spec.Parse(string(taken.Name), taken.Text)
	if err == nil && s.Hash != hash {
		err = fmt.Errorf("its canonical text has another hash, %.8x", s.Hash)
	}
	if err == nil {
		p.add(s)
		return
	}
	// Another version of weir may have written it. Perhaps nobody needs it.
	if p.faults == nil {
		p.faults = make(map[uint64]error)
	}
	p.faults[prefix] = fmt.Errorf("the ledger's text of it cannot be read: %w", err)
}

// by returns how decisions of a spec are taken over by a state's own; nil where it is
// that.
func (p *pastSpecs) by(own *spec.Spec, prefix uint64) (*spec.Succession, error) {
	if prefix == schemas.HashPrefix(own.Hash) || prefix == 0 { // some tools do not say
		return nil, nil
	}
	if c := p.known[prefix]; c != nil && c.Now == own {
		return c, nil
	}
	before := p.specs[prefix]
	if before == nil {
		why := p.faults[prefix]
		if why == nil {
			why = errors.New("the ledger does not hold its text")
		}
		return nil, fmt.Errorf("a decision was made with spec %016x, this is %.8x (%s), and %w: %w", prefix, own.Hash, own.Name, why, ErrOtherSpec)
	}
	c, err := spec.NewSuccession(before, own)
	if err != nil {
		return nil, fmt.Errorf("spec %s (%.8x) cannot go on where %s (%.8x) decided: %w: %w", own.Name, own.Hash, before.Name, before.Hash, err, ErrOtherSpec)
	}
	if p.known == nil {
		p.known = make(map[uint64]*spec.Succession)
	}
	p.known[prefix] = c
	return c, nil
}
