package alerts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/ingest/trace"
	"github.com/weir-risk/weir/schemas"
)

// Config is what a [Desk] is made with.
type Config struct {
	Log    *slog.Logger
	Now    func() time.Time
	After  func(time.Duration) <-chan time.Time
	Topics schemas.Topics
	// KnownAt, unless nil, turns the time of an action into the time at which its label
	// is known: a simulated bank may live at another time than its analysts, and labels
	// of years ahead would come behind all that the bank does until then.
	KnownAt func(at int64) int64
	// Trace sends spans of sampled transactions, once their alerts are folded; nil sends
	// none.
	Trace *trace.Tracer
}

// Desk reads the topics into a view, and writes dispositions and labels.
//
// Any number of desks may follow the same topics, each into a view of its own, and
// analysts may act at all of them. A label is published by the desk at which it was
// made, and by the others if that one has not for a while. Two that publish the same
// one at once put it into the topic twice, which the scorer takes as one, since it has
// the same version.
type Desk struct {
	Config
	log    *kafka.Client
	view   *View
	source source

	// Held while labels are published, and while the view is emptied: what is known of
	// the labels that are out must not vanish between the two looks at it.
	publishing sync.Mutex
	due        chan struct{} // holds one where labels may be due
	others     time.Duration // after which what other desks left is published here

	mu      sync.Mutex
	behind  int                // partitions that have not caught up in this session
	halted  map[string]string  // why it is not ready, by what is not
	waiting map[string][]*wait // for dispositions, by their ids
	readers map[*subscriber]struct{}
	mine    map[string]bool // actions of here whose labels may be due
}

// New returns a desk from an open client into an open view; the caller closes both
// after [Desk.Run] has returned.
func New(log *kafka.Client, v *View, c Config) *Desk {
	d := &Desk{Config: c, log: log, view: v, source: source{c, log, v}, due: make(chan struct{}, 1), others: othersAfter + rand.N(othersAfter), halted: map[string]string{"fold": "starting"},
		waiting: make(map[string][]*wait), readers: make(map[*subscriber]struct{}), mine: make(map[string]bool)}
	d.due <- struct{}{} // what a desk before this one left
	return d
}

// ErrTopic is of a topic that a desk cannot work with.
var ErrTopic = errors.New("the topic is not as the desk needs it")

// errRecreated is of a topic that is another than the view was folded from.
var errRecreated = errors.New("the topic was made anew")

// backoff is the pause after n failures in a row.
func backoff(n int) time.Duration { return min(time.Second, 5*time.Millisecond<<min(n, 8)) }

// Run follows the topics until the context ends, which is a clean stop and no error.
// What a person has to mend halts it: it stays up, says why in its log and in Ready,
// and tries again.
func (d *Desk) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { d.repeat(ctx, "fold", d.halt, d.session) })
	wg.Go(func() { d.repeat(ctx, "labels", d.halt, d.labels) })
	wg.Wait()
	return nil
}

// repeat runs work until the context ends, and tells halt why it halted; an empty text
// says that it goes on.
func (c *Config) repeat(ctx context.Context, what string, halt func(what, why string), work func(context.Context, func()) error) {
	attempt, said := 0, ""
	for ctx.Err() == nil {
		err := work(ctx, func() { // it got on
			attempt, said = 0, ""
			halt(what, "")
		})
		if ctx.Err() != nil {
			return
		}
		halt(what, err.Error())
		if said != err.Error() {
			said = err.Error()
			c.Log.Error("desk halted; tried again", "work", what, "cause", err)
		}
		if c.pause(ctx, backoff(attempt)) != nil {
			return
		}
		attempt++
	}
}

