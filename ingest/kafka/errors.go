package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// The errors that callers look for; compare with errors.Is.
var (
	ErrOffsetOutOfRange = errors.New("the log does not hold this offset")
	ErrUnknownTopic     = errors.New("the topic or partition does not exist")
	ErrNotLeader        = errors.New("another broker leads the partition")
	ErrTooLarge         = errors.New("the batch is larger than the topic's max.message.bytes")
	ErrRefused          = errors.New("the broker refused the request")
	ErrUnknownOutcome   = errors.New("no answer came: the request may have been carried out")
	ErrOldFormat        = errors.New("a record batch of message format 0 or 1, which Kafka has not written since 0.11; convert the topic")
	ErrCorrupt          = errors.New("the record batch is damaged")
	ErrLostShard        = errors.New("the group gave the shard to another member")
	ErrTrimmed          = errors.New("the ledger no longer holds this position")
	ErrClockAhead       = errors.New("this host's clock is ahead of the broker's, by more than the topic takes (message.timestamp.after.max.ms): set it right")

	errOtherTopic = fmt.Errorf("%w: it was deleted, and perhaps made again", ErrUnknownTopic)
)

// Unreadable is of a record batch that cannot be read; it wraps ErrCorrupt or
// ErrOldFormat.
type Unreadable struct {
	// First and Last are the batch's offsets, as far as its head can be believed:
	// no further than the next batch begins.
	First, Last int64
	cause       error
}

// Error says where and why.
func (u *Unreadable) Error() string {
	return fmt.Sprintf("record batch at offset %d: %s", u.First, u.cause)
}

// Unwrap returns why.
func (u *Unreadable) Unwrap() error { return u.cause }

// Class says what to do about an error.
type Class uint8

// The classes of errors.
const (
	Retry Class = iota // the same request may succeed later
	Stop               // a person has to mend something
)

// Classify is the one place that says which errors are worth another try.
func Classify(err error) Class {
	for _, stop := range []error{ErrOffsetOutOfRange, ErrUnknownTopic, ErrTooLarge, ErrRefused, ErrOldFormat, ErrCorrupt, ErrTrimmed, ErrClockAhead, context.Canceled} {
		if errors.Is(err, stop) {
			return Stop
		}
	}
	return Retry
}

// Away reports whether an error, of whatever it may be, is of brokers that do not answer,
// or not yet with what was asked for: it passes by itself. [Classify] takes what it does
// not know for such a one, as callers of a [Client] may.
func Away(err error) bool {
	if Classify(err) == Stop {
		return false
	}
	for _, away := range []error{ErrNotLeader, ErrUnknownOutcome, errShut, errShort, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, context.DeadlineExceeded} {
		if errors.Is(err, away) {
			return true
		}
	}
	var code kafkago.Error
	var network *net.OpError
	var name *net.DNSError
	return errors.As(err, &code) || errors.As(err, &network) || errors.As(err, &name)
}

// protocolError turns an error code of the protocol
// (kafka.apache.org/protocol#protocol_error_codes) into an error.
func protocolError(code int16) error {
	switch code {
	case 0:
		return nil
	case 1:
		return ErrOffsetOutOfRange
	case 3: // UNKNOWN_TOPIC_OR_PARTITION
		return fmt.Errorf("%w (code %d)", ErrUnknownTopic, code)
	case 100, 103: // UNKNOWN_TOPIC_ID, INCONSISTENT_TOPIC_ID
		return fmt.Errorf("%w (code %d)", errOtherTopic, code)
	case 5, 6, 74, 75, 76: // no leader, not the leader, fenced or unknown epoch, no such epoch
		return fmt.Errorf("%w (code %d)", ErrNotLeader, code)
	case 10, 18: // MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE
		return fmt.Errorf("%w (code %d)", ErrTooLarge, code)
	case 7, 20: // REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS_AFTER_APPEND: the leader may have appended it
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, kafkago.Error(code))
	case 2, 17, 21, 29, 31, 35, 42, 43, 44, 58, 87, // corrupt, invalid topic or acks, not authorised, unsupported, invalid request or record
		23, 24, 26, 30, 33, 34, 37, 38, 39, 40: // of groups, SASL, and topics to be made
		return fmt.Errorf("%w: %w", ErrRefused, kafkago.Error(code))
	}
	return fmt.Errorf("the broker answers: %w", kafkago.Error(code))
}

// timeRefused is the error of a record whose time the broker refused, by the words that it
// has for it (LogValidator.java): the times that it takes are those near its own clock. One
// that is too old, where somebody has set a limit to that, may be of whoever made the record.
func timeRefused(words string) error {
	refused := protocolError(invalidTimestamp)
	said, times, _ := strings.Cut(words, "within [")
	var record, least, most int64
	if n, _ := fmt.Sscanf(said, "Timestamp %d", &record); n == 0 {
		return fmt.Errorf("%w: %w", ErrClockAhead, refused)
	}
	if n, _ := fmt.Sscanf(times, "%d, %d", &least, &most); n < 2 {
		return fmt.Errorf("%w: %w", ErrClockAhead, refused)
	}
	if record <= most {
		return refused
	}
	utc := func(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.DateTime) }
	return fmt.Errorf("%w: it says %s, and the broker takes times up to %s, %s less: %w", ErrClockAhead, utc(record), utc(most), time.Duration(record-most)*time.Millisecond, refused)
}

// invalidTimestamp is the code of INVALID_TIMESTAMP.
const invalidTimestamp = 32

// named gives an error of kafka-go's the name that it has here. What the broker said beside
// the code, such as which setting it does not know, stays.
func named(err error) error {
	var code kafkago.Error
	if !errors.As(err, &code) || code <= 0 {
		return err
	}
	known := protocolError(int16(code))
	if said, ok := strings.CutPrefix(err.Error(), code.Error()+": "); ok {
		known = fmt.Errorf("%w: %s", known, said)
	}
	return known
}
