package features

import (
	"encoding/binary"
	"fmt"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

// Options are what an Engine needs besides its spec.
type Options struct {
	// Key keys the hashes of texts, so that nobody outside can choose texts
	// whose hashes meet. State can be read only under the key it was made with.
	Key [16]byte
	// EntityRows is how many events an entity may hold before its oldest merge
	// into buckets; 0 is 65536. It counts as the next power of two, from 16 to
	// 2^20. A smaller one makes busy merchants approximate, a larger one lets a
	// single one take more memory: 65536 rows are about 5 MB.
	EntityRows int
}

// Counters count what an Engine has met since it was made or reset. They are
// no part of the state.
type Counters struct {
	Rows          int64 // placed
	Late          int64 // placed behind their entity's newest event
	TooLate       int64
	Repeats       int64
	Conflicts     int64
	Approximate   int64 // rows computed with an entity over its budget
	Merges        int64 // times that an entity's oldest rows were merged
	Labels        int64 // applied
	Superseded    int64
	UnknownLabels int64
	Reversals     int64 // that undid their original
	Unmatched     int64 // reversals that found no original to undo
}

// A row is looked ahead for in four stages, each so many rows before the next: enough for
// the memory to answer while the rows between are taken, few enough to stay in cache.
const (
	stageRows  = 6
	aheadRows  = 4 * stageRows
	lookedRows = 32 // that are kept of what was looked up: a power of two, more than aheadRows
)

// Engine holds the rolling state and computes features. One goroutine uses it.
type Engine struct {
	spec  *spec.Spec
	kinds []*kind
	index index

	// What the spec compiled to.
	words       [][]headWord // by entity, the aggregates that are one word of its head
	vector      program      // the other aggregates, the features and the predicates
	predicates  program      // those alone, of a vector that is there
	rules       []program
	fromVector  bool // a predicate reads features
	amountUnits float64
	fields      []spec.FieldRef // that are hashed
	keyFields   [][]int         // by entity, into fields

	key0, key1 uint64
	counters   Counters
	image      *Image // that is being taken; nil for none

	// Scratch of a row.
	views  []entity
	found  entity    // the home entity that a label or reversal is at
	values []float64 // registers; see compile.go
	text   []byte
	one    [1]byte
	// What is known of rows ahead, lookedRows rows of each.
	hashes []uint64 // of fields
	keys   []uint64 // of entities
	refs   []int    // of entities, -1 not known yet
	ids    []uint64
	dead   []uint64 // pairs of id and reference that left a home ring
}

// New returns an empty engine for a spec. It panics if [Check] finds fault
// with the spec.
func New(s *spec.Spec, o Options) *Engine {
	if err := Check(s); err != nil {
		panic(fmt.Sprintf("BUG: a spec that was not checked: %v", err))
	}
	e := &Engine{
		spec: s,
		key0: binary.LittleEndian.Uint64(o.Key[:8]), key1: binary.LittleEndian.Uint64(o.Key[8:]),
		amountUnits: unitsOf(s, spec.FieldRef{Kind: spec.AmountRef}),
	}
	rows := o.EntityRows
	if rows == 0 {
		rows = 1 << 16
	}
	rows = 1 << log2(min(max(rows, entityRowsMin), entityRowsMax))
	for i := range s.Entities {
		k := makeKind(s, i, rows)
		e.kinds = append(e.kinds, k)
		e.views = append(e.views, entity{k: k, row: make([]uint64, k.stride)})
		var fields []int
		for _, f := range s.Entities[i].Keys {
			fields = append(fields, e.fieldIndex(f))
		}
		e.keyFields = append(e.keyFields, fields)
	}
	e.compile()
	n := lookedRows * len(s.Entities)
	e.keys, e.refs = make([]uint64, n), make([]int, n)
	e.hashes, e.ids = make([]uint64, lookedRows*len(e.fields)), make([]uint64, lookedRows)
	return e
}

// The bounds of a budget.
const (
	entityRowsMin = 16
	entityRowsMax = 1 << 20
)

// fieldIndex returns the place of a field among those that are hashed.
func (e *Engine) fieldIndex(f spec.FieldRef) int {
	for i := range e.fields {
		if sameField(e.fields[i], f) {
			return i
		}
	}
	e.fields = append(e.fields, f)
	return len(e.fields) - 1
}

// Width returns the number of features of a row.
func (e *Engine) Width() int { return len(e.spec.Features) }

// Counters returns what was counted so far.
func (e *Engine) Counters() Counters { return e.counters }

// Entities returns how many entities are kept, of all kinds.
func (e *Engine) Entities() int {
	n := 0
	for _, k := range e.kinds {
		for i := range k.parts {
			n += k.parts[i].count
		}
	}
	return n
}

// Bytes returns the memory that the state holds, room for growth included.
func (e *Engine) Bytes() int64 {
	n := e.index.bytes()
	for _, k := range e.kinds {
		for i := range k.parts {
			n += k.parts[i].bytes()
		}
	}
	return n
}

// Step takes, row after row, every row of b whose outcome is Scored on entry.
// x is row-major, Width() wide, and holds the vectors of the rows that end
// Scored, NaN where a feature is not defined; fallback, if not nil, the action
// of the spec's fallback rules for them. Both are left as they are for other
// rows, save that a row of a type that is only folded gets its vector where a
// where clause reads it.
//
// Verdicts become Duplicate (Repeat, Conflict), Unscored (TooLate, or
// NotScoredType with the flag FoldOnly), or Rejected (AbsurdTime: before 1970,
// or after the year 2248, beyond what a row holds); flags Late and Approximate
// are set.
func (e *Engine) Step(b *schemas.Batch, x []float32, fallback []schemas.Action) {
	w := e.Width()
	for i := -aheadRows; i < b.Len(); i++ {
		e.look(b, i)
		if i < 0 || b.Verdict[i].Outcome != schemas.Scored {
			continue
		}
		var action *schemas.Action
		if fallback != nil {
			action = &fallback[i]
		}
		e.step(b, i, i%lookedRows, x[i*w:(i+1)*w], action)
	}
	e.bury()
}

// Fold applies rows as the ledger records them: those that are Scored,
// Degraded or only folded, with their vectors x, which are read where a where
// clause needs them. It leaves the state that Step left, byte for byte.
func (e *Engine) Fold(b *schemas.Batch, x []float32) {
	w := e.Width()
	for i := -aheadRows; i < b.Len(); i++ {
		e.look(b, i)
		if i < 0 || !folded(b.Verdict[i]) {
			continue
		}
		var row []float32
		if e.fromVector {
			row = x[i*w : (i+1)*w]
		}
		e.fold(b, i, i%lookedRows, row)
	}
	e.bury()
}

// folded says whether a row with the recorded verdict changed the state.
func folded(v schemas.Verdict) bool {
	switch v.Outcome {
	case schemas.Scored, schemas.Degraded:
		return true
	case schemas.Unscored:
		return v.Reason == schemas.NotScoredType
	}
	return false
}
