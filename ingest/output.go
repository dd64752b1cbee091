package ingest

import (
	"github.com/weir-risk/weir/ingest/trace"
	"github.com/weir-risk/weir/schemas"
)

// An output is what one step wrote: ledger records, not yet durable.
type output struct {
	buf    []byte
	ends   []int    // the end in buf of each record
	keys   [][]byte // of each record, nil for none; good until the step's work is reset
	alerts []int32  // records whose action is not allow
	dead   []int32  // records that were rejected
	traced []int32  // decisions of which spans are sent
	trace  *trace.Tracer
}

func (o *output) reset() {
	o.buf, o.ends, o.keys, o.alerts, o.dead, o.traced = o.buf[:0], o.ends[:0], o.keys[:0], o.alerts[:0], o.dead[:0], o.traced[:0]
}

func (o *output) records() int { return len(o.ends) }

// record returns the bytes of record i.
func (o *output) record(i int) []byte {
	from := 0
	if i > 0 {
		from = o.ends[i-1]
	}
	return o.buf[from:o.ends[i]:o.ends[i]]
}

func (o *output) end(key []byte) { o.ends, o.keys = append(o.ends, len(o.buf)), append(o.keys, key) }

func (o *output) decide(d *schemas.Decision, key []byte) {
	if d.Action != schemas.Allow {
		o.alerts = append(o.alerts, int32(len(o.ends)))
	}
	if d.Outcome == schemas.Rejected {
		o.dead = append(o.dead, int32(len(o.ends)))
	}
	if o.trace.Sampled(&d.Place) {
		o.traced = append(o.traced, int32(len(o.ends)))
	}
	o.buf = schemas.AppendDecision(o.buf, d)
	o.end(key)
}

func (o *output) label(l *schemas.Label) {
	o.buf = schemas.AppendLabelEntry(o.buf, l)
	o.end(nil)
}

func (o *output) rate(r *schemas.Rate) {
	o.buf = schemas.AppendRateEntry(o.buf, r)
	o.end(nil)
}

func (o *output) bundle(b *schemas.BundleTaken) {
	o.buf = schemas.AppendBundleEntry(o.buf, b)
	o.end(nil)
}

func (o *output) genesis(g *schemas.Genesis) {
	o.buf = schemas.AppendGenesisEntry(o.buf, g)
	o.end(nil)
}

func (o *output) sync() {
	o.buf = schemas.AppendSyncEntry(o.buf)
	o.end(nil)
}

func (o *output) gap(g *schemas.Gap) {
	o.buf = schemas.AppendGapEntry(o.buf, g)
	o.end(nil)
}

func (o *output) spec(t *schemas.SpecTaken) {
	o.buf = schemas.AppendSpecEntry(o.buf, t)
	o.end(nil)
}
