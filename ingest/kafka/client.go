package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/weir-risk/weir/schemas"
)

// Client talks to one cluster. It may be used by many goroutines; each request
// has a connection of its own while it lasts.
type Client struct {
	options Options
	admin   *kafkago.Client

	mu      sync.Mutex
	idle    map[string][]*conn // by broker address
	leaders map[topicPartition]lead
	closed  bool
}

type topicPartition struct {
	topic     string
	partition int32
}

// lead is the broker that leads a partition, and the topic's id.
type lead struct {
	addr string
	id   [16]byte
}

// New returns a client; nothing is dialled yet.
func New(o Options) *Client {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.ClientID == "" {
		o.ClientID = "weir"
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	transport := &kafkago.Transport{ClientID: o.ClientID, TLS: o.TLS, SASL: o.SASL, DialTimeout: o.Timeout, Dial: o.Dial}
	return &Client{
		options: o,
		admin:   &kafkago.Client{Addr: kafkago.TCP(o.Brokers...), Timeout: o.Timeout, Transport: transport},
		idle:    make(map[string][]*conn), leaders: make(map[topicPartition]lead),
	}
}

// Close closes the connections that are not in use; those that are close as
// their requests end.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, list := range c.idle {
		for _, cn := range list {
			cn.close()
		}
	}
	c.idle = nil
	c.admin.Transport.(*kafkago.Transport).CloseIdleConnections()
}

// idleMax is how long a connection waits for its next request. Brokers close
// one after ten minutes, balancers and firewalls after about four, some of them
// without a word: a request over it would then have an unknown outcome.
const idleMax = time.Minute

// get returns a connection for one request, which [Client.put] takes back. Of
// those that wait it takes one that the broker has not closed: looking first
// turns most broken connections into another dial; a request that was sent over
// one might have been carried out.
func (c *Client) get(ctx context.Context, addr string) (*conn, error) {
	for {
		cn := c.waiting(addr)
		if cn == nil {
			return c.dial(ctx, addr)
		}
		now := time.Now()
		if now.Sub(cn.idle) < idleMax && (cn.expiry.IsZero() || now.Before(cn.expiry)) && cn.quiet() && !cn.watch(ctx) {
			return cn, nil
		}
		cn.close()
	}
}

// waiting takes a connection that waits for its next request, nil where none
// does.
func (c *Client) waiting(addr string) *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.idle[addr]
	if len(list) == 0 {
		return nil
	}
	c.idle[addr] = list[:len(list)-1]
	return list[len(list)-1]
}

// put keeps a connection for the next request, unless this one failed.
func (c *Client) put(addr string, cn *conn, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || c.closed {
		cn.close()
		return
	}
	cn.idle = time.Now()
	c.idle[addr] = append(c.idle[addr], cn)
}

