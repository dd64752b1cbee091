package kafka_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// childMember tells a copy of this test binary to be a member of a group:
// broker, group and topic.
const childMember = "WEIR_TEST_MEMBER"

func TestMain(m *testing.M) {
	if args := strings.Fields(os.Getenv(childMember)); len(args) == 3 {
		beMember(args[0], args[1], args[2])
	}
	os.Exit(m.Run())
}

// beMember says when it holds the shard, and stays until its input ends, with
// the test, or it is killed.
func beMember(addr, group, topic string) {
	c := kafka.New(kafka.Options{Brokers: []string{addr}})
	m, err := kafka.Join(context.Background(), c, group, topic, kafka.GroupOptions{})
	if err == nil {
		_, err = m.Wait(context.Background(), 0)
	}
	fmt.Println("held", err)
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func (f *fixture) join(group string, o kafka.GroupOptions) *kafka.Member {
	f.t.Helper()
	m, err := kafka.Join(f.t.Context(), f.c, group, f.topic, o)
	if err != nil {
		f.t.Fatal(err)
	}
	return m
}

func hold(t *testing.T, m *kafka.Member) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	held, err := m.Wait(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	return held
}

// lost waits until a hold has ended, because the group took the shard away.
func lost(t *testing.T, held context.Context) {
	t.Helper()
	select {
	case <-held.Done():
		want(t, context.Cause(held), kafka.ErrLostShard)
	case <-time.After(time.Minute):
		t.Fatal("the shard is held still")
	}
}

// members returns the ids of a group's members once it is stable with n of
// them.
func (f *fixture) members(group string, n int) (ids []string) {
	f.t.Helper()
	cl := f.franz()
	soon(f.t, fmt.Sprintf("a stable group of %d", n), func() bool {
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Groups = []string{group}
		resp, err := req.RequestWith(f.t.Context(), cl)
		if err != nil || len(resp.Groups) != 1 || resp.Groups[0].State != "Stable" || len(resp.Groups[0].Members) != n {
			return false
		}
		ids = nil
		for _, m := range resp.Groups[0].Members {
			ids = append(ids, m.MemberID)
		}
		return true
	})
	return ids
}

// TestAMemberThatComesTakesNothing has standbys come and go: the holder keeps
// the shard through every rebalance, and after it the next one gets it.
func TestAMemberThatComesTakesNothing(t *testing.T) {
	f := anywhere(t, nil)
	group := unique("group")
	a := f.join(group, kafka.GroupOptions{})
	held := hold(t, a)
	b, c := f.join(group, kafka.GroupOptions{}), f.join(group, kafka.GroupOptions{})
	f.members(group, 3)
	c.Close()
	f.members(group, 2)
	if held.Err() != nil {
		t.Fatalf("the shard was lost: %v", context.Cause(held))
	}
	waiting, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := b.Wait(waiting, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the standby has the shard too, %v", err)
	}
	a.Close()
	if held.Err() == nil {
		t.Error("after Close the shard is held still")
	}
	next := hold(t, b)
	a = f.join(group, kafka.GroupOptions{}) // it comes back, as a standby
	f.members(group, 2)
	if next.Err() != nil {
		t.Errorf("who came back took the shard: %v", context.Cause(next))
	}
	a.Close()
	b.Close()
}

// child starts a process that joins the group. It is killed at the end, if not
// before.
func (f *fixture) child(group string) (*exec.Cmd, *bufio.Reader) {
	f.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childMember+"="+strings.Join([]string{f.addr, group, f.topic}, " "))
	if _, err := cmd.StdinPipe(); err != nil {
		f.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, bufio.NewReader(out)
}

// TestAnEndIsNoLoss ends the context of a member that holds many shards: none of
// them is told that the group took it away.
func TestAnEndIsNoLoss(t *testing.T) {
	_, f := faulty(t, nil)
	const shards = 300
	topic := unique("shards")
	if err := f.c.Ensure(t.Context(), []schemas.Layout{{Topic: topic, Partitions: shards}}); err != nil {
		t.Fatal(err)
	}
	for range 25 {
		ctx, end := context.WithCancel(t.Context())
		m, err := kafka.Join(ctx, f.c, "g", topic, kafka.GroupOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var holds []context.Context
		for shard := range int32(shards) {
			held, err := m.Wait(t.Context(), shard)
			if err != nil {
				t.Fatal(err)
			}
			holds = append(holds, held)
		}
		end()
		for _, held := range holds {
			<-held.Done()
			if cause := context.Cause(held); !errors.Is(cause, context.Canceled) {
				t.Fatalf("a hold ended by the context: %v", cause)
			}
		}
		m.Close()
	}
}

// TestADeadStandbyTakesNothing kills a standby and starts another at once: the
// group waits for the dead one before it answers anybody who joins, and the holder
// goes on meanwhile.
func TestADeadStandbyTakesNothing(t *testing.T) {
	f := anywhere(t, nil)
	group := unique("group")
	a := f.join(group, kafka.GroupOptions{})
	defer a.Close()
	held := hold(t, a)
	alive := f.members(group, 1)
	cmd, _ := f.child(group)
	dead := slices.DeleteFunc(f.members(group, 2), func(id string) bool { return id == alive[0] })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	b := f.join(group, kafka.GroupOptions{})
	defer b.Close()
	soon(t, "the group forgets the dead standby", func() bool { return !slices.Contains(f.members(group, 2), dead[0]) })
	if held.Err() != nil {
		t.Fatalf("the shard was lost: %v", context.Cause(held))
	}
	waiting, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := b.Wait(waiting, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the new standby has the shard too, %v", err)
	}
}

// TestAStandbyTakesOverFromTheDead kills the process that holds the shard.
func TestAStandbyTakesOverFromTheDead(t *testing.T) {
	f := anywhere(t, nil)
	group := unique("group")
	cmd, out := f.child(group)
	if line, err := out.ReadString('\n'); strings.TrimSpace(line) != "held <nil>" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	b := f.join(group, kafka.GroupOptions{})
	defer b.Close()
	f.members(group, 2)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	hold(t, b)
	f.members(group, 1)
}

// TestAForgottenMemberLosesTheShard has somebody remove the member from the
// group, as the broker does with one that is silent for too long.
func TestAForgottenMemberLosesTheShard(t *testing.T) {
	f := anywhere(t, nil)
	group := unique("group")
	a := f.join(group, kafka.GroupOptions{})
	defer a.Close()
	held := hold(t, a)
	b := f.join(group, kafka.GroupOptions{})
	defer b.Close()
	ids := f.members(group, 2)
	cl := f.franz()
	for _, id := range ids { // both: which is which does not show
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Group = group
		req.MemberID = id
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID = id
		req.Members = append(req.Members, m)
		if _, err := req.RequestWith(t.Context(), cl); err != nil {
			t.Fatal(err)
		}
	}
	lost(t, held)
	f.members(group, 2) // both come back by themselves
	var holds int
	for _, m := range []*kafka.Member{a, b} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if _, err := m.Wait(ctx, 0); err == nil {
			holds++
		}
		cancel()
	}
	if holds != 1 {
		t.Errorf("%d members hold the shard", holds)
	}
}

// TestABrokenHeartbeatKeepsTheShard breaks the connection of a heartbeat and
// answers others with what makes a member join again.
func TestABrokenHeartbeatKeepsTheShard(t *testing.T) {
	cluster, f := faulty(t, nil)
	a := f.join("g", kafka.GroupOptions{})
	defer a.Close()
	held := hold(t, a)
	again := func(what string) {
		t.Helper()
		joins := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.SyncGroup}, Group: "g", Observe: true, Count: -1})
		defer joins.Remove()
		soon(t, what, func() bool { return joins.Hits() > 0 })
		f.members("g", 1)
		if held.Err() != nil {
			t.Fatalf("%s: the shard was lost: %v", what, context.Cause(held))
		}
	}
	cluster.ControlKey(int16(kmsg.Heartbeat), func(kmsg.Request) (kmsg.Response, error, bool) {
		return nil, errors.New("the connection breaks"), true
	})
	again("a join after a broken connection")
	for _, e := range []*kerr.Error{kerr.RebalanceInProgress, kerr.IllegalGeneration} {
		cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Group: "g", TopLevel: true, Err: e})
		again("a join after " + e.Message)
	}
}

