package ingest

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/decode"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/ingest/pages"
	"github.com/weir-risk/weir/schemas"
)

// A fetcher reads one source partition, decodes what it brings, and hands it to
// the merger in chunks. It has two chunks, so it reads one while the other is
// in work; that bounds what waits in memory. It runs in a goroutine of its own.
type fetcher struct {
	node     *Node
	cursor   *cursor
	topic    string
	id       [16]byte // the topic's, as the ownership found it
	position int64    // of the next fetch
	previous int64    // offset of the last data record
	maxTime  int64    // the largest event time so far
	rows     rowReader
	own      [2]int // widths of the spec's own fields
	sources  int    // partitions of transactions
	free     chan *chunk
	out      chan<- *chunk
	reader   kafka.Records
	raw      []byte
	bytes    int              // of the next answer, at most
	idle     bool             // the last answer had no records
	halt     func(error)      // ends the ownership once all that was handed over is decided
	lag      prometheus.Gauge // nil where nobody looks at it
}

// run fetches until the context ends, or until an error that trying again does
// not mend: the records at the position are gone, or the topic is.
func (f *fetcher) run(ctx context.Context) error {
	var c *chunk
	for attempt := 0; ; attempt++ {
		if c == nil {
			select {
			case c = <-f.free:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		c.reset(f.own[0], f.own[1])
		if attempt == 0 && !f.idle {
			f.cursor.asked.Store(f.node.Now().UnixNano())
		}
		err := f.fetch(ctx, c)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case unreadable(err) != nil:
			return f.stop(ctx, unreadable(err))
		case err != nil && kafka.Classify(err) != kafka.Retry:
			return fmt.Errorf("fetch %s partition %d at %d: %w", f.topic, f.cursor.partition, f.position, err)
		case err != nil:
			f.node.retried(err)
			if err := f.node.pause(ctx, attempt); err != nil {
				return err
			}
			continue
		}
		attempt = -1
		if f.idle = len(c.keys) == 0; !f.idle {
			f.cursor.asked.Store(0)
		}
		f.out <- c // never blocks: it holds all chunks there are
		c = nil
	}
}

// firstBytes bounds the first answer of an ownership: where records have been waiting,
// some of them are decided before all that a request may bring is read.
const firstBytes = 64 << 10

// fetch makes one request and reads the answer into c.
func (f *fetcher) fetch(ctx context.Context, c *chunk) error {
	answer, raw, err := f.node.log.Fetch(ctx, kafka.FetchRequest{
		Topic: f.topic, ID: f.id, Partition: f.cursor.partition, Offset: f.position,
		MaxWait: f.node.FetchWait, MinBytes: 1, MaxBytes: f.bytes,
	}, f.raw)
	f.raw = raw
	if err == nil && f.cursor.class == Labels && len(answer.Records) > 0 {
		c.ends, err = f.ends(ctx, c.ends)
	}
	if err != nil {
		return err
	}
	f.bytes = min(2*f.bytes, f.node.FetchBytes)
	return f.decode(ctx, &answer, c)
}

// ends appends where each partition of transactions ends, by its number: what was
// written before labels that have been fetched lies before that.
func (f *fetcher) ends(ctx context.Context, ends []int64) ([]int64, error) {
	for p := range f.sources {
		end, err := f.node.log.Readable(ctx, f.node.Topics.Transactions, int32(p))
		if err != nil {
			return ends[:0], err
		}
		ends = append(ends, end)
	}
	return ends, nil
}

// decode reads the records of an answer into c. What lies before a batch that
// cannot be read is decided first: the next answer begins with that batch.
func (f *fetcher) decode(ctx context.Context, answer *kafka.FetchAnswer, c *chunk) error {
	f.reader.Reset(answer, f.position)
	before := f.previous
	for f.reader.Next() {
		r := f.reader.Record()
		if err := f.add(ctx, c, r); err != nil {
			return err
		}
	}
	f.position = max(f.reader.NextOffset(), f.previous+1)
	if err := f.reader.Err(); err != nil && f.previous == before {
		return err
	}
	if f.lag != nil {
		f.lag.Set(float64(answer.HighWatermark - f.position))
	}
	f.cursor.fetched.Store(f.position)
	c.end, c.high, c.passed = f.position, answer.LastStableOffset, f.previous
	f.parse(c)
	return nil
}

// add decodes one record into c. Only the context's end is an error.
func (f *fetcher) add(ctx context.Context, c *chunk, r *kafka.Record) error {
	place := schemas.Place{Partition: f.cursor.partition, Offset: r.Offset, Prev: f.previous, Timestamp: r.Timestamp}
	f.previous = r.Offset
	if f.cursor.class != Transactions {
		f.addOther(c, place, r.Value)
		return nil
	}
	f.node.Trace.Sent(&place, r.Headers)
	i := c.rows.Add(place)
	if err := f.row(ctx, &c.rows, i, r); err != nil {
		return err
	}
	if moves(c.rows.Verdict[i]) {
		f.maxTime = max(f.maxTime, c.rows.Tx[i].Time)
	}
	c.keys, c.last = append(c.keys, f.maxTime), append(c.last, r.Offset)
	return nil
}

// row decodes a record into a row. While the schema registry is away the record
// waits, and its partition with it: what cannot be read now is not for that what
// cannot be read. It waits as one that has records, so that no partition drifts
// away from it that is not live.
func (f *fetcher) row(ctx context.Context, rows *schemas.Batch, i int, r *kafka.Record) error {
	for attempt := 0; ; attempt++ {
		_, err := f.rows.read(ctx, rows, i, r.Key, r.Value)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && attempt > 0:
			f.node.calm()
			return nil
		case err == nil:
			return nil
		}
		f.cursor.asked.Store(0)
		f.node.Metrics.Retries.Inc()
		f.node.alarm("source is held", err)
		if err := f.node.pause(ctx, attempt); err != nil {
			return err
		}
	}
}

