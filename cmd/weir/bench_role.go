package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/ingest/decode"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/ingest/peer"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/scoring/cuda"
)

var benchRole = &command{
	name: "bench-role", args: "ROLE", summary: "one process of a measurement", hidden: true,
	about:    "weir bench starts itself so. It runs until its standard input ends.",
	examples: []string{"weir bench-role broker"},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		r := &benchWork{kafka: addKafka(fs), device: addDevice(fs)}
		fs.StringVar(&r.bundle, "bundle", "", "bundle `FILE`")
		fs.StringVar(&r.trust, "trust", "", "public key, in hexadecimal, that the bundle is signed with")
		fs.StringVar(&r.spec, "spec", "", "feature spec")
		fs.StringVar(&r.codec, "compression", "snappy", "of the ledger's batches")
		fs.StringVar(&r.profile, "profile", "", "`FILE` for a CPU profile")
		fs.Int64Var(&r.warm, "warm", 0, "records before the measurement")
		fs.Int64Var(&r.until, "until", 0, "records at its end")
		fs.DurationVar(&r.window, "for", 0, "its length, where until is 0")
		fs.IntVar(&r.stretches, "runs", 0, "stretches of that length whose rates are told apart")
		fs.Float64Var(&r.rate, "rate", 0, "records a second to feed; 0 keeps a backlog")
		fs.StringVar(&r.data, "data", "", "`FOLDER` of a desk's accounts and view")
		fs.Int64Var(&r.since, "since", 0, "when the process was about to be started, in ns")
		fs.StringVar(&r.group, "group", "", "of its own consumer group: what the group's name ends with")
		fs.IntVar(&r.customers, "customers", 0, "customers of the simulated bank")
		return r.run
	},
}

// benchWork is what a process of a measurement is told.
type benchWork struct {
	kafka         *kafkaFlags
	device        *deviceFlags
	bundle, trust string
	spec, codec   string
	profile, data string
	warm, until   int64
	window        time.Duration
	stretches     int
	rate          float64
	customers     int
	since         int64
	group         string
	meter         *meter
	client        *kafka.Client
	bytes         int64 // that a consumer looked at
}

func (r *benchWork) run(ctx context.Context, e *env, args []string) error {
	if len(args) != 1 {
		return usagef("one ROLE: broker, memory, score, peer, feed, desk, restart, consume or consume-peer")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with the standard input, which is the parent's life
		_, _ = io.Copy(io.Discard, e.stdin)
		cancel()
	}()
	switch args[0] {
	case "broker":
		return serveBroker(ctx, e)
	case "memory":
		return r.memory(ctx, e)
	}
	var err error
	if r.client, err = r.kafka.client(e); err != nil {
		return err
	}
	defer r.client.Close()
	r.meter = newMeter(r.warm, r.until, r.window, r.profile)
	r.meter.stretches = r.stretches
	switch args[0] {
	case "score":
		err = r.score(ctx, e)
	case "peer":
		err = r.peer(ctx, e)
	case "feed":
		err = r.feed(ctx)
	case "desk":
		err = r.desk(ctx, e)
	case "restart":
		err = r.restart(ctx, e)
	case "consume":
		err = r.consume(ctx, e)
	case "consume-peer":
		err = r.consumePeer(ctx, e)
	default:
		err = usagef("there is no role %q", args[0])
	}
	return err
}

// serveBroker runs a broker in memory. Its cleaner looks often, so that topics
// with a bounded size stay near it. Its segments are small: one in memory doubles
// as it grows, and copying 64 MiB stops the broker for 30 ms.
func serveBroker(ctx context.Context, e *env) error {
	b, err := broker.Start(broker.Options{Config: map[string]string{"log.cleaner.backoff.ms": "500", "log.segment.bytes": "4194304"}})
	if err != nil {
		return err
	}
	defer b.Close()
	e.printf("%s\n", b.Addr())
	<-ctx.Done()
	return nil
}

// measure runs a service until the meter is done, and prints what it measured.
func (r *benchWork) measure(ctx context.Context, e *env, service func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- service(ctx) }() // ends with ctx; waited for below
	select {
	case err := <-ended:
		if err == nil && ctx.Err() == nil {
			err = fmt.Errorf("the service ended")
		}
		return err
	case <-r.meter.done:
	}
	if r.meter.err != nil {
		return fmt.Errorf("write the profile: %w", r.meter.err)
	}
	line, err := json.Marshal(r.meter.result)
	if err != nil {
		return fmt.Errorf("encode the measurement: %w", err)
	}
	e.printf("%s\n", line)
	cancel()
	return <-ended
}

