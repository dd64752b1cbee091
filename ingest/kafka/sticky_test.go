package kafka

import (
	"fmt"
	"math/rand/v2"
	"testing"

	kafkago "github.com/segmentio/kafka-go"
)

func member(id string, generation int32, shards ...int32) kafkago.GroupMember {
	data, _ := sticky{func() (int32, []int32) { return generation, shards }}.UserData()
	return kafkago.GroupMember{ID: id, UserData: data}
}

func shards(n int) (list []kafkago.Partition) {
	for i := range n {
		list = append(list, kafkago.Partition{Topic: "t", ID: n - 1 - i})
	}
	return list
}

func TestShardsAreDividedEvenlyAndKept(t *testing.T) {
	f := func(want string, n int, members ...kafkago.GroupMember) {
		t.Helper()
		got := ""
		out := sticky{}.AssignGroups(members, shards(n))
		for _, m := range members {
			got += fmt.Sprint(out[m.ID]["t"])
		}
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f("", 1)
	f("[0]", 1, member("a", 0))
	f("[0][]", 1, member("a", 0), member("b", 0))
	f("[][0]", 1, member("a", 0), member("b", 3, 0))
	f("[][0][]", 1, member("a", 2, 0), member("b", 3, 0), member("c", 1, 0)) // the later generation is right
	f("[0][1]", 2, member("a", 3, 0, 1), member("b", 0))
	f("[1][0]", 2, member("a", 3, 1), member("b", 0))
	f("[1][0 2]", 3, member("a", 3, 1), member("b", 3, 0, 2))
	f("[0 1][2][3]", 4, member("a", 3, 0, 1), member("b", 3, 2, 3), member("c", 0))
	f("[][0]", 1, kafkago.GroupMember{ID: "a", UserData: []byte{1, 2}}, member("b", 1, 0))
	f("[0]", 1, member("a", 3, 7))
}

// TestEveryShardHasOneMember divides at random: everything is given, once, in
// shares that differ by one at the most, and a holder within its share keeps
// what it has.
func TestEveryShardHasOneMember(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		n := 1 + r.IntN(9)
		var members []kafkago.GroupMember
		for i := range 1 + r.IntN(5) {
			var claims []int32
			for s := range int32(n) {
				if r.IntN(3) == 0 {
					claims = append(claims, s)
				}
			}
			members = append(members, member(fmt.Sprint(i), r.Int32N(4), claims...))
		}
		seen := make(map[int]int)
		for _, m := range members {
			given := sticky{}.AssignGroups(members, shards(n))[m.ID]["t"]
			if len(given) < n/len(members) || len(given) > (n+len(members)-1)/len(members) {
				t.Fatalf("%d of %d shards for one of %d members", len(given), n, len(members))
			}
			for _, s := range given {
				seen[s]++
			}
		}
		for s := range n {
			if seen[s] != 1 {
				t.Fatalf("shard %d has %d members", s, seen[s])
			}
		}
	}
}