func (c *Config) pause(ctx context.Context, t time.Duration) error {
	select {
	case <-c.After(t):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// halt says why something halted, or with an empty text that it goes on.
func (d *Desk) halt(what, why string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if why == "" {
		delete(d.halted, what)
	} else {
		d.halted[what] = why
	}
}

// Ready reports whether the view has caught up with the topics; if not, why.
func (d *Desk) Ready() (bool, string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, what := range []string{"fold", "labels"} {
		if why, ok := d.halted[what]; ok {
			return false, why
		}
	}
	return true, ""
}

// Behind says why the view does not hold all that the topics do; empty where it does.
func (d *Desk) Behind() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.halted["fold"]
}

// Lag returns how many records of each partition the view does not hold yet.
func (d *Desk) Lag(ctx context.Context) (map[Place]int64, error) {
	lag := make(map[Place]int64)
	for _, of := range []struct{ place, topic string }{{PlaceAlerts, d.Topics.Alerts}, {PlaceDispositions, d.Topics.Dispositions}} {
		t, err := d.log.Describe(ctx, of.topic)
		if err != nil {
			return lag, fmt.Errorf("describe %s: %w", of.topic, err)
		}
		for p := range int32(t.Partitions) {
			place := Place{of.place, p}
			next, err := d.view.Next(ctx, place)
			if err != nil {
				return lag, err
			}
			first, end, err := d.log.Offsets(ctx, of.topic, p)
			if err != nil {
				return lag, fmt.Errorf("look up the ends of %s: %w", of.topic, err)
			}
			lag[place] = max(0, end-max(first, next))
		}
	}
	return lag, nil
}

// session follows alerts and dispositions from where the view is, until an error.
func (d *Desk) session(ctx context.Context, on func()) error {
	tapes, err := d.begin(ctx)
	if errors.Is(err, errRecreated) {
		d.Log.Warn("the view is folded anew", "cause", err)
		d.publishing.Lock()
		err = d.view.Reset(ctx)
		d.publishing.Unlock()
		if err == nil {
			tapes, err = d.begin(ctx)
		}
	}
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.behind, d.halted["fold"] = len(tapes), "behind the log"
	d.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, t := range tapes {
		wg.Go(func() {
			cancel(t.follow(ctx, func(rs []Record) error { return d.fold(ctx, t, rs) }, func() error { return d.caught(ctx, on) }))
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// begin opens the topics where the view is. errRecreated is wrapped where one of them
// is another than the view was folded from.
func (d *Desk) begin(ctx context.Context) (tapes []*tape, err error) {
	for _, of := range []struct{ place, topic string }{{PlaceAlerts, d.Topics.Alerts}, {PlaceDispositions, d.Topics.Dispositions}} {
		t, err := d.source.known(ctx, of.place, of.topic)
		if err != nil {
			return nil, err
		}
		if of.place == PlaceDispositions && t.Partitions != 1 {
			return nil, fmt.Errorf("%s has %d partitions, and an order among actions needs one: %w", of.topic, t.Partitions, ErrTopic)
		}
		for p := range int32(t.Partitions) {
			tape, err := d.source.tape(ctx, of.topic, Place{of.place, p})
			if err != nil {
				return nil, err
			}
			tapes = append(tapes, tape)
		}
	}
	return tapes, nil
}

// source is the log, and the file that says how far it has it.
type source struct {
	Config
	log  *kafka.Client
	file foldFile
}

// foldFile is a file into which topics are folded: a [View] or a [Trail].
type foldFile interface {
	// Next returns the offset of the next record to fold of a partition.
	Next(ctx context.Context, p Place) (int64, error)
	// TopicID returns the id of the topic that was folded, zero where nobody said.
	TopicID(ctx context.Context, topic string) ([16]byte, error)
	SetTopicID(ctx context.Context, topic string, id [16]byte) error
}

// known describes a topic, and sees that it is the one that the file knows.
func (s *source) known(ctx context.Context, place, topic string) (kafka.Topic, error) {
	t, err := s.log.Describe(ctx, topic)
	if err != nil {
		return t, fmt.Errorf("describe %s: %w", topic, err)
	}
	id, err := s.file.TopicID(ctx, place)
	switch {
	case err != nil:
		return t, fmt.Errorf("look up which %s the view is of: %w", topic, err)
	case id == [16]byte{}:
		return t, s.file.SetTopicID(ctx, place, t.ID)
	case id != t.ID:
		return t, fmt.Errorf("%s: %w", topic, errRecreated)
	}
	return t, nil
}

// start returns where a partition is read on from, and where it ends now. A topic that
// ends before is another one, or lost what was folded.
func (s *source) start(ctx context.Context, topic string, p Place) (at, end int64, err error) {
	next, err := s.file.Next(ctx, p)
	if err != nil {
		return 0, 0, err
	}
	first, end, err := s.log.Offsets(ctx, topic, p.Partition)
	if err == nil && next > end {
		err = fmt.Errorf("%s partition %d ends at %d, the view is at %d: %w", topic, p.Partition, end, next, errRecreated)
	}
	if err == nil {
		end, err = s.log.Readable(ctx, topic, p.Partition)
	}
	if err != nil {
		return 0, 0, err
	}
	if next < first && next > 0 {
		s.Log.Error("records were deleted before they were folded", "topic", topic, "partition", p.Partition, "from", next, "to", first-1)
	}
	return max(first, next), end, nil
}

// tape is one partition on its way into the view.
type tape struct {
	topic   string
	place   Place
	at      int64 // offset of the next record
	end     int64 // where the partition ended when the session began
	caught  bool
	reader  *kafka.Reader
	records []Record
	bytes   []byte // what records point into
}

// tape begins to read a partition where the file has come to.
func (s *source) tape(ctx context.Context, topic string, p Place) (*tape, error) {
	at, end, err := s.start(ctx, topic, p)
	return &tape{topic: topic, place: p, at: at, end: end, reader: kafka.NewReader(s.log, topic, p.Partition, at)}, err
}

// follow gives what comes to fold until an error, and says once that it has caught up.
func (t *tape) follow(ctx context.Context, fold func([]Record) error, caught func() error) error {
	for {
		// Before the first read: where there is nothing new, that one waits for it.
		if !t.caught && t.at >= t.end {
			t.caught = true
			if err := caught(); err != nil {
				return err
			}
		}
		set, err := t.reader.Next(ctx, math.MaxInt64)
		if err != nil {
			return fmt.Errorf("read %s partition %d: %w", t.topic, t.place.Partition, err)
		}
		for more := true; more; {
			var unread error
			more, unread = t.collect(set)
			if len(t.records) > 0 {
				if err := fold(t.records); err != nil {
					return err
				}
			}
			if unread != nil { // behind what was folded, which is not read again
				return fmt.Errorf("read %s partition %d: %w", t.topic, t.place.Partition, unread)
			}
		}
		t.at = set.NextOffset()
	}
}

// collect copies records out of a set, whose buffers are used again, and reports
// whether there may be more in it.
func (t *tape) collect(set *kafka.Records) (more bool, err error) {
	t.records, t.bytes = t.records[:0], t.bytes[:0]
	var ends []int
	for more = true; more && len(t.records) < foldRecords; {
		if more = set.Next(); more {
			r := set.Record()
			t.records = append(t.records, Record{Offset: r.Offset, Timestamp: r.Timestamp})
			t.bytes = append(t.bytes, r.Value...)
			ends = append(ends, len(t.bytes))
		}
	}
	begin := 0
	for i, end := range ends {
		t.records[i].Value, begin = t.bytes[begin:end:end], end
	}
	return more, set.Err()
}

// fold folds records of a tape, and tells whom it concerns.
func (d *Desk) fold(ctx context.Context, t *tape, rs []Record) error {
	var f Folded
	var err error
	if t.place.Topic == PlaceAlerts {
		f, err = d.view.FoldAlerts(ctx, t.place.Partition, rs)
	} else {
		f, err = d.view.FoldDispositions(ctx, rs)
	}
	if err != nil {
		return err
	}
	for _, cause := range f.Causes {
		d.Log.Error("record cannot be read and is passed over", "topic", t.topic, "cause", cause)
	}
	if more := f.Malformed - len(f.Causes); more > 0 {
		d.Log.Error("more records cannot be read and are passed over", "topic", t.topic, "partition", t.place.Partition, "records", more)
	}
	d.tell(&f)
	if d.Trace != nil && t.place.Topic == PlaceAlerts {
		d.traceAlerts(rs)
	}
	return nil
}

// traceAlerts sends the spans of alerts that were folded just now.
func (d *Desk) traceAlerts(rs []Record) {
	now := d.Now()
	var a schemas.Alert
	for i := range rs {
		if schemas.ParseAlert(rs[i].Value, &a) == nil && d.Trace.Sampled(&a.Source) {
			d.Trace.Add(trace.Span{Kind: trace.Desk, Place: a.Source, Start: time.UnixMilli(rs[i].Timestamp), End: now, Records: len(rs)})
		}
	}
}

// caught takes note that one more partition has caught up. With the last one the view
// is ready to be searched.
func (d *Desk) caught(ctx context.Context, on func()) error {
	d.mu.Lock()
	d.behind--
	last := d.behind == 0
	d.mu.Unlock()
	if !last {
		return nil
	}
	if err := d.view.Index(ctx); err != nil {
		return err
	}
	on()
	return nil
}
