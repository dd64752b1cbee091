package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weir-risk/weir/cmd/weir/internal/config"
	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/ingest/kafka"
)

var migrateCommand = &command{
	name: "migrate", summary: "make the topics, their settings and the history's schema what this weir needs", json: true,
	about: `With --kafka it makes the topics that are missing, and gives those that are there the
settings that weir needs: nothing of what is durable is deleted by age or key, batches fit,
and of three replicas two have what is acknowledged. The topic of transactions is the
bank's: it is made where it is missing, and else changed only as --topic-setting asks.
Settings by which somebody keeps less are left, and said.

The history is the one that --history names, or the SQLite file in the data folder if it
is there or --kafka is not given. What its schema lacks is applied in order.

All is planned first, and the brokers are asked whether they would. Where a part of the
plan would lose data nothing at all is done, and the exit code is 1: fewer partitions, a
shorter retention or another cleanup.policy of a topic that is there, settings by which
acknowledged records could be lost, a history that a newer weir has written. Run again, it
does nothing. Roles make topics that are missing when they start, and weir record and
weir up bring the schema up to date too: migrate does so before, by a user of its own.`,
	examples: []string{
		"weir migrate --kafka k1:9092 --history clickhouse://127.0.0.1:9000/weir --dry-run   # the plan",
		"weir migrate --kafka k1:9092,k2:9092 --partitions 16 --replicas 3",
		"weir migrate --kafka k1:9092 --topic-setting decisions:retention.ms=34560000000     # 400 days",
		"weir migrate --history clickhouse://127.0.0.1:9000/weir                             # the schema alone",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		m := &migrateRun{kafka: addKafka(fs), history: addHistory(fs), settings: make(topicSettings)}
		fs.StringVar(&m.data, "data", "weir-data", "`FOLDER` of the SQLite file, where --history names none")
		fs.IntVar(&m.partitions, "partitions", 8, "`NUMBER` of partitions of transactions, where the topic has to be made")
		fs.IntVar(&m.shards, "shards", 0, "`NUMBER` of partitions of the ledger and its alerts, where they have to be made\n(1 if not given)")
		fs.IntVar(&m.replicas, "replicas", 0, "`NUMBER` of brokers that hold each topic that has to be made\n(what the brokers say if not given)")
		fs.Var(&m.settings, "topic-setting", "`TOPIC:SETTING=VALUE` that a topic is to have, by its name without the prefix, such as\ndecisions:retention.ms=34560000000 (may be repeated)")
		fs.BoolVar(&m.dry, "dry-run", false, "print the plan and change nothing")
		return m.run
	},
}

// topicSettings is the value of --topic-setting.
type topicSettings map[string]map[string]string

func (s topicSettings) String() string { return "" }

// Set takes one.
func (s topicSettings) Set(text string) error {
	topic, setting, _ := strings.Cut(text, ":")
	name, value, ok := strings.Cut(setting, "=")
	if !ok || name == "" {
		return fmt.Errorf("%q is not TOPIC:SETTING=VALUE, such as decisions:retention.ms=34560000000", text)
	}
	if names := ingest.TopicNames(); !slices.Contains(names, topic) {
		return fmt.Errorf("%q is none of weir's topics, which are %s", topic, strings.Join(names, ", "))
	}
	if s[topic] == nil {
		s[topic] = make(map[string]string)
	}
	s[topic][name] = value
	return nil
}

// migrateRun is one run of the command.
type migrateRun struct {
	kafka                *kafkaFlags
	history              *historyFlags
	data                 string
	partitions, replicas int
	shards               int
	settings             topicSettings
	dry                  bool

	client *kafka.Client // nil without --kafka
	store  history.Store // nil without a history
	where  string        // it is
}

// migrateReport is what was done, or would be.
type migrateReport struct {
	DryRun  bool               `json:"dry_run"`
	Topics  []ingest.TopicPlan `json:"topics"`
	History string             `json:"history,omitempty"`
	Applied []string           `json:"applied"` // migrations of the history
	Changes int                `json:"changes"` // topics to make, settings to change, migrations to apply
}

func (m *migrateRun) run(ctx context.Context, e *env, _ []string) error {
	if m.partitions < 1 || m.replicas < 0 || m.shards < 0 {
		return usagef("--partitions is 1 or more, --replicas and --shards are 0 or more")
	}
	if m.kafka.brokers == "" && len(m.settings) > 0 {
		return usagef("--topic-setting is of topics: --kafka HOST:PORT says where they are")
	}
	if err := m.open(ctx, e); err != nil {
		return err
	}
	defer m.close()
	r := &migrateReport{DryRun: m.dry, Topics: []ingest.TopicPlan{}, History: m.where, Applied: []string{}}
	var errs []error
	if m.client != nil {
		plans, err := m.plan(ctx, e)
		if err != nil {
			return err
		}
		r.Topics = plans
		errs = append(errs, ingest.RefusedTopics(plans))
	}
	if m.store != nil {
		names, err := m.store.Pending(ctx)
		r.Applied = append(r.Applied, names...)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		m.print(e, r)
		r.Changes = r.count()
		return errors.Join(e.report(r), err)
	}
	if !m.dry {
		if err := m.apply(ctx, e, r); err != nil {
			return err
		}
	}
	m.print(e, r)
	r.Changes = r.count()
	return e.report(r)
}

