package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// TopicsWanted says how topics should be, beside what weir needs of them.
type TopicsWanted struct {
	// Partitions is how many the source gets; where Fixed is set, also how many it should
	// have if it is there.
	Partitions int
	Fixed      bool
	// Shards is how many partitions the ledger and its alerts get; 0 is one, or what
	// they have.
	Shards int
	// Replicas is on how many brokers a topic is made; 0 leaves that to the brokers.
	Replicas int
	// Settings are those that somebody asks for: by a topic's name without its prefix, then
	// by the setting's.
	Settings map[string]map[string]string
}

// A TopicPlan is what [ApplyTopics] does with a topic.
type TopicPlan struct {
	Topic      string          `json:"topic"`
	There      bool            `json:"there"`
	Partitions int             `json:"partitions"`
	Replicas   int             `json:"replicas"` // 0 is the brokers' default
	Changes    []SettingChange `json:"changes"`  // of a topic that is not there, all that it is made with
	Notes      []string        `json:"notes"`    // what is otherwise and stays
	Refused    []string        `json:"refused"`  // what would lose data, or may have lost some

	layout schemas.Layout
}

// SettingChange is what one setting is, and what it becomes.
type SettingChange struct {
	Setting string `json:"setting"`
	From    string `json:"from"` // empty where the topic is not there
	To      string `json:"to"`
}

// ErrRefused is wrapped where a topic cannot be brought to what is wanted without a loss.
var ErrRefused = errors.New("refused, and nothing was changed: what is done by a migration loses no record")

// TopicNames are the names of the topics without a prefix, as [TopicsWanted] has them.
func TopicNames() (names []string) {
	for _, l := range schemas.DefaultTopics("").Layouts(0) {
		names = append(names, l.Topic)
	}
	return names
}

// PlanTopics looks at the topics and changes none. What brokers would refuse they say here.
func PlanTopics(ctx context.Context, log *kafka.Client, topics schemas.Topics, want TopicsWanted) ([]TopicPlan, error) {
	var plans []TopicPlan
	names := TopicNames()
	for i, l := range topics.Sharded(want.Partitions, max(1, want.Shards)) {
		p := topicPlan{TopicPlan{Topic: l.Topic, Partitions: l.Partitions, Replicas: want.Replicas, Changes: []SettingChange{}, Notes: []string{}, Refused: []string{}, layout: l},
			names[i], want, want.Settings[names[i]]}
		if l.Topic == topics.DLQ && plans[0].There {
			p.Partitions, p.layout.Partitions = plans[0].Partitions, plans[0].Partitions // those of the source
		}
		t, err := log.Describe(ctx, l.Topic)
		switch {
		case errors.Is(err, kafka.ErrUnknownTopic):
			err = p.make(ctx, log)
		case err == nil:
			err = p.bring(ctx, log, t)
		}
		if err != nil {
			return nil, err
		}
		plans = append(plans, p.TopicPlan)
	}
	return plans, nil
}

// topicPlan is a plan in the making.
type topicPlan struct {
	TopicPlan
	name  string // without the prefix
	want  TopicsWanted
	asked map[string]string
}

func (p *topicPlan) refuse(format string, a ...any) {
	p.Refused = append(p.Refused, fmt.Sprintf(format, a...))
}

func (p *topicPlan) note(format string, a ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, a...))
}

// make plans a topic that is not there.
func (p *topicPlan) make(ctx context.Context, log *kafka.Client) error {
	settings := maps.Clone(p.layout.Config)
	if settings == nil {
		settings = make(map[string]string)
	}
	maps.Copy(settings, p.asked)
	if n := p.want.Replicas; n >= 3 && p.asked[minInsync] == "" {
		settings[minInsync] = "2"
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		p.Changes = append(p.Changes, SettingChange{name, "", settings[name]})
		p.promises(name, settings[name], p.want.Replicas)
	}
	p.layout.Config = settings
	if len(p.Refused) > 0 {
		return nil
	}
	return log.TryCreate(ctx, p.layout, replicasOf(p.want.Replicas))
}

