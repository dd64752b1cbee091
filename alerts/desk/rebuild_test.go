package desk

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// changing are pages that show more than the fold of alerts and dispositions: their own
// being looked at, say.
var changing = map[string]string{
	"GET /events": "a stream",
	"GET /audit":  "shows that the pages before were looked at",
}

// A rebuilt is a desk whose view can be deleted.
type rebuilt struct {
	*world
	t      *testing.T
	r      *rand.Rand
	broker string
	topics schemas.Topics
	log    *kafka.Client
	file   string // of the view
	shards int32
	next   []int64 // ledger offset of the next alert of each shard
	ids    []string
	stop   func()
}

func newRebuilt(t *testing.T, seed uint64) *rebuilt {
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	w := &rebuilt{t: t, r: rand.New(rand.NewPCG(seed, 4)), broker: b.Addr(), topics: schemas.DefaultTopics(""), file: filepath.Join(t.TempDir(), "view.db"), shards: 2}
	w.next = make([]int64, w.shards)
	w.log = kafka.New(kafka.Options{Brokers: []string{w.broker}})
	t.Cleanup(w.log.Close)
	layouts := w.topics.Layouts(1)
	for i := range layouts {
		if layouts[i].Topic == w.topics.Alerts {
			layouts[i].Partitions = int(w.shards)
		}
	}
	if err := w.log.Ensure(t.Context(), layouts); err != nil {
		t.Fatal(err)
	}
	w.world = newWorld(t)
	w.start()
	t.Cleanup(func() { w.stop() })
	return w
}

// start follows the topics into the view's file, and serves pages of it once it has
// caught up.
func (w *rebuilt) start() {
	w.t.Helper()
	v, err := alerts.OpenView(context.Background(), w.file)
	if err != nil {
		w.t.Fatal(err)
	}
	client := kafka.New(kafka.Options{Brokers: []string{w.broker}})
	d := alerts.New(client, v, alerts.Config{Log: slog.New(slog.DiscardHandler), Now: w.clock, After: time.After, Topics: w.topics})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }() // ends with stop
	w.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
		client.Close()
		if err := v.Close(); err != nil {
			w.t.Error(err)
		}
	}
	o := w.server.options
	o.View, o.Desk = v, d
	if w.server, err = New(o); err != nil {
		w.t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if ok, why := d.Ready(); ok {
			return
		} else if time.Now().After(deadline) {
			w.t.Fatalf("the desk is not ready: %s", why)
		}
	}
}

// restart stops the desk and starts it again on the same accounts, without its view if
// that is to be deleted.
func (w *rebuilt) restart(deleted bool) {
	w.t.Helper()
	w.stop()
	for _, end := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(w.file + end); deleted && end == "" && err != nil {
			w.t.Fatal(err)
		} else if !deleted {
			break
		}
	}
	if err := w.accounts.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.open()
	w.start()
}

// raise publishes n alerts, first those of one shard and then those of the others.
// Many are equal in all that the queue is ordered by.
func (w *rebuilt) raise(n int) {
	w.t.Helper()
	counts := make([]int, w.shards)
	for range n {
		counts[w.r.Int32N(w.shards)]++
	}
	for _, shard := range w.r.Perm(len(counts)) {
		w.raiseOf(int32(shard), counts[shard])
	}
}