// TestAMemberThatIsCutOffLosesTheShard has a broker that answers nothing any
// more: by the end of the session the group would have given the shard away.
func TestAMemberThatIsCutOffLosesTheShard(t *testing.T) {
	cluster, f := faulty(t, nil, kfake.GroupMinSessionTimeout(time.Second))
	a := f.join("g", kafka.GroupOptions{Session: 2 * time.Second})
	held := hold(t, a)
	cluster.Control(func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		return nil, nil, true
	})
	lost(t, held)
	a.Close()
}

// TestAGroupThatIsFormedSlowly has a broker that answers no join for longer than a
// rebalance takes, as one does with a long group.initial.rebalance.delay.ms: it is
// waited for, and not joined again. A broker that answers nothing is given up.
func TestAGroupThatIsFormedSlowly(t *testing.T) {
	cluster, f := faulty(t, nil, kfake.GroupMinSessionTimeout(100*time.Millisecond))
	var joins atomic.Int32
	var dead atomic.Bool
	form := make(chan struct{})
	cluster.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if joins.Add(1) == 1 {
			cluster.SleepControl(func() { <-form })
		}
		return nil, nil, dead.Load()
	})
	o := kafka.GroupOptions{Session: 300 * time.Millisecond}
	a := f.join("g", o)
	defer a.Close()
	asked := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Observe: true, Count: -1})
	defer asked.Remove()
	soon(t, "looks whether the broker lives, more than once", func() bool { return asked.Hits() > 2 })
	if a.Joined() {
		t.Error("it has joined a group that there is not")
	}
	close(form)
	hold(t, a)
	if n := joins.Load(); n != 1 || !a.Joined() {
		t.Errorf("joined %d times", n)
	}
	a.Close()

	dead.Store(true)
	b := f.join("g", o)
	soon(t, "joins", func() bool { return joins.Load() > 1 })
	cluster.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		return nil, nil, r.Key() == int16(kmsg.Metadata)
	})
	n := joins.Load()
	soon(t, "joins again where the broker answers nothing", func() bool { return joins.Load() > n })
	b.Close()
}

