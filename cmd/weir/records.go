package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/decode"
	"github.com/weir-risk/weir/schemas"
)

// records reads a file of transactions: CSV with a header, or JSON lines, by
// what its first byte is.
type records struct {
	in      *input
	lines   *lines
	dec     *decode.Decoder
	columns *decode.Columns // nil: JSON lines
	header  int             // cells of a row
	cells   [][]byte
	refused *refused
	place   schemas.Place // of the next row
	seen    int64
}

// openRecords opens a file of transactions. Column is the name of a column that
// must be there, "" for none.
func openRecords(ctx context.Context, e *env, name string, s *spec.Spec, dec *decode.Decoder, column string, r *refused) (*records, error) {
	in, err := openInput(ctx, e, name)
	if err != nil {
		return nil, err
	}
	t := &records{in: in, dec: dec, refused: r, place: schemas.Place{Prev: -1, Timestamp: -1}}
	t.lines = newLines(in, max(s.Input.MaxBytes, 1<<16))
	first := t.lines.first()
	if first == '{' || first == 0 && errors.Is(t.lines.err, io.EOF) {
		return t, nil
	}
	if err := t.readHeader(column); err != nil {
		in.Close()
		return nil, err
	}
	return t, nil
}

func (t *records) readHeader(column string) error {
	cells, err := t.lines.csvRecord(nil)
	if err != nil {
		return fmt.Errorf("read header of %s: %w", t.in.name, err)
	}
	names := make([]string, len(cells))
	for k, c := range cells {
		names[k] = string(c)
	}
	if column != "" && !slices.Contains(names, column) {
		return fmt.Errorf("%s has no column %q for --label-column; it has %s", t.in.name, column, strings.Join(names, ", "))
	}
	if t.columns, err = t.dec.Columns(names); err != nil {
		return fmt.Errorf("%s: %w (it has %s; --spec says what is read)", t.in.name, err, strings.Join(names, ", "))
	}
	t.header = len(names)
	return nil
}

// next decodes the next record as a new row of b, one that is refused too: its
// verdict says so. It returns io.EOF at the end.
func (t *records) next(b *schemas.Batch) error {
	line, why, err := t.read()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return io.EOF
		}
		return fmt.Errorf("read %s behind line %d: %w", t.in.name, t.lines.number, err)
	}
	t.seen++
	i := b.Add(t.place)
	t.place.Prev, t.place.Offset = t.place.Offset, t.place.Offset+1
	reason := why
	switch {
	case why == schemas.Oversize:
		t.refuse(b, i, why, "a line longer than max_bytes")
	case why != schemas.NoReason:
		t.refuse(b, i, why, "a row that is no CSV, or has another number of cells than the header")
	case t.columns == nil:
		reason = t.dec.Decode(b, i, line)
	default:
		reason = t.dec.DecodeFields(b, i, t.columns, t.cells)
	}
	if reason != schemas.NoReason && why == schemas.NoReason {
		t.refuse(b, i, reason, t.dec.Stopped())
	}
	return nil
}

// read takes the next record: a line of JSON, or cells in t.cells. Reason is why
// it is refused before it is decoded.
func (t *records) read() (line []byte, reason schemas.Reason, err error) {
	if t.columns != nil {
		t.cells, err = t.lines.csvRecord(t.cells)
		if errors.Is(err, errCSV) || err == nil && len(t.cells) != t.header {
			return nil, schemas.BadSchema, nil
		}
	} else {
		for len(line) == 0 && err == nil { // empty lines are no records
			line, err = t.lines.next()
		}
	}
	if errors.Is(err, errLong) {
		return nil, schemas.Oversize, nil
	}
	return line, schemas.NoReason, err
}

// refuse makes a row one that is not taken.
func (t *records) refuse(b *schemas.Batch, i int, reason schemas.Reason, text string) {
	b.Verdict[i] = schemas.Verdict{Outcome: schemas.Rejected, Reason: reason}
	t.refused.note(t.in.name, t.lines.number, reason.String(), text)
}

func (t *records) close() { t.in.Close() }

// columnName is what a path is called as a column.
func columnName(path []string) string { return strings.Join(path, ".") }

// withLabel returns s with one more numeric field, the last: the label, at
// column name. The engine is made from s itself and does not see it.
func withLabel(s *spec.Spec, name string) (*spec.Spec, error) {
	path := strings.Split(name, ".")
	in := &s.Input
	paths := [][]string{in.Time.Path, in.Amount.Path, in.Type.Path, in.Status.Path}
	for _, t := range in.Text {
		paths = append(paths, t.Path)
	}
	for _, own := range [][]spec.OwnField{in.OwnText, in.OwnNumber} {
		for _, f := range own {
			paths = append(paths, f.Path)
		}
	}
	for _, p := range paths {
		if n := min(len(p), len(path)); n > 0 && slices.Equal(p[:n], path[:n]) {
			return nil, usagef("--label-column %s: the spec reads %s as a field of the transaction, so that the model would see the label", name, columnName(p))
		}
	}
	with := *s
	with.Input.OwnNumber = append(slices.Clone(in.OwnNumber), spec.OwnField{Name: "label", Path: path})
	return &with, nil
}