// readBundle reads the bundle that decides, for weir and peer alike.
func (r *benchWork) readBundle() (*scoring.Bundle, error) {
	data, err := os.ReadFile(r.bundle)
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	key, err := hex.DecodeString(r.trust)
	if err != nil {
		return nil, fmt.Errorf("read trusted key: %w", err)
	}
	return scoring.ReadBundle(data, []ed25519.PublicKey{key})
}

// score is weir, as weir score runs it.
func (r *benchWork) score(ctx context.Context, e *env) error {
	b, err := r.readBundle()
	if err != nil {
		return err
	}
	scorer, device, err := benchScorer(ctx, e, r.device, b)
	if err != nil {
		return err
	}
	if device != nil {
		defer device.Close()
	}
	n, err := benchNode(e, r.client, r.kafka.topics(), r.spec, r.codec, b, scorer, func(places []schemas.Place, _ []schemas.Verdict) { r.meter.add(len(places)) })
	if err != nil {
		return err
	}
	r.meter.alerts = func() int64 { return n.Status().Counts.Alerts }
	return r.measure(ctx, e, n.Run)
}

// benchScorer makes what scores a bundle: the device that the flags name, once it does,
// or the CPU. The device is nil where there is none; whoever calls it closes it.
func benchScorer(ctx context.Context, e *env, f *deviceFlags, b *scoring.Bundle) (scoring.Scorer, *cuda.Device, error) {
	log := slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	device, err := f.open(e, log)
	if err != nil {
		return nil, nil, err
	}
	if device == nil {
		s, err := cpu.New(b.Model)
		return s, nil, err
	}
	if err = device.Await(ctx, cuda.Serving, cuda.Waiting, cuda.Absent); err == nil {
		if st := device.Stats(); st.State != cuda.Serving && f.device.gpu {
			err = fmt.Errorf("--device %v: %s", &f.device, st.Reason)
		}
	}
	if err == nil {
		var s scoring.Scorer
		if s, err = device.Scorer(b.Model, b.SelfTestRows); err == nil {
			return s, device, nil
		}
	}
	device.Close()
	return nil, nil, err
}

// benchNode makes a scorer that decides with b, with the settings of weir score.
// It keeps no snapshots.
func benchNode(e *env, log *kafka.Client, topics schemas.Topics, specName, codecName string, b *scoring.Bundle, scorer scoring.Scorer, published func([]schemas.Place, []schemas.Verdict)) (*ingest.Node, error) {
	s, err := loadSpec(specName)
	if err != nil {
		return nil, err
	}
	codec, err := kafka.ParseCodec(codecName)
	if err != nil {
		return nil, usagef("--compression: %v", err)
	}
	tokens, err := benchTokens()
	if err != nil {
		return nil, err
	}
	n := ingest.NewNode(log, ingest.Config{
		Spec: s, Tokens: tokens, Topics: topics, Group: topics.Decisions + "-bench", Tenant: "bench", Codec: codec, HugePages: true,
		Now: time.Now, After: time.After, Metrics: ingest.NewMetrics(prometheus.NewRegistry()), OnPublished: published,
		Log: slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	n.Use(b, scorer)
	return n, nil
}

// benchTokens makes tokens under a key that everybody knows.
func benchTokens() (*decode.Tokens, error) {
	return decode.NewTokens(decode.Key{ID: "bench", Secret: make([]byte, 32)}, nil)
}

// peer is the service that weir measures itself against.
func (r *benchWork) peer(ctx context.Context, e *env) error {
	b, err := r.readBundle()
	if err != nil {
		return err
	}
	t := r.kafka.topics()
	c := peer.Config{Brokers: []string{r.kafka.brokers}, Group: t.Decisions + "-bench", Source: t.Transactions, Labels: t.Labels, Decisions: t.Decisions,
		Score: peerNetwork(b.Model), Decided: r.meter.add}
	return r.measure(ctx, e, func(ctx context.Context) error { return peer.Run(ctx, c) })
}

// peerNetwork returns the network of m as the peer computes it.
func peerNetwork(m *scoring.Model) func(x []float32, rows int, out []float32) error {
	n := &peer.Network{}
	in := m.Columns
	for l, h := range m.Hidden {
		w := h.W
		if l == 0 {
			w = nil
			for i := range m.Inputs {
				w = append(w, m.Inputs[i].Slope...)
			}
		}
		n.Layers = append(n.Layers, peer.Layer{In: in, Out: h.Width, W: w, B: h.B})
		in = h.Width
	}
	n.Layers = append(n.Layers, peer.Layer{In: in, Out: 1, W: m.Out, B: m.Bias})
	var z []float32
	return func(x []float32, rows int, out []float32) error {
		z = z[:0]
		for r := range rows {
			for c := range m.Inputs {
				i := &m.Inputs[c]
				z = append(z, max(min((x[r*m.Columns+c]-i.Mean)*i.Inv, i.Hi), i.Lo))
			}
		}
		return n.Score(z, rows, out)
	}
}