// raiseOf publishes n alerts of a shard, some of them twice, as a scorer does that
// recovers, and waits until the view has them.
func (w *rebuilt) raiseOf(shard int32, n int) {
	w.t.Helper()
	var batch kafka.BatchWriter
	for range n {
		w.next[shard] += 1 + w.r.Int64N(3)
		d := schemas.Decision{Action: schemas.Review, Prob: w.r.Float32(), Threshold: .3, Bundle: 7, Tx: schemas.Transaction{Amount: 100 + w.r.Int64N(9)*1000}}
		d.Tx.Time, d.Tx.AmountBase, d.Score, d.Rank = w.clock().Add(-time.Duration(w.r.IntN(90))*time.Second).UnixMilli(), d.Tx.Amount, d.Prob, float32(w.r.IntN(4))
		for f, text := range map[schemas.TextField]string{schemas.ID: fmt.Sprintf("tx-%d-%d", shard, w.next[shard]), schemas.Card: fmt.Sprintf("card%d", w.r.IntN(90)),
			schemas.Merchant: fmt.Sprintf("shop%d", w.r.IntN(4)), schemas.Device: fmt.Sprintf("dev%d", w.r.IntN(20)), schemas.Currency: "EUR",
			schemas.Channel: []string{"ecom", "pos"}[w.r.IntN(2)]} {
			d.Text[f] = []byte(text)
		}
		value := schemas.AppendAlertJSON(nil, &d, shard, w.next[shard], []schemas.AlertReason{{Group: []byte([]string{"card", "device"}[w.r.IntN(2)]), Logit: 1}}, false)
		w.ids = append(w.ids, string(schemas.AppendAlertID(nil, shard, w.next[shard])))
		for range 1 + w.r.IntN(10)/9 {
			batch.Append(nil, value, w.clock().UnixMilli(), nil)
		}
	}
	if n == 0 {
		return
	}
	bytes, err := batch.Finish(kafka.LZ4)
	if err == nil {
		_, err = w.log.Produce(w.t.Context(), w.topics.Alerts, shard, bytes)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if _, err := w.server.options.View.Item(w.t.Context(), w.ids[len(w.ids)-1]); err == nil {
			break
		} else if time.Now().After(deadline) {
			w.t.Fatal(err)
		}
	}
}

var buttons = regexp.MustCompile(`name="kind" value="(claimed|released|noted|escalated|snoozed|closed_fraud|closed_genuine|undone)"`)

// oneOfEach does what is too rare to be left to chance.
func (w *rebuilt) oneOfEach(people []*browser) {
	people[1].act(w.ids[0], "claimed")
	people[1].act(w.ids[0], "undone")
	people[1].act(w.ids[1], "snoozed")
	people[1].act(w.ids[2], "escalated")
	people[1].send(w.ids[3], "closed_fraud", "")
	people[0].send(w.ids[3], "closed_genuine", "")
}

// work has people do n things with alerts, some of them on pages that were loaded long
// ago, while time passes.
func (w *rebuilt) work(n int, people []*browser) {
	w.t.Helper()
	old := make(map[string]string) // a form's last action, as a page had it before
	for i := range n {
		b, id := people[w.r.IntN(len(people))], w.ids[w.r.IntN(min(len(w.ids), 25))]
		if w.r.IntN(8) == 0 {
			b.do("POST", "/next", url.Values{})
			continue
		}
		page := b.get("/alerts/"+id).is(w.t, http.StatusOK)
		kinds, last := buttons.FindAllStringSubmatch(page.body, -1), previous.FindStringSubmatch(page.body)[1]
		form := []string{"note", fmt.Sprintf("note %d", i)}
		if w.r.IntN(3) == 0 {
			form = append(form, "reason", reasonCodes[w.r.IntN(len(reasonCodes))].Code)
		}
		if was, ok := old[id]; ok && w.r.IntN(8) == 0 {
			last = was
		} else if w.r.IntN(3) == 0 {
			old[id] = last
		}
		kind := kinds[w.r.IntN(len(kinds))][1]
		if kind == "undone" && last == "" { // on a page from before anything was done
			kind = "claimed"
		}
		b.send(id, kind, last, form...).is(w.t, http.StatusSeeOther)
		if w.r.IntN(4) == 0 {
			w.pass(time.Duration(w.r.IntN(12_000)) * time.Millisecond)
		}
	}
}