// replicasOf is a number of replicas as Kafka has it: -1 is the brokers' default.
func replicasOf(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// bring plans a topic that is there.
func (p *topicPlan) bring(ctx context.Context, log *kafka.Client, t kafka.Topic) error {
	set, err := log.TopicSettings(ctx, p.Topic)
	if err != nil {
		return err
	}
	p.judge(set, t)
	if len(p.Changes) == 0 || len(p.Refused) > 0 {
		return nil
	}
	return log.SetTopic(ctx, p.Topic, p.settings(), true)
}

// judge compares a topic with what is wanted.
func (p *topicPlan) judge(set map[string]kafka.TopicSetting, t kafka.Topic) {
	p.There, p.Partitions, p.Replicas = true, t.Partitions, t.Replicas
	p.partitions(t)
	for _, name := range slices.Sorted(maps.Keys(p.asked)) {
		p.ask(name, set, t)
	}
	if p.name != "transactions" { // which is the bank's
		p.needs(set)
		p.safe(set, t)
	}
	slices.SortFunc(p.Changes, func(a, b SettingChange) int { return strings.Compare(a.Setting, b.Setting) })
}

// settings are the changes, as a topic is given them.
func (p *TopicPlan) settings() map[string]string {
	all := make(map[string]string)
	for _, c := range p.Changes {
		all[c.Setting] = c.To
	}
	return all
}

// partitions judges how many a topic has, and on how many brokers.
func (p *topicPlan) partitions(t kafka.Topic) {
	source := p.name == "transactions" && p.want.Fixed
	switch {
	case p.name == "decisions" && p.want.Shards > 0 && t.Partitions != p.want.Shards:
		p.refuse("it has %d partitions and %d shards are asked for: a ledger keeps the number that it began with", t.Partitions, p.want.Shards)
	case p.name == "alerts" && p.want.Shards > t.Partitions:
		p.refuse("it has %d partitions and %d shards are asked for, each with one for its alerts: kafka-topics --alter gives it %d", t.Partitions, p.want.Shards, p.want.Shards)
	case source && t.Partitions > p.want.Partitions:
		p.refuse("it has %d partitions and %d are asked for: Kafka takes no partition away, with the records in it", t.Partitions, p.want.Partitions)
	case source && t.Partitions < p.want.Partitions:
		p.note("it has %d partitions and %d are asked for: scorers halt where their source grows, and go on by --accept-gap; so it is done by hand", t.Partitions, p.want.Partitions)
	}
	if p.want.Replicas > 0 && t.Replicas != p.want.Replicas {
		p.note("it is on %s and %d are asked for: kafka-reassign-partitions moves it", brokers(t.Replicas), p.want.Replicas)
	}
}

func brokers(n int) string {
	if n == 1 {
		return "1 broker"
	}
	return strconv.Itoa(n) + " brokers"
}

// ask plans a setting that somebody asks for.
func (p *topicPlan) ask(name string, set map[string]kafka.TopicSetting, t kafka.Topic) {
	now, known := set[name]
	to := p.asked[name]
	switch {
	case !known:
		p.refuse("%s: Kafka knows no such setting of a topic", name)
		return
	case now.Value == to:
		return
	case shortens(name, now.Value, to):
		p.refuse("%s is %s and %s is asked for: what is older or more would be deleted. Who means that does it with kafka-configs", name, inDays(name, now.Value), inDays(name, to))
		return
	case name == cleanupPolicy && p.layout.Config[name] != "compact":
		p.refuse("%s is %s and %s is asked for: what is deleted of this topic is not changed by a migration", name, now.Value, to)
		return
	}
	p.promises(name, to, t.Replicas)
	p.Changes = append(p.Changes, SettingChange{name, now.Value, to})
}

// shortens reports whether a topic would keep less than it does.
func shortens(name, now, to string) bool {
	if name != retentionMs && name != retentionBytes {
		return false
	}
	from, err := strconv.ParseInt(now, 10, 64)
	n, err2 := strconv.ParseInt(to, 10, 64)
	return err == nil && err2 == nil && n >= 0 && (from < 0 || n < from)
}

// promises refuses a value that breaks what weir promises, or with which it does not work.
func (p *topicPlan) promises(name, to string, replicas int) {
	n, _ := strconv.ParseInt(to, 10, 64)
	least, _ := strconv.ParseInt(p.layout.Config[messageBytes], 10, 64)
	need := p.layout.Config[cleanupPolicy]
	switch {
	case name == unclean && to != "false":
		p.refuse("%s=%s: a broker that lacks what was acknowledged could lead, and what it lacks is lost", name, to)
	case name == cleanupPolicy && (need != "" && to != need || need == "" && strings.Contains(to, "compact")):
		if need == "" {
			need = "delete"
		}
		p.refuse("%s=%s: records of this topic would be deleted that weir needs; it is %s", name, to, need)
	case name == messageBytes && n < least:
		p.refuse("%s=%s: weir writes up to %d at once into it", name, to, least)
	case name == minInsync && (n < 1 || replicas > 0 && n > int64(replicas)):
		p.refuse("%s=%s on %s: nothing could be written", name, to, brokers(replicas))
	}
}

// needs plans what weir needs of a topic of its own. What somebody has set to keep less is
// left: how much is kept of a ledger is the bank's decision.
func (p *topicPlan) needs(set map[string]kafka.TopicSetting) {
	policy, is := p.layout.Config[cleanupPolicy], set[cleanupPolicy].Value
	switch {
	case policy == "compact" && p.asked[cleanupPolicy] == "" && is != policy:
		p.Changes = append(p.Changes, SettingChange{cleanupPolicy, is, policy})
	case policy != "compact" && strings.Contains(is, "compact"):
		p.refuse("%s is %s: records were deleted whose key came again, so it may lack some already. Once you know what is lost: kafka-configs, %s=delete", cleanupPolicy, is, cleanupPolicy)
	}
	for _, name := range []string{retentionMs, retentionBytes} {
		now := set[name]
		switch n, err := strconv.ParseInt(now.Value, 10, 64); {
		case err != nil || n < 0 || p.layout.Config[retentionMs] != "-1" || p.asked[name] != "":
		case now.Own:
			p.note("%s is %s, as somebody set it: left", name, inDays(name, now.Value))
		default:
			p.Changes = append(p.Changes, SettingChange{name, now.Value, "-1"})
		}
	}
	least, _ := strconv.ParseInt(p.layout.Config[messageBytes], 10, 64)
	if n, err := strconv.ParseInt(set[messageBytes].Value, 10, 64); err == nil && n < least && p.asked[messageBytes] == "" {
		p.Changes = append(p.Changes, SettingChange{messageBytes, set[messageBytes].Value, p.layout.Config[messageBytes]})
	}
}

// safe plans that what is acknowledged is not lost with a broker.
func (p *topicPlan) safe(set map[string]kafka.TopicSetting, t kafka.Topic) {
	if now := set[unclean].Value; now == "true" && p.asked[unclean] == "" {
		p.Changes = append(p.Changes, SettingChange{unclean, now, "false"})
	}
	if n, err := strconv.Atoi(set[minInsync].Value); err == nil && n < 2 && t.Replicas >= 3 && p.asked[minInsync] == "" {
		p.Changes = append(p.Changes, SettingChange{minInsync, set[minInsync].Value, "2"})
	}
}

// inDays is a setting's value with what it means, where it is a time.
func inDays(name, value string) string {
	n, err := strconv.ParseInt(value, 10, 64)
	switch {
	case err != nil || name != retentionMs && name != retentionBytes:
		return value
	case n < 0:
		return value + " (for ever)"
	case name == retentionBytes:
		return value
	}
	return fmt.Sprintf("%s (%.4g days)", value, float64(n)/float64((24*time.Hour).Milliseconds()))
}

// RefusedTopics returns an error that wraps [ErrRefused] where a plan cannot be carried out.
func RefusedTopics(plans []TopicPlan) error {
	var errs []error
	for i := range plans {
		for _, text := range plans[i].Refused {
			errs = append(errs, fmt.Errorf("topic %s: %s", plans[i].Topic, text))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return errors.Join(append(errs, ErrRefused)...)
}

// ApplyTopics carries plans out.
func ApplyTopics(ctx context.Context, log *kafka.Client, plans []TopicPlan, replicas int) error {
	if err := RefusedTopics(plans); err != nil {
		return err
	}
	var missing []schemas.Layout
	for i := range plans {
		p := &plans[i]
		if !p.There {
			missing = append(missing, p.layout)
		} else if len(p.Changes) > 0 {
			if err := log.SetTopic(ctx, p.Topic, p.settings(), false); err != nil {
				return err
			}
		}
	}
	return log.Create(ctx, missing, replicasOf(replicas))
}
