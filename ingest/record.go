package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/ingest/trace"
	"github.com/weir-risk/weir/schemas"
)

// RecorderConfig says what a [Recorder] works on. Zero fields take defaults.
type RecorderConfig struct {
	Topics schemas.Topics
	// Every is how long what was read may wait for its block to fill. Sooner
	// would make more and smaller parts in ClickHouse, which it has to merge;
	// the default is 2 s.
	Every time.Duration
	// Poll is how often a recorder that has caught up looks for more. More often
	// would not fill a block sooner; the default is 200 ms.
	Poll time.Duration

	Now     func() time.Time
	After   func(time.Duration) <-chan time.Time
	Log     *slog.Logger
	Metrics *RecorderMetrics
	Trace   *trace.Tracer // sends spans of sampled transactions; nil sends none
}

// RecorderStatus is what a recorder says of itself.
type RecorderStatus struct {
	Ready    bool   // it has come to the end of the log, and the store answers
	Reason   string // why it is not ready
	Position int64  // ledger offset up to which the history is written, all shards together
	Lag      int64  // records of all streams that are not yet in the history
}

// Recorder is one `weir record`: it writes ledger, alerts and dispositions into
// a history, block by block. Labels come with the ledger, which holds all that
// could be read, in the order in which they took effect. The recorder keeps no state of its own: where it goes on, the
// history says. There should be one a history.
//
// What the log holds is never passed over. While the store is away the same
// block is tried again, for ever; the log keeps what comes after it.
type Recorder struct {
	RecorderConfig
	log   *kafka.Client
	store history.Writer
	tapes []*tape
	away  bool // the store did not answer last time

	mu     sync.Mutex
	status RecorderStatus
}

// ErrHistoryForeign is of a history that was written from another ledger.
var ErrHistoryForeign = errors.New("the history is of another ledger")

// NewRecorder returns a recorder from an open client into an open store whose
// schema was migrated; the caller closes both after [Recorder.Run] has returned.
func NewRecorder(log *kafka.Client, store history.Writer, c RecorderConfig) *Recorder {
	if c.Every == 0 {
		c.Every = 2 * time.Second
	}
	if c.Poll == 0 {
		c.Poll = 200 * time.Millisecond
	}
	return &Recorder{RecorderConfig: c, log: log, store: store, status: RecorderStatus{Reason: "starting"}}
}

// Status returns what the recorder says of itself now.
func (r *Recorder) Status() RecorderStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

func (r *Recorder) set(f func(*RecorderStatus)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.status)
}

// Run records until the context ends, which is a clean stop and no error. What a
// person has to mend halts it: it stays up, says why in its log and its
// readiness, and tries again.
func (r *Recorder) Run(ctx context.Context) error {
	said := ""
	for attempt := 0; ; attempt++ {
		before := r.Status().Position
		err := r.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if r.Status().Position > before {
			attempt, said = 0, ""
		}
		r.set(func(s *RecorderStatus) { s.Ready, s.Reason = false, err.Error() })
		if said != err.Error() {
			said = err.Error()
			r.Log.Error("recording halted; tried again", "cause", err)
		}
		r.Metrics.Retries.Inc()
		if r.pause(ctx, backoff(attempt)) != nil {
			return nil
		}
	}
}

func (r *Recorder) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-r.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// session records from where the history is, until an error.
func (r *Recorder) session(ctx context.Context) error {
	r.tapes = r.tapes[:0]
	r.set(func(s *RecorderStatus) { s.Reason = "behind the log" })
	defer func() {
		for _, t := range r.tapes {
			t.close()
		}
	}()
	for _, in := range []struct {
		stream history.Stream
		topic  string
	}{{history.Ledger, r.Topics.Decisions}, {history.Alerts, r.Topics.Alerts}, {history.Dispositions, r.Topics.Dispositions}} {
		t, err := r.log.Describe(ctx, in.topic)
		if err != nil {
			return fmt.Errorf("describe %s: %w", in.topic, err)
		}
		for p := range int32(t.Partitions) {
			tape := &tape{recorder: r, stream: in.stream, topic: in.topic, partition: p}
			if err := tape.begin(ctx); err != nil {
				tape.close()
				return err
			}
			r.tapes = append(r.tapes, tape)
		}
	}
	for {
		caught := true
		for _, t := range r.tapes {
			c, err := t.step(ctx)
			if err != nil {
				return err
			}
			caught = caught && c
		}
		r.report(caught)
		if caught {
			if err := r.pause(ctx, r.Poll); err != nil {
				return err
			}
		}
	}
}