// pages loads all that can be seen: each alert, the queue by many filters to its end,
// and whatever pages the table has that take no parameter.
func (w *rebuilt) pages(b *browser) map[string]string {
	w.t.Helper()
	all := make(map[string]string)
	// There are neither models here nor a history, and their pages say so.
	without := regexp.MustCompile(`^/models$|/(features|receipt|receipt\.json)$`)
	load := func(path string) string {
		a := b.get(path)
		if a.StatusCode != http.StatusOK && !(a.StatusCode == http.StatusNotFound && without.MatchString(path)) {
			w.t.Fatalf("%s: %d %s", path, a.StatusCode, a.body)
		}
		all[path] = a.body
		return a.body
	}
	var ofAlert []string
	for _, rt := range w.server.table {
		method, path, _ := strings.Cut(rt.pattern, " ")
		if _, moves := changing[rt.pattern]; method != "GET" || rt.roles == public || moves {
			continue
		}
		switch {
		case !strings.Contains(path, "{"), path == "/{$}":
			load(strings.TrimSuffix(path, "{$}"))
		case strings.HasPrefix(path, "/alerts/{id}") && strings.Count(path, "{") == 1:
			ofAlert = append(ofAlert, path)
		}
	}
	for _, path := range ofAlert {
		for _, id := range w.ids {
			load(strings.Replace(path, "{id}", id, 1))
		}
	}
	after := regexp.MustCompile(`rel="next" href="([^"]+)"`)
	if testing.Short() {
		return all
	}
	queries := []string{"", "text=card1", "text=0-1", "min=40", "amount=30", "channel=pos", "reason=device", "entity=merchant&value=shop1", "text=card&min=20&channel=ecom"}
	for _, state := range queueStates {
		queries = append(queries, "status="+state.value)
	}
	for _, q := range queries {
		for path := "/queue?" + q; path != ""; {
			found := after.FindStringSubmatch(load(path))
			if path = ""; found != nil {
				path = strings.ReplaceAll(found[1], "&amp;", "&")
			}
		}
	}
	return all
}

// TestPagesComeBackTheSame deletes the view in the middle of work, once more after
// more of it, and compares all pages, to the byte, for one clock and session. Pages
// folded as the records came, alerts and dispositions in turn, and those folded from
// the beginning of each topic, are the same.
func TestPagesComeBackTheSame(t *testing.T) {
	seed, n, rounds := uint64(time.Now().UnixNano()), 140, 1
	if testing.Short() {
		n = 40
	}
	if s := os.Getenv("WEIR_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	if os.Getenv("WEIR_PROVE") != "" {
		n, rounds = 400, 3
	}
	t.Logf("seed %d (WEIR_SEED)", seed)
	w := newRebuilt(t, seed)
	var people []*browser
	for i, roles := range [][]Role{{Analyst, Supervisor, ModelOwner, Auditor}, {Analyst}, {Analyst}} {
		w.add(fmt.Sprintf("person%d", i), roles...)
		people = append(people, w.browser().enters(fmt.Sprintf("person%d", i)))
	}
	w.raise(n / 4)
	w.oneOfEach(people)
	for range rounds {
		for range 3 {
			w.raise(n / 4)
			w.work(n/5, people)
		}
		live := w.pages(people[0])
		for i, deleted := range []bool{false, true} {
			if !deleted && testing.Short() {
				continue
			}
			w.restart(deleted)
			same(t, fmt.Sprintf("restart %d, view deleted %v", i, deleted), w.pages(people[0]), live)
		}
		all := strings.Join(slices.Collect(maps.Values(live)), "")
		for _, words := range []string{"did not count", "said fraud", "took the last action back", "escalated", "put it off", "<tbody>"} {
			if !strings.Contains(all, words) {
				t.Errorf("no page says %q: too little happened to tell", words)
			}
		}
		t.Logf("%d pages of %d alerts, %d bytes", len(live), len(w.ids), len(all))
	}
}

// same compares pages.
func same(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d pages, want %d", what, len(got), len(want))
	}
	for _, path := range slices.Sorted(maps.Keys(want)) {
		g, w := strings.Split(got[path], "\n"), strings.Split(want[path], "\n")
		for i := range min(len(g), len(w)) {
			if g[i] != w[i] {
				t.Fatalf("%s: %s line %d:\n%s\nwant\n%s", what, path, i, g[i], w[i])
			}
		}
		if got[path] != want[path] {
			t.Fatalf("%s: %s differs in length", what, path)
		}
	}
}
