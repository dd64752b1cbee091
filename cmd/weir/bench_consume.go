package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/ingest/peer"
	"github.com/weir-risk/weir/ingest/simulate"
)

var benchConsume = &command{
	name: "bench consume", summary: "weir's reader of a topic beside a bare consumer of franz-go: CPU a record", json: true,
	about: `Both read the same preloaded topic of a bank's payments from its beginning, from the
same broker: fetch, take the batches apart, look at each record's bytes, and no
more; what JSON costs is another matter. Each is a process of its own, in turn, on
the core that the broker is not on; its CPU is the kernel's account, from the first
quarter of the topic on. The consumer of franz-go has the settings that it comes with.
With --kafka the broker is a real one, and a topic of a prefix of its own is left there.`,
	examples: []string{
		"weir bench consume --json                          # two million records, five runs of each",
		"weir bench consume --records 200000 --runs 1       # a quick look",
		"weir bench consume --compression lz4 --kafka 127.0.0.1:9092",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		b := &consumeBench{kafka: addKafka(fs)}
		fs.IntVar(&b.records, "records", 2_000_000, "`NUMBER` of records")
		fs.IntVar(&b.runs, "runs", 5, "`NUMBER` of runs of each, in turn")
		fs.IntVar(&b.partitions, "partitions", 2, "`NUMBER` of partitions")
		fs.StringVar(&b.codec, "compression", "none", "`CODEC` of the records: none, lz4, zstd, snappy or gzip")
		fs.StringVar(&b.profile, "profile", "", "`FILE` for a CPU profile of weir's last run")
		return b.run
	},
}

// consumeBench is one run of the measurement.
type consumeBench struct {
	kafka                     *kafkaFlags
	records, runs, partitions int
	codec, profile            string
	bytes                     int64 // of keys and values
}

type consumeReport struct {
	Machine     benchMachine `json:"machine"`
	Weir        runSpread    `json:"weir_cpu_us_per_record"`
	Franz       runSpread    `json:"franz_cpu_us_per_record"`
	Ratio       float64      `json:"ratio"`
	Rate        float64      `json:"weir_records_per_s"`
	Records     int          `json:"records"`
	Bytes       float64      `json:"bytes_per_record"`
	Compression string       `json:"compression"`
}

func (b *consumeBench) run(ctx context.Context, e *env, _ []string) error {
	if b.records < 1000 || b.runs < 1 || b.partitions < 1 {
		return usagef("at least 1,000 records, one run and one partition")
	}
	if b.kafka.security.TLS || b.kafka.security.Mechanism != "" {
		return usagef("both consumers speak to the broker in the clear here")
	}
	codec, err := kafka.ParseCodec(b.codec)
	if err != nil {
		return usagef("--compression: %v", err)
	}
	machine, err := machineOf(b.kafka.brokerName())
	if err != nil {
		return err
	}
	machine.print(e)
	stop, err := b.kafka.orEmbedded(ctx, e)
	if err != nil {
		return err
	}
	defer stop()
	log, err := b.kafka.client(e)
	if err != nil {
		return err
	}
	defer log.Close()
	if err := b.preload(ctx, e, log, codec); err != nil {
		return err
	}
	cpu := map[string][]float64{}
	var rates []float64
	for i := range b.runs {
		for _, role := range []string{"consume", "consume-peer"} {
			u, err := b.once(ctx, e, role)
			if err != nil {
				return err
			}
			e.printf("run %d  %-9s %s\n", i+1, consumerNames[role], u)
			cpu[role] = append(cpu[role], u.cpuPerRecord())
			if role == "consume" {
				rates = append(rates, u.perSecond())
			}
		}
	}
	r := consumeReport{Machine: machine, Weir: spreadOf(cpu["consume"]), Franz: spreadOf(cpu["consume-peer"]), Rate: median(rates),
		Records: b.records, Bytes: float64(b.bytes) / float64(b.records), Compression: b.codec}
	r.Ratio = r.Weir.Median / r.Franz.Median
	e.printf("CPU a record of %.0f bytes, %s: weir %s us, franz-go %s us: %.2f times as much\n", r.Bytes, b.codec, r.Weir, r.Franz, r.Ratio)
	return e.report(r)
}

var consumerNames = map[string]string{"consume": "weir", "consume-peer": "franz-go"}

