package alerts

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// patience bounds every wait of a test. It is no measure of anything.
const patience = 30 * time.Second

// world is a broker with the topics, and what a test sends.
type world struct {
	t      testing.TB
	broker *broker.Broker
	log    *kafka.Client
	topics schemas.Topics
	file   string
	random *rand.Rand
	said   logged
	next   int64 // offset of the next alert in its ledger
	sent   int   // dispositions
	ids    []string
}

// logged is what desks logged.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newWorld(t testing.TB, seed uint64) *world {
	t.Helper()
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	w := &world{t: t, broker: b, topics: schemas.DefaultTopics("w."), file: filepath.Join(t.TempDir(), "view.db"), random: rand.New(rand.NewPCG(seed, 2))}
	w.log = kafka.New(kafka.Options{Brokers: []string{b.Addr()}})
	t.Cleanup(w.log.Close)
	w.must(w.log.Ensure(t.Context(), w.topics.Layouts(1)))
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// send appends one batch to a topic.
func (w *world) send(topic string, values ...[]byte) {
	w.t.Helper()
	var b kafka.BatchWriter
	for i, v := range values {
		b.Append(nil, v, int64(1000+i), nil)
	}
	batch, err := b.Finish(kafka.LZ4)
	w.must(err)
	_, err = w.log.Produce(w.t.Context(), topic, 0, batch)
	w.must(err)
}

// alert sends alerts.
func (w *world) alert(n int) {
	w.t.Helper()
	var values [][]byte
	for range n {
		d := decide(w.random, 0, w.next, 20)
		w.next++
		values, w.ids = append(values, d.json()), append(w.ids, d.id())
	}
	w.send(w.topics.Alerts, values...)
}

// running is a desk that runs, with a view and a client of its own.
type running struct {
	*Desk
	w      *world
	cancel context.CancelFunc
	done   chan error
	once   sync.Once
}

// start runs a desk until stop, or until the test ends.
func (w *world) start() *running {
	w.t.Helper()
	v, err := OpenView(w.t.Context(), w.file)
	w.must(err)
	client := kafka.New(kafka.Options{Brokers: []string{w.broker.Addr()}})
	ctx, cancel := context.WithCancel(w.t.Context())
	after := func(d time.Duration) <-chan time.Time { return time.After(min(d, 20*time.Millisecond)) }
	r := &running{w: w, cancel: cancel, done: make(chan error, 1),
		Desk: New(client, v, Config{Log: slog.New(slog.NewTextHandler(&w.said, nil)), Now: time.Now, After: after, Topics: w.topics})}
	go func() { r.done <- r.Run(ctx) }()
	w.t.Cleanup(r.stop)
	return r
}

// stop stops the desk and waits for it.
func (r *running) stop() {
	r.once.Do(func() {
		r.cancel()
		if err := errors.Join(<-r.done, r.view.Close()); err != nil {
			r.w.t.Error(err)
		}
		r.log.Close()
	})
}

// until waits for a condition.
func (w *world) until(what string, cond func() bool) {
	w.t.Helper()
	limit := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-limit:
			w.t.Fatalf("waited in vain: %s; logged:\n%s", what, w.said.String())
		}
	}
}

func (r *running) ready() *running {
	r.w.t.Helper()
	r.w.until("the desk is ready", func() bool { ok, _ := r.Ready(); return ok })
	return r
}

// action is a disposition of an alert that nobody has touched.
func action(id string, by string, kind schemas.DispositionKind) schemas.Disposition {
	return schemas.Disposition{AlertID: []byte(id), By: []byte(by), Kind: kind}
}

func TestDeskFollowsTheTopics(t *testing.T) {
	w := newWorld(t, 1)
	w.alert(100)
	w.send(w.topics.Alerts, []byte("{"))
	r := w.start().ready()
	if f, err := r.view.Figures(t.Context(), 0); f.Open != 100 || err != nil {
		t.Errorf("%+v, %v", f, err)
	}
	w.alert(5)
	w.until("later alerts", func() bool { f, _ := r.view.Figures(t.Context(), 0); return f.Open == 105 })
	if said := w.said.String(); !strings.Contains(said, "alerts partition 0 offset 100: ") {
		t.Errorf("logged %s", said)
	}
}

