package history

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ClickHouse/ch-go"

	"github.com/weir-risk/weir/schemas"
)

// monthsMax is how many partitions one insert may touch; the server refuses
// more (code 252) unless its settings say otherwise.
const monthsMax = 100

// Write implements [Writer].
func (s *clickhouseStore) Write(ctx context.Context, b *Block) error {
	err := s.write(ctx, b)
	if err != nil {
		// Whether the last request was carried out is not known: the same rows
		// go again under the same token, over a connection of their own.
		s.drop()
		return fmt.Errorf("write %s %d from %d to %d: %w", b.Stream, b.Partition, b.From, b.Next-1, err)
	}
	return nil
}

func (s *clickhouseStore) write(ctx context.Context, b *Block) error {
	at, err := s.Position(ctx, b.Stream, b.Partition)
	if err != nil {
		return err
	}
	if done, err := at.admits(b); done || err != nil {
		return err
	}
	if at.Begun == 0 {
		if err := s.note(ctx, b, 0); err != nil {
			return err
		}
	}
	if s.conn == nil {
		if s.conn, err = ch.Dial(ctx, s.options); err != nil {
			return err
		}
	}
	if b.Stream == Ledger {
		err = s.ledger(ctx, b)
	} else {
		err = s.topic(ctx, b)
	}
	if err != nil {
		return err
	}
	return s.note(ctx, b, 1)
}

// note writes that a block was begun, or that it is whole. Of two notes that
// say the same one counts.
func (s *clickhouseStore) note(ctx context.Context, b *Block, done uint8) error {
	err := s.exec(ctx, `INSERT INTO {db}.progress (stream, part, done, next, head_writer, head_sequence) VALUES (?, ?, ?, ?, ?, ?)`,
		string(b.Stream), b.Partition, done, b.Next, b.Head.Writer, b.Head.Sequence)
	if err != nil {
		return fmt.Errorf("write the position: %w", err)
	}
	return nil
}

// ledger writes a block of the ledger, table by table.
func (s *clickhouseStore) ledger(ctx context.Context, b *Block) error {
	t := &s.tables
	for _, set := range []*columnSet{t.entries.columnSet, t.labels.columnSet, t.batches.columnSet} {
		set.input.Reset()
	}
	if err := s.decisions(ctx, b); err != nil {
		return err
	}
	for i := range b.batches {
		t.batches.append(b, &b.batches[i])
	}
	for _, in := range []struct {
		table string
		rows  int
		set   *columnSet
	}{{"entries", t.entries.shard.Rows(), t.entries.columnSet}, {"labels", t.labels.shard.Rows(), t.labels.columnSet},
		{"batches", t.batches.shard.Rows(), t.batches.columnSet}} {
		if err := s.insert(ctx, b, in.table, 0, in.rows, in.set); err != nil {
			return err
		}
	}
	return nil
}

// decisions writes the decisions of a block, in as many inserts as their months
// call for, and gathers what else the block holds.
func (s *clickhouseStore) decisions(ctx context.Context, b *Block) error {
	var months []int
	source := []byte(b.Source)
	seen := make(map[int]bool)
	s.columns.input.Reset()
	err := b.each(func(r *row) error {
		if r.entry.Kind == schemas.EntryDecision {
			if m := month(eventMs(&r.entry.Decision)); !seen[m] {
				seen[m] = true
				months = append(months, m)
			}
			s.columns.append(&r.entry.Decision, source, b.Partition, r)
			return nil
		}
		if r.entry.Kind == schemas.EntryLabel {
			s.tables.labels.append(&r.entry.Label, b.Partition, r.offset)
		}
		s.tables.entries.append(b.Partition, r)
		return nil
	})
	if err != nil {
		return err
	}
	if len(months) <= monthsMax {
		return s.insert(ctx, b, "decisions", 0, s.columns.shard.Rows(), &s.columns.columnSet)
	}
	// Which months go together follows from the block alone, so that a retry
	// sends the same inserts.
	slices.Sort(months)
	for k := 0; k*monthsMax < len(months); k++ {
		some := months[k*monthsMax : min((k+1)*monthsMax, len(months))]
		s.columns.input.Reset()
		err := b.each(func(r *row) error {
			if r.entry.Kind != schemas.EntryDecision {
				return nil
			}
			if m := month(eventMs(&r.entry.Decision)); m >= some[0] && m <= some[len(some)-1] {
				s.columns.append(&r.entry.Decision, source, b.Partition, r)
			}
			return nil
		})
		if err == nil {
			err = s.insert(ctx, b, "decisions", k, s.columns.shard.Rows(), &s.columns.columnSet)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// month numbers the month of a time as the table's partitions do.
func month(ms int64) int {
	t := time.UnixMilli(ms).UTC()
	return t.Year()*12 + int(t.Month())
}

// topic writes records of alerts or dispositions.
func (s *clickhouseStore) topic(ctx context.Context, b *Block) error {
	c := newTopicColumns()
	for i := range b.records {
		c.append(b, &b.records[i])
	}
	return s.insert(ctx, b, string(b.Stream), 0, len(b.records), c.columnSet)
}

// insert sends columns as one insert. Its token names the block and the part of
// it, so that the server keeps one of however many times it is sent.
func (s *clickhouseStore) insert(ctx context.Context, b *Block, table string, part, rows int, set *columnSet) error {
	if rows == 0 {
		return nil
	}
	token := fmt.Sprintf("%s-%d-%d-%d-%d", b.Stream, b.Partition, b.From, b.Next-1, part)
	err := s.conn.Do(ctx, ch.Query{
		Body:  s.sql("INSERT INTO {db}." + table + " " + set.input.Columns() + " VALUES"),
		Input: set.input,
		Settings: []ch.Setting{
			{Key: "async_insert", Value: "0", Important: true},
			{Key: "insert_deduplicate", Value: "1", Important: true},
			{Key: "insert_deduplication_token", Value: token, Important: true},
		},
	})
	if err != nil {
		return fmt.Errorf("insert %d rows into %s: %w", rows, table, err)
	}
	return nil
}
