package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/weir-risk/weir/schemas"
)

// TopicSetting is one setting of a topic.
type TopicSetting struct {
	Value string
	// Own is whether the topic itself has it, rather than the brokers.
	Own bool
}

// ownSetting is Kafka's DYNAMIC_TOPIC_CONFIG.
const ownSetting = 1

// TopicSettings returns all settings of a topic that is there, and names the right that
// is missing where they may not be seen.
func (c *Client) TopicSettings(ctx context.Context, topic string) (map[string]TopicSetting, error) {
	resp, err := c.admin.DescribeConfigs(ctx, &kafkago.DescribeConfigsRequest{Resources: []kafkago.DescribeConfigRequestResource{
		{ResourceType: kafkago.ResourceTypeTopic, ResourceName: topic}}})
	if err == nil && len(resp.Resources) != 1 {
		err = errShort
	}
	if err == nil {
		err = lacking(named(resp.Resources[0].Error), DescribeConfigs, topic)
	}
	if err != nil {
		return nil, fmt.Errorf("describe the settings of %s: %w", topic, err)
	}
	all := make(map[string]TopicSetting)
	for _, e := range resp.Resources[0].ConfigEntries {
		all[e.ConfigName] = TopicSetting{e.ConfigValue, e.ConfigSource == ownSetting}
	}
	return all, nil
}

// SetTopic gives a topic settings, and leaves its others as they are. It returns once they
// show: the controller takes a setting before the brokers have heard of it, and who looked
// at once would find the old one. With try it only asks whether the brokers would.
func (c *Client) SetTopic(ctx context.Context, topic string, settings map[string]string, try bool) error {
	var before map[string]TopicSetting
	var err error
	if !try {
		before, err = c.TopicSettings(ctx, topic)
	}
	if err == nil {
		err = c.alterTopic(ctx, topic, settings, try)
	}
	if err == nil && !try {
		err = c.awaitSettings(ctx, topic, settings, before)
	}
	if err != nil {
		return fmt.Errorf("set %s of %s: %w", slices.Sorted(maps.Keys(settings)), topic, err)
	}
	return nil
}

func (c *Client) alterTopic(ctx context.Context, topic string, settings map[string]string, try bool) error {
	r := kafkago.IncrementalAlterConfigsRequestResource{ResourceType: kafkago.ResourceTypeTopic, ResourceName: topic}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		r.Configs = append(r.Configs, kafkago.IncrementalAlterConfigsRequestConfig{Name: name, Value: settings[name], ConfigOperation: kafkago.ConfigOperationSet})
	}
	resp, err := c.admin.IncrementalAlterConfigs(ctx, &kafkago.IncrementalAlterConfigsRequest{Resources: []kafkago.IncrementalAlterConfigsRequestResource{r}, ValidateOnly: try})
	if err == nil && len(resp.Resources) != 1 {
		err = errShort
	}
	if err != nil {
		return err
	}
	return lacking(named(resp.Resources[0].Error), AlterConfigs, topic)
}

// awaitSettings waits until a topic has settings, or other ones than before: a broker may
// write a value in another way.
func (c *Client) awaitSettings(ctx context.Context, topic string, settings map[string]string, before map[string]TopicSetting) error {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	for attempt := 0; ; attempt++ {
		now, err := c.TopicSettings(ctx, topic)
		if err != nil {
			return err
		}
		late := ""
		for name, value := range settings {
			if now[name].Value != value && now[name] == before[name] {
				late = name
			}
		}
		if late == "" {
			return nil
		}
		if pause(ctx, attempt) != nil {
			return fmt.Errorf("the brokers took it, but %s is still %s", late, now[late].Value)
		}
	}
}

// Create makes topics on so many brokers each, or on as many as the brokers' own setting
// says where replicas is -1, and waits until they are led. One that is there by now is
// left as it is.
func (c *Client) Create(ctx context.Context, layouts []schemas.Layout, replicas int) error {
	if len(layouts) == 0 {
		return nil
	}
	var req kafkago.CreateTopicsRequest
	for _, l := range layouts {
		t := kafkago.TopicConfig{Topic: l.Topic, NumPartitions: l.Partitions, ReplicationFactor: replicas}
		for _, name := range slices.Sorted(maps.Keys(l.Config)) {
			t.ConfigEntries = append(t.ConfigEntries, kafkago.ConfigEntry{ConfigName: name, ConfigValue: l.Config[name]})
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := c.admin.CreateTopics(ctx, &req)
	if err != nil {
		return fmt.Errorf("create %d topics: %w", len(req.Topics), named(err))
	}
	var errs []error
	for _, t := range req.Topics {
		if err := resp.Errors[t.Topic]; err != nil && !errors.Is(err, kafkago.TopicAlreadyExists) {
			errs = append(errs, fmt.Errorf("create topic %s: %w", t.Topic, mayNotCreate(named(err), t.Topic)))
		}
	}
	if errs != nil {
		return errors.Join(errs...)
	}
	for _, t := range req.Topics {
		for p := range t.NumPartitions {
			if err := c.await(ctx, t.Topic, int32(p)); err != nil {
				return err
			}
		}
	}
	return nil
}

// TryCreate asks whether [Client.Create] would make a topic, and makes none. kafka-go
// would wait for the topic to appear.
func (c *Client) TryCreate(ctx context.Context, l schemas.Layout, replicas int) error {
	var last error
	for _, addr := range c.options.Brokers {
		code, said, err := c.tryCreate(ctx, addr, l, replicas)
		switch {
		case err != nil:
			last = errors.Join(last, err)
			continue
		case code == int16(kafkago.NotController):
			last = kafkago.NotController
			continue
		case code == int16(kafkago.TopicAlreadyExists):
			code = 0
		}
		if err = protocolError(code); err != nil && said != "" {
			err = fmt.Errorf("%w: %s", err, said)
		}
		if err != nil {
			err = fmt.Errorf("create topic %s: %w", l.Topic, lacking(err, Create, l.Topic))
		}
		return err
	}
	return fmt.Errorf("create topic %s: %w", l.Topic, last)
}

// tryCreate sends CreateTopics version 4 to a broker, of one topic, to be looked at alone.
func (c *Client) tryCreate(ctx context.Context, addr string, l schemas.Layout, replicas int) (code int16, said string, err error) {
	cn, err := c.get(ctx, addr)
	if err != nil {
		return 0, "", err
	}
	defer func() { c.put(addr, cn, err) }()
	be := binary.BigEndian
	b := be.AppendUint32(cn.begin(19, 4, c.options.ClientID, false), 1)
	b = be.AppendUint32(appendString(b, l.Topic), uint32(l.Partitions))
	b = be.AppendUint32(be.AppendUint16(b, uint16(replicas)), 0) // no assignments
	b = be.AppendUint32(b, uint32(len(l.Config)))
	for _, name := range slices.Sorted(maps.Keys(l.Config)) {
		b = appendString(appendString(b, name), l.Config[name])
	}
	b = append(be.AppendUint32(b, uint32(c.options.Timeout.Milliseconds())), 1) // validate only
	if cn.in, err = cn.roundTrip(ctx, b, cn.in, c.options.Timeout); err != nil {
		return 0, "", fmt.Errorf("ask whether a topic can be created: %w", err)
	}
	a := &answer{b: cn.in}
	a.int32() // throttle
	if a.int32() != 1 {
		return 0, "", errShort
	}
	a.string() // topic
	code, said = a.int16(), string(a.string())
	if a.bad {
		err = errShort
	}
	return code, said, err
}
