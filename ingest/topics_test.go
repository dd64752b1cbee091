package ingest

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// TestTopicsAreJudged looks at one setting after the other.
func TestTopicsAreJudged(t *testing.T) {
	topics := schemas.DefaultTopics("")
	good := map[string]string{cleanupPolicy: "delete", retentionMs: "-1", retentionBytes: "-1", messageBytes: "9437184", minInsync: "2", unclean: "false", timestampType: "LogAppendTime"}
	for _, c := range []struct {
		topic, setting, value string
		partitions, replicas  int
		wrong                 bool
		want                  string // empty: nothing is said
	}{
		{topic: topics.Decisions},
		{topic: topics.Decisions, partitions: 5, wrong: true, want: "5 partitions, and transactions 4"},
		{topic: topics.Decisions, partitions: 4},
		{topic: topics.Alerts, partitions: 1, wrong: true, want: "1 partitions, and the ledger has 2"},
		{topic: topics.Alerts, partitions: 2},
		{topic: topics.Decisions, setting: cleanupPolicy, value: "compact", wrong: true, want: "whose key comes again"},
		{topic: topics.Labels, setting: cleanupPolicy, value: "compact,delete", wrong: true, want: "whose key comes again"},
		{topic: topics.Transactions, setting: cleanupPolicy, value: "compact", wrong: true, want: "whose key comes again"},
		{topic: topics.Decisions, setting: retentionMs, value: "86400000", want: "keeps decisions for 24h0m0s"},
		{topic: topics.Decisions, setting: retentionMs, value: "9223372036854775807", want: "keeps decisions for 256204"},
		{topic: topics.Decisions, setting: retentionBytes, value: "1", wrong: true, want: "whatever their age"},
		{topic: topics.Audit, setting: retentionBytes, value: "1", want: "whatever their age"},
		{topic: topics.Dispositions, setting: retentionMs, value: "1000", want: "keeps records for 1s"},
		{topic: topics.Transactions, setting: retentionMs, value: "604800000"},
		{topic: topics.Transactions, setting: retentionMs, value: "3600000", want: "not decided by then"},
		{topic: topics.Models, setting: cleanupPolicy, value: "compact"},
		{topic: topics.Models, want: "is not compacted"},
		{topic: topics.Rates, setting: retentionMs, value: "604800000", wrong: true, want: "what is in force is deleted"},
		{topic: topics.Decisions, setting: minInsync, value: "1", wrong: true, want: "on one broker alone"},
		{topic: topics.Audit, setting: minInsync, value: "1", wrong: true, want: "on one broker alone"},
		{topic: topics.Alerts, setting: minInsync, value: "4", wrong: true, want: "nothing can be written"},
		{topic: topics.Alerts, setting: minInsync, value: "1", replicas: 2, want: "two replicas"},
		{topic: topics.Alerts, setting: minInsync, value: "1", replicas: 1, want: "one replica"},
		{topic: topics.Decisions, setting: unclean, value: "true", wrong: true, want: "what it lacks is lost"},
		{topic: topics.Transactions, setting: timestampType, value: "CreateTime", want: "by which clock"},
		{topic: topics.Alerts, setting: timestampType, value: "CreateTime"},
	} {
		set := maps.Clone(good)
		if c.setting != "" {
			set[c.setting] = c.value
		}
		at := kafka.Topic{Name: c.topic, Partitions: cmp.Or(c.partitions, 2), Replicas: 3}
		if c.replicas > 0 {
			at.Replicas = c.replicas
		}
		check := topicCheck{topics: topics, taken: 4, shards: 2}
		layouts := topics.Layouts(1)
		l := layouts[slices.IndexFunc(layouts, func(l schemas.Layout) bool { return l.Topic == c.topic })]
		check.topic(l, at, set)
		switch {
		case c.want == "" && len(check.found) > 0:
			t.Errorf("%+v: %+v", c, check.found)
		case c.want != "" && (len(check.found) != 1 || check.found[0].Wrong != c.wrong || !strings.Contains(check.found[0].What, c.want)):
			t.Errorf("%+v: %+v", c, check.found)
		}
	}
	check := topicCheck{topics: topics}
	check.topic(topics.Layouts(1)[1], kafka.Topic{Partitions: 1, Replicas: 3}, nil)
	if len(check.found) != 1 || check.found[0].Wrong || !strings.Contains(check.found[0].What, "cannot be seen") {
		t.Errorf("%+v", check.found)
	}
}

// TestTopicsOfTheClusterAreJudged looks at the topics as weir makes them, and as
// somebody made them who did not know.
func TestTopicsOfTheClusterAreJudged(t *testing.T) {
	w := newWorld(t, "payments", 3)
	says := func(topics schemas.Topics) (wrong, know string, there int) {
		t.Helper()
		found, there, err := CheckTopics(t.Context(), w.log, topics, w.spec, "bank")
		w.must(err)
		for _, f := range found {
			line := strings.ReplaceAll(strings.Join(f.Topics, " "), w.prefix, "") + ": " + f.What + "; " + f.Remedy + "\n"
			if f.Wrong {
				wrong += line
			} else {
				know += line
			}
		}
		return wrong, know, there
	}
	wrong, know, there := says(w.topics)
	if wrong != "" || there != 9 || !strings.Contains(know, "transactions decisions alerts labels dispositions models rates audit transactions.dlq: one replica") {
		t.Errorf("of weir's own, %d: %s%s", there, wrong, know)
	}
	bad := schemas.DefaultTopics(w.prefix + "bad.")
	w.must(w.log.Ensure(t.Context(), []schemas.Layout{
		{Topic: bad.Decisions, Partitions: 2, Config: map[string]string{cleanupPolicy: "compact", messageBytes: "5000"}},
		{Topic: bad.Alerts, Partitions: 1, Config: map[string]string{minInsync: "2"}},
		{Topic: bad.Models, Partitions: 1},
	}))
	wrong, know, there = says(bad)
	for _, want := range []string{"bad.alerts: 1 partitions, and the ledger has 2", "bad.decisions: is compacted", "bad.decisions: max.message.bytes is 5000, and one decision by payments may take ",
		"bad.alerts: min.insync.replicas is 2, with 1 replicas: nothing can be written", "bad.models: what is in force is deleted"} {
		if !strings.Contains(wrong, want) {
			t.Errorf("it does not say %q but\n%s", want, wrong)
		}
	}
	if there != 3 || strings.Count(wrong, "\n") != 5 || !strings.Contains(know, "bad.transactions bad.labels bad.dispositions bad.rates bad.audit bad.transactions.dlq: not there yet") ||
		!strings.Contains(know, "bad.models: max.message.bytes is") {
		t.Errorf("%d topics\n%s\n%s", there, wrong, know)
	}
}
