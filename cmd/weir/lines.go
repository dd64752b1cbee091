package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// lines cuts a stream into lines, without their ends. A line stays good until
// the next one is asked for.
type lines struct {
	r        io.Reader
	max      int // bytes of a line
	buf      []byte
	from, to int
	err      error // that ended the stream
	number   int64 // of the last line returned, from 1
}

func newLines(r io.Reader, most int) *lines {
	return &lines{r: r, max: most, buf: make([]byte, 1<<18)}
}

// first returns the first byte of what is in the stream, 0 where it is empty. A
// byte order mark is passed over.
func (l *lines) first() byte {
	for l.to < 3 && l.err == nil {
		l.fill()
	}
	if bytes.HasPrefix(l.buf[:l.to], []byte("\ufeff")) {
		l.from = 3
	}
	for l.err == nil && len(bytes.TrimSpace(l.buf[l.from:l.to])) == 0 && l.to < l.max {
		l.fill()
	}
	if text := bytes.TrimSpace(l.buf[l.from:l.to]); len(text) > 0 {
		return text[0]
	}
	return 0
}

// errLong is of a line that is longer than it may be.
var errLong = errors.New("longer than a line may be")

// next returns the next line, or io.EOF. Errors other than errLong end the
// stream; behind a long line the next one follows.
func (l *lines) next() ([]byte, error) {
	line, end, err := l.peek(0)
	if err != nil {
		return nil, err
	}
	l.take(end)
	return line, nil
}

// peek returns the line that begins skip bytes behind where the stream is, and
// where it ends.
func (l *lines) peek(skip int) (line []byte, end int, err error) {
	for looked := skip; ; {
		if k := bytes.IndexByte(l.buf[l.from+looked:l.to], '\n'); k >= 0 {
			end = looked + k + 1
			return chomp(l.buf[l.from+skip : l.from+end]), end, nil
		}
		looked = l.to - l.from
		if l.err != nil {
			if looked > skip && errors.Is(l.err, io.EOF) {
				return chomp(l.buf[l.from+skip : l.to]), looked, nil
			}
			return nil, 0, l.err
		}
		if looked > l.max {
			return nil, 0, l.pass()
		}
		l.fill()
	}
}

// take moves the stream on.
func (l *lines) take(n int) {
	l.number += int64(bytes.Count(l.buf[l.from:l.from+n], []byte{'\n'}))
	if n > 0 && l.buf[l.from+n-1] != '\n' {
		l.number++
	}
	l.from += n
}

// pass leaves a line out that is too long to be held.
func (l *lines) pass() error {
	for {
		k := bytes.IndexByte(l.buf[l.from:l.to], '\n')
		if k >= 0 {
			l.from += k + 1
			break
		}
		l.from = l.to
		if l.err != nil {
			break
		}
		l.fill()
	}
	l.number++
	return errLong
}

// fill reads more.
func (l *lines) fill() {
	if l.from > 0 {
		copy(l.buf, l.buf[l.from:l.to])
		l.from, l.to = 0, l.to-l.from
	}
	if l.to == len(l.buf) {
		l.buf = slices.Grow(l.buf, len(l.buf))[:2*len(l.buf)]
	}
	n, err := l.r.Read(l.buf[l.to:])
	l.to, l.err = l.to+n, err
}

// chomp takes off the end of a line.
func chomp(line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'})
}

// errOpen is of a quoted cell that goes on in the next line.
var errOpen = errors.New("a quoted cell without an end")

// csvRecord returns the cells of the next record, which a quoted cell may carry
// over several lines; empty lines are passed over. The cells are good until the
// next call. An error that is errCSV or errLong is of this record only.
func (l *lines) csvRecord(cells [][]byte) ([][]byte, error) {
	for end := 0; ; {
		_, to, err := l.peek(end)
		switch {
		case errors.Is(err, io.EOF) && end > 0:
			l.take(end)
			return cells[:0], fmt.Errorf("%w: %w", errCSV, errOpen)
		case err != nil:
			return cells[:0], err
		}
		line := chomp(l.buf[l.from : l.from+to])
		if len(line) == 0 {
			l.take(to)
			continue
		}
		cells, err = splitCells(cells[:0], line)
		if errors.Is(err, errOpen) && to <= l.max {
			end = to
			continue
		}
		l.take(to)
		if err != nil {
			return cells[:0], fmt.Errorf("%w: %w", errCSV, err)
		}
		return unquote(cells), nil
	}
}

// errCSV is of a record that is no CSV.
var errCSV = errors.New("not CSV")

// splitCells appends the cells of a record, quoted ones with their quotes. It
// changes nothing, so that it can be called again with more of the record.
func splitCells(cells [][]byte, line []byte) ([][]byte, error) {
	for {
		end := 0
		if len(line) > 0 && line[0] == '"' {
			for end = 1; ; end += 2 { // over a cell's content up to its end, or a doubled quote
				k := bytes.IndexByte(line[end:], '"')
				if k < 0 {
					return cells, errOpen
				}
				if end += k; end+1 == len(line) || line[end+1] != '"' {
					end++
					break
				}
			}
			if end < len(line) && line[end] != ',' {
				return cells, errors.New("something between a quoted cell and the comma")
			}
		} else {
			for end < len(line) && line[end] != ',' {
				if line[end] == '"' {
					return cells, errors.New("a quote in a cell that is not quoted")
				}
				end++
			}
		}
		cells = append(cells, line[:end])
		if end == len(line) {
			return cells, nil
		}
		line = line[end+1:]
	}
}

// unquote takes quotes off, in place.
func unquote(cells [][]byte) [][]byte {
	for k, c := range cells {
		if len(c) == 0 || c[0] != '"' {
			continue
		}
		c = c[1 : len(c)-1]
		n := 0
		for i := 0; i < len(c); i++ {
			if c[i] == '"' {
				i++
			}
			c[n] = c[i]
			n++
		}
		cells[k] = c[:n]
	}
	return cells
}