func TestAct(t *testing.T) {
	w := newWorld(t, 2)
	w.alert(3)
	r := w.start().ready()
	s, err := r.Act(t.Context(), action("0-0", "ann", schemas.Claimed))
	if err != nil || s.Err != nil || s.State.Owner != "ann" || len(s.ID) != 32 || s.State.Last != s.ID || s.State.LastAt == 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	if x, err := r.view.Item(t.Context(), "0-0"); err != nil || x.Owner != "ann" {
		t.Errorf("%+v, %v", x.State, err)
	}
	late, err := r.Act(t.Context(), action("0-0", "bob", schemas.Claimed))
	if err != nil || !errors.Is(late.Err, ErrStale) || late.State.Owner != "ann" {
		t.Errorf("a stale one: %+v, %v", late, err)
	}
	// The same action again, as one that had no answer is sent: nothing is done twice.
	for _, of := range []Settled{s, late} {
		x := action("0-0", "ann", schemas.Claimed)
		x.ID = []byte(of.ID)
		again, err := r.Act(t.Context(), x)
		if err != nil || !errors.Is(again.Err, of.Err) || again.ID != of.ID || again.State.Last != s.ID {
			t.Errorf("again: %+v, %v", again, err)
		}
	}
	if list, err := r.view.Actions(t.Context(), "0-0"); err != nil || len(list) != 2 || list[0].Err != "" || list[1].Err != ErrStale.Error() || string(list[0].TxID) != "tx-0-0" {
		t.Errorf("%+v, %v", list, err)
	}
	for _, id := range []string{"0-99", "", "x"} {
		if _, err := r.Act(t.Context(), action(id, "ann", schemas.Claimed)); !errors.Is(err, ErrNoAlert) {
			t.Errorf("alert %q: %v", id, err)
		}
	}
	if _, err := r.Act(t.Context(), action("0-1", "", schemas.Claimed)); !errors.Is(err, schemas.ErrJSON) {
		t.Errorf("an action of nobody: %v", err)
	}
}

// TestTwoActAtOnce has analysts act on one alert at once: one of them counts.
func TestTwoActAtOnce(t *testing.T) {
	w := newWorld(t, 3)
	const rounds, analysts = 20, 3
	w.alert(rounds)
	r := w.start().ready()
	for i := range rounds {
		var counted atomic.Int32
		var winner atomic.Value
		var wg sync.WaitGroup
		for k := range analysts {
			wg.Go(func() {
				s, err := r.Act(t.Context(), action(w.ids[i], fmt.Sprintf("ann%d", k), schemas.Claimed))
				switch {
				case err != nil:
					t.Error(err)
				case s.Err == nil:
					counted.Add(1)
					winner.Store(s.State.Owner)
				case !errors.Is(s.Err, ErrStale):
					t.Error(s.Err)
				}
			})
		}
		wg.Wait()
		x, err := r.view.Item(t.Context(), w.ids[i])
		list, _ := r.view.Actions(t.Context(), w.ids[i])
		if err != nil || counted.Load() != 1 || x.Owner != winner.Load() || len(list) != analysts || string(list[0].By) != x.Owner {
			t.Fatalf("%d counted, %+v, %v", counted.Load(), list, err)
		}
	}
}

