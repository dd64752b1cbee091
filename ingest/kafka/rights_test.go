package kafka_test

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// rights are operations on a topic, or on a group.
type rights map[kmsg.ACLOperation]bool

// userWith is a client of a cluster of its own with a topic t and a group g, and with
// rights to the topic, to planned, which is not there, and to the group.
func userWith(t *testing.T, topic, group rights) *kafka.Client {
	t.Helper()
	var acls []kfake.ACL
	add := func(kind kmsg.ACLResourceType, name string, of rights) {
		for op := range of {
			acls = append(acls, kfake.ACL{Resource: kind, Name: name, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: op, Allow: true})
		}
	}
	add(kmsg.ACLResourceTypeTopic, "t", topic)
	add(kmsg.ACLResourceTypeTopic, "planned", topic)
	add(kmsg.ACLResourceTypeGroup, "g", group)
	addr := secureCluster(t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.User("SCRAM-SHA-512", "score", password, acls...))
	o := kafka.Options{Brokers: []string{addr}}
	if err := (kafka.Security{Mechanism: "SCRAM-SHA-512", User: "score", Password: password}).Apply(&o); err != nil {
		t.Fatal(err)
	}
	c := kafka.New(o)
	t.Cleanup(c.Close)
	return c
}

// names fails unless an error names a right that is missing.
func names(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "this user lacks the right "+want) || kafka.Classify(err) != kafka.Stop {
		t.Errorf("got %v, want it to name %s", err, want)
	}
}

var mayRead, mayWrite = rights{kmsg.ACLOperationRead: true}, rights{kmsg.ACLOperationWrite: true}

// TestRightsAreAskedFor asks for rights before anything is done, and for topics that are
// not there.
func TestRightsAreAskedFor(t *testing.T) {
	ctx, both := t.Context(), append(kafka.Rights(kafka.Read, "t"), kafka.Rights(kafka.Write, "t")...)
	names(t, userWith(t, nil, nil).Check(ctx, both), "Read on topic t, Write on topic t")
	reads := userWith(t, mayRead, nil)
	names(t, reads.Check(ctx, both), "Write on topic t")
	for _, right := range []kafka.Right{both[0], {Operation: kafka.Describe, Topic: "t"}, {Operation: kafka.Write, Topic: "planned"}} {
		if err := reads.Check(ctx, []kafka.Right{right}); err != nil {
			t.Errorf("%v: %v", right, err)
		}
	}
	names(t, reads.Ensure(ctx, []schemas.Layout{{Topic: "t", Partitions: 1}, {Topic: "planned", Partitions: 1}}), "Create on topic planned: weir migrate")
}

// TestAMissingRightIsNamed does as a user with all rights but one what the right is
// for: the error names the right and the topic or the group.
func TestAMissingRightIsNamed(t *testing.T) {
	ctx := t.Context()
	is := func(err error, want string) {
		t.Helper()
		names(t, err, want)
	}
	none := userWith(t, nil, nil)
	_, err := none.Describe(ctx, "t")
	is(err, "Describe on topic t")

	reads := userWith(t, mayRead, nil)
	var w kafka.BatchWriter
	w.Append(nil, []byte("value"), 1, nil)
	batch, err := w.Finish(kafka.None)
	if err != nil {
		t.Fatal(err)
	}
	_, err = reads.Produce(ctx, "t", 0, batch)
	is(err, "Write on topic t")
	is(reads.CommitOffsets(ctx, "g", "t", map[int32]int64{0: 1}), "Read on group g")
	m, err := kafka.Join(ctx, reads, "g", "t", kafka.GroupOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	_, err = m.Wait(ctx, 0)
	is(err, "Read on group g")

	writes := userWith(t, mayWrite, mayRead)
	topic, err := writes.Describe(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = writes.Produce(ctx, "t", 0, batch); err != nil {
		t.Error(err)
	}
	_, _, err = writes.Fetch(ctx, kafka.FetchRequest{Topic: "t", ID: topic.ID, MaxBytes: 1 << 20}, nil)
	is(err, "Read on topic t")
	is(writes.CommitOffsets(ctx, "g", "t", map[int32]int64{0: 1}), "Read on topic t")

	// Of a topic that it may not see, this one says that it is refused.
	err = writes.Ensure(ctx, []schemas.Layout{{Topic: "other", Partitions: 1}})
	if err == nil || !strings.Contains(err.Error(), "on topic other") {
		t.Errorf("got %v", err)
	}
}
