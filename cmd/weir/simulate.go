package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/weir-risk/weir/ingest/simulate"
)

var simulateCommand = &command{
	name: "simulate", summary: "let a simulated bank pay: into files, or into Kafka", json: true,
	about: `Customers with habits pay merchants, attackers commit six kinds of fraud, and labels
come late. The same flags and seed give the same bytes. Into files it writes as fast
as it can. Into Kafka it makes the topics that are missing, sends the rates first, and
keys transactions by customer as Kafka's own clients would; event times lie in the
--days before now, unless --start says otherwise. With --live the bank's day is today:
each record is sent at its own time until Ctrl-C.

Labels that become known after the last day go into the file, with the moment in
known_at; Kafka gets those that are known by the last transaction. Every run counts
its transactions from 1, so a second one belongs into topics of its own.`,
	examples: []string{
		"weir simulate --days 90 --output transactions.jsonl.gz --labels labels.jsonl --rates rates.jsonl",
		"weir simulate --customers 100000 --days 7 --seed 2 --output - | zstd > week.jsonl.zst",
		"weir simulate --kafka 127.0.0.1:9092 --rate 5000 --days 30",
		"weir simulate --kafka 127.0.0.1:9092 --live --customers 200000",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		d := simulate.DefaultConfig()
		s := &simulation{kafka: addKafka(fs), bank: d}
		fs.Uint64Var(&s.bank.Seed, "seed", d.Seed, "the same `SEED` gives the same bank")
		fs.IntVar(&s.bank.Customers, "customers", d.Customers, "`NUMBER` of customers")
		fs.IntVar(&s.bank.Merchants, "merchants", 0, "`NUMBER` of merchants (two for five customers if not given)")
		fs.IntVar(&s.bank.Terminals, "terminals", 0, "`NUMBER` of terminals (four for five customers if not given)")
		fs.IntVar(&s.bank.Days, "days", d.Days, "`DAYS` to simulate")
		fs.Float64Var(&s.bank.TxPerDay, "tx-per-day", d.TxPerDay, "a customer's own transactions a day, the `MEAN`")
		fs.Float64Var(&s.bank.FraudShare, "fraud-share", d.FraudShare, "`SHARE` of transactions that are fraud")
		fs.Float64Var(&s.bank.Late, "late-share", d.Late, "`SHARE` of records that come minutes to hours late")
		fs.Float64Var(&s.bank.Resent, "resent-share", d.Resent, "`SHARE` of records that are sent twice")
		fs.Var(&s.start, "start", "first `DAY` (2025-01-01 for files, --days ago for Kafka)")
		fs.StringVar(&s.transactions, "output", "", "`FILE` for transactions, JSON lines; .gz and .zst are compressed; - is stdout")
		fs.StringVar(&s.labels, "labels", "", "`FILE` for labels")
		fs.StringVar(&s.rates, "rates", "", "`FILE` for exchange rates")
		fs.StringVar(&s.truth, "truth", "", "`FILE` for the frauds: id and kind")
		fs.Float64Var(&s.rate, "rate", 0, "`NUMBER` of transactions a second into Kafka; 0 is as fast as it goes")
		fs.BoolVar(&s.live, "live", false, "send to Kafka at the bank's own speed, with today's event times")
		fs.IntVar(&s.partitions, "partitions", 4, "`NUMBER` of partitions of transactions, where the topic has to be made")
		return s.run
	},
}

// simulation is one run of the command.
type simulation struct {
	kafka                              *kafkaFlags
	bank                               simulate.Config
	start                              moment
	transactions, labels, rates, truth string
	rate                               float64
	live                               bool
	partitions                         int
}

// simulated is what a bank has done: the command's --json line.
type simulated struct {
	Transactions int            `json:"transactions"`
	Labels       int            `json:"labels"`
	Frauds       int            `json:"frauds"`
	Kinds        map[string]int `json:"kinds"`
	Seconds      float64        `json:"seconds"`
	Stopped      bool           `json:"stopped,omitempty"` // by Ctrl-C, before the last day's end
}

func (s *simulation) run(ctx context.Context, e *env, _ []string) error {
	files := s.transactions != "" || s.labels != "" || s.rates != "" || s.truth != ""
	toKafka := s.kafka.brokers != ""
	switch {
	case files == toKafka:
		return usagef("say where to: --output FILE (--labels, --rates, --truth), or --kafka HOST:PORT")
	case !toKafka && (s.rate != 0 || s.live):
		return usagef("--rate and --live are for Kafka; files are written as fast as it goes")
	case s.live && s.rate != 0:
		return usagef("--live is the bank's own speed; --rate another one")
	case s.rate < 0:
		return usagef("--rate %g: 0 or more transactions a second", s.rate)
	case s.bank.Days < 1:
		return usagef("--days %d: 1 or more", s.bank.Days)
	case e.json && (s.transactions == "-" || s.labels == "-" || s.rates == "-" || s.truth == "-"):
		return usagef("--json and a file named - both write to stdout")
	}
	s.configure(time.Now())
	bank, err := simulate.New(s.bank)
	if err != nil {
		return usageError{err.Error()}
	}
	began := time.Now()
	var done simulated
	if toKafka {
		done, err = s.send(ctx, e, bank)
	} else {
		done, err = s.write(ctx, e, bank)
	}
	if err != nil {
		return err
	}
	done.count(bank)
	done.Seconds = time.Since(began).Seconds()
	s.print(e, &done)
	return e.report(done)
}

