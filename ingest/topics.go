package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// TopicFinding is something to be said of topics as the cluster has them.
type TopicFinding struct {
	Topics []string
	// Wrong breaks a promise of weir's; anything else is a thing to know.
	Wrong  bool
	What   string
	Remedy string // a setting that would be right; may be empty
}

// The settings that are looked at.
const (
	cleanupPolicy  = "cleanup.policy"
	retentionMs    = "retention.ms"
	retentionBytes = "retention.bytes"
	messageBytes   = "max.message.bytes"
	minInsync      = "min.insync.replicas"
	unclean        = "unclean.leader.election.enable"
	timestampType  = "message.timestamp.type"
)

// CheckTopics looks at the topics of a weir that decides by a spec: whether they are
// such that nothing acknowledged is lost and nothing kept is deleted. It returns how
// many are there.
func CheckTopics(ctx context.Context, log *kafka.Client, topics schemas.Topics, s *spec.Spec, tenant string) (found []TopicFinding, there int, err error) {
	c := topicCheck{topics: topics}
	for _, l := range topics.Layouts(0) {
		t, err := log.Describe(ctx, l.Topic)
		if errors.Is(err, kafka.ErrUnknownTopic) {
			c.find(l.Topic, false, "not there yet: weir makes it, and brokers that make topics by themselves would do so with other settings", "")
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		set, err := log.Settings(ctx, l.Topic, cleanupPolicy, retentionMs, retentionBytes, messageBytes, minInsync, unclean, timestampType)
		if err != nil {
			return nil, 0, err
		}
		if l.Topic == topics.Transactions || l.Topic == topics.Labels || l.Topic == topics.Rates {
			c.sources += t.Partitions
		}
		there++
		c.topic(l, t, set)
		if l.Topic == topics.Decisions {
			c.ledger, c.messageMax = l.Topic, setting(set, messageBytes)
		}
	}
	// Last, as the facts of a batch name all partitions.
	if row := rowBytes(s) + len(tenant) + textBytes(s); c.messageMax > 0 && roomOf(int(c.messageMax), c.sources) < row {
		c.find(c.ledger, true, fmt.Sprintf("%s is %d, and one decision by %s may take %d", messageBytes, c.messageMax, s.Name, row+factBytes(c.sources)), messageBytes+"=4194304")
	}
	return c.found, there, nil
}

// topicCheck is one run of CheckTopics.
type topicCheck struct {
	topics     schemas.Topics
	found      []TopicFinding
	sources    int // partitions of what the ledger is made from
	ledger     string
	shards     int // partitions of the ledger
	taken      int // of the source
	messageMax int64
}

// find adds a finding; what is to be said of several topics is said once.
func (c *topicCheck) find(topic string, wrong bool, what, remedy string) {
	i := slices.IndexFunc(c.found, func(f TopicFinding) bool { return f.Wrong == wrong && f.What == what && f.Remedy == remedy })
	if i < 0 {
		c.found = append(c.found, TopicFinding{Wrong: wrong, What: what, Remedy: remedy})
		i = len(c.found) - 1
	}
	c.found[i].Topics = append(c.found[i].Topics, topic)
}

// setting returns a setting's number, -1 where it has none.
func setting(set map[string]string, name string) int64 {
	n, err := strconv.ParseInt(set[name], 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// topic judges one topic by how it should have been made.
func (c *topicCheck) topic(l schemas.Layout, t kafka.Topic, set map[string]string) {
	switch l.Topic {
	case c.topics.Transactions:
		c.taken = t.Partitions
	case c.topics.Decisions:
		if c.shards = t.Partitions; c.taken > 0 && c.shards > c.taken {
			c.find(l.Topic, true, fmt.Sprintf("%d partitions, and transactions %d: each takes some of these, and scorers halt where one has none", c.shards, c.taken), "")
		}
	case c.topics.Alerts:
		if t.Partitions < c.shards {
			c.find(l.Topic, true, fmt.Sprintf("%d partitions, and the ledger has %d, each of which has one for its alerts", t.Partitions, c.shards), "")
		}
	}
	if len(set) == 0 {
		c.find(l.Topic, false, "its settings cannot be seen: the right DescribeConfigs shows them", "")
		return
	}
	c.cleanup(l, set)
	c.replicas(l, t, set)
	if set[unclean] == "true" {
		c.find(l.Topic, true, unclean+" is on: a broker that lacks what was acknowledged may lead, and what it lacks is lost", unclean+"=false")
	}
	if stamped := l.Topic == c.topics.Transactions || l.Topic == c.topics.Labels; stamped && set[timestampType] == "CreateTime" {
		c.find(l.Topic, false, timestampType+" is CreateTime: who sends a record says by which clock its time is one of the future", timestampType+"=LogAppendTime")
	}
	const bundleMax = 8 << 20
	if n := setting(set, messageBytes); l.Topic == c.topics.Models && n >= 0 && n < bundleMax {
		c.find(l.Topic, false, fmt.Sprintf("%s is %d, and a bundle may have %d", messageBytes, n, bundleMax), messageBytes+"="+l.Config[messageBytes])
	}
}

// cleanup judges what of a topic is deleted, and when.
func (c *topicCheck) cleanup(l schemas.Layout, set map[string]string) {
	compacts, deletes := strings.Contains(set[cleanupPolicy], "compact"), strings.Contains(set[cleanupPolicy], "delete")
	ms, bytes := setting(set, retentionMs), setting(set, retentionBytes)
	kept := time.Duration(min(ms, int64(1<<63-1)/int64(time.Millisecond))) * time.Millisecond
	if l.Config[cleanupPolicy] == "compact" {
		switch {
		case deletes && (ms >= 0 || bytes >= 0):
			c.find(l.Topic, true, "what is in force is deleted by its age or size", cleanupPolicy+"=compact")
		case !compacts:
			c.find(l.Topic, false, "is not compacted: it grows, and a start reads all of it", cleanupPolicy+"=compact")
		}
		return
	}
	if compacts {
		c.find(l.Topic, true, "is compacted: records are deleted whose key comes again", cleanupPolicy+"=delete")
	}
	switch {
	case !deletes:
	case l.Config[retentionMs] != "-1": // of the source it is the bank's affair, if it bridges a night
		if ms >= 0 && kept < 24*time.Hour && l.Topic == c.topics.Transactions {
			c.find(l.Topic, false, fmt.Sprintf("keeps records for %v: what is not decided by then is lost", kept), "")
		}
	case bytes >= 0:
		c.find(l.Topic, l.Topic == c.topics.Decisions, fmt.Sprintf("%s is %d: records are deleted whatever their age", retentionBytes, bytes), retentionBytes+"=-1")
	case ms >= 0 && l.Topic == c.topics.Decisions:
		c.find(l.Topic, false, fmt.Sprintf("keeps decisions for %v: older ones can be proved from a history only, and a start needs a snapshot that is younger", kept), retentionMs+"=-1")
	case ms >= 0:
		c.find(l.Topic, false, fmt.Sprintf("keeps records for %v: a view or a history that is built anew lacks what is older", kept), retentionMs+"=-1")
	}
}

// replicas judges on how many brokers a topic is.
func (c *topicCheck) replicas(l schemas.Layout, t kafka.Topic, set map[string]string) {
	insync := setting(set, minInsync)
	switch {
	case insync > int64(t.Replicas):
		c.find(l.Topic, true, fmt.Sprintf("%s is %d, with %d replicas: nothing can be written", minInsync, insync, t.Replicas), minInsync+"=2 and 3 replicas")
	case t.Replicas >= 3 && insync >= 0 && insync < 2:
		c.find(l.Topic, true, fmt.Sprintf("%s is %d: what is acknowledged may be on one broker alone", minInsync, insync), minInsync+"=2")
	case t.Replicas == 2:
		c.find(l.Topic, false, "two replicas: with one broker away either nothing is written, or what is acknowledged is on one alone", "3 replicas, "+minInsync+"=2")
	case t.Replicas < 2:
		c.find(l.Topic, false, "one replica: it is lost with its broker", "3 replicas, "+minInsync+"=2")
	}
}
