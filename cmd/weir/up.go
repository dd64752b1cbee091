package main

import (
	"context"
	"crypto/ed25519"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/trainer"
)

var upCommand = &command{
	name: "up", summary: "run every role in one process, with nothing else to install", json: true,
	about: `With nothing configured it starts an embedded broker, whose data is in the data
folder, keeps history in SQLite beside it, makes the topics, and scores. With
--kafka and --history it does the same over a real Kafka and a real ClickHouse.
It serves the desk as well, where analysts work on the alerts, to this machine alone
unless --web says otherwise: weir desk --help says more, weir user add makes accounts.
It runs until Ctrl-C or SIGTERM and then prints what was decided.

With --train-every it learns from that history again and again, and publishes what is
better, as weir train --every does, which has more to say of how. That is off unless
asked for: it takes all processors for a while, and who publishes a model should know.`,
	examples: []string{
		"weir up                                                   # embedded broker and SQLite in ./weir-data",
		"weir up --web off                                         # without the desk",
		"weir up --broker 127.0.0.1:9092 --bundle model.weir       # the broker on a port that others can use",
		"weir up --kafka 127.0.0.1:9092 --history clickhouse://127.0.0.1:9000/weir",
		"weir up --train-every 24h                                 # learns from its own history",
		"weir up --kafka 127.0.0.1:9092 --source-format avro --schema-registry http://127.0.0.1:8081",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error { return addUp(fs).run },
}

// up is one run of the command.
type up struct {
	service    *serviceFlags
	score      *scoreFlags
	history    *historyFlags
	notes      *time.Duration
	desk       *deskFlags
	broker     string
	syncWrites bool
	partitions int
	bundle     string
	train      upTrainFlags
}

// addUp declares the command's flags, which weir check takes as well.
func addUp(fs *flag.FlagSet) *up {
	u := &up{service: addService(fs), score: addScore(fs), history: addHistory(fs), notes: addNotes(fs), desk: addDesk(fs, true)}
	u.score.addWatch(fs)
	fs.StringVar(&u.broker, "broker", "127.0.0.1:0", "`HOST:PORT` of the embedded broker; port 0 is one that the system chooses")
	fs.BoolVar(&u.syncWrites, "sync-writes", false, "the embedded broker syncs each write to disk: slower, and nothing is lost\nin a power failure")
	fs.IntVar(&u.partitions, "partitions", 4, "`NUMBER` of partitions of transactions, where the topic has to be made")
	fs.StringVar(&u.bundle, "bundle", "", "bundle `FILE` to publish as champion where there is none")
	u.train.add(fs)
	return u
}

func (u *up) run(ctx context.Context, e *env, _ []string) error {
	training, err := u.training()
	if err == nil {
		err = u.desk.check()
	}
	if err != nil {
		return err
	}
	if u.service.kafka.brokers == "" {
		b, err := broker.Start(broker.Options{Dir: filepath.Join(u.service.data, "broker"), Addr: u.broker, SyncWrites: u.syncWrites, Session: u.score.session})
		if err != nil {
			return err
		}
		defer b.Close()
		u.service.kafka.brokers = b.Addr()
	}
	u.service.kafka.shards = u.score.shards
	s, err := u.service.open(ctx, e, u.partitions, u.rights, u.roles()...)
	if err != nil {
		return err
	}
	defer s.close()
	s.log.Info("broker", "address", u.service.kafka.brokers)
	if u.bundle != "" {
		if err := s.untilKafka(ctx, func() error { return s.publishFirst(ctx, u.bundle) }); err != nil {
			return err
		}
	}
	store, err := u.history.open(ctx, e, u.service.data)
	if err != nil {
		return err
	}
	defer store.Close()
	record, recorder := s.record(store)
	beside := []role{record, s.watch(store, recorder, *u.notes)}
	if !u.desk.off() {
		u.desk.past = store
		u.desk.models.trust = u.score.trust
		d, err := s.deskBeside(ctx, u.desk, *u.score.spec)
		if err != nil {
			return err
		}
		defer d.close()
		beside = append(beside, role{"desk", d.run})
	}
	if training != nil {
		r := training.role(e, nil, u.train.every, s.log, s.registry)
		beside = append(beside, role{"train", func(ctx context.Context) error {
			// Before that there is no history, or not all of it.
			for !recorder.Status().Ready {
				if sleep(ctx, 100*time.Millisecond) != nil {
					return nil
				}
			}
			return r.run(ctx)
		}})
	}
	return s.score(ctx, u.score, beside...)
}

// roles are what the process does, but for training, which begins later.
func (u *up) roles() []string {
	if u.desk.off() {
		return []string{roleScore, roleRecord}
	}
	return []string{roleScore, roleRecord, roleDesk}
}

// upTrainFlags say how weir up trains.
type upTrainFlags struct {
	every  time.Duration
	days   float64
	family string
	cards  float64
}

func (f *upTrainFlags) add(fs *flag.FlagSet) {
	fs.DurationVar(&f.every, "train-every", 0, "train from the history at the start and then again after each such `TIME`, such as 24h,\nand publish what is better (not at all if not given)")
	fs.Float64Var(&f.days, "train-days", 0, "with --train-every, learn from that `NUMBER` of newest days (all if not given)")
	fs.StringVar(&f.family, "train-family", "network", "with --train-every, the `FAMILY` of the model: network or logistic")
	fs.Float64Var(&f.cards, "train-cards-per-day", 0, "with --train-every, the `NUMBER` of cards a day that the desk can review (0.5 % of the\ntransactions if not given)")
}

// upTrainMemory is how many MB a training's rows may take beside a scorer.
const upTrainMemory = 1024

// training returns what --train-every asks for, checked; nil where it does not.
func (u *up) training() (*training, error) {
	if u.train.every == 0 {
		return nil, nil
	}
	t := addTraining(flag.NewFlagSet("", flag.ContinueOnError))
	t.past.history = u.history
	if t.past.history.url == "" {
		h := *u.history
		h.url = filepath.Join(u.service.data, "history.db")
		t.past.history = &h
	}
	t.past.days, t.family, t.options.ReviewCardsPerDay, t.memory = u.train.days, u.train.family, u.train.cards, upTrainMemory
	t.key = filepath.Join(u.service.data, "signing.key")
	t.gate.by, t.gate.trust = "weir up", t.key+".pub"
	if u.score.trust != "" {
		if err := trustsOwn(u.score.trust, t.key); err != nil {
			return nil, fmt.Errorf("--train-every: %w", err)
		}
		t.gate.trust = u.score.trust
	}
	*t.replay.spec = *u.score.spec
	// The embedded broker's address is not known yet.
	kafka := *u.service.kafka
	if t.gate.kafka = u.service.kafka; kafka.brokers == "" {
		kafka.brokers = "embedded"
		t.gate.kafka = &kafka
	}
	if err := t.check(); err != nil {
		return nil, fmt.Errorf("--train-every: %w", err)
	}
	if err := t.checkRole(u.train.every); err != nil {
		return nil, fmt.Errorf("--train-every: %w", err)
	}
	t.gate.kafka = u.service.kafka
	return t, nil
}

// trustsOwn sees that a file of public keys has that of a signing key: what is signed
// with another every scorer would refuse.
func trustsOwn(trust, keyFile string) error {
	keys, err := trainer.LoadPublicKeys(trust)
	if err != nil {
		return fmt.Errorf("--trust: %w", err)
	}
	key, err := trainer.LoadKey(keyFile)
	if err != nil {
		return fmt.Errorf("signing key: %w", err)
	}
	if own := key.Public().(ed25519.PublicKey); !slices.ContainsFunc(keys, func(k ed25519.PublicKey) bool { return k.Equal(own) }) {
		return fmt.Errorf("--trust %s does not hold the public key of %s: the scorer would refuse what is trained", trust, keyFile)
	}
	return nil
}
