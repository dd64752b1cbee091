package simulate

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// Files is where [Write] puts a bank's days; nil ones are left out. All are
// lines of JSON: a transaction, a label, and for the truth the transaction's id
// and fraud kind, frauds only.
type Files struct {
	Transactions io.Writer
	Labels       io.Writer // those known after the last day too; known_at says when
	Truth        io.Writer
}

// Written counts what [Write] wrote.
type Written struct {
	Transactions int                `json:"transactions"`
	Labels       int                `json:"labels"`
	Kinds        [NumFraudKinds]int `json:"-"`
	Frauds       int                `json:"frauds"`
}

// Write lets a new bank of cfg run to its last day and writes what it sends.
// Progress, where not nil, is called at each hour of the bank's time with the
// hours done and in all. The errors are the Config's, one of a bank of 0 days, and the writers'.
func Write(to Files, cfg Config, progress func(done, total int)) (Written, error) {
	var sum Written
	if cfg.Days == 0 {
		return sum, errors.New("write bank: how many days is not said")
	}
	b, err := New(cfg)
	if err != nil {
		return sum, fmt.Errorf("make bank: %w", err)
	}
	transactions, labels, truth := lines(to.Transactions), lines(to.Labels), lines(to.Truth)
	var tx Transaction
	var l Label
	buf := make([]byte, 0, 1<<10)
	hours, done := cfg.Days*24, -1
	for b.Next(&tx) {
		for b.NextLabel(&l) {
			sum.Labels++
			_, _ = labels.Write(append(l.AppendJSON(buf), '\n'))
		}
		_, _ = transactions.Write(append(tx.AppendJSON(buf), '\n'))
		if tx.Fraud() && !tx.Resent {
			line := append(tx.AppendID(append(buf, `{"id":"`...)), `","fraud_type":"`...)
			line = append(append(line, tx.Kind.String()...), "\"}\n"...)
			_, _ = truth.Write(line)
		}
		if h := int((tx.Sent - b.start) / hourMs); h != done && progress != nil {
			done = h
			progress(h, hours)
		}
	}
	for b.LastLabel(&l) {
		sum.Labels++
		_, _ = labels.Write(append(l.AppendJSON(buf), '\n'))
	}
	if progress != nil {
		progress(hours, hours)
	}
	sum.Transactions, sum.Kinds = b.Counts()
	for _, n := range sum.Kinds[1:] {
		sum.Frauds += n
	}
	// A bufio.Writer keeps its first error.
	if err := errors.Join(transactions.Flush(), labels.Flush(), truth.Flush()); err != nil {
		return sum, fmt.Errorf("write bank: %w", err)
	}
	return sum, nil
}

// WriteJSONL writes the transactions of a new bank of cfg as lines of JSON, as
// [Write] does.
func WriteJSONL(w io.Writer, cfg Config, progress func(done, total int)) (Written, error) {
	return Write(Files{Transactions: w}, cfg, progress)
}

func lines(w io.Writer) *bufio.Writer {
	if w == nil {
		w = io.Discard
	}
	return bufio.NewWriterSize(w, 1<<18)
}
