package ingest

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/weir-risk/weir/ingest/decode"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// An origin is one partition of a topic that the ledger was made from, read
// beside the ledger.
type origin struct {
	class      Class
	topic      string
	partition  int32
	start, end int64 // when the verification began
	last       int64 // the offset up to which every record is settled
	reader     *kafka.Reader
	records    *kafka.Records
	standing   bool     // records stands on a record that is not settled
	sealed     bool     // a label with a secret was taken: earlier versions refused them
	unread     []unread // what cannot be read, between last and where records stands
}

// peek returns the next record before limit that is not settled, nil where there
// is none. It is good until the next call.
func (o *origin) peek(ctx context.Context, limit int64) (*kafka.Record, error) {
	for {
		for o.standing || o.records != nil && o.records.Next() {
			o.standing = true
			r := o.records.Record()
			if r.Offset >= limit {
				return nil, nil
			}
			if r.Offset > o.last {
				return r, nil
			}
			o.standing = false
		}
		if o.records != nil && o.passUnread() {
			continue
		}
		if o.records != nil && o.records.Err() != nil {
			return nil, fmt.Errorf("read %s partition %d: %w", o.topic, o.partition, o.records.Err())
		}
		var err error
		if o.records, err = o.reader.Next(ctx, limit); err != nil {
			return nil, fmt.Errorf("read %s partition %d: %w", o.topic, o.partition, err)
		}
		if o.records == nil {
			return nil, nil
		}
	}
}

// passUnread passes over a batch that cannot be read, and reports whether there
// was one.
func (o *origin) passUnread() bool {
	u := unreadable(o.records.Err())
	if u == nil {
		return false
	}
	o.unread = append(o.unread, unread{schemas.Gap{From: u.First, To: u.Last}, u})
	o.records.Skip()
	return true
}

// unreadAt returns why a record cannot be read; nil where it can be, as far as is
// known.
func (o *origin) unreadAt(offset int64) error {
	for i := range o.unread {
		if u := &o.unread[i]; u.From <= offset && offset <= u.To {
			return u.cause
		}
	}
	return nil
}

// settle notes that all is settled up to an offset. The record that records stands
// on may lie behind it.
func (o *origin) settle(offset int64) {
	o.last = offset
	o.standing = o.standing && o.records.Record().Offset > offset
}

// match settles the record at an offset, which the ledger record at a ledger
// offset was made of.
func (w *audit) match(ctx context.Context, c Class, partition int32, offset, ledger int64) error {
	o := w.origin(c, partition)
	if o == nil {
		w.v.differs(c, partition, offset, fmt.Sprintf("the topic has no such partition (ledger offset %d)", ledger))
		return nil
	}
	if offset <= o.last {
		if c != Transactions { // of transactions the verifier says it
			w.v.Report.Doubled++
			w.v.find(Finding{Kind: "doubled", Topic: topicName(c), Partition: partition, Offset: offset, What: fmt.Sprintf("taken again at ledger offset %d", ledger)})
		}
		return nil
	}
	if err := w.drain(ctx, o, offset); err != nil {
		return err
	}
	r, err := o.peek(ctx, offset+1)
	switch {
	case err != nil:
		return err
	case r == nil && o.unreadAt(offset) != nil:
		w.v.differs(c, partition, offset, fmt.Sprintf("cannot be read any more: %v (ledger offset %d)", o.unreadAt(offset), ledger))
	case r == nil && offset >= o.start && c == Transactions:
		w.v.differs(c, partition, offset, fmt.Sprintf("there is no such record (ledger offset %d)", ledger))
	case r != nil:
		w.v.Source(c)
		what, err := w.compare(ctx, c, r)
		if err != nil {
			return err
		}
		if what != "" {
			w.v.differs(c, partition, offset, fmt.Sprintf("%s (ledger offset %d)", what, ledger))
		}
		w.progress(1)
	}
	o.settle(offset)
	return nil
}

// drain says of every record before limit that is not settled that it is lost.
// Labels and rates that could not be read are none.
func (w *audit) drain(ctx context.Context, o *origin, limit int64) error {
	for {
		r, err := o.peek(ctx, limit)
		if err != nil {
			return err
		}
		if r == nil {
			w.drainUnread(o, limit)
			return nil
		}
		w.drainUnread(o, r.Offset)
		w.lost(o, r)
	}
}

// lost settles a record as one that is not in the ledger.
func (w *audit) lost(o *origin, r *kafka.Record) {
	if o.class == Transactions || w.readable(o, r) {
		w.v.Source(o.class)
		w.v.Report.Lost++
		w.v.find(Finding{Kind: "lost", Topic: topicName(o.class), Partition: o.partition, Offset: r.Offset, What: "is not in the ledger"})
	}
	w.progress(1)
	o.settle(r.Offset)
}

// drainUnread says of every offset before limit that cannot be read, is not settled
// and was not given up, that its record is lost.
func (w *audit) drainUnread(o *origin, limit int64) {
	keep := o.unread[:0]
	for _, u := range o.unread {
		from, to := max(u.From, o.last+1), min(u.To, limit-1)
		if n := to - from + 1; n > 0 {
			w.v.Report.Lost += n
			w.v.find(Finding{Kind: "lost", Topic: topicName(o.class), Partition: o.partition, Offset: from,
				What: fmt.Sprintf("is not in the ledger, nor is what follows it up to %d, and cannot be read: %v", to, u.cause)})
			o.last = max(o.last, to)
		}
		if u.To >= limit {
			keep = append(keep, u)
		}
	}
	o.unread = keep
}

