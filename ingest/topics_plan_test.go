package ingest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// TestTopicsAreRefused asks for one thing after the other that would lose data, or stop
// weir, of topics as they are on three brokers.
func TestTopicsAreRefused(t *testing.T) {
	good := map[string]string{cleanupPolicy: "delete", retentionMs: "-1", retentionBytes: "-1", messageBytes: "9437184", minInsync: "2", unclean: "false"}
	for _, c := range []struct {
		topic, is, asked string // SETTING=VALUE
		partitions       int
		own              bool
		change, note     string
		refused          string
	}{
		{topic: "decisions"},
		{topic: "decisions", asked: "retention.ms=34560000000", refused: "retention.ms is -1 (for ever) and 34560000000 (400 days) is asked for"},
		{topic: "audit", is: "retention.ms=172800000", asked: "retention.ms=86400000", own: true, refused: "172800000 (2 days) and 86400000 (1 days)"},
		{topic: "labels", asked: "retention.bytes=1000", refused: "retention.bytes is -1 (for ever) and 1000 is asked for"},
		{topic: "transactions", is: "retention.ms=604800000", asked: "retention.ms=86400000", refused: "would be deleted"},
		{topic: "transactions.dlq", is: "retention.ms=604800000", asked: "retention.ms=86400000", refused: "would be deleted"},
		{topic: "dispositions", is: "retention.ms=86400000", own: true, note: "retention.ms is 86400000 (1 days), as somebody set it: left"},
		{topic: "dispositions", is: "retention.ms=86400000", asked: "retention.ms=172800000", own: true, change: "retention.ms 86400000 172800000"},
		{topic: "dispositions", is: "retention.ms=604800000", change: "retention.ms 604800000 -1"}, // of the brokers
		{topic: "decisions", is: "retention.bytes=7", change: "retention.bytes 7 -1"},
		{topic: "transactions", is: "retention.ms=604800000"},
		{topic: "transactions.dlq", is: "retention.ms=604800000"},
		{topic: "decisions", asked: "cleanup.policy=compact", refused: "is not changed by a migration"},
		{topic: "transactions", asked: "cleanup.policy=compact,delete", refused: "is not changed by a migration"},
		{topic: "models", is: "cleanup.policy=compact", asked: "cleanup.policy=delete", refused: "would be deleted that weir needs; it is compact"},
		{topic: "models", change: "cleanup.policy delete compact"},
		{topic: "alerts", is: "cleanup.policy=compact", refused: "it may lack some already"},
		{topic: "transactions.dlq", is: "cleanup.policy=compact,delete", refused: "it may lack some already"},
		{topic: "decisions", partitions: 2, refused: "a ledger keeps the number that it began with"},
		{topic: "alerts", partitions: 1, refused: "each with one for its alerts"},
		{topic: "transactions", partitions: 9, refused: "it has 9 partitions and 8 are asked for"},
		{topic: "transactions", partitions: 4, note: "scorers halt where their source grows"},
		{topic: "decisions", is: "max.message.bytes=1048588", change: "max.message.bytes 1048588 4194304"},
		{topic: "decisions", asked: "max.message.bytes=4194303", refused: "weir writes up to 4194304"},
		{topic: "audit", is: "min.insync.replicas=1", change: "min.insync.replicas 1 2"},
		{topic: "audit", asked: "min.insync.replicas=4", refused: "nothing could be written"},
		{topic: "transactions", is: "min.insync.replicas=1"},
		{topic: "rates", is: "unclean.leader.election.enable=true", change: "cleanup.policy delete compact, unclean.leader.election.enable true false"},
		{topic: "decisions", asked: "unclean.leader.election.enable=true", refused: "what it lacks is lost"},
		{topic: "decisions", asked: "retention=7", refused: "no such setting"},
	} {
		set := make(map[string]kafka.TopicSetting)
		for name, value := range good {
			set[name] = kafka.TopicSetting{Value: value}
		}
		if name, value, ok := strings.Cut(c.is, "="); ok {
			set[name] = kafka.TopicSetting{Value: value, Own: c.own}
		}
		layouts := schemas.DefaultTopics("").Sharded(8, 3)
		l := layouts[slices.IndexFunc(layouts, func(l schemas.Layout) bool { return l.Topic == c.topic })]
		p := topicPlan{TopicPlan{Topic: l.Topic, layout: l}, c.topic, TopicsWanted{Partitions: 8, Fixed: true, Shards: 3}, map[string]string{}}
		if name, value, ok := strings.Cut(c.asked, "="); ok {
			p.asked[name] = value
		}
		at := kafka.Topic{Name: c.topic, Partitions: cmp.Or(c.partitions, l.Partitions), Replicas: 3}
		p.judge(set, at)
		var changes []string
		for _, x := range p.Changes {
			changes = append(changes, x.Setting+" "+x.From+" "+x.To)
		}
		for _, is := range []struct{ what, got, want string }{
			{"changes", strings.Join(changes, ", "), c.change}, {"notes", strings.Join(p.Notes, ", "), c.note}, {"refuses", strings.Join(p.Refused, ", "), c.refused},
		} {
			if is.want == "" && is.got != "" && (is.what != "changes" || c.refused == "") || !strings.Contains(is.got, is.want) {
				t.Errorf("%+v: it %s %q", c, is.what, is.got)
			}
		}
	}
}