// report says where the recorder is; caught tells that it came to the end of
// every log.
func (r *Recorder) report(caught bool) {
	s := r.Status()
	if caught {
		s.Ready, s.Reason = true, ""
	}
	s.Position, s.Lag = 0, 0
	for _, t := range r.tapes {
		if t.stream == history.Ledger {
			s.Position += t.block.From
		}
		s.Lag += t.end - t.block.From
		r.Metrics.at(t.stream, t.partition, t.block.From, t.end-t.block.From)
	}
	r.set(func(status *RecorderStatus) { *status = s })
}

// try calls the store until it answers: a store that is away is waited for. It
// returns errors that a person has to mend.
func (r *Recorder) try(ctx context.Context, call func() error) error {
	for attempt := 0; ; attempt++ {
		err := call()
		switch {
		case err == nil:
			r.Metrics.Up.Set(1)
			if r.away {
				r.away = false
				r.Log.Info("history answers again")
			}
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case history.Classify(err) == history.Stop:
			return err
		}
		r.Metrics.Retries.Inc()
		// A dead connection is noticed by the first call after a pause; only
		// what lasts is worth a line.
		if !r.away && attempt > 0 {
			r.away = true
			r.Metrics.Up.Set(0)
			r.Log.Warn("history does not answer; tried again until it does", "cause", err)
			r.set(func(s *RecorderStatus) { s.Ready, s.Reason = false, err.Error() })
		}
		if r.away {
			r.look(ctx)
		}
		if err := r.pause(ctx, backoff(attempt)); err != nil {
			return err
		}
	}
}

// look keeps what is said of the lag true while nothing is written.
func (r *Recorder) look(ctx context.Context) {
	for _, t := range r.tapes {
		if t.look(ctx) != nil {
			return // the next reading of the log says why
		}
	}
	r.report(false)
}

// A tape is one partition of one topic on its way into the history.
type tape struct {
	recorder  *Recorder
	stream    history.Stream
	topic     string
	partition int32
	block     history.Block
	until     int64     // where the block must end, because it was begun before; 0 is anywhere
	since     time.Time // when the block got its first record
	end       int64     // of the log, when it was last looked up

	ledger  *kafka.LedgerReader // of the ledger
	reader  *kafka.Reader       // of another topic
	records *kafka.Records      // what the reader fetched and is not yet walked
}

// begin opens the log where the history ends.
func (t *tape) begin(ctx context.Context) error {
	r := t.recorder
	var at history.Position
	err := r.try(ctx, func() (err error) {
		at, err = r.store.Position(ctx, t.stream, t.partition)
		return err
	})
	if err != nil {
		return err
	}
	start, end, err := r.log.Offsets(ctx, t.topic, t.partition)
	if err != nil {
		return fmt.Errorf("look up the ends of %s: %w", t.topic, err)
	}
	if last := max(at.Offset, at.Begun); last > end {
		return fmt.Errorf("history holds %s up to %d, it ends at %d: %w", t.topic, last, end, ErrTruncated)
	}
	t.end, t.until = end, at.Begun
	t.block.Reset(t.stream, t.partition, r.Topics.Transactions, at)
	if t.stream == history.Ledger {
		if at.Offset < start {
			return fmt.Errorf("%s begins at %d, the history ends at %d: %w", t.topic, start, at.Offset, kafka.ErrTrimmed)
		}
		t.ledger = kafka.NewLedgerReader(r.log, t.topic, t.partition, at.Anchor)
		return t.onChain(ctx, at.Anchor, start)
	}
	if at.Offset < start && at.Offset > 0 {
		r.Log.Error("records were deleted before they were recorded", "topic", t.topic, "partition", t.partition, "from", at.Offset, "to", start-1)
	}
	t.reader = kafka.NewReader(r.log, t.topic, t.partition, max(start, at.Offset))
	return nil
}

