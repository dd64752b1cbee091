package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	kafkago "github.com/segmentio/kafka-go"
)

// Operation is what somebody may do with a topic: its bit in what brokers say of a user.
type Operation uint8

// The operations (AclOperation.java). Who may read or write may describe,
// and who may alter settings may see them.
const (
	Read            Operation = 3
	Write           Operation = 4
	Create          Operation = 5
	Describe        Operation = 8
	DescribeConfigs Operation = 10
	AlterConfigs    Operation = 11
)

// String returns the name that kafka-acls has for it.
func (o Operation) String() string {
	switch o {
	case Read:
		return "Read"
	case Write:
		return "Write"
	case Create:
		return "Create"
	case DescribeConfigs:
		return "DescribeConfigs"
	case AlterConfigs:
		return "AlterConfigs"
	}
	return "Describe"
}

// Right is the right to an operation on a topic.
type Right struct {
	Operation Operation
	Topic     string
}

func (r Right) String() string { return fmt.Sprintf("%s on topic %s", r.Operation, r.Topic) }

// Rights returns the rights to an operation on topics.
func Rights(o Operation, topics ...string) (list []Right) {
	for _, t := range topics {
		list = append(list, Right{o, t})
	}
	return list
}

// operationsUnknown is what brokers answer that do not know.
const operationsUnknown = math.MinInt32

// Check asks the brokers whether this user has rights, and names all that are missing:
// one that is needed once in a year is found out about now. Of a topic that does not
// exist nothing is said.
func (c *Client) Check(ctx context.Context, rights []Right) error {
	var lacks []string
	asked := make(map[string]Topic)
	for _, r := range rights {
		t, ok := asked[r.Topic]
		if !ok {
			var err error
			t, err = c.Describe(ctx, r.Topic)
			switch {
			case errors.Is(err, ErrUnknownTopic):
				t.operations = operationsUnknown
			case errors.Is(err, kafkago.TopicAuthorizationFailed):
				t.operations = 0
			case err != nil:
				return err
			}
			asked[r.Topic] = t
		}
		if t.operations != operationsUnknown && t.operations&(1<<r.Operation) == 0 {
			lacks = append(lacks, r.String())
		}
	}
	if lacks == nil {
		return nil
	}
	return fmt.Errorf("%w: %w: this user lacks the right %s", ErrRefused, kafkago.TopicAuthorizationFailed, strings.Join(lacks, ", "))
}

// lacking names the right that an answer of the brokers is about: they say only that
// some topic was not authorised. Rights have the names that kafka-acls gives them.
func lacking(err error, o Operation, topic string) error {
	if errors.Is(err, kafkago.TopicAuthorizationFailed) {
		return fmt.Errorf("%w: this user lacks the right %s", err, Right{o, topic})
	}
	return err
}

// mayNotCreate does so for a topic that is missing, and says what to do.
func mayNotCreate(err error, topic string) error {
	if errors.Is(err, kafkago.TopicAuthorizationFailed) || errors.Is(err, kafkago.ClusterAuthorizationFailed) {
		return fmt.Errorf("%w: it is missing, and this user lacks the right %s: weir migrate by a user who has it, or an administrator, makes it", err, Right{Create, topic})
	}
	return err
}

// lackingGroup does so for a group.
func lackingGroup(err error, o Operation, group string) error {
	if errors.Is(err, kafkago.GroupAuthorizationFailed) {
		return fmt.Errorf("%w: this user lacks the right %s on group %s", err, o, group)
	}
	return err
}