// TestActOutlastsABrokerInTrouble loses answers and refuses for a while.
func TestActOutlastsABrokerInTrouble(t *testing.T) {
	w := newWorld(t, 4)
	w.alert(2)
	r := w.start().ready()
	cluster := w.broker.Cluster()
	for range 2 {
		cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) { return nil, errors.New("the connection breaks"), true })
	}
	for _, e := range []*kerr.Error{kerr.NotLeaderForPartition, kerr.RequestTimedOut} {
		cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: w.topics.Dispositions, Err: e})
	}
	s, err := r.Act(t.Context(), action("0-0", "ann", schemas.ClosedFraud))
	if err != nil || s.Err != nil || s.State.Status != Fraud {
		t.Fatalf("%+v, %v", s, err)
	}
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: w.topics.Dispositions, Err: kerr.TopicAuthorizationFailed})
	if _, err := r.Act(t.Context(), action("0-1", "ann", schemas.ClosedFraud)); !errors.Is(err, kafka.ErrRefused) {
		t.Errorf("what a person has to mend: %v", err)
	}
}

// TestReadySaysWhatToMend takes topics away and gives them back.
func TestReadySaysWhatToMend(t *testing.T) {
	w := newWorld(t, 5)
	w.alert(1)
	cluster := w.broker.Cluster()
	w.must(cluster.DeleteTopic(w.topics.Dispositions))
	r := w.start()
	said := func(want string) {
		t.Helper()
		w.until("Ready says "+want, func() bool { ok, why := r.Ready(); return !ok && strings.Contains(why, want) })
	}
	said("w.dispositions")
	w.must(cluster.CreateTopic(w.topics.Dispositions, 2, nil))
	said("2 partitions")
	w.must(cluster.DeleteTopic(w.topics.Dispositions))
	w.must(cluster.CreateTopic(w.topics.Dispositions, 1, nil))
	r.ready()
	w.must(cluster.DeleteTopic(w.topics.Labels))
	if s, err := r.Act(t.Context(), action("0-0", "ann", schemas.ClosedFraud)); err != nil || s.Err != nil {
		t.Fatal(s.Err, err) // labels hold up no action
	}
	said("w.labels")
	w.must(cluster.CreateTopic(w.topics.Labels, 3, nil))
	r.ready()
	w.until("the label", func() bool { return len(w.labels()) == 1 })
}

// TestDamageHaltsTheFold has a batch that cannot be unpacked behind sound ones. What
// comes before it is folded, it is not passed over, and once somebody has deleted it
// the fold goes on.
func TestDamageHaltsTheFold(t *testing.T) {
	w := newWorld(t, 8)
	w.alert(3)
	var b kafka.BatchWriter
	b.Append(nil, bytes.Repeat([]byte("a"), 200), 1, nil)
	batch, err := b.Finish(kafka.LZ4)
	w.must(err)
	for i := 61; i < len(batch); i++ { // behind the head, whose checksum is of what follows
		batch[i] ^= 0xff
	}
	binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[21:], crc32.MakeTable(crc32.Castagnoli)))
	_, err = w.log.Produce(t.Context(), w.topics.Alerts, 0, batch)
	w.must(err)
	w.alert(2)
	r := w.start()
	w.until("Ready says what is damaged", func() bool { _, why := r.Ready(); return strings.Contains(why, "record batch at offset 3") })
	if f, err := r.view.Figures(t.Context(), 0); f.Open != 3 || err != nil {
		t.Errorf("%+v, %v", f, err)
	}
	w.must(w.broker.Cluster().DeleteRecords(w.topics.Alerts, 0, 4))
	r.ready()
	if f, err := r.view.Figures(t.Context(), 0); f.Open != 5 || err != nil {
		t.Errorf("%+v, %v", f, err)
	}
	if said := w.said.String(); !strings.Contains(said, "records were deleted before they were folded") {
		t.Errorf("logged %s", said)
	}
}

