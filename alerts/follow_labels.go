package alerts

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// labelsAtOnce bounds a request of labels.
const labelsAtOnce = 500

// settling is how long a request that was not answered is given to reach the log: its
// connection is closed by then, and what the broker has read of it is carried out.
const settling = time.Second

// othersAfter is how long at least, and twice that how long at most, a label is left to
// the desk whose analyst made it: each desk draws its own time, so that two do not find
// at once that a third is gone. A desk that is there publishes within milliseconds, and
// one that is not should not be waited for.
const othersAfter = 2 * time.Second

// labelName is what the scorer tells labels of analysts apart by.
type labelName struct {
	tx      string
	version uint32
}

// labels publishes labels as they come due, until an error. Each goes into the topic
// once, whatever crashes: what the topic holds is read to its end before anything is
// written, and what was written is marked by reading it back. So it does not matter
// whether a desk before this one, or a request that was not answered, had written it;
// only one that reaches the log after its end was read would not be seen, which is why
// there is a pause after a request of unknown outcome.
func (d *Desk) labels(ctx context.Context, on func()) error {
	for left := false; ; {
		var others <-chan time.Time
		if left {
			others = d.After(d.others)
		}
		select {
		case <-d.due:
		case <-others:
		case <-ctx.Done():
			return ctx.Err()
		}
		var err error
		if left, err = d.publish(ctx); err != nil {
			d.remind()
			return fmt.Errorf("publish labels: %w", err)
		}
		on()
	}
}

// own takes note that an action of this desk's analysts made a label.
func (d *Desk) own(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mine[id] = true
	d.remind()
}

// takeOwn returns the actions that were noted since, and forgets them.
func (d *Desk) takeOwn() map[string]bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	mine := d.mine
	d.mine = make(map[string]bool)
	return mine
}

// ours are those of a list that this desk is to publish now: what its own analysts
// made, and what other desks have left for long.
func (d *Desk) ours(list []schemas.Label, mine map[string]bool) []schemas.Label {
	before := d.Now().Add(-d.others).UnixMilli()
	return slices.DeleteFunc(list, func(l schemas.Label) bool { return l.KnownAt > before && !mine[string(l.DispositionID)] })
}

// remind says that labels may be due.
func (d *Desk) remind() {
	select {
	case d.due <- struct{}{}:
	default:
	}
}

// publish publishes all labels that are due and are this desk's to publish; left says
// that there are others.
func (d *Desk) publish(ctx context.Context) (left bool, err error) {
	d.publishing.Lock()
	defer d.publishing.Unlock()
	mine := d.takeOwn()
	defer func() {
		for id := range mine {
			if err != nil {
				d.own(id)
			}
		}
	}()
	t, err := d.source.known(ctx, PlaceLabels, d.Topics.Labels)
	if err == nil {
		err = d.readBack(ctx, t.Partitions)
	}
	if errors.Is(err, errRecreated) {
		d.Log.Warn("labels are published anew", "cause", err)
		if err = d.view.forgetLabels(ctx); err == nil {
			if t, err = d.source.known(ctx, PlaceLabels, d.Topics.Labels); err == nil {
				err = d.readBack(ctx, t.Partitions)
			}
		}
	}
	for err == nil {
		var list []schemas.Label
		list, err = d.view.Unpublished(ctx, labelsAtOnce)
		left = len(list) > 0
		if list = d.ours(list, mine); len(list) == 0 || err != nil {
			return left, err
		}
		if err = d.produceLabels(ctx, list, t.Partitions); err == nil {
			err = d.readBack(ctx, t.Partitions)
		}
	}
	return left, err
}

// readBack reads what labels hold from where the view last knew.
func (d *Desk) readBack(ctx context.Context, partitions int) error {
	for p := range int32(partitions) {
		tape, err := d.source.tape(ctx, d.Topics.Labels, Place{PlaceLabels, p})
		if err != nil {
			return err
		}
		for {
			set, err := tape.reader.Next(ctx, tape.end)
			if err != nil {
				return fmt.Errorf("read %s partition %d: %w", tape.topic, p, err)
			}
			if set == nil {
				break
			}
			for more := true; more; {
				more, err = tape.collect(set)
				if err = errors.Join(d.view.MarkLabelled(ctx, p, tape.records), err); err != nil {
					return fmt.Errorf("read %s partition %d: %w", tape.topic, p, err)
				}
			}
		}
	}
	return nil
}

// produceLabels writes labels to the partitions of their transactions. Of two alerts of
// one transaction that come to the same version the later one waits for the next round,
// which gives it another.
func (d *Desk) produceLabels(ctx context.Context, list []schemas.Label, partitions int) error {
	seen := make(map[labelName]bool)
	batches := make([]kafka.BatchWriter, partitions)
	counts := make([]int, partitions)
	var value []byte
	for i := range list {
		l := &list[i]
		if n := (labelName{string(l.TxID), l.Version}); seen[n] {
			continue
		} else {
			seen[n] = true
		}
		hash := fnv.New32a()
		_, _ = hash.Write(l.TxID)
		p := int(hash.Sum32() % uint32(partitions))
		if d.KnownAt != nil {
			l.KnownAt = d.KnownAt(l.KnownAt)
		}
		value = schemas.AppendLabelJSON(value[:0], l)
		batches[p].Append(l.TxID, value, d.Now().UnixMilli(), nil)
		counts[p]++
	}
	for p := range batches {
		if counts[p] == 0 {
			continue
		}
		batch, err := batches[p].Finish(kafka.LZ4)
		if err == nil {
			_, err = d.log.Produce(ctx, d.Topics.Labels, int32(p), batch)
		}
		if errors.Is(err, kafka.ErrUnknownOutcome) {
			err = errors.Join(err, d.pause(ctx, settling))
		}
		if err != nil {
			return fmt.Errorf("write %d labels: %w", counts[p], err)
		}
	}
	return nil
}
