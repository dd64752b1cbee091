package main

import (
	"context"
	"flag"
	"path/filepath"

	"github.com/weir-risk/weir/ingest/broker"
)

var upCommand = &command{
	name: "up", summary: "run every role in one process, with nothing else to install", json: true,
	about: `With nothing configured it starts an embedded broker, whose data is in the data
folder, keeps history in SQLite beside it, makes the topics, and scores. With
--kafka and --history it does the same over a real Kafka and a real ClickHouse.
It runs until Ctrl-C or SIGTERM and then prints what was decided.`,
	examples: []string{
		"weir up                                                   # embedded broker and SQLite in ./weir-data",
		"weir up --broker 127.0.0.1:9092 --bundle model.weir       # the broker on a port that others can use",
		"weir up --kafka 127.0.0.1:9092 --history clickhouse://127.0.0.1:9000/weir",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error { return addUp(fs).run },
}

// up is one run of the command.
type up struct {
	service    *serviceFlags
	score      *scoreFlags
	history    *historyFlags
	broker     string
	syncWrites bool
	partitions int
	bundle     string
}

// addUp declares the command's flags, which weir check takes as well.
func addUp(fs *flag.FlagSet) *up {
	u := &up{service: addService(fs), score: addScore(fs), history: addHistory(fs)}
	fs.StringVar(&u.broker, "broker", "127.0.0.1:0", "`HOST:PORT` of the embedded broker; port 0 is one that the system chooses")
	fs.BoolVar(&u.syncWrites, "sync-writes", false, "the embedded broker syncs each write to disk: slower, and nothing is lost\nin a power failure")
	fs.IntVar(&u.partitions, "partitions", 4, "`NUMBER` of partitions of transactions, where the topic has to be made")
	fs.StringVar(&u.bundle, "bundle", "", "bundle `FILE` to publish as champion where there is none")
	return u
}

func (u *up) run(ctx context.Context, e *env, _ []string) error {
	if u.service.kafka.brokers == "" {
		b, err := broker.Start(broker.Options{Dir: filepath.Join(u.service.data, "broker"), Addr: u.broker, SyncWrites: u.syncWrites, Session: u.score.session})
		if err != nil {
			return err
		}
		defer b.Close()
		u.service.kafka.brokers = b.Addr()
	}
	s, err := u.service.open(ctx, e, u.partitions)
	if err != nil {
		return err
	}
	defer s.close()
	s.log.Info("broker", "address", u.service.kafka.brokers)
	if u.bundle != "" {
		if err := s.publishFirst(ctx, u.bundle); err != nil {
			return err
		}
	}
	store, err := u.history.open(ctx, e, u.service.data)
	if err != nil {
		return err
	}
	defer store.Close()
	record, _ := s.record(store)
	return s.score(ctx, u.score, record)
}