// configure settles what follows from other flags.
func (s *simulation) configure(now time.Time) {
	b := &s.bank
	if b.Merchants == 0 {
		b.Merchants = max(16, 2*b.Customers/5)
	}
	if b.Terminals == 0 {
		b.Terminals = max(24, 4*b.Customers/5, b.Merchants)
	}
	b.Devices = max(8, 11*b.Customers/10)
	day := now.UTC().Truncate(24 * time.Hour)
	switch {
	case s.start.set:
		b.Start = time.UnixMilli(s.start.ms).UTC()
	case s.live:
		b.Start = now.UTC().Truncate(time.Millisecond)
	case s.kafka.brokers != "":
		b.Start = day.AddDate(0, 0, -b.Days)
	}
}

func (d *simulated) count(b *simulate.Bank) {
	total, kinds := b.Counts()
	d.Transactions, d.Kinds = total, make(map[string]int)
	for k, n := range kinds[1:] {
		if n > 0 {
			d.Kinds[simulate.FraudKind(k+1).String()] = n
		}
		d.Frauds += n
	}
}

// simulationFiles are the outputs of a simulation; nil ones are not wanted.
type simulationFiles struct{ transactions, labels, truth *output }

func (s *simulation) open(e *env) (f simulationFiles, err error) {
	for _, o := range []struct {
		name string
		to   **output
	}{{s.transactions, &f.transactions}, {s.labels, &f.labels}, {s.truth, &f.truth}} {
		if o.name == "" {
			continue
		}
		if *o.to, err = createOutput(e, o.name); err != nil {
			return f, errors.Join(err, f.close())
		}
	}
	return f, nil
}

func (f *simulationFiles) close() error {
	var errs []error
	for _, o := range []*output{f.transactions, f.labels, f.truth} {
		if o != nil {
			errs = append(errs, o.Close())
		}
	}
	return errors.Join(errs...)
}

// write puts the bank's days into files, until the last day or the context ends.
func (s *simulation) write(ctx context.Context, e *env, bank *simulate.Bank) (done simulated, err error) {
	if err := s.writeRates(e); err != nil {
		return done, err
	}
	f, err := s.open(e)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	bar := newBar(e, "simulate")
	defer bar.end()
	var tx simulate.Transaction
	var l simulate.Label
	var buf []byte
	put := func(o *output, line []byte) {
		if o != nil && err == nil {
			_, err = o.Write(append(line, '\n'))
		}
		buf = line[:0]
	}
	start, span := s.bank.Start.UnixMilli(), int64(s.bank.Days)*24*time.Hour.Milliseconds()
	for n := 0; err == nil && bank.Next(&tx); n++ {
		for bank.NextLabel(&l) {
			done.Labels++
			put(f.labels, l.AppendJSON(buf[:0]))
		}
		put(f.transactions, tx.AppendJSON(buf[:0]))
		if tx.Fraud() && !tx.Resent {
			line := append(tx.AppendID(append(buf[:0], `{"id":"`...)), `","fraud_type":"`...)
			put(f.truth, append(append(line, tx.Kind.String()...), `"}`...))
		}
		if n%1000 == 0 {
			if done.Stopped = ctx.Err() != nil; done.Stopped {
				return done, err
			}
			bar.set(bank.Now()-start, span)
		}
	}
	for bank.LastLabel(&l) {
		done.Labels++
		put(f.labels, l.AppendJSON(buf[:0]))
	}
	return done, err
}

func (s *simulation) writeRates(e *env) error {
	if s.rates == "" {
		return nil
	}
	o, err := createOutput(e, s.rates)
	if err != nil {
		return err
	}
	for _, c := range s.bank.Currencies {
		if c.Code != s.bank.BaseCurrency {
			_, err = o.Write(append(c.AppendRate(nil), '\n'))
		}
	}
	return errors.Join(err, o.Close())
}

// print says what a simulation has done.
func (s *simulation) print(e *env, d *simulated) {
	to := e.stdout
	if s.transactions == "-" || s.labels == "-" || s.rates == "-" || s.truth == "-" {
		to = e.stderr
	}
	if e.json {
		return
	}
	where := s.transactions
	if s.kafka.brokers != "" {
		where = s.kafka.topics().Transactions + " on " + s.kafka.brokers
	}
	if where == "" {
		where = "nowhere"
	}
	fmt.Fprintf(to, "transactions  %s to %s, in %.1f s (%s a second)\n", thousands(int64(d.Transactions)), where, d.Seconds, thousands(int64(float64(d.Transactions)/max(d.Seconds, 1e-3))))
	counts := make(map[string]int64)
	for k, n := range d.Kinds {
		counts[k] = int64(n)
	}
	fmt.Fprintf(to, "frauds        %s (%.2f %%)", thousands(int64(d.Frauds)), 100*float64(d.Frauds)/float64(max(d.Transactions, 1)))
	if d.Frauds > 0 {
		fmt.Fprintf(to, ": %s", breakdown(counts))
	}
	fmt.Fprintf(to, "\nlabels        %s\n", thousands(int64(d.Labels)))
	if d.Stopped {
		fmt.Fprintln(to, "stopped before the last day's end")
	}
}