// leader returns the broker that leads a partition.
func (c *Client) leader(ctx context.Context, topic string, partition int32) (lead, error) {
	key := topicPartition{topic, partition}
	c.mu.Lock()
	l, ok := c.leaders[key]
	c.mu.Unlock()
	if ok {
		return l, nil
	}
	t, err := c.Describe(ctx, topic)
	if err != nil {
		return lead{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, addr := range t.leaders {
		if addr != "" {
			c.leaders[topicPartition{topic, int32(p)}] = lead{addr, t.ID}
		}
	}
	l, ok = c.leaders[key]
	if !ok && int(partition) >= t.Partitions {
		return lead{}, fmt.Errorf("partition %d of %s: %w", partition, topic, ErrUnknownTopic)
	}
	if !ok {
		return lead{}, fmt.Errorf("partition %d of %s has no leader: %w", partition, topic, ErrNotLeader)
	}
	return l, nil
}

// forget drops what is known of a partition's leader, after an error that may
// mean that it is another, or that the topic is.
func (c *Client) forget(topic string, partition int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.leaders, topicPartition{topic, partition})
}

// Topic is what the cluster says of a topic.
type Topic struct {
	Name       string
	ID         [16]byte // changes when the topic is deleted and made again
	Partitions int
	Replicas   int // of the partition that has the fewest
	leaders    []string
	operations int32 // that this user may carry out, a bit each; operationsUnknown where the brokers do not say
}

// Describe asks any broker about a topic. ErrUnknownTopic is wrapped where there
// is none.
func (c *Client) Describe(ctx context.Context, topic string) (Topic, error) {
	var last error
	for _, addr := range c.options.Brokers {
		t, err := c.metadata(ctx, addr, topic)
		if err == nil || errors.Is(err, ErrUnknownTopic) {
			return t, err
		}
		last = errors.Join(last, err)
	}
	return Topic{}, fmt.Errorf("describe topic %s: %w", topic, last)
}

// metadata sends Metadata version 12, the first whose answers name topic ids
// both in Kafka 4 and in older clusters; kafka-go speaks up to version 8.
func (c *Client) metadata(ctx context.Context, addr, topic string) (t Topic, err error) {
	cn, err := c.get(ctx, addr)
	if err != nil {
		return Topic{}, err
	}
	defer func() { c.put(addr, cn, err) }()
	b := cn.begin(3, 12, c.options.ClientID, true)
	b = append(b, 2)                   // one topic
	b = append(b, make([]byte, 16)...) // no id
	b = append(b, byte(len(topic)+1))  // names are at most 249 bytes
	if len(topic)+1 > 127 {
		b = append(b[:len(b)-1], byte(len(topic)+1)|0x80, byte((len(topic)+1)>>7))
	}
	b = append(append(b, topic...), 0, 0, 1, 0) // tags; no creation, operations, tags
	raw, err := cn.roundTrip(ctx, b, cn.in, c.options.Timeout)
	cn.in = raw
	if err != nil {
		return Topic{}, fmt.Errorf("ask for metadata: %w", err)
	}
	return parseMetadata(raw, topic)
}

// parseMetadata reads the answer of Metadata version 12, which is of one topic.
func parseMetadata(raw []byte, topic string) (Topic, error) {
	a := &answer{b: raw}
	a.tags()
	a.int32() // throttle
	brokers := make(map[int32]string)
	for range a.array() {
		id := a.int32()
		host := string(a.compact())
		brokers[id] = net.JoinHostPort(host, strconv.Itoa(int(a.int32())))
		a.compact() // rack
		a.tags()
	}
	a.compact() // cluster id
	a.int32()   // controller
	t := Topic{Name: topic}
	if a.uvarint() != 2 {
		return t, fmt.Errorf("ask for metadata: %w", errShort)
	}
	code := a.int16()
	a.compact()
	copy(t.ID[:], a.take(16))
	a.take(1) // internal
	n := a.array()
	for range n {
		a.partition(&t, brokers, n)
	}
	t.operations = a.int32()
	switch {
	case code != 0:
		return t, fmt.Errorf("topic %s: %w", topic, lacking(protocolError(code), Describe, topic))
	case a.bad:
		return t, fmt.Errorf("ask for metadata: %w", errShort)
	}
	t.Partitions = len(t.leaders)
	return t, nil
}

// partition reads one of a topic's n partitions.
func (a *answer) partition(t *Topic, brokers map[int32]string, n int) {
	a.int16() // error; a partition without a leader says -1 below
	index := int(a.int32())
	leader := a.int32()
	a.int32() // leader epoch
	replicas := max(0, a.uvarint()-1)
	a.take(4 * replicas)
	for range 2 { // in sync, offline
		a.take(4 * max(0, a.uvarint()-1))
	}
	if t.Replicas == 0 || replicas < t.Replicas {
		t.Replicas = replicas
	}
	a.tags()
	if index < 0 || index >= n || a.bad {
		a.bad = true
		return
	}
	for len(t.leaders) <= index {
		t.leaders = append(t.leaders, "")
	}
	t.leaders[index] = brokers[leader]
}

// Ensure creates the topics that do not exist and leaves the others as they
// are: where all are there it needs no right to create one.
func (c *Client) Ensure(ctx context.Context, layouts []schemas.Layout) error {
	var missing []schemas.Layout
	var there []string
	for _, l := range layouts {
		if _, err := c.Describe(ctx, l.Topic); err == nil {
			there = append(there, l.Topic)
			continue
		} else if !errors.Is(err, ErrUnknownTopic) {
			return err
		}
		missing = append(missing, l)
	}
	c.settle(ctx, there)
	return c.Create(ctx, missing, -1)
}

// settle gives topics that are there the time to be led: another who starts at the same
// moment may have just made them. What cannot be asked after that is said by whoever needs it.
func (c *Client) settle(ctx context.Context, topics []string) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	for _, topic := range topics {
		_ = c.await(ctx, topic, 0) // see above
	}
}

// await waits until the leader of a new partition serves it. Brokers learn of a
// topic some moments after the controller has made it, and may be named as
// leaders before they know that they lead.
func (c *Client) await(ctx context.Context, topic string, partition int32) error {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	for attempt := 0; ; attempt++ {
		_, _, err := c.Offsets(ctx, topic, partition)
		if err == nil || !errors.Is(err, ErrUnknownTopic) && !errors.Is(err, ErrNotLeader) {
			return err
		}
		if pause(ctx, attempt) != nil {
			return err
		}
	}
}
