package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/ingest/simulate"
	"github.com/weir-risk/weir/schemas"
)

// handbookStream is transactions of the Handbook's kind, in the order of their
// times, and what becomes known of them: frauds, a week later.
type handbookStream struct {
	from string // where it is from, for people
	rows []handbookRow
	text []byte // what the rows' texts are in
}

// handbookRow is one transaction.
type handbookRow struct {
	time               int64 // ms since the Unix epoch
	amount             int64 // cents
	id, customer, term []byte
	fraud              bool
}

// labelDelay is after how long a fraud is known.
const labelDelay = 7 * 24 * 3600 * 1000

// loadHandbook reads n transactions from the Handbook's file: the named one,
// that of WEIR_HANDBOOK, or the usual place. Where there is none, a simulated
// bank makes a stream of the same kind.
func loadHandbook(e *env, name string, n int) (*handbookStream, error) {
	given := name != ""
	if folder, ok := e.lookup("WEIR_HANDBOOK"); ok && !given {
		name = filepath.Join(folder, "transactions.csv.gz")
	} else if !given {
		name = filepath.Join("..", "shared", "data", "handbook", "transactions.csv.gz")
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) && !given {
		return simulateHandbook(n)
	}
	if err != nil {
		return nil, fmt.Errorf("read transactions: %w", err)
	}
	defer f.Close()
	s := &handbookStream{from: name}
	if err := s.read(f, n); err != nil {
		return nil, fmt.Errorf("read transactions of %s: %w", name, err)
	}
	return s, nil
}

func (s *handbookStream) read(f *os.File, n int) error {
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(z)
	lines.Scan() // the header
	for len(s.rows) < n && lines.Scan() {
		c := bytes.Split(lines.Bytes(), []byte(","))
		if len(c) < 8 {
			return fmt.Errorf("row %d has %d columns", len(s.rows), len(c))
		}
		at, err := time.Parse(time.DateTime, string(c[1]))
		if err != nil {
			return fmt.Errorf("row %d: %w", len(s.rows), err)
		}
		amount, err := strconv.ParseFloat(string(c[4]), 64)
		if err != nil {
			return fmt.Errorf("row %d: %w", len(s.rows), err)
		}
		s.rows = append(s.rows, handbookRow{time: at.UnixMilli(), amount: int64(math.Round(100 * amount)),
			id: s.keep(c[0]), customer: s.keep(c[2]), term: s.keep(c[3]), fraud: string(c[7]) == "1"})
	}
	return lines.Err()
}

// keep copies a text to where it stays: a copy of its own would be collected
// over and over.
func (s *handbookStream) keep(text []byte) []byte {
	if cap(s.text)-len(s.text) < len(text) {
		s.text = make([]byte, 0, 1<<20)
	}
	from := len(s.text)
	s.text = append(s.text, text...)
	return s.text[from:len(s.text):len(s.text)]
}

// simulateHandbook makes a stream of the Handbook's kind: 5,000 customers, 10,000
// terminals, 9,600 payments a day.
func simulateHandbook(n int) (*handbookStream, error) {
	cfg := simulate.DefaultConfig()
	cfg.Customers, cfg.Merchants, cfg.Terminals, cfg.TxPerDay, cfg.Days = 5_000, 5_000, 10_000, 1.92, 0
	cfg.Late, cfg.Resent, cfg.Labels = 0, 0, simulate.Labels{}
	bank, err := simulate.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("make bank: %w", err)
	}
	s := &handbookStream{from: "a simulated bank"}
	var tx simulate.Transaction
	for len(s.rows) < n && bank.Next(&tx) {
		if tx.Type != schemas.Authorisation || tx.Terminal == 0 {
			continue
		}
		s.rows = append(s.rows, handbookRow{time: tx.Time / 1000 * 1000, amount: tx.Amount, fraud: tx.Fraud(),
			id:       s.keep(strconv.AppendUint(nil, tx.Number, 10)),
			customer: s.keep(strconv.AppendUint(nil, uint64(tx.Customer), 10)),
			term:     s.keep(strconv.AppendUint(nil, uint64(tx.Terminal), 10))})
	}
	return s, nil
}

// appendJSON appends the row as the handbook spec reads it.
func (r *handbookRow) appendJSON(b []byte) []byte {
	b = append(append(b, `{"TRANSACTION_ID":"`...), r.id...)
	b = time.UnixMilli(r.time).UTC().AppendFormat(append(b, `","TX_DATETIME":"`...), time.DateTime)
	b = append(append(b, `","CUSTOMER_ID":"`...), r.customer...)
	b = append(append(b, `","TERMINAL_ID":"`...), r.term...)
	b = strconv.AppendFloat(append(b, `","TX_AMOUNT":`...), float64(r.amount)/100, 'f', 2, 64)
	return append(b, '}')
}