// TestTopicsMadeAnew folds the view anew where a topic is another: with the desk
// running, and while it was away.
func TestTopicsMadeAnew(t *testing.T) {
	w := newWorld(t, 6)
	w.alert(30)
	r := w.start().ready()
	if _, err := r.Act(t.Context(), action("0-0", "ann", schemas.ClosedFraud)); err != nil {
		t.Fatal(err)
	}
	for i, running := range []bool{true, false} {
		if !running {
			r.stop()
		}
		w.must(w.broker.Cluster().DeleteTopic(w.topics.Alerts))
		w.must(w.broker.Cluster().CreateTopic(w.topics.Alerts, 1, nil))
		w.next, w.ids = 1000*int64(i+1), nil
		w.alert(50) // more than there were
		if !running {
			r = w.start()
		}
		w.until("the new alerts", func() bool { f, _ := r.view.Figures(t.Context(), 0); ok, _ := r.Ready(); return ok && f.Open == 50 })
		if _, err := r.view.Item(t.Context(), "0-0"); !errors.Is(err, ErrNoAlert) {
			t.Errorf("running %v: an alert of the old topic: %v", running, err)
		}
		if list, err := r.view.Actions(t.Context(), "0-0"); err != nil || len(list) != 1 {
			t.Errorf("running %v: the actions of the other topic: %d, %v", running, len(list), err)
		}
	}
}

func TestSubscribe(t *testing.T) {
	w := newWorld(t, 7)
	r := w.start().ready()
	events, cancel := r.Subscribe()
	w.alert(1)
	next := func() Event {
		t.Helper()
		select {
		case e := <-events:
			return e
		case <-time.After(patience):
			t.Fatal("no event")
			return Event{}
		}
	}
	if e := next(); e != (Event{Kind: "arrived", AlertID: "0-0"}) {
		t.Errorf("%+v", e)
	}
	for _, by := range []string{"ann", "bob"} { // the second is stale, and changes nothing
		if _, err := r.Act(t.Context(), action("0-0", by, schemas.Claimed)); err != nil {
			t.Fatal(err)
		}
	}
	if e := next(); e != (Event{Kind: "changed", AlertID: "0-0"}) {
		t.Errorf("%+v", e)
	}
	w.alert(eventsMax + 5)
	w.until("all are folded", func() bool { f, _ := r.view.Figures(t.Context(), 0); return f.Open == eventsMax+5 })
	w.until("the events are full", func() bool { return len(events) == eventsMax })
	for range eventsMax {
		if e := next(); e.Lost || e.Kind != "arrived" {
			t.Fatalf("%+v", e)
		}
	}
	if _, err := r.Act(t.Context(), action("0-1", "ann", schemas.Claimed)); err != nil {
		t.Fatal(err)
	}
	if e := next(); e != (Event{Kind: "changed", AlertID: "0-1", Lost: true}) {
		t.Errorf("%+v", e)
	}
	cancel()
	if _, err := r.Act(t.Context(), action("0-2", "ann", schemas.Claimed)); err != nil {
		t.Fatal(err)
	}
	if len(events) != 0 {
		t.Error("an event after the end")
	}
}

// labels are what the topic labels holds.
func (w *world) labels() (list []schemas.Label) {
	w.t.Helper()
	topic, err := w.log.Describe(w.t.Context(), w.topics.Labels)
	w.must(err)
	for p := range int32(topic.Partitions) {
		_, end, err := w.log.Offsets(w.t.Context(), w.topics.Labels, p)
		w.must(err)
		r := kafka.NewReader(w.log, w.topics.Labels, p, kafka.Earliest)
		for {
			set, err := r.Next(w.t.Context(), end)
			w.must(err)
			if set == nil {
				break
			}
			for set.Next() {
				var l schemas.Label
				w.must(schemas.ParseLabel(bytes.Clone(set.Record().Value), &l))
				list = append(list, l)
			}
			w.must(set.Err())
		}
	}
	return list
}

// verdict is what a label says, in short.
func verdict(tx string, version uint32, v schemas.LabelVerdict) string {
	return fmt.Sprintf("%s %d %v", tx, version, v)
}

// analysts plays what analysts do with alerts, straight into the topic, and keeps what
// labels must follow.
type analysts struct {
	w      *world
	states map[string]State
	want   map[string]bool
}

