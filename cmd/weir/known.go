package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

// known holds labels in the order in which they become known.
type known struct {
	list  []waiting
	head  int  // of list: what lies before is taken
	queue bool // added to in order while it is taken from: room is reused
	texts []byte
	label schemas.Label // that take returns
}

// waiting is a label that is not known yet.
type waiting struct {
	at       int64 // when it is known, ms
	from, to int   // of texts: its transaction's id
	version  uint32
	verdict  schemas.LabelVerdict
	source   schemas.LabelSource
}

func (k *known) add(l *schemas.Label) {
	from := len(k.texts)
	k.texts = append(k.texts, l.TxID...)
	k.list = append(k.list, waiting{l.KnownAt, from, len(k.texts), l.Version, l.Verdict, l.Source})
}

// due reports whether a label is known at a time.
func (k *known) due(now int64) bool { return k.head < len(k.list) && k.list[k.head].at <= now }

// take returns the first label; it is good until the next call.
func (k *known) take() *schemas.Label {
	w := &k.list[k.head]
	k.head++
	k.label = schemas.Label{TxID: append(k.label.TxID[:0], k.texts[w.from:w.to]...), Verdict: w.verdict, Source: w.source, Version: w.version, KnownAt: w.at}
	// What was taken makes room once it is the larger half, so that a queue of a
	// week's labels takes two weeks' memory whatever the length of the stream.
	if k.queue && k.head >= 4096 && 2*k.head >= len(k.list) {
		gone := w.to
		k.texts = k.texts[:copy(k.texts, k.texts[gone:])]
		k.list = k.list[:copy(k.list, k.list[k.head:])]
		k.head = 0
		for i := range k.list {
			k.list[i].from -= gone
			k.list[i].to -= gone
		}
	}
	return &k.label
}

// read adds the labels of a file of JSON lines, and puts all in order. They are
// held in memory, about 64 bytes each.
func (k *known) read(ctx context.Context, e *env, name string, each func(*schemas.Label)) error {
	in, err := openInput(ctx, e, name)
	if err != nil {
		return err
	}
	defer in.Close()
	lines := newLines(in, 1<<16)
	lines.first()
	var l schemas.Label
	for {
		line, err := lines.next()
		switch {
		case errors.Is(err, io.EOF):
			slices.SortStableFunc(k.list, func(a, b waiting) int {
				if a.at < b.at {
					return -1
				}
				if a.at > b.at {
					return 1
				}
				return 0
			})
			return nil
		case err != nil:
			return fmt.Errorf("read labels: %s:%d: %w", in.name, lines.number, err)
		case len(line) == 0:
			continue
		}
		if err := schemas.ParseLabel(line, &l); err != nil {
			return fmt.Errorf("read labels: %s:%d: %w", in.name, lines.number, err)
		}
		k.add(&l)
		each(&l)
	}
}

// fraudDelay returns the shortest delay of the spec's aggregates over labels, in
// ms, and whether there are any.
func fraudDelay(s *spec.Spec) (ms int64, any bool) {
	for i := range s.Aggregates {
		if a := &s.Aggregates[i]; a.Fn.ReadsLabels() && (!any || a.Delay < ms) {
			ms, any = a.Delay, true
		}
	}
	return ms, any
}