// addOther keeps a label or a rate for parse: its texts alias the arena, which
// may still move.
func (f *fetcher) addOther(c *chunk, place schemas.Place, value []byte) {
	c.spans = append(c.spans, schemas.Span{Off: uint32(len(c.arena)), Len: uint32(len(value))})
	c.places = append(c.places, place)
	c.arena = append(c.arena, value...)
}

// parse reads the labels or rates of a chunk. One that is malformed is counted
// and passed over: it changes nothing, and the position in the ledger's facts
// moves on.
func (f *fetcher) parse(c *chunk) {
	for i, s := range c.spans {
		value := c.arena[s.Off : s.Off+s.Len]
		var at int64
		var err error
		if f.cursor.class == Labels {
			var l schemas.Label
			if err = schemas.ParseLabel(value, &l); err == nil {
				raw := l.Entity
				err = f.rows.label(f.node.Spec, &l, c.places[i].Timestamp)
				wipe(f.node.Spec, &raw)
			}
			if err == nil {
				l.Place, at = c.places[i], l.KnownAt
				c.labels = append(c.labels, l)
			}
		} else {
			var r schemas.Rate
			if r, err = decode.ParseRate(value, f.node.Spec.Base); err == nil {
				r.Partition, r.Offset, at = c.places[i].Partition, c.places[i].Offset, r.Since
				c.rates = append(c.rates, r)
			}
		}
		if err != nil {
			f.node.malformed(f.topic, c.places[i], err)
			continue
		}
		f.maxTime = max(f.maxTime, at)
		c.keys, c.last = append(c.keys, f.maxTime), append(c.last, c.places[i].Offset)
	}
}

// labelTextMax is the most bytes of a label's texts: they are written into the
// ledger, whose batches are bounded. Ids are shorter by far.
const labelTextMax = 3 * decode.TextMax

