package kafka_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-risk/weir/ingest/kafka"
)

// upstream is some transactional producers and one without transactions, who
// write to one partition in turns.
type upstream struct {
	*fixture
	random    *rand.Rand
	producers []*kgo.Client
	open      [][]written // by producer, of its open transaction
	begun     []bool
	plain     *kgo.Client
	settled   []written // what a reader of committed data must see
	count     int
}

type written struct {
	offset int64
	value  string
}

func newUpstream(f *fixture, n int) *upstream {
	f.t.Helper()
	u := &upstream{fixture: f, random: seeded(f.t), open: make([][]written, n), begun: make([]bool, n), plain: f.franz()}
	for range n {
		u.producers = append(u.producers, f.franz(kgo.TransactionalID(unique("producer"))))
	}
	return u
}

func (u *upstream) send(cl *kgo.Client, n int) (list []written) {
	u.t.Helper()
	for range n {
		value := fmt.Sprint(u.count)
		u.count++
		r, err := cl.ProduceSync(u.t.Context(), &kgo.Record{Value: []byte(value)}).First()
		if err != nil {
			u.t.Fatal(err)
		}
		list = append(list, written{r.Offset, value})
	}
	return list
}

// turn has a random producer do a random thing: begin a transaction, go on with
// it, commit it, abort it, or write without one.
func (u *upstream) turn() {
	u.t.Helper()
	p := u.random.IntN(len(u.producers) + 1)
	switch {
	case p == len(u.producers):
		u.settled = append(u.settled, u.send(u.plain, 1+u.random.IntN(3))...)
	case !u.begun[p]:
		if err := u.producers[p].BeginTransaction(); err != nil {
			u.t.Fatal(err)
		}
		u.begun[p] = true
		fallthrough
	case u.random.IntN(3) > 0:
		u.open[p] = append(u.open[p], u.send(u.producers[p], 1+u.random.IntN(4))...)
	default:
		u.end(p, u.random.IntN(2) == 0)
	}
}

func (u *upstream) end(p int, commit bool) {
	u.t.Helper()
	if !u.begun[p] {
		return
	}
	if err := u.producers[p].EndTransaction(u.t.Context(), kgo.TransactionEndTry(commit)); err != nil {
		u.t.Fatal(err)
	}
	if commit {
		u.settled = append(u.settled, u.open[p]...)
	}
	u.open[p], u.begun[p] = nil, false
}

// stable returns the offset of the first record of an open transaction, or the
// largest offset where none is open.
func (u *upstream) stable() int64 {
	first := int64(math.MaxInt64)
	for _, list := range u.open {
		if len(list) > 0 {
			first = min(first, list[0].offset)
		}
	}
	return first
}

// visible returns what a reader of committed data must see now, in order.
func (u *upstream) visible() (list []written) {
	for _, w := range u.settled {
		if w.offset < u.stable() {
			list = append(list, w)
		}
	}
	slices.SortFunc(list, func(a, b written) int { return int(a.offset - b.offset) })
	return list
}

// settle waits until the markers of what has ended are in the log: a broker
// writes them after it has answered.
func (u *upstream) settle() {
	u.t.Helper()
	soon(u.t, "the last stable offset", func() bool {
		a, _, err := u.c.Fetch(u.t.Context(), kafka.FetchRequest{Topic: u.topic, MinBytes: 1, MaxBytes: 1000}, nil)
		if err != nil {
			u.t.Fatal(err)
		}
		return a.LastStableOffset == min(u.stable(), a.HighWatermark)
	})
}

// read reads on to the end of what can be read.
func (u *upstream) read(r *kafka.Reader) (list []written) {
	u.t.Helper()
	_, end, err := u.c.Offsets(u.t.Context(), u.topic, 0)
	if err != nil {
		u.t.Fatal(err)
	}
	for {
		records, err := r.Next(u.t.Context(), end)
		if err != nil {
			u.t.Fatal(err)
		}
		if records == nil {
			return list
		}
		for records.Next() {
			list = append(list, written{records.Record().Offset, string(records.Record().Value)})
		}
		if err := records.Err(); err != nil {
			u.t.Fatal(err)
		}
	}
}

// TestOnlyCommittedRecordsAreRead has interleaved transactions committed,
// aborted and left open, and readers that follow, that begin anew, and that
// begin in the middle of a transaction.
func TestOnlyCommittedRecordsAreRead(t *testing.T) {
	u := newUpstream(anywhere(t, nil), 4)
	follows := kafka.NewReader(u.c, u.topic, 0, kafka.Earliest)
	defer follows.Close()
	var followed []written
	compare := func(what string, got, want []written) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Fatalf("%s: read %v\nwant %v", what, got, want)
		}
	}
	for round := range 12 {
		for range 15 {
			u.turn()
		}
		if round == 11 { // the last time, none is left open
			for p := range u.producers {
				u.end(p, p%2 == 0)
			}
		}
		u.settle()
		want := u.visible()
		followed = append(followed, u.read(follows)...)
		compare("the reader that follows", followed, want)
		compare("a new reader", u.read(kafka.NewReader(u.c, u.topic, 0, 0)), want)
		if len(want) > 0 {
			from := u.random.Int64N(want[len(want)-1].offset + 1)
			i := slices.IndexFunc(want, func(w written) bool { return w.offset >= from })
			compare(fmt.Sprint("a reader from ", from), u.read(kafka.NewReader(u.c, u.topic, 0, from)), want[i:])
		}
	}
	if len(followed) < 20 {
		t.Errorf("only %d records were committed: the test shows nothing", len(followed))
	}
	if u.stable() != math.MaxInt64 || follows.Position() <= followed[len(followed)-1].offset {
		t.Errorf("the reader ends at %d", follows.Position())
	}
}

// TestAnOpenTransactionHoldsReadersBack checks that what lies behind it is not
// read before it has ended, though it was committed.
func TestAnOpenTransactionHoldsReadersBack(t *testing.T) {
	u := newUpstream(anywhere(t, nil), 2)
	before := u.send(u.plain, 2)
	u.settled = append(u.settled, before...)
	for p := range u.producers {
		if err := u.producers[p].BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		u.begun[p] = true
		u.open[p] = u.send(u.producers[p], 2)
	}
	u.end(1, true)
	u.settled = append(u.settled, u.send(u.plain, 2)...)
	u.settle()
	r := kafka.NewReader(u.c, u.topic, 0, 0)
	defer r.Close()
	if got := u.read(r); !slices.Equal(got, before) || r.Position() != 2 {
		t.Errorf("with a transaction open, read %v to %d, want %v", got, r.Position(), before)
	}
	u.end(0, false)
	u.settle()
	if got, want := u.read(r), u.visible()[2:]; !slices.Equal(got, want) {
		t.Errorf("after it, read %v, want %v", got, want)
	}
}