func (a *analysts) act(n int) {
	a.w.t.Helper()
	var values [][]byte
	for range n {
		id := a.w.ids[a.w.random.IntN(len(a.w.ids))]
		s := a.states[id]
		kind := schemas.ClosedFraud + schemas.DispositionKind(a.w.random.IntN(2))
		switch settle := map[Status]schemas.DispositionKind{Fraud: schemas.SettledGenuine, Genuine: schemas.SettledFraud}[s.Status]; {
		case s.Status.Closed() && (s.Before == nil || a.w.random.IntN(3) == 0):
			kind = settle
		case s.Status.Closed():
			kind = schemas.Undone
		}
		d := schemas.Disposition{ID: fmt.Appendf(nil, "a%d", a.w.sent), AlertID: []byte(id), TxID: []byte("tx-" + id), Kind: kind, By: []byte("ann"), At: int64(5 * a.w.sent), Previous: []byte(s.Last)}
		a.w.sent++
		next, v, label, err := s.Apply(&d)
		a.w.must(err)
		if a.states[id] = next; label {
			a.want[verdict("tx-"+id, next.Labels, v)] = true
		}
		values = append(values, schemas.AppendDispositionJSON(nil, &d))
	}
	a.w.send(a.w.topics.Dispositions, values...)
}

// TestLabelsGoOutOnce kills desks at random moments, many of them between the request
// that writes labels and its answer, and deletes their views: the topic holds each
// label once.
func TestLabelsGoOutOnce(t *testing.T) {
	for seed := range uint64(4) {
		w := newWorld(t, 100+seed)
		w.alert(30)
		a := &analysts{w: w, states: make(map[string]State), want: make(map[string]bool)}
		for range 12 {
			a.act(10)
			if w.random.IntN(3) == 0 {
				w.must(deleteFile(w.file))
			}
			w.kill()
		}
		r := w.start()
		w.until("all labels are out", func() bool { return len(w.labels()) >= len(a.want) })
		r.stop()
		w.must(deleteFile(w.file))
		r = w.start().ready()
		w.until("the new view knows", func() bool {
			next, _ := r.view.Next(t.Context(), Place{PlaceLabels, 0})
			due, err := r.view.Unpublished(t.Context(), 1)
			return int(next) >= len(a.want) && len(due) == 0 && err == nil
		})
		r.stop()
		got := make(map[string]int)
		for _, l := range w.labels() {
			got[verdict(string(l.TxID), l.Version, l.Verdict)]++
			if l.Source != schemas.Analyst || string(l.Selected) != "alert" || l.Time == 0 || len(l.Entity[0]) == 0 {
				t.Errorf("%+v", l)
			}
		}
		for name, n := range got {
			if n != 1 || !a.want[name] {
				t.Errorf("seed %d: label %q is there %d times", seed, name, n)
			}
		}
		if len(got) != len(a.want) {
			t.Errorf("seed %d: %d labels, want %d", seed, len(got), len(a.want))
		}
	}
}

// kill runs a desk and kills it at a request: at one that writes labels, which the
// broker carries out all the same, at the first read behind that, or at any read.
func (w *world) kill() {
	w.t.Helper()
	cluster := w.broker.Cluster()
	started := make(chan struct{})
	var r *running
	die := func() {
		<-started
		cluster.DropControl()
		r.cancel()
	}
	at := func(key kmsg.Key, n int, do func()) {
		cluster.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
			if n--; n == 0 {
				do()
			}
			return nil, nil, false
		})
	}
	switch w.random.IntN(3) {
	case 0:
		at(kmsg.Produce, 1, die)
	case 1:
		at(kmsg.Produce, 1, func() {
			cluster.DropControl()
			at(kmsg.Fetch, 1, die)
		})
	default:
		at(kmsg.Fetch, 1+w.random.IntN(8), die)
	}
	r = w.start()
	close(started)
	w.until("the desk is killed", func() bool { return len(r.done) > 0 })
	r.stop()
}