// The reasons why a label that can be read is refused.
var (
	errLabelAhead  = errors.New("known_at: a label that is known later than it was written")
	errLabelLong   = errors.New("a label whose texts are too long")
	errLabelSecret = errors.New("a secret field holds neither a token nor what a transaction may have there")
)

// label refuses what a label's form allows and the ledger must not hold, and puts
// tokens in the place of secrets. A label that claims to be known in the future would
// hold up all after it. A card number, as a chargeback file has it, would be in the
// ledger, for good, and from there in the history: it gets the token that it has in
// decisions. Of a card that it does not read a spec says nothing, so that no number of
// one is taken.
func (r *rowReader) label(s *spec.Spec, l *schemas.Label, timestamp int64) error {
	if timestamp >= 0 && l.KnownAt-s.FutureMax > timestamp {
		return errLabelAhead
	}
	if l.Texts() > labelTextMax {
		return errLabelLong
	}
	for i, f := range schemas.LabelEntities {
		if !rawSecret(s, f, l.Entity[i]) {
			continue
		}
		token, ok := r.decoder.AppendSecret(nil, f, l.Entity[i])
		if !ok {
			return fmt.Errorf("%s: %w", f, errLabelSecret)
		}
		l.Entity[i] = token
	}
	return nil
}

// rawSecret reports whether the text that a label has for an entity is a secret of the
// spec's, and not its token.
func rawSecret(s *spec.Spec, f schemas.TextField, text []byte) bool {
	in := &s.Input.Text[f]
	secret := in.Secret || f == schemas.Card && in.Path == nil
	return secret && len(text) > 0 && !decode.IsToken(text)
}

// wipe clears what a label held of secrets, which nobody needs any more.
func wipe(s *spec.Spec, raw *[schemas.NumLabelEntities][]byte) {
	for i, f := range schemas.LabelEntities {
		if rawSecret(s, f, raw[i]) {
			clear(raw[i])
		}
	}
}

// sources is how many partitions transactions have.
func (o *owner) sources() int {
	if o.view == nil {
		return len(o.state.Progress[Transactions])
	}
	return o.view.topics[Transactions].Partitions
}

// fetchers makes the shard's fetchers and its merger, from the state's progress.
func (o *owner) fetchers() []*fetcher {
	in := &o.state.Spec.Input
	var list []*fetcher
	o.merge = &merger{
		skew: o.node.SkewMax.Milliseconds(), answers: o.node.AnswerWait, unmerged: o.node.Unmerged,
		waited: func() error { return o.node.measureDue(o.state, pages.Live) }, // fetches without records end a wait
		now:    o.node.Now, after: o.node.After,
	}
	for class, topic := range o.node.sourceTopics() {
		for _, p := range o.state.Progress[class] {
			c := &cursor{class: Class(class), partition: p.Partition, end: p.Offset + 1, high: p.Offset + 1, last: p.MaxTime}
			c.fetched.Store(c.end)
			o.merge.cursors = append(o.merge.cursors, c)
			f := &fetcher{
				node: o.node, cursor: c, topic: topic, position: p.Offset + 1, previous: p.Offset, maxTime: p.MaxTime,
				rows: newRowReader(o.state.Spec, o.node.Tokens, o.node.Wire),
				own:  [2]int{len(in.OwnText), len(in.OwnNumber)}, free: make(chan *chunk, 2), halt: o.halt,
				sources: o.sources(), bytes: min(firstBytes, o.node.FetchBytes),
			}
			if o.view != nil {
				c.start, f.id = o.view.ends[class][p.Partition], o.view.topics[class].ID
			}
			if f.cursor.class == Transactions {
				f.lag = o.node.Metrics.Lag.WithLabelValues(strconv.Itoa(int(p.Partition)))
			}
			for range cap(f.free) {
				f.free <- &chunk{cursor: c, free: f.free}
			}
			list = append(list, f)
		}
	}
	o.merge.abroad = o.abroad
	o.merge.arrived = make(chan *chunk, 2*len(list))
	for _, f := range list {
		f.out = o.merge.arrived
	}
	return list
}
