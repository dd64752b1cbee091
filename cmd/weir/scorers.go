package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-risk/weir/ingest"
)

// scorers are the nodes of a process, one for each shard of the ledger, with their
// models read.
type scorers struct {
	nodes  []*ingest.Node
	models []*ingest.Models
}

// shardsOf returns how many shards the ledger has. Where another number is asked for than
// it was begun with, that cannot be changed: each shard decides its own part of the source.
func (s *service) shardsOf(ctx context.Context, f *scoreFlags) (int32, error) {
	t, err := s.client.Describe(ctx, s.topics.Decisions)
	if err != nil {
		return 0, fmt.Errorf("describe %s: %w", s.topics.Decisions, err)
	}
	if f.shards > 0 && f.shards != t.Partitions {
		return 0, fmt.Errorf("--shards %d: %s has %d partitions, which are the shards, and a ledger keeps those that it began with", f.shards, s.topics.Decisions, t.Partitions)
	}
	alerts, err := s.client.Describe(ctx, s.topics.Alerts)
	if err != nil {
		return 0, fmt.Errorf("describe %s: %w", s.topics.Alerts, err)
	}
	if alerts.Partitions < t.Partitions {
		return 0, fmt.Errorf("%s has %d partitions and %s %d: each shard has a partition for its alerts; give it %d", s.topics.Alerts, alerts.Partitions, s.topics.Decisions, t.Partitions, t.Partitions)
	}
	return int32(t.Partitions), nil
}

// byShard makes the configurations of the nodes from that of a process: each has its own
// folder of snapshots and its part of the memory, and its metrics say of which shard they
// are. Where there is one shard nothing says so.
func (s *service) byShard(c ingest.Config, shards int32) (list []ingest.Config, err error) {
	if shards == 1 {
		c.Metrics = ingest.NewMetrics(s.registry)
		return []ingest.Config{c}, nil
	}
	seat, folder := &ingest.Seat{}, c.SnapshotDir
	c.Shards, c.Seat, c.StateMax = shards, seat, c.StateMax/int64(shards)
	for k := range shards {
		c.Shard = k
		c.SnapshotDir = filepath.Join(folder, "shard-"+strconv.Itoa(int(k)))
		if err := os.MkdirAll(c.SnapshotDir, 0o700); err != nil {
			return nil, fmt.Errorf("make the folder of snapshots: %w", err)
		}
		c.Log = s.log.With("shard", k)
		c.Metrics = ingest.NewMetrics(prometheus.WrapRegistererWith(prometheus.Labels{"shard": strconv.Itoa(int(k))}, s.registry))
		list = append(list, c)
	}
	return list, nil
}

// status is what all nodes say together.
func (s *scorers) status() ingest.Status {
	all := ingest.Status{Ready: true}
	for k, n := range s.nodes {
		one := n.Status()
		if !one.Ready && all.Ready {
			all.Ready, all.Reason = false, one.Reason
			if len(s.nodes) > 1 {
				all.Reason = fmt.Sprintf("shard %d: %s", k, one.Reason)
			}
		}
		all.Owner = all.Owner || one.Owner
		all.Ledger += one.Ledger
		all.Counts.Add(&one.Counts)
	}
	return all
}

// roles are what the nodes do until they are told to stop.
func (s *scorers) roles() (list []role) {
	for k, n := range s.nodes {
		name := ""
		if len(s.nodes) > 1 {
			name = " shard " + strconv.Itoa(k)
		}
		m := s.models[k]
		list = append(list, role{"score" + name, n.Run},
			role{"models" + name, func(ctx context.Context) error { return n.Watch(ctx, m) }})
	}
	return list
}