// TestAJoinEndsAtOnce closes a member whose join waits.
func TestAJoinEndsAtOnce(t *testing.T) {
	cluster, f := faulty(t, nil)
	joins := make(chan struct{}, 1)
	cluster.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		joins <- struct{}{}
		return nil, nil, true
	})
	a := f.join("g", kafka.GroupOptions{Session: time.Hour})
	<-joins
	closed := make(chan struct{})
	go func() { a.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(time.Minute):
		t.Fatal("a member that waits for its group does not close")
	}
}

// TestTheCoordinatorIsWaitedFor has a group's coordinator not yet made, loading
// and elsewhere, as on a broker that has just started.
func TestTheCoordinatorIsWaitedFor(t *testing.T) {
	cluster, f := faulty(t, nil)
	away := func(key kmsg.Key, errs ...*kerr.Error) {
		for _, e := range errs {
			cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Group: "g", Err: e, TopLevel: key != kmsg.FindCoordinator && key != kmsg.OffsetCommit})
		}
	}
	away(kmsg.FindCoordinator, kerr.CoordinatorNotAvailable)
	away(kmsg.JoinGroup, kerr.NotCoordinator, kerr.CoordinatorLoadInProgress)
	a := f.join("g", kafka.GroupOptions{})
	hold(t, a)
	a.Close()
	away(kmsg.FindCoordinator, kerr.CoordinatorNotAvailable)
	away(kmsg.OffsetCommit, kerr.NotCoordinator, kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable)
	if err := f.c.CommitOffsets(t.Context(), "g", f.topic, map[int32]int64{0: 3}); err != nil {
		t.Error(err)
	}
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Group: "g", TopLevel: true, Err: kerr.GroupAuthorizationFailed})
	a = f.join("g", kafka.GroupOptions{})
	defer a.Close()
	_, err := a.Wait(t.Context(), 0)
	want(t, err, kafka.ErrRefused)
	hold(t, a) // the right was given
}