// readable reports whether a label or a rate is one that a scorer takes.
func (w *audit) readable(o *origin, r *kafka.Record) bool {
	if o.class == Labels {
		var l schemas.Label
		if schemas.ParseLabel(r.Value, &l) != nil {
			return false
		}
		for i, f := range schemas.LabelEntities {
			if rawSecret(w.Spec, f, l.Entity[i]) && !o.sealed {
				return false
			}
		}
		return w.reader.label(w.Spec, &l, r.Timestamp) == nil
	}
	_, err := decode.ParseRate(r.Value, w.Spec.Base)
	return err == nil
}

// compare says in what the ledger record in w.entry differs from the record that
// it was made of; empty for in nothing.
func (w *audit) compare(ctx context.Context, c Class, r *kafka.Record) (string, error) {
	switch c {
	case Transactions:
		return w.compareDecision(ctx, r)
	case Labels:
		var l schemas.Label
		if schemas.ParseLabel(r.Value, &l) != nil || !w.sealLike(&l, r.Timestamp) || !sameLabel(&l, &w.entry.Label) || r.Timestamp != w.entry.Label.Timestamp {
			return "the label is another than the topic's", nil
		}
	default:
		got, err := decode.ParseRate(r.Value, w.Spec.Base)
		e := &w.entry.Rate
		if err != nil || !bytes.Equal(got.Currency, e.Currency) || got.Since != e.Since || got.Num != e.Num || got.Den != e.Den {
			return "the rate is another than the topic's", nil
		}
	}
	return "", nil
}

// sealLike puts tokens in the place of a label's secrets, and the ledger's own where
// the key that these are of is not at hand; false where it would not have been taken.
func (w *audit) sealLike(l *schemas.Label, timestamp int64) bool {
	e := &w.entry.Label
	for i, f := range schemas.LabelEntities {
		if !rawSecret(w.Spec, f, l.Entity[i]) {
			continue
		}
		w.origin(Labels, e.Partition).sealed = true
		if (w.Tokens == nil || !w.ours()) && decode.IsToken(e.Entity[i]) {
			l.Entity[i] = e.Entity[i]
		}
	}
	return w.reader.label(w.Spec, l, timestamp) == nil
}

func sameLabel(a, b *schemas.Label) bool {
	return bytes.Equal(a.TxID, b.TxID) && a.Verdict == b.Verdict && bytes.Equal(a.FraudType, b.FraudType) && a.Source == b.Source &&
		a.KnownAt == b.KnownAt && a.Version == b.Version && bytes.Equal(a.Selected, b.Selected) && a.SelectedProb == b.SelectedProb && sameSubject(a, b)
}

// sameSubject compares whom two labels name besides the transaction. Earlier versions
// passed that over: where the ledger's label, the second one, says nothing it was one
// of theirs.
func sameSubject(a, b *schemas.Label) bool {
	same, said := a.Time == b.Time, b.Time != 0
	for i := range b.Entity {
		same = same && bytes.Equal(a.Entity[i], b.Entity[i])
		said = said || len(b.Entity[i]) > 0
	}
	return same || !said
}

// compareDecision decodes the source record again. The amount in the base
// currency is the engine's business where it had to be converted, and so are
// verdicts on what could be decoded.
func (w *audit) compareDecision(ctx context.Context, r *kafka.Record) (string, error) {
	d, s := &w.entry.Decision, &w.other
	in := &w.Spec.Input
	w.rows.Reset(len(in.OwnText), len(in.OwnNumber))
	i := w.rows.Add(schemas.Place{Partition: d.Partition, Offset: r.Offset, Prev: d.Prev, Timestamp: r.Timestamp})
	reason, err := w.reader.read(ctx, &w.rows, i, nil, r.Value)
	if err != nil {
		return "", fmt.Errorf("decode record %d of partition %d: %w", r.Offset, d.Partition, err)
	}
	w.rows.Decision(i, s)
	return w.sameDecision(d, s, reason), nil
}

// sameDecision says in what a decision d differs from what the source says, s,
// which was decoded for that reason or none.
func (w *audit) sameDecision(d, s *schemas.Decision, reason schemas.Reason) string {
	in := &w.Spec.Input
	f := func(what string, recorded, source any) string {
		return fmt.Sprintf("%s: recorded %v, the source says %v", what, recorded, source)
	}
	switch {
	case d.Place != s.Place:
		return f("Kafka timestamp", d.Timestamp, s.Timestamp)
	case (reason != schemas.NoReason || d.Outcome == schemas.Rejected) && d.Verdict != s.Verdict:
		return f("outcome", d.Verdict, s.Verdict)
	}
	if string(s.Text[schemas.Currency]) != w.Spec.Base {
		s.Tx.AmountBase = d.Tx.AmountBase
	}
	if d.Tx != s.Tx {
		return f("transaction", d.Tx, s.Tx)
	}
	// What texts hold may be anybody's business: their names are enough.
	for t := range schemas.NumText {
		if in.Text[t].Secret && (w.Tokens == nil || !w.ours()) {
			continue
		}
		if !bytes.Equal(d.Text[t], s.Text[t]) {
			return fmt.Sprintf("%s is another than the source's", t)
		}
	}
	if !sameOwn(d, s) {
		return "the spec's own fields are others than the source's"
	}
	return ""
}

// sameOwn compares the spec's own fields; absent ones may be left out.
func sameOwn(a, b *schemas.Decision) bool {
	for k := range max(len(a.OwnText), len(b.OwnText)) {
		var x, y []byte
		if k < len(a.OwnText) {
			x = a.OwnText[k]
		}
		if k < len(b.OwnText) {
			y = b.OwnText[k]
		}
		if !bytes.Equal(x, y) {
			return false
		}
	}
	return slices.EqualFunc(a.Own, b.Own, func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) })
}
