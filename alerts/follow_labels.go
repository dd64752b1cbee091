package alerts

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// labelsAtOnce bounds a request of labels.
const labelsAtOnce = 500

// settling is how long a request that was not answered is given to reach the log: its
// connection is closed by then, and what the broker has read of it is carried out.
const settling = time.Second

// labels publishes labels as they come due, until an error. Each goes into the topic
// once, whatever crashes: what the topic holds is read to its end before anything is
// written, and what was written is marked by reading it back. So it does not matter
// whether a desk before this one, or a request that was not answered, had written it;
// only one that reaches the log after its end was read would not be seen, which is why
// there is a pause after a request of unknown outcome.
func (d *Desk) labels(ctx context.Context, on func()) error {
	for {
		select {
		case <-d.due:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := d.publish(ctx); err != nil {
			d.remind()
			return fmt.Errorf("publish labels: %w", err)
		}
		on()
	}
}

// remind says that labels may be due.
func (d *Desk) remind() {
	select {
	case d.due <- struct{}{}:
	default:
	}
}

// publish publishes all labels that are due.
func (d *Desk) publish(ctx context.Context) error {
	d.publishing.Lock()
	defer d.publishing.Unlock()
	t, err := d.known(ctx, PlaceLabels, d.Topics.Labels)
	if err == nil {
		err = d.readBack(ctx, t.Partitions)
	}
	if errors.Is(err, errRecreated) {
		d.Log.Warn("labels are published anew", "cause", err)
		if err = d.view.forgetLabels(ctx); err == nil {
			if t, err = d.known(ctx, PlaceLabels, d.Topics.Labels); err == nil {
				err = d.readBack(ctx, t.Partitions)
			}
		}
	}
	for err == nil {
		var list []schemas.Label
		list, err = d.view.Unpublished(ctx, labelsAtOnce)
		if len(list) == 0 || err != nil {
			return err
		}
		if err = d.produceLabels(ctx, list, t.Partitions); err == nil {
			err = d.readBack(ctx, t.Partitions)
		}
	}
	return err
}

// readBack reads what labels hold from where the view last knew.
func (d *Desk) readBack(ctx context.Context, partitions int) error {
	for p := range int32(partitions) {
		tape := &tape{desk: d, topic: d.Topics.Labels, place: Place{PlaceLabels, p}}
		if err := tape.begin(ctx); err != nil {
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

// produceLabels writes labels, each once although two alerts of one transaction may
// have made it, to the partitions of their transactions.
func (d *Desk) produceLabels(ctx context.Context, list []schemas.Label, partitions int) error {
	type name struct {
		tx      string
		version uint32
	}
	seen := make(map[name]bool)
	batches := make([]kafka.BatchWriter, partitions)
	counts := make([]int, partitions)
	var value []byte
	for i := range list {
		l := &list[i]
		if n := (name{string(l.TxID), l.Version}); seen[n] {
			continue
		} else {
			seen[n] = true
		}
		hash := fnv.New32a()
		_, _ = hash.Write(l.TxID)
		p := int(hash.Sum32() % uint32(partitions))
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
