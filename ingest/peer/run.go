package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

// Transaction is the record of the source topic.
type Transaction struct {
	ID       string  `json:"TRANSACTION_ID"`
	Time     string  `json:"TX_DATETIME"`
	Customer string  `json:"CUSTOMER_ID"`
	Terminal string  `json:"TERMINAL_ID"`
	Amount   float64 `json:"TX_AMOUNT"`
}

// Label is the record of the labels topic.
type Label struct {
	ID      string `json:"tx_id"`
	Verdict string `json:"verdict"`
}

// Decision is what the peer writes.
type Decision struct {
	ID       string    `json:"id"`
	Score    float32   `json:"score"`
	Block    bool      `json:"block"`
	Features []float32 `json:"features"`
}

// Config says where the peer reads and writes.
type Config struct {
	Brokers   []string
	Group     string
	Source    string
	Labels    string // empty: none
	Decisions string
	// Score scores rows of 15 features into out.
	Score func(x []float32, rows int, out []float32) error
	// Decided, if set, is called after each batch was written.
	Decided func(n int)
}

// The limits of a batch.
const (
	batchMax  = 1000
	batchWait = 5 * time.Millisecond
)

// Run reads, decides and writes until the context ends.
func Run(ctx context.Context, c Config) error {
	topics := []string{c.Source}
	if c.Labels != "" {
		topics = append(topics, c.Labels)
	}
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: c.Brokers, GroupID: c.Group, GroupTopics: topics,
		MinBytes: 1, MaxBytes: 1 << 20, MaxWait: 100 * time.Millisecond, QueueCapacity: 4 * batchMax,
		CommitInterval: time.Second, StartOffset: kafka.FirstOffset})
	w := &kafka.Writer{Addr: kafka.TCP(c.Brokers...), Topic: c.Decisions, RequiredAcks: kafka.RequireAll,
		BatchSize: batchMax, BatchTimeout: batchWait}
	messages := make(chan kafka.Message, 4*batchMax)
	var failed error
	go func() { // ends with the context: FetchMessage returns then, and the channel's end ends the loop below
		defer close(messages)
		for {
			m, err := r.FetchMessage(ctx)
			if err != nil {
				failed = err
				return
			}
			messages <- m
		}
	}()
	p := &peer{Config: c, state: NewState()}
	err := p.loop(ctx, messages, r, w)
	err = errors.Join(err, w.Close(), r.Close())
	for range messages { // lets the reader's goroutine end
	}
	if failed != nil && ctx.Err() == nil {
		err = errors.Join(err, failed)
	}
	return err
}

type peer struct {
	Config
	state  *State
	x      []float32
	scores []float32
	ids    []string
	read   []kafka.Message
	out    []kafka.Message
}

// loop gathers what is queued, up to a batch, and decides it.
func (p *peer) loop(ctx context.Context, in <-chan kafka.Message, r *kafka.Reader, w *kafka.Writer) error {
	for m := range in {
		p.reset()
		if err := p.take(m); err != nil {
			return err
		}
		timer := time.NewTimer(batchWait)
	gather:
		for len(p.read) < batchMax {
			select {
			case m, ok := <-in:
				if !ok {
					break gather
				}
				if err := p.take(m); err != nil {
					return err
				}
			case <-timer.C:
				break gather
			}
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
		if err := p.decide(ctx, w); err != nil {
			return err
		}
		if err := r.CommitMessages(ctx, p.read...); err != nil && ctx.Err() == nil {
			return fmt.Errorf("commit offsets: %w", err)
		}
		if p.Decided != nil {
			p.Decided(len(p.ids))
		}
	}
	return nil
}

func (p *peer) reset() {
	p.x, p.ids, p.read, p.out = p.x[:0], p.ids[:0], p.read[:0], p.out[:0]
}

func (p *peer) take(m kafka.Message) error {
	p.read = append(p.read, m)
	if m.Topic == p.Labels && p.Labels != "" {
		var l Label
		if err := json.Unmarshal(m.Value, &l); err != nil {
			return fmt.Errorf("decode a label: %w", err)
		}
		p.state.Label(l.ID, l.Verdict == "fraud")
		return nil
	}
	var tx Transaction
	if err := json.Unmarshal(m.Value, &tx); err != nil {
		return fmt.Errorf("decode a transaction: %w", err)
	}
	at, err := time.Parse(time.DateTime, tx.Time)
	if err != nil {
		return fmt.Errorf("decode a transaction's time: %w", err)
	}
	n := len(p.x)
	for range 15 {
		p.x = append(p.x, 0)
	}
	p.state.Features(&tx, at.UnixMilli(), p.x[n:])
	p.ids = append(p.ids, tx.ID)
	return nil
}

func (p *peer) decide(ctx context.Context, w *kafka.Writer) error {
	if cap(p.scores) < len(p.ids) {
		p.scores = make([]float32, batchMax)
	}
	p.scores = p.scores[:len(p.ids)]
	if err := p.Score(p.x, len(p.ids), p.scores); err != nil {
		return fmt.Errorf("score %d transactions: %w", len(p.ids), err)
	}
	for i, id := range p.ids {
		value, err := json.Marshal(Decision{ID: id, Score: p.scores[i], Block: p.scores[i] > 0.5, Features: p.x[15*i : 15*i+15]})
		if err != nil {
			return fmt.Errorf("encode a decision: %w", err)
		}
		p.out = append(p.out, kafka.Message{Key: []byte(id), Value: value})
	}
	if len(p.out) == 0 {
		return nil
	}
	if err := w.WriteMessages(ctx, p.out...); err != nil && ctx.Err() == nil {
		return fmt.Errorf("write %d decisions: %w", len(p.out), err)
	}
	return nil
}