// orEmbedded starts an embedded broker where no other was named; otherwise the topics get
// a prefix of their own. Whoever calls it calls stop.
func (k *kafkaFlags) orEmbedded(ctx context.Context, e *env) (stop func(), err error) {
	if k.brokers == "" {
		server, addr, err := startBroker(ctx, e)
		if err != nil {
			return nil, err
		}
		k.brokers = addr
		return server.stop, nil
	}
	if k.prefix == "" {
		k.prefix = fmt.Sprintf("weir-bench-%d.", time.Now().Unix())
		e.printf("topics begin with %s\n", k.prefix)
	}
	return func() {}, nil
}

// preload writes a bank's payments.
func (b *consumeBench) preload(ctx context.Context, e *env, log *kafka.Client, codec kafka.Codec) error {
	t := b.kafka.topics()
	if err := log.Ensure(ctx, benchLayouts(t, b.partitions, false)); err != nil {
		return err
	}
	bank, err := simulate.New(benchBank(5_000, 0))
	if err != nil {
		return fmt.Errorf("make bank: %w", err)
	}
	parts := make([]preloader, b.partitions)
	for p := range parts {
		parts[p] = preloader{log: log, topic: t.Transactions, partition: int32(p), codec: codec}
	}
	progress := newBar(e, "preload")
	defer progress.end()
	var tx simulate.Transaction
	var value, key []byte
	for i := range b.records {
		if !bank.Next(&tx) {
			return fmt.Errorf("the bank's days are over")
		}
		value, key = tx.AppendJSON(value[:0]), strconv.AppendUint(key[:0], uint64(tx.Customer), 10)
		b.bytes += int64(len(value) + len(key))
		if err := parts[i%b.partitions].add(ctx, key, value, tx.Sent); err != nil {
			return err
		}
		progress.set(int64(i), int64(b.records))
	}
	for p := range parts {
		if err := parts[p].flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// once runs one consumer over the topic.
func (b *consumeBench) once(ctx context.Context, e *env, role string) (usage, error) {
	flags := append(b.kafka.again(), "--warm", strconv.Itoa(b.records/4), "--until", strconv.Itoa(b.records))
	if b.profile != "" && role == "consume" {
		flags = append(flags, "--profile", b.profile)
	}
	c, err := startChild(e, measuredCore, role, flags...)
	if err != nil {
		return usage{}, err
	}
	defer c.stop()
	return c.measured(ctx)
}

// consume is weir's reader, a partition in a goroutine each as its fetchers are.
func (r *benchWork) consume(ctx context.Context, e *env) error {
	topic := r.kafka.topics().Transactions
	about, err := r.client.Describe(ctx, topic)
	if err != nil {
		return err
	}
	return r.measure(ctx, e, func(ctx context.Context) error {
		var mu sync.Mutex
		var readers []role
		for p := range about.Partitions {
			readers = append(readers, role{fmt.Sprintf("partition %d", p), func(ctx context.Context) error {
				return r.consumePartition(ctx, &mu, topic, int32(p))
			}})
		}
		return together(ctx, readers...)
	})
}

func (r *benchWork) consumePartition(ctx context.Context, mu *sync.Mutex, topic string, partition int32) error {
	reader := kafka.NewReader(r.client, topic, partition, kafka.Earliest)
	defer reader.Close()
	for ctx.Err() == nil {
		set, err := reader.Next(ctx, math.MaxInt64)
		if err != nil {
			return r.unlessEnded(ctx, err)
		}
		records, bytes := 0, int64(0)
		tell := func() {
			mu.Lock()
			defer mu.Unlock()
			r.bytes += bytes
			r.meter.add(records)
			records, bytes = 0, 0
		}
		for set.Next() {
			x := set.Record()
			records, bytes = records+1, bytes+int64(len(x.Key)+len(x.Value))
			if records == preloadBatch { // as often as the other one tells
				tell()
			}
		}
		tell()
		if err := set.Err(); err != nil {
			return err
		}
	}
	return nil
}

// consumePeer is franz-go's consumer.
func (r *benchWork) consumePeer(ctx context.Context, e *env) error {
	return r.measure(ctx, e, func(ctx context.Context) error {
		return peer.Consume(ctx, strings.Split(r.kafka.brokers, ","), r.kafka.topics().Transactions, func(records int, bytes int64) {
			r.bytes += bytes
			r.meter.add(records)
		})
	})
}

// again returns the flags that name the same topics to another process. Security goes
// by the environment's variables or not at all.
func (k *kafkaFlags) again() []string {
	return []string{"--kafka", k.brokers, "--topic-prefix", k.prefix}
}
