package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

var tailCommand = &command{
	name: "tail", args: "TOPIC", summary: "print a topic's records as JSON, one a line",
	about: `TOPIC is one of weir's (transactions, decisions, alerts, labels, dispositions,
models, rates, audit, dlq) or any other topic's full name. Decisions are shown
decoded, in the order of their partitions; batches that the chain drops are left
out. Of topics that others write to, and of dlq, card numbers are shown without their
middle, and of values that are no text only what schema they have and how many bytes.
It goes on until Ctrl-C, unless --end or --count ends it.`,
	examples: []string{
		"weir tail --kafka 127.0.0.1:9092 alerts                       # follow the alerts",
		"weir tail --kafka 127.0.0.1:9092 --from start --end decisions # the whole ledger",
		"weir tail --kafka 127.0.0.1:9092 --from start --count 1 dlq",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		t := tail{kafka: addKafka(fs)}
		fs.StringVar(&t.from, "from", "end", "where to `BEGIN`: start, end, or an offset of partition 0")
		fs.BoolVar(&t.toEnd, "end", false, "stop at what is the end now")
		fs.Int64Var(&t.count, "count", 0, "stop after so `MANY` records")
		return t.run
	},
}

// tail is one run of the command.
type tail struct {
	kafka *kafkaFlags
	from  string
	toEnd bool
	count int64

	log     *kafka.Client
	topic   string
	ledger  bool
	show    func([]byte) any // a key or a value
	printed int64
	out     *bufio.Writer
}

// A stream is a partition that is printed, some records at a time.
type stream interface {
	next(ctx context.Context, end int64) (more bool, err error)
	close()
}

// errEnough ends a tail that has printed what it was asked for.
var errEnough = errors.New("enough")

func (t *tail) run(ctx context.Context, e *env, args []string) (err error) {
	if len(args) != 1 {
		return usagef("name one topic")
	}
	topics := t.kafka.topics()
	t.topic = topicNamed(topics, args[0])
	t.ledger, t.show = t.topic == topics.Decisions, readable
	if !slices.Contains([]string{topics.Alerts, topics.Labels, topics.Dispositions, topics.Models, topics.Rates, topics.Audit}, t.topic) {
		t.show = discreet
	}
	if t.log, err = t.kafka.client(e); err != nil {
		return err
	}
	defer t.log.Close()
	t.out = bufio.NewWriter(e.stdout)
	described, err := t.log.Describe(ctx, t.topic)
	if err != nil {
		return err
	}
	for p := range described.Partitions {
		// Partitions are followed one after another where there is an end, and
		// side by side where there is none: then each waits its turn shortly.
		if t.toEnd {
			err = t.partition(ctx, int32(p))
		} else {
			err = t.follow(ctx, described.Partitions)
		}
		if err != nil || !t.toEnd {
			break
		}
	}
	if errors.Is(err, errEnough) || ctx.Err() != nil {
		err = nil
	}
	return errors.Join(err, t.out.Flush())
}

// topicNamed turns weir's name of a topic into the topic's own.
func topicNamed(t schemas.Topics, name string) string {
	for n, topic := range map[string]string{"transactions": t.Transactions, "decisions": t.Decisions, "alerts": t.Alerts,
		"labels": t.Labels, "dispositions": t.Dispositions, "models": t.Models, "rates": t.Rates, "audit": t.Audit, "dlq": t.DLQ} {
		if n == name {
			return topic
		}
	}
	return name
}

// begin returns where a partition is begun and where it ends now.
func (t *tail) begin(ctx context.Context, p int32) (from, end int64, err error) {
	start, end, err := t.log.Offsets(ctx, t.topic, p)
	switch t.from {
	case "start":
		return start, end, err
	case "end":
		return end, end, err
	}
	if _, scan := fmt.Sscan(t.from, &from); scan != nil || from < 0 {
		return 0, 0, usagef("--from %q: start, end or an offset", t.from)
	}
	return max(from, start), end, err
}

// partition prints a partition up to its end.
func (t *tail) partition(ctx context.Context, p int32) error {
	from, end, err := t.begin(ctx, p)
	if err != nil {
		return err
	}
	s, err := t.open(ctx, p, from)
	if err != nil {
		return err
	}
	defer s.close()
	for {
		if more, err := s.next(ctx, end); err != nil || !more {
			return err
		}
	}
}

// follow prints what arrives in any partition until the context ends.
func (t *tail) follow(ctx context.Context, partitions int) error {
	var sources []stream
	for p := range partitions {
		from, _, err := t.begin(ctx, int32(p))
		if err != nil {
			return err
		}
		s, err := t.open(ctx, int32(p), from)
		if err != nil {
			return err
		}
		defer s.close()
		sources = append(sources, s)
	}
	for {
		for _, s := range sources {
			if _, err := s.next(ctx, math.MaxInt64); err != nil {
				return err
			}
		}
		if err := t.out.Flush(); err != nil {
			return err
		}
	}
}

// open begins to read a partition.
func (t *tail) open(ctx context.Context, p int32, from int64) (stream, error) {
	if t.ledger {
		return t.openLedger(ctx, p, from)
	}
	return &plainRecords{t, p, kafka.NewReader(t.log, t.topic, p, from)}, nil
}

// plainRecords are a partition of any topic but the ledger.
type plainRecords struct {
	*tail
	partition int32
	reader    *kafka.Reader
}

func (s *plainRecords) close() { s.reader.Close() }

func (s *plainRecords) next(ctx context.Context, end int64) (bool, error) {
	list, err := s.reader.Next(ctx, end)
	if err != nil || list == nil {
		return false, err
	}
	for list.Next() {
		r := list.Record()
		line := lineAt(s.partition, r.Offset, r.Timestamp)
		if r.Key != nil {
			line["key"] = s.show(r.Key)
		}
		s.headers(line, r.Headers)
		line["value"] = s.show(r.Value)
		if err := s.print(line); err != nil {
			return false, err
		}
	}
	return true, list.Err()
}

// lineAt begins the line of a record.
func lineAt(partition int32, offset, timestamp int64) map[string]any {
	return map[string]any{"partition": partition, "offset": offset, "timestamp": time.UnixMilli(timestamp).UTC().Format(time.RFC3339Nano)}
}

func (t *tail) print(line map[string]any) error {
	if err := json.NewEncoder(t.out).Encode(line); err != nil {
		return err
	}
	if t.printed++; t.printed == t.count {
		return errEnough
	}
	return nil
}

func (t *tail) headers(line map[string]any, list []kafka.Header) {
	if len(list) == 0 {
		return
	}
	m := make(map[string]any)
	for _, h := range list {
		m[string(h.Key)] = t.show(h.Value)
	}
	line["headers"] = m
}

// readable returns JSON as JSON, text as text, and anything else in base64.
func readable(b []byte) any {
	switch {
	case b == nil:
		return nil
	case json.Valid(b):
		return json.RawMessage(b)
	case isText(b):
		return string(b)
	}
	return map[string]string{"base64": base64.StdEncoding.EncodeToString(b)}
}

func isText(b []byte) bool {
	return utf8.Valid(b) && !strings.ContainsFunc(string(b), func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' })
}