// label returns what becomes known of a fraud.
func (r *handbookRow) label() schemas.Label {
	return schemas.Label{TxID: r.id, Verdict: schemas.LabelFraud, Source: schemas.Chargeback, KnownAt: r.time + labelDelay, Version: 1}
}

// fold computes the features of the stream in the order of time, labels, also of
// what is genuine, before transactions of the same time: no partitions, no steps, no
// broker. each has them row by row, and ends it with an error; x is good until the
// next row.
func (s *handbookStream) fold(sp *spec.Spec, each func(row int, x []float32) error) error {
	engine := features.New(sp, features.Options{})
	x := make([]float32, engine.Width())
	var one schemas.Batch
	known := 0 // rows whose label is
	for i := range s.rows {
		r := &s.rows[i]
		for ; s.rows[known].time+labelDelay <= r.time; known++ {
			l := s.rows[known].label()
			if !s.rows[known].fraud {
				l.Verdict, l.Source = schemas.LabelGenuine, schemas.DefaultLabel
			}
			engine.Label(&l)
		}
		one.Reset(len(sp.Input.OwnText), len(sp.Input.OwnNumber))
		one.Add(schemas.Place{})
		one.Tx[0] = schemas.Transaction{Time: r.time, Amount: r.amount, AmountBase: r.amount}
		one.SetBytes(0, schemas.ID, r.id)
		one.SetBytes(0, schemas.Customer, r.customer)
		one.SetBytes(0, schemas.Terminal, r.term)
		engine.Step(&one, x, nil)
		if v := one.Verdict[0]; v.Outcome != schemas.Scored {
			return fmt.Errorf("transaction %s is %v: %v", r.id, v.Outcome, v.Reason)
		}
		if err := each(i, x); err != nil {
			return err
		}
	}
	return nil
}

// preloadBatch is how many records a producer of the preloaded topics sends at
// once.
const preloadBatch = 1000

// preload writes the stream into the topics: transactions by customer, and the
// labels that become known before the last of them.
func (s *handbookStream) preload(ctx context.Context, log *kafka.Client, topics schemas.Topics, partitions int) error {
	if err := log.Ensure(ctx, benchLayouts(topics, partitions, false)); err != nil {
		return err
	}
	parts, labels := make([]preloader, partitions), preloader{log: log, topic: topics.Labels}
	for p := range parts {
		parts[p] = preloader{log: log, topic: topics.Transactions, partition: int32(p)}
	}
	var value []byte
	last := s.rows[len(s.rows)-1].time
	for i := range s.rows {
		r := &s.rows[i]
		h := fnv.New32a()
		_, _ = h.Write(r.customer)
		value = r.appendJSON(value[:0])
		if err := parts[h.Sum32()%uint32(partitions)].add(ctx, r.customer, value, r.time); err != nil {
			return err
		}
		if r.fraud && r.time+labelDelay <= last {
			l := r.label()
			value = schemas.AppendLabelJSON(value[:0], &l)
			if err := labels.add(ctx, r.id, value, l.KnownAt); err != nil {
				return err
			}
		}
	}
	for p := range parts {
		if err := parts[p].flush(ctx); err != nil {
			return err
		}
	}
	return labels.flush(ctx)
}

// A preloader writes one partition in full batches, uncompressed where nothing else
// is said, as most producers do.
type preloader struct {
	log       *kafka.Client
	topic     string
	partition int32
	codec     kafka.Codec
	batch     kafka.BatchWriter
	n         int
}

func (p *preloader) add(ctx context.Context, key, value []byte, at int64) error {
	p.batch.Append(key, value, at, nil)
	if p.n++; p.n < preloadBatch {
		return nil
	}
	return p.flush(ctx)
}

func (p *preloader) flush(ctx context.Context) error {
	if p.n == 0 {
		return nil
	}
	p.n = 0
	set, err := p.batch.Finish(p.codec)
	if err != nil {
		return err
	}
	if _, err = p.log.Produce(ctx, p.topic, p.partition, set); err != nil {
		return fmt.Errorf("write to %s partition %d: %w", p.topic, p.partition, err)
	}
	p.batch.Reset()
	return nil
}
