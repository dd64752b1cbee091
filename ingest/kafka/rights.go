package kafka

import (
	"errors"
	"fmt"
	"strings"

	kafkago "github.com/segmentio/kafka-go"
)

// Rights are operations on a topic, a bit each, by the numbers of the protocol.
type Rights uint32

// The operations that weir asks for. Read and Write each bring Describe with them.
const (
	Read            Rights = 1 << 3
	Write           Rights = 1 << 4
	Create          Rights = 1 << 5
	Describe        Rights = 1 << 8
	DescribeConfigs Rights = 1 << 10
)

// rightNames are the names by which kafka-acls gives them.
var rightNames = []struct {
	right Rights
	name  string
}{{Read, "Read"}, {Write, "Write"}, {Create, "Create"}, {Describe, "Describe"}, {DescribeConfigs, "DescribeConfigs"}}

func (r Rights) String() string {
	var names []string
	for _, n := range rightNames {
		if r&n.right != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, " and ")
}

// Lacks returns which of the rights that are needed are not there; none where the
// brokers do not say which there are.
func (t Topic) Lacks(needed Rights) Rights {
	if t.Rights == 0 {
		return 0
	}
	return needed &^ t.Rights
}

// lacking names the right that an answer of the brokers is about: they say only that
// some topic was not authorised.
func lacking(err error, right Rights, topic string) error {
	if errors.Is(err, kafkago.TopicAuthorizationFailed) {
		return fmt.Errorf("%w: this user lacks the right %s on topic %s", err, right, topic)
	}
	return err
}

// lackingGroup does so for a group.
func lackingGroup(err error, group string) error {
	if errors.Is(err, kafkago.GroupAuthorizationFailed) {
		return fmt.Errorf("%w: this user lacks the right %s on group %s", err, Read, group)
	}
	return err
}