func TestCommittedOffsetsAreThere(t *testing.T) {
	f := anywhere(t, nil)
	group := unique("progress")
	for _, offset := range []int64{7, 9} {
		if err := f.c.CommitOffsets(t.Context(), group, f.topic, map[int32]int64{0: offset}); err != nil {
			t.Fatal(err)
		}
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Group = group
		topic := kmsg.NewOffsetFetchRequestTopic()
		topic.Topic, topic.Partitions = f.topic, []int32{0}
		req.Topics = append(req.Topics, topic)
		g := kmsg.NewOffsetFetchRequestGroup()
		gt := kmsg.NewOffsetFetchRequestGroupTopic()
		gt.Topic, gt.Partitions = f.topic, []int32{0}
		g.Group, g.Topics = group, append(g.Topics, gt)
		req.Groups = append(req.Groups, g)
		resp, err := f.franz().Request(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		var got int64 = -1
		for _, g := range resp.(*kmsg.OffsetFetchResponse).Groups {
			for _, topic := range g.Topics {
				for _, p := range topic.Partitions {
					got = p.Offset
				}
			}
		}
		if got != offset {
			t.Errorf("the group's offset is %d, want %d", got, offset)
		}
	}
	group = unique("group")
	a := f.join(group, kafka.GroupOptions{})
	defer a.Close()
	hold(t, a)
	err := f.c.CommitOffsets(t.Context(), group, f.topic, map[int32]int64{0: 1})
	want(t, err, kafka.ErrRefused)
	if err == nil || !strings.Contains(err.Error(), "another group's name") {
		t.Errorf("got %v", err)
	}
}

// TestOneHoldsTheShardAtATime has members come, work and go at random.
func TestOneHoldsTheShardAtATime(t *testing.T) {
	f := anywhere(t, nil)
	group, r := unique("group"), seeded(t)
	var mu sync.Mutex
	var holds []context.Context
	var wg sync.WaitGroup
	for range 4 {
		pauses := []int{r.IntN(300), r.IntN(300), r.IntN(300)}
		wg.Go(func() {
			for _, pause := range pauses {
				m, err := kafka.Join(t.Context(), f.c, group, f.topic, kafka.GroupOptions{Heartbeat: 50 * time.Millisecond})
				if err != nil {
					t.Error(err)
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				held, err := m.Wait(ctx, 0)
				cancel()
				if err != nil {
					t.Error(err)
					m.Close()
					return
				}
				mu.Lock()
				for _, other := range holds {
					if other.Err() == nil {
						t.Error("two hold the shard")
					}
				}
				holds = append(holds, held)
				mu.Unlock()
				select {
				case <-held.Done():
				case <-time.After(time.Duration(pause) * time.Millisecond):
				}
				m.Close()
			}
		})
	}
	wg.Wait()
	if len(holds) != 12 {
		t.Errorf("the shard was held %d times, want 12", len(holds))
	}
}

// TestNothingIsLeftOfAMember counts goroutines before and after.
func TestNothingIsLeftOfAMember(t *testing.T) {
	f := anywhere(t, nil)
	group := unique("group")
	before := runtime.NumGoroutine()
	for range 3 {
		c := kafka.New(kafka.Options{Brokers: []string{f.addr}})
		m, err := kafka.Join(t.Context(), c, group, f.topic, kafka.GroupOptions{})
		if err != nil {
			t.Fatal(err)
		}
		hold(t, m)
		m.Close()
		c.Close()
	}
	soon(t, "the end of every goroutine", func() bool { return runtime.NumGoroutine() <= before })
}

// TestOneThatKeepsLeavingTakesNothing has a member join and leave again and again, at any
// moment of it, as a node does that halts each time it has begun: the holder keeps the
// shard, and the standby does not get it.
func TestOneThatKeepsLeavingTakesNothing(t *testing.T) {
	f := anywhere(t, nil)
	group, r := unique("group"), seeded(t)
	a := f.join(group, kafka.GroupOptions{})
	defer a.Close()
	held := hold(t, a)
	b := f.join(group, kafka.GroupOptions{})
	defer b.Close()
	f.members(group, 2)
	for range 5 {
		c := f.join(group, kafka.GroupOptions{})
		select {
		case <-held.Done():
		case <-time.After(time.Duration(r.IntN(800)) * time.Millisecond):
		}
		c.Close()
		if held.Err() != nil {
			t.Fatalf("the shard was lost: %v", context.Cause(held))
		}
	}
	f.members(group, 2)
	if held.Err() != nil {
		t.Fatalf("the shard was lost: %v", context.Cause(held))
	}
}