// TestTopicsAreBroughtToWhatIsNeeded makes topics, has somebody spoil them, and brings
// them back: planning changes nothing, and a second time there is nothing to do.
func TestTopicsAreBroughtToWhatIsNeeded(t *testing.T) {
	w := newWorld(t, "payments", 1)
	topics, want := schemas.DefaultTopics(w.prefix+"plan."), TopicsWanted{Partitions: 3, Settings: map[string]map[string]string{"alerts": {"segment.bytes": "1048576"}}}
	plan := func() (plans []TopicPlan, changes, there int) {
		t.Helper()
		plans, err := PlanTopics(t.Context(), w.log, topics, want)
		w.must(err)
		for _, p := range plans {
			changes += len(p.Changes)
			if p.There {
				there++
			}
		}
		return plans, changes, there
	}
	plans, _, _ := plan()
	if _, _, there := plan(); there != 0 {
		t.Fatalf("a plan has made %d topics", there)
	}
	w.must(ApplyTopics(t.Context(), w.log, plans, 0))
	if plans, changes, there := plan(); changes != 0 || there != 9 {
		t.Fatalf("after it was carried out, with %d topics there: %+v", there, plans)
	}
	found, there, err := CheckTopics(t.Context(), w.log, topics, w.spec, "bank")
	w.must(err)
	for _, f := range found {
		if f.Wrong {
			t.Errorf("of %d topics that it made: %+v", there, f)
		}
	}
	set := func(topic, name string) string {
		t.Helper()
		all, err := w.log.TopicSettings(t.Context(), topic)
		w.must(err)
		return all[name].Value
	}
	if n := set(topics.Alerts, "segment.bytes"); n != "1048576" {
		t.Errorf("segment.bytes of alerts is %s", n)
	}
	// Somebody who does not know spoils them.
	w.must(w.log.SetTopic(t.Context(), topics.Decisions, map[string]string{messageBytes: "1000", retentionMs: "1000000"}, false))
	w.must(w.log.SetTopic(t.Context(), topics.Models, map[string]string{cleanupPolicy: "delete"}, false))
	plans, changes, _ := plan()
	if changes != 2 || set(topics.Decisions, messageBytes) != "1000" {
		t.Fatalf("%d changes, planning changed it to %s: %+v", changes, set(topics.Decisions, messageBytes), plans)
	}
	w.must(ApplyTopics(t.Context(), w.log, plans, 0))
	for _, s := range [][3]string{{topics.Decisions, messageBytes, "4194304"}, {topics.Decisions, retentionMs, "1000000"}, {topics.Models, cleanupPolicy, "compact"}} {
		if is := set(s[0], s[1]); is != s[2] {
			t.Errorf("%s of %s is %s, not %s", s[1], s[0], is, s[2])
		}
	}
	// A topic whose keys were compacted away is for a person to look at; nothing is done.
	w.must(w.log.SetTopic(t.Context(), topics.Labels, map[string]string{cleanupPolicy: "compact"}, false))
	w.must(w.log.SetTopic(t.Context(), topics.Models, map[string]string{cleanupPolicy: "delete"}, false))
	plans, _, _ = plan()
	if err := ApplyTopics(t.Context(), w.log, plans, 0); !errors.Is(err, ErrRefused) || !strings.Contains(fmt.Sprint(err), topics.Labels) {
		t.Errorf("it says %v", err)
	}
	if set(topics.Labels, cleanupPolicy) != "compact" || set(topics.Models, cleanupPolicy) != "delete" {
		t.Error("a plan that is refused was carried out in part")
	}
}

// TestBrokersAreAskedBeforehand plans what the brokers would refuse: the plan says so.
func TestBrokersAreAskedBeforehand(t *testing.T) {
	w := newWorld(t, "payments", 1)
	bad := []TopicsWanted{{Partitions: 1, Replicas: 9}}
	if w.broker == nil { // the embedded one takes any setting
		bad = append(bad, TopicsWanted{Partitions: 1, Settings: map[string]map[string]string{"audit": {"no.such.setting": "1"}}})
	}
	for _, want := range bad {
		if _, err := PlanTopics(t.Context(), w.log, schemas.DefaultTopics(w.prefix+"bad."), want); err == nil {
			t.Errorf("%+v is planned", want)
		}
	}
}
