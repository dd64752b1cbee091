package kafka

import (
	"context"
	"fmt"
	"strconv"

	kafkago "github.com/segmentio/kafka-go"
)

// messageMax is Kafka's default of max.message.bytes.
const messageMax = 1048588

// MessageMax returns a topic's max.message.bytes. Where this client may not see
// the topic's settings, it returns Kafka's default.
func (c *Client) MessageMax(ctx context.Context, topic string) (int, error) {
	const setting = "max.message.bytes"
	resp, err := c.admin.DescribeConfigs(ctx, &kafkago.DescribeConfigsRequest{Resources: []kafkago.DescribeConfigRequestResource{
		{ResourceType: kafkago.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{setting}}}})
	if err != nil {
		return 0, fmt.Errorf("describe the settings of %s: %w", topic, err)
	}
	for _, r := range resp.Resources {
		for _, e := range r.ConfigEntries {
			if e.ConfigName != setting {
				continue
			}
			n, err := strconv.Atoi(e.ConfigValue)
			if err != nil {
				return 0, fmt.Errorf("setting %s of %s is %q", setting, topic, e.ConfigValue)
			}
			return n, nil
		}
	}
	return messageMax, nil
}
