package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

var featuresCommand = &command{
	name: "features", args: "[FILE...]", summary: "compute the features of a file of transactions", json: true,
	about: `The same decoder and the same engine as live, over files: what comes out is what
the scorer would have computed for each transaction when it came. Columns of a CSV
file are the fields of the spec's paths: TRANSACTION_ID for $.TRANSACTION_ID,
card.pan for $.card.pan. Compression is told by content; names that end in .gz or
.zst are compressed on the way out.

The output has the transaction's id and one column a feature, in the order of the
input; what is not defined is empty. Rows without a vector (duplicates, too late,
of a type that is only folded) are counted and left out. Rows that cannot be read
are named on stderr, and make the exit code 1 unless --skip-bad.`,
	examples: []string{
		"weir features --spec handbook --input transactions.csv.gz --output features.csv",
		"weir features --spec bank.spec --input day1.jsonl.zst --input day2.jsonl.zst --labels labels.jsonl --output features.csv.gz",
		"weir features --spec handbook --input transactions.csv.gz --from 2018-06-11 --to 2018-06-25 --output - | head",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		f := &featuresRun{replay: addReplay(fs, "payments")}
		fs.StringVar(&f.output, "output", "-", "`FILE` to write, CSV; - is stdout")
		return f.run
	},
}

// featuresRun is one run of the command.
type featuresRun struct {
	replay *replayFlags
	output string
}

// featuresReport is the command's --json line.
type featuresReport struct {
	replayCounts
	Written  int64 `json:"written"`
	Features int   `json:"features"`
}

func (f *featuresRun) run(ctx context.Context, e *env, args []string) error {
	if f.output == "-" && e.json {
		return usagef("--json and --output - both write to stdout; --output FILE")
	}
	r, err := f.replay.open(ctx, e, args, nil)
	if err != nil {
		return err
	}
	out, err := createOutput(e, f.output)
	if err != nil {
		return err
	}
	w := newVectors(out, r.spec)
	err = r.run(ctx, func(b *schemas.Batch, x []float32) error { return w.add(r, b, x) })
	if err = errors.Join(err, w.close(), out.Close()); err != nil {
		return err
	}
	to := e.stdout
	if f.output == "-" {
		to = e.stderr
	}
	if !e.json {
		r.counts.print(to)
		fmt.Fprintf(to, "written     %s rows of %d features to %s\n", thousands(w.written), len(r.spec.Features), f.output)
	}
	if err := e.report(featuresReport{r.counts, w.written, len(r.spec.Features)}); err != nil {
		return err
	}
	return r.ended()
}

// vectors writes rows as CSV, in a goroutine of its own: turning numbers into
// text takes as long as computing them.
type vectors struct {
	out     io.Writer
	width   int
	full    chan *page
	free    chan *page
	done    chan struct{}
	current *page
	written int64
	err     error // of the goroutine; read once done is closed
}

// page is some rows on their way to the writer.
type page struct {
	ids  []byte
	ends []int // of each row's id in ids
	x    []float32
}

// pageRows is how many rows are handed over at a time.
const pageRows = 2048

// newVectors begins a file with its header.
func newVectors(out io.Writer, s *spec.Spec) *vectors {
	v := &vectors{out: out, width: len(s.Features), full: make(chan *page, 2), free: make(chan *page, 4), done: make(chan struct{})}
	for range cap(v.free) {
		v.free <- &page{}
	}
	v.current = <-v.free
	line := appendCell(nil, []byte(columnName(s.Input.Text[schemas.ID].Path)))
	for i := range s.Features {
		line = appendCell(append(line, ','), []byte(s.Features[i].Name))
	}
	go func() { // ends when full is closed; close waits for it
		defer close(v.done)
		v.err = v.write(append(line, '\n'))
	}()
	return v
}

// add takes the rows of a step that are wanted.
func (v *vectors) add(r *replay, b *schemas.Batch, x []float32) error {
	for i := range b.Len() {
		if !r.wanted(b, i) {
			continue
		}
		v.written++
		p := v.current
		p.ids = append(p.ids, b.Bytes(i, schemas.ID)...)
		p.ends = append(p.ends, len(p.ids))
		p.x = append(p.x, x[i*v.width:(i+1)*v.width]...)
		if len(p.ends) < pageRows {
			continue
		}
		select {
		case v.full <- p:
		case <-v.done:
			return v.err
		}
		v.current = <-v.free
	}
	return nil
}

// close writes what is left and waits for the writer.
func (v *vectors) close() error {
	select {
	case v.full <- v.current:
	case <-v.done:
	}
	close(v.full)
	<-v.done
	return v.err
}

func (v *vectors) write(line []byte) error {
	if _, err := v.out.Write(line); err != nil {
		return err
	}
	for p := range v.full {
		from := 0
		for i, end := range p.ends {
			line = appendCell(line[:0], p.ids[from:end])
			for _, value := range p.x[i*v.width : (i+1)*v.width] {
				line = appendNumber(append(line, ','), value)
			}
			if _, err := v.out.Write(append(line, '\n')); err != nil {
				return err
			}
			from = end
		}
		p.ids, p.ends, p.x = p.ids[:0], p.ends[:0], p.x[:0]
		v.free <- p
	}
	return nil
}

// appendNumber appends the shortest text that reads as the same float32; nothing
// for NaN.
func appendNumber(dst []byte, x float32) []byte {
	whole := int64(0)
	if x > -1<<24 && x < 1<<24 {
		whole = int64(x)
	}
	switch size := math.Abs(float64(x)); {
	case x != x:
		return dst
	case float32(whole) == x && (whole != 0 || !math.Signbit(float64(x))):
		return strconv.AppendInt(dst, whole, 10)
	case size >= 1e-6 && size < 1e15:
		return strconv.AppendFloat(dst, float64(x), 'f', -1, 32)
	}
	return strconv.AppendFloat(dst, float64(x), 'g', -1, 32)
}

// appendCell appends a text as a cell of CSV, quoted where it must be.
func appendCell(dst, text []byte) []byte {
	quote := false
	for _, c := range text {
		quote = quote || c == ',' || c == '"' || c == '\n' || c == '\r'
	}
	if !quote {
		return append(dst, text...)
	}
	dst = append(dst, '"')
	for _, c := range text {
		if c == '"' {
			dst = append(dst, c)
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}
