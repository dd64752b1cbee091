package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// What each role needs of the topics is here, and in deploy/kafka/acls for whoever gives
// it: a test holds the two to each other, and another takes away each line of the file.

// rights are a scorer's. It reads alerts for the newest: a ledger that lacks its decision
// was emptied.
func (f *scoreFlags) rights(t schemas.Topics) []kafka.Right {
	list := append(kafka.Rights(kafka.Read, t.Transactions, t.Labels, t.Rates, t.Models, t.Decisions, t.Alerts),
		kafka.Rights(kafka.Write, t.Decisions, t.Alerts, t.DLQ)...)
	if f.rollbackKey != "" {
		list = append(list, kafka.Right{Operation: kafka.Write, Topic: t.Models})
	}
	return list
}

// recordRights are a recorder's, which holds days against what models were trained on.
func recordRights(t schemas.Topics) []kafka.Right {
	return kafka.Rights(kafka.Read, t.Decisions, t.Alerts, t.Dispositions, t.Models)
}

// rights are a desk's. What it writes it reads back.
func (f *deskFlags) rights(t schemas.Topics) []kafka.Right {
	list := append(kafka.Rights(kafka.Read, t.Alerts, t.Dispositions, t.Labels, t.Audit, t.Models, t.Decisions),
		kafka.Rights(kafka.Write, t.Dispositions, t.Labels, t.Audit)...)
	if f.models.key != "" {
		list = append(list, kafka.Right{Operation: kafka.Write, Topic: t.Models})
	}
	return list
}

// modelRights are of who publishes models: weir train, and weir model promote.
func modelRights(t schemas.Topics) []kafka.Right {
	return []kafka.Right{{Operation: kafka.Read, Topic: t.Models}, {Operation: kafka.Write, Topic: t.Models}}
}

func simulateRights(t schemas.Topics) []kafka.Right {
	return kafka.Rights(kafka.Write, t.Transactions, t.Labels, t.Rates)
}

// allRights are of who has a broker of its own.
func allRights(t schemas.Topics) (list []kafka.Right) {
	for _, l := range t.Layouts(1) {
		list = append(list, kafka.Rights(kafka.Read, l.Topic)...)
	}
	return list
}

// rights are those of all roles in one.
func (u *up) rights(t schemas.Topics) []kafka.Right {
	list := append(u.score.rights(t), recordRights(t)...)
	if !u.desk.off() {
		list = append(list, u.desk.rights(t)...)
	}
	if u.train.every > 0 {
		list = append(list, modelRights(t)...)
	}
	return list
}

// unprepared is set where a test wants to see what the work itself is refused.
var unprepared bool

// prepare sees that a client has rights, and makes the topics that they are of where
// they are missing.
func (k *kafkaFlags) prepare(ctx context.Context, c *kafka.Client, partitions int, needs []kafka.Right) error {
	if unprepared {
		return nil
	}
	layouts := slices.DeleteFunc(k.topics().Sharded(partitions, max(1, k.shards)), func(l schemas.Layout) bool {
		return !slices.ContainsFunc(needs, func(r kafka.Right) bool { return r.Topic == l.Topic })
	})
	err := c.Check(ctx, needs)
	if err == nil {
		err = c.Ensure(ctx, layouts)
	}
	if err != nil {
		return fmt.Errorf("topics on %s: %w", k.brokers, err)
	}
	return nil
}