func (t *tape) close() {
	if t.ledger != nil {
		t.ledger.Close()
	}
	if t.reader != nil {
		t.reader.Close()
	}
}

// onChain checks that the batch which ends where the history does is the one
// that the history was written up to.
func (t *tape) onChain(ctx context.Context, at schemas.Anchor, start int64) error {
	if at.Offset == 0 || at.Offset-1 < start {
		return nil
	}
	facts, err := kafka.FactsAt(ctx, t.recorder.log, t.topic, t.partition, at.Offset-1)
	if err != nil {
		return err
	}
	if id := facts.ID; id != at.Head {
		return fmt.Errorf("%s offset %d is of batch %x, the history's is %x: %w", t.topic, at.Offset-1, id, at.Head, ErrHistoryForeign)
	}
	return nil
}

// step reads on, at most until the block is to be written, and writes it if it
// is time to. It reports whether it came to the end of the log.
func (t *tape) step(ctx context.Context) (caught bool, err error) {
	for !t.full() && !caught {
		more, err := t.read(ctx)
		if err != nil {
			return false, fmt.Errorf("read %s partition %d: %w", t.topic, t.partition, err)
		}
		if caught = !more; more && t.since.IsZero() {
			t.since = t.recorder.Now()
		}
	}
	waited := !t.block.Empty() && t.until == 0 && t.recorder.Now().Sub(t.since) >= t.recorder.Every
	if t.full() || waited {
		err = t.write(ctx)
	}
	return caught, err
}

// full reports whether the block ends here, whatever comes: where the history
// was told that it would, or where the log says.
func (t *tape) full() bool {
	if t.until > 0 {
		return t.block.Next >= t.until
	}
	return t.block.Full()
}

func (t *tape) write(ctx context.Context) error {
	r := t.recorder
	if err := r.try(ctx, func() error { return r.store.Write(ctx, &t.block) }); err != nil {
		return err
	}
	r.Metrics.wrote(t.stream, t.block.Records())
	r.traceBlock(&t.block)
	at := history.Position{Anchor: schemas.Anchor{Offset: t.block.Next, Head: t.block.Head}}
	t.block.Reset(t.stream, t.partition, r.Topics.Transactions, at)
	t.until, t.since = 0, time.Time{}
	return nil
}

// read adds the next batch or record to the block, if there is one.
func (t *tape) read(ctx context.Context) (more bool, err error) {
	if t.ledger == nil {
		return t.readRecord(ctx)
	}
	if t.ledger.Position() >= t.end {
		if err := t.look(ctx); err != nil {
			return false, err
		}
	}
	b, err := t.ledger.Next(ctx, t.end)
	if b == nil || err != nil {
		return false, err
	}
	// A batch that the chain drops is passed over, and the position stays at the
	// end of one that it took, by which the ledger can be known again.
	if b.Taken {
		t.block.AddBatch(b.Base, b.Timestamp, &b.Facts, b.Values)
	}
	return true, nil
}

func (t *tape) readRecord(ctx context.Context) (more bool, err error) {
	for t.records == nil || !t.records.Next() {
		if t.records != nil && t.records.Err() != nil {
			return false, t.records.Err()
		}
		if t.reader.Position() >= t.end || t.records != nil {
			if err := t.look(ctx); err != nil {
				return false, err
			}
		}
		if t.records, err = t.reader.Next(ctx, t.end); t.records == nil || err != nil {
			return false, err
		}
	}
	rec := t.records.Record()
	t.block.AddRecord(rec.Offset, rec.Timestamp, rec.Key, rec.Value)
	return true, nil
}

// look looks up where the log ends now.
func (t *tape) look(ctx context.Context) (err error) {
	_, t.end, err = t.recorder.log.Offsets(ctx, t.topic, t.partition)
	return err
}
