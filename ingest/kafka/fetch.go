package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// FetchRequest asks for the records of one partition.
type FetchRequest struct {
	Topic string
	// ID is the topic's, from [Client.Describe]: a topic that was deleted and made
	// again is another, and answers nothing. Zero is whichever has the name.
	ID        [16]byte
	Partition int32
	Offset    int64
	MaxWait   time.Duration // at the broker, where fewer than MinBytes are there
	MinBytes  int
	MaxBytes  int // a single larger batch comes all the same
}

// FetchAnswer is what the broker has. Records alias the buffer of the fetch.
type FetchAnswer struct {
	ID               [16]byte // of the topic
	HighWatermark    int64
	LastStableOffset int64 // readers of committed data see what lies before it
	LogStart         int64
	Aborted          []Aborted
	Records          []byte // record batches, the last one may be cut short
}

// Fetch reads committed records. It reads into buf, grown where it is too
// small, and returns it for the next call.
func (c *Client) Fetch(ctx context.Context, r FetchRequest, buf []byte) (FetchAnswer, []byte, error) {
	a, buf, err := c.fetch(ctx, r, buf)
	if r.ID == [16]byte{} && errors.Is(err, errOtherTopic) { // the id was known from before
		a, buf, err = c.fetch(ctx, r, buf)
	}
	return a, buf, err
}

func (c *Client) fetch(ctx context.Context, r FetchRequest, buf []byte) (FetchAnswer, []byte, error) {
	var a FetchAnswer
	at, err := c.leader(ctx, r.Topic, r.Partition)
	if err != nil {
		return a, buf, err
	}
	if r.ID == [16]byte{} {
		r.ID = at.id
	}
	cn, err := c.get(ctx, at.addr)
	if err == nil {
		b := cn.begin(1, 13, c.options.ClientID, true)
		buf, err = cn.roundTrip(ctx, appendFetch(b, &r), buf, r.MaxWait+c.options.Timeout)
		c.put(at.addr, cn, err)
	}
	if err == nil {
		err = a.parse(buf)
	}
	if err != nil {
		if !errors.Is(err, ErrOffsetOutOfRange) {
			c.forget(r.Topic, r.Partition)
		}
		return a, buf, fmt.Errorf("fetch from %s: %w", at.addr, lacking(err, Read, r.Topic))
	}
	return a, buf, nil
}

// appendFetch appends the body of Fetch version 13, the first that names topics by
// their ids.
func appendFetch(b []byte, r *FetchRequest) []byte {
	be := binary.BigEndian
	b = be.AppendUint32(b, 0xffffffff) // not a replica
	b = be.AppendUint32(b, uint32(r.MaxWait.Milliseconds()))
	b = be.AppendUint32(b, uint32(r.MinBytes))
	b = be.AppendUint32(b, uint32(r.MaxBytes))
	b = append(b, 1)                   // read committed
	b = be.AppendUint32(b, 0)          // no session
	b = be.AppendUint32(b, 0xffffffff) // nor will there be one
	b = append(b, 2)                   // one topic
	b = append(b, r.ID[:]...)
	b = append(b, 2) // one partition
	b = be.AppendUint32(b, uint32(r.Partition))
	b = be.AppendUint32(b, 0xffffffff) // leader epoch, unknown
	b = be.AppendUint64(b, uint64(r.Offset))
	b = be.AppendUint32(b, 0xffffffff) // epoch of the last record, unknown
	b = be.AppendUint64(b, 1<<64-1)    // not a replica, whose log has a start
	b = be.AppendUint32(b, uint32(r.MaxBytes))
	b = append(b, 0, 0)       // tags of partition and topic
	return append(b, 1, 1, 0) // nothing forgotten, no rack, tags
}

