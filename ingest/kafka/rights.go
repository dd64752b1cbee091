package kafka

import (
	"errors"
	"fmt"

	kafkago "github.com/segmentio/kafka-go"
)

// lacking names the right that an answer of the brokers is about: they say only that
// some topic was not authorised. Rights have the names that kafka-acls gives them.
func lacking(err error, right, topic string) error {
	if errors.Is(err, kafkago.TopicAuthorizationFailed) {
		return fmt.Errorf("%w: this user lacks the right %s on topic %s", err, right, topic)
	}
	return err
}

// lackingGroup does so for a group.
func lackingGroup(err error, group string) error {
	if errors.Is(err, kafkago.GroupAuthorizationFailed) {
		return fmt.Errorf("%w: this user lacks the right Read on group %s", err, group)
	}
	return err
}
