package main

import (
	"context"
	"math"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// ledgerRecords are a shard of the ledger, read as everybody reads it: batches
// that the chain drops are left out.
type ledgerRecords struct {
	*tail
	shard  int32
	from   int64 // first offset that is printed
	reader *kafka.LedgerReader
	entry  schemas.Entry
}

// openLedger begins to read a shard at an offset, where the chain has to be
// known: the batches before it say where it stood.
func (t *tail) openLedger(ctx context.Context, shard int32, from int64) (*ledgerRecords, error) {
	start, end, err := t.log.Offsets(ctx, t.topic, shard)
	if err != nil {
		return nil, err
	}
	for back := int64(1 << 13); ; back *= 4 {
		at := max(start, from-back)
		anchor, found, err := t.anchor(ctx, shard, at, start, end)
		if err != nil {
			return nil, err
		}
		if found && anchor.Offset <= from || at == start {
			return &ledgerRecords{tail: t, shard: shard, from: from, reader: kafka.NewLedgerReader(t.log, t.topic, shard, anchor)}, nil
		}
	}
}

// anchor is that of the first whole batch at or behind an offset, if there is
// one: a place before it at which it is known which batch was taken last.
func (t *tail) anchor(ctx context.Context, shard int32, at, start, end int64) (schemas.Anchor, bool, error) {
	if at == 0 {
		return schemas.Anchor{}, true, nil
	}
	r := kafka.NewLedgerReader(t.log, t.topic, shard, schemas.Anchor{Offset: at})
	defer r.Close()
	for {
		b, err := r.Next(ctx, end)
		switch {
		case err != nil:
			return schemas.Anchor{}, false, err
		case b == nil:
			return schemas.Anchor{Offset: at}, false, nil
		case b.Facts.Records == 0: // begun before at, or no batch of the ledger
		case b.Facts.Anchor.Offset < start:
			// Retention has passed it: the first batch that is whole is taken.
			return schemas.Anchor{Offset: b.Base, Head: b.Facts.Extends}, true, nil
		default:
			return b.Facts.Anchor, true, nil
		}
	}
}

func (s *ledgerRecords) close() { s.reader.Close() }

// ledgerLook is how often it is looked for more where the ledger has no end: a
// read that waits would keep other shards waiting.
const ledgerLook = 100 * time.Millisecond

func (s *ledgerRecords) next(ctx context.Context, end int64) (bool, error) {
	if end == math.MaxInt64 {
		var err error
		if _, end, err = s.log.Offsets(ctx, s.topic, s.shard); err != nil {
			return false, err
		}
		if s.reader.Position() >= end {
			return false, sleep(ctx, ledgerLook)
		}
	}
	b, err := s.reader.Next(ctx, end)
	if err != nil || b == nil {
		return false, err
	}
	for i, value := range b.Values {
		offset := b.Base + int64(i)
		if !b.Taken || offset < s.from {
			continue
		}
		line := lineAt(s.shard, offset, b.Timestamp)
		if err := schemas.ParseEntry(value, &s.entry); err != nil {
			line["error"] = err.Error()
		} else {
			entryFields(line, &s.entry)
		}
		if err := s.print(line); err != nil {
			return false, err
		}
	}
	return true, nil
}