// parse reads the answer of Fetch version 13.
func (f *FetchAnswer) parse(raw []byte) error {
	a := &answer{b: raw}
	a.tags()
	a.int32() // throttle
	if err := protocolError(a.int16()); err != nil {
		return err
	}
	a.int32() // session
	if a.array() != 1 {
		return errShort
	}
	copy(f.ID[:], a.take(16))
	if a.array() != 1 {
		return errShort
	}
	a.int32() // partition
	code := a.int16()
	f.HighWatermark, f.LastStableOffset, f.LogStart = a.int64(), a.int64(), a.int64()
	for range a.array() {
		f.Aborted = append(f.Aborted, Aborted{ProducerID: a.int64(), First: a.int64()})
		if a.tags(); a.bad {
			break
		}
	}
	a.int32() // preferred replica
	f.Records = a.compact()
	if err := protocolError(code); err != nil {
		return err
	}
	if a.bad {
		return errShort
	}
	if f.LastStableOffset < 0 { // brokers without transactions
		f.LastStableOffset = f.HighWatermark
	}
	return nil
}

// Produce appends one record batch to a partition and waits until all in-sync
// replicas have it. It returns the offset of the batch's first record. It makes
// one attempt; an error that wraps ErrUnknownOutcome leaves open whether the
// batch is in the log.
func (c *Client) Produce(ctx context.Context, topic string, partition int32, batch []byte) (base int64, err error) {
	at, err := c.leader(ctx, topic, partition)
	if err != nil {
		return -1, err
	}
	cn, err := c.get(ctx, at.addr)
	if err == nil {
		cn.in, err = cn.roundTrip(ctx, c.appendProduce(cn, topic, partition, batch), cn.in, c.options.Timeout)
		if err == nil {
			base, err = parseProduce(cn.in)
		}
		c.put(at.addr, cn, err)
	}
	if err != nil {
		c.forget(topic, partition)
		return -1, fmt.Errorf("produce to %s: %w", at.addr, lacking(err, Write, topic))
	}
	return base, nil
}

// appendProduce makes the request of Produce version 8, whose answer
// says in words what is wrong with a record.
func (c *Client) appendProduce(cn *conn, topic string, partition int32, batch []byte) []byte {
	be := binary.BigEndian
	b := cn.begin(0, 8, c.options.ClientID, false)
	b = be.AppendUint16(b, 1<<16-1) // no transaction
	b = be.AppendUint16(b, 1<<16-1) // acks=all
	b = be.AppendUint32(b, uint32(c.options.Timeout.Milliseconds()))
	b = be.AppendUint32(b, 1)
	b = appendString(b, topic)
	b = be.AppendUint32(b, 1)
	b = be.AppendUint32(b, uint32(partition))
	return append(be.AppendUint32(b, uint32(len(batch))), batch...)
}

// parseProduce reads the answer of Produce version 8.
func parseProduce(raw []byte) (base int64, err error) {
	a := &answer{b: raw}
	if a.int32() != 1 {
		return -1, fmt.Errorf("%w: %w", ErrUnknownOutcome, errShort)
	}
	a.string()
	if a.int32() != 1 {
		return -1, fmt.Errorf("%w: %w", ErrUnknownOutcome, errShort)
	}
	a.int32()
	code := a.int16()
	base = a.int64()
	a.int64() // time of the append, where the broker gives records theirs
	a.int64() // start of the log
	words := a.recordErrors()
	if a.bad {
		return -1, fmt.Errorf("%w: %w", ErrUnknownOutcome, errShort)
	}
	if code == invalidTimestamp {
		return -1, timeRefused(words)
	}
	if err := protocolError(code); err != nil {
		return -1, err
	}
	if base < 0 {
		return -1, fmt.Errorf("%w: the answer has no offset", ErrUnknownOutcome)
	}
	return base, nil
}

// recordErrors reads what is wrong with the records of a partition, and returns what is said
// of the first.
func (a *answer) recordErrors() (words string) {
	for k := range max(0, a.int32()) {
		a.int32() // place in the batch
		said := a.string()
		if k == 0 {
			words = string(said)
		}
		if a.bad {
			break
		}
	}
	return words
}
