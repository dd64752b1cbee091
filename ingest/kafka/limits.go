package kafka

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	kafkago "github.com/segmentio/kafka-go"
)

// messageMax is Kafka's default of max.message.bytes.
const messageMax = 1048588

// MessageMax returns a topic's max.message.bytes. Where this client may not see
// the topic's settings, it returns Kafka's default.
func (c *Client) MessageMax(ctx context.Context, topic string) (int, error) {
	const setting = "max.message.bytes"
	values, err := c.Settings(ctx, topic, setting)
	if err != nil {
		return 0, err
	}
	text, ok := values[setting]
	if !ok {
		return messageMax, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("setting %s of %s is %q", setting, topic, text)
	}
	return n, nil
}

// Settings returns those of a topic that have the names, be they its own or the
// broker's; none where this client may not see them.
func (c *Client) Settings(ctx context.Context, topic string, names ...string) (map[string]string, error) {
	var resp *kafkago.DescribeConfigsResponse
	// kafka-go does not look whether a connection is still open: after a broker's restart
	// the first request over it fails.
	err := again(ctx, func() (err error) {
		resp, err = c.admin.DescribeConfigs(ctx, &kafkago.DescribeConfigsRequest{Resources: []kafkago.DescribeConfigRequestResource{
			{ResourceType: kafkago.ResourceTypeTopic, ResourceName: topic, ConfigNames: names}}})
		return named(err)
	})
	if err != nil {
		return nil, fmt.Errorf("describe the settings of %s: %w", topic, err)
	}
	values := make(map[string]string)
	for _, r := range resp.Resources {
		for _, e := range r.ConfigEntries {
			if slices.Contains(names, e.ConfigName) {
				values[e.ConfigName] = e.ConfigValue
			}
		}
	}
	return values, nil
}