// open connects to what was named.
func (m *migrateRun) open(ctx context.Context, e *env) (err error) {
	if m.kafka.brokers != "" {
		if m.client, err = m.kafka.client(e); err != nil {
			return err
		}
	}
	file := filepath.Join(m.data, "history.db")
	if _, err := os.Stat(file); m.history.url == "" && m.client != nil && err != nil {
		return nil
	}
	if m.history.url == "" {
		m.where = file
		if !m.dry {
			err = os.MkdirAll(m.data, 0o700)
		}
		if err == nil {
			m.store, err = history.Open(ctx, file, history.Options{Later: true})
		}
	} else {
		m.where = config.Hidden(m.history.url)
		m.store, err = m.history.openAs(ctx, e, m.data, true)
	}
	if err != nil {
		m.close()
	}
	return err
}

func (m *migrateRun) close() {
	if m.client != nil {
		m.client.Close()
	}
	if m.store != nil {
		_ = m.store.Close() // what it was asked for is done, or has failed
	}
}

func (m *migrateRun) plan(ctx context.Context, e *env) ([]ingest.TopicPlan, error) {
	return ingest.PlanTopics(ctx, m.client, m.kafka.topics(), ingest.TopicsWanted{
		Partitions: m.partitions, Fixed: e.config.binding("kafka.partitions").from != fromDefault, Replicas: m.replicas, Shards: m.shards, Settings: m.settings})
}

// apply carries the plan out. What the brokers' defaults have left to do for topics that
// are new shows when they are there.
func (m *migrateRun) apply(ctx context.Context, e *env, r *migrateReport) error {
	if m.client != nil {
		err := ingest.ApplyTopics(ctx, m.client, r.Topics, m.replicas)
		if err != nil {
			return err
		}
		rest, err := m.plan(ctx, e)
		if err == nil {
			err = ingest.ApplyTopics(ctx, m.client, rest, m.replicas)
		}
		if err != nil {
			return err
		}
		for i := range rest {
			r.Topics[i].Replicas = rest[i].Replicas
			r.Topics[i].Changes = append(r.Topics[i].Changes, rest[i].Changes...)
		}
	}
	if m.store == nil {
		return nil
	}
	applied, err := m.store.Migrate(ctx)
	r.Applied = append([]string{}, applied...)
	return err
}

// print prints a plan, or what was done.
func (m *migrateRun) print(e *env, r *migrateReport) {
	if e.json {
		return
	}
	for _, p := range r.Topics {
		settings := []string{}
		for _, c := range p.Changes {
			if p.There {
				e.printf("change   %-22s %s from %s to %s\n", p.Topic, c.Setting, c.From, c.To)
			}
			settings = append(settings, c.Setting+"="+c.To)
		}
		switch {
		case !p.There:
			e.printf("create   %-22s %s on %s  %s\n", p.Topic, several(p.Partitions, "partition"), brokersOf(p.Replicas), strings.Join(settings, " "))
		case len(p.Changes)+len(p.Notes)+len(p.Refused) == 0:
			e.printf("ok       %-22s %s on %s\n", p.Topic, several(p.Partitions, "partition"), brokersOf(p.Replicas))
		}
		for _, text := range p.Notes {
			e.printf("note     %-22s %s\n", p.Topic, text)
		}
		for _, text := range p.Refused {
			e.printf("refused  %-22s %s\n", p.Topic, text)
		}
	}
	for _, name := range r.Applied {
		e.printf("apply    %-22s %s\n", "history", name)
	}
	switch {
	case m.store == nil:
		e.printf("note     %-22s none is named, and there is none in %s\n", "history", m.data)
	case len(r.Applied) == 0:
		e.printf("ok       %-22s %s\n", "history", r.History)
	}
	switch changes := r.count(); {
	case slices.ContainsFunc(r.Topics, func(p ingest.TopicPlan) bool { return len(p.Refused) > 0 }):
	case changes == 0:
		e.printf("nothing to do: all is as this weir needs it\n")
	case m.dry:
		e.printf("%s to make; nothing was done (--dry-run)\n", several(changes, "change"))
	default:
		e.printf("%s made\n", several(changes, "change"))
	}
}

func brokersOf(n int) string {
	if n == 0 {
		return "as many brokers as they say"
	}
	return several(n, "broker")
}

// count counts topics to make, settings to change and migrations to apply.
func (r *migrateReport) count() int {
	n := len(r.Applied)
	for _, p := range r.Topics {
		if p.There {
			n += len(p.Changes)
		} else {
			n++
		}
	}
	return n
}
