package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// An input is a file as plain bytes, whatever it was compressed with. A
// goroutine reads and decompresses ahead of whoever reads it.
type input struct {
	name  string // as messages call it
	size  int64  // of the file, 0 where it is not known
	taken atomic.Int64

	full, free chan []byte
	ctx        context.Context
	stop, done chan struct{}
	waits      bool // a read may wait for a person or another program, and cannot be broken off
	page, rest []byte
	err        error // why the goroutine ended; read once full is closed
}

const (
	pageBytes = 1 << 18 // of what is read ahead at a time
	pages     = 4
)

// openInput opens a file, - being stdin, to be read until the context ends. What
// is in it is told by its first bytes, not by its name: gzip, zstd, or neither.
func openInput(ctx context.Context, e *env, name string) (*input, error) {
	in := &input{ctx: ctx, name: name, full: make(chan []byte, pages), free: make(chan []byte, pages), stop: make(chan struct{}), done: make(chan struct{})}
	var raw io.Reader = e.stdin
	closeFile := func() error { return nil }
	if name == "-" {
		in.name, in.waits = "stdin", true
	} else {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("open input: %w", err)
		}
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			in.size = info.Size()
		}
		raw, closeFile = f, f.Close
	}
	for range pages {
		in.free <- make([]byte, pageBytes)
	}
	go func() { // ends at the end of the file, or when stop is closed; Close waits for it
		defer close(in.done)
		plain, closePlain, err := plainReader(bufio.NewReaderSize(counted{raw, &in.taken}, 1<<16))
		if err == nil {
			err = in.ahead(plain)
			closePlain()
		}
		in.err = errors.Join(err, closeFile())
		close(in.full)
	}()
	return in, nil
}

// counted counts what is read, for a bar that another goroutine draws.
type counted struct {
	io.Reader
	n *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// plainReader takes compression off, if there is any.
func plainReader(r *bufio.Reader) (io.Reader, func(), error) {
	head, err := r.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, nil, err
		}
		return z, func() {}, nil
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return r, func() {}, nil
}

// ahead fills pages until the reader ends, or nobody wants more.
func (in *input) ahead(r io.Reader) error {
	for {
		var page []byte
		select {
		case page = <-in.free:
		case <-in.stop:
			return nil
		}
		n, err := 0, error(nil)
		for page = page[:pageBytes]; n < pageBytes && err == nil; {
			var k int
			k, err = r.Read(page[n:])
			n += k
		}
		if n > 0 {
			in.full <- page[:n] // never blocks: there is room for every page
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Read implements io.Reader.
func (in *input) Read(p []byte) (int, error) {
	if len(in.rest) == 0 {
		if in.page != nil {
			in.free <- in.page
			in.page = nil
		}
		select {
		case page, ok := <-in.full:
			switch {
			case ok:
				in.page, in.rest = page, page
			case in.err != nil:
				return 0, in.err
			default:
				return 0, io.EOF
			}
		case <-in.ctx.Done():
			return 0, context.Cause(in.ctx)
		}
	}
	n := copy(p, in.rest)
	in.rest = in.rest[n:]
	return n, nil
}

// Close ends the reading. A read of stdin that waits ends with the process.
func (in *input) Close() {
	close(in.stop)
	if !in.waits {
		<-in.done
	}
}

// An output is a file that is compressed as its name says.
type output struct {
	buf   *bufio.Writer
	close []func() error
}

// createOutput makes a file, - being stdout: gzip where the name ends in .gz,
// zstd where it ends in .zst.
func createOutput(e *env, name string) (*output, error) {
	o := &output{}
	w := e.stdout
	if name != "-" {
		f, err := os.Create(name)
		if err != nil {
			return nil, fmt.Errorf("create output: %w", err)
		}
		w, o.close = f, append(o.close, f.Close)
	}
	switch {
	case strings.HasSuffix(name, ".gz"):
		z := gzip.NewWriter(w)
		w, o.close = z, append(o.close, z.Close)
	case strings.HasSuffix(name, ".zst"):
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("create output: %w", err)
		}
		w, o.close = z, append(o.close, z.Close)
	}
	o.buf = bufio.NewWriterSize(w, 1<<18)
	return o, nil
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) { return o.buf.Write(p) }

// Close writes what is left and closes the file; its error is that of any write
// before.
func (o *output) Close() error {
	err := o.buf.Flush()
	for i := len(o.close) - 1; i >= 0; i-- {
		err = errors.Join(err, o.close[i]())
	}
	if err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}
