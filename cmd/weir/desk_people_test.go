package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-risk/weir/alerts/desk"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// A deskWorld is a broker with alerts, desks that are processes, and people who work
// at them with browsers.
type deskWorld struct {
	t       testing.TB
	brokers string
	log     *kafka.Client
	prefix  string
	topics  schemas.Topics
	seed    uint64
	r       *rand.Rand
	desks   []*deskProcess
	people  []*deskPerson

	mu     sync.Mutex
	alerts []string // ids of those that were published
	tried  int      // actions that people have begun
	total  int      // that they are to do
}

// deskPatience bounds every wait of people. It is no measure of anything.
const deskPatience = 60 * time.Second

const deskPassword = "correct horse battery"

func newDeskWorld(t testing.TB, desks, people, actions int) *deskWorld {
	w := &deskWorld{t: t, brokers: kafkaForTest(t), seed: uint64(time.Now().UnixNano()), total: actions}
	if s := os.Getenv("WEIR_SEED"); s != "" {
		w.seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("seed %d (WEIR_SEED)", w.seed)
	w.r = rand.New(rand.NewPCG(w.seed, 1))
	w.prefix = fmt.Sprintf("desk%x.", w.seed)
	w.topics = schemas.DefaultTopics(w.prefix)
	w.log = kafka.New(kafka.Options{Brokers: []string{w.brokers}})
	t.Cleanup(w.log.Close)
	if err := w.log.Ensure(t.Context(), w.topics.Layouts(1)); err != nil {
		t.Fatal(err)
	}
	for range desks {
		w.desks = append(w.desks, &deskProcess{w: w, data: t.TempDir()})
	}
	for i := range people {
		w.people = append(w.people, newDeskPerson(w, i, w.desks[i%desks]))
	}
	return w
}

// publish puts n more alerts into the topic.
func (w *deskWorld) publish(n int) {
	w.t.Helper()
	var b kafka.BatchWriter
	var ids []string
	for i := range n {
		value, id := benchAlert(w.r, int64(len(w.alerts)+i), 40, time.Now().UnixMilli())
		b.Append([]byte(id), value, time.Now().UnixMilli(), nil)
		ids = append(ids, id)
	}
	batch, err := b.Finish(kafka.LZ4)
	if err == nil {
		_, err = w.log.Produce(w.t.Context(), w.topics.Alerts, 0, batch)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.alerts = append(w.alerts, ids...)
}

// begin takes one of the actions that are to be done, and reports how many were begun
// before it; over says that none is left.
func (w *deskWorld) begin() (n int, over bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tried++
	return w.tried - 1, w.tried > w.total
}

// begun is how many actions were begun.
func (w *deskWorld) begun() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return min(w.tried, w.total)
}

// A deskProcess is weir desk as a process, started again and again in one folder.
type deskProcess struct {
	w    *deskWorld
	data string
	*process

	mu sync.Mutex
	at string // host and port, empty while it is not there
}

func (d *deskProcess) start() {
	d.w.t.Helper()
	d.process = start(d.w.t, "desk", "--kafka", d.w.brokers, "--topic-prefix", d.w.prefix, "--data", d.data,
		"--web", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--log", "json")
}

// serves waits until it serves pages.
func (d *deskProcess) serves() {
	d.w.t.Helper()
	d.until("pages", func() bool { return d.said("serves the desk") != nil })
	at, err := url.Parse(d.said("serves the desk")["address"].(string))
	if err != nil {
		d.w.t.Fatal(err)
	}
	d.move(at.Host)
}

func (d *deskProcess) move(at string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = at
}

func (d *deskProcess) address() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at
}

// deleteView deletes what the desk has folded.
func (d *deskProcess) deleteView() {
	for _, name := range []string{"desk-view.db", "desk-view.db-wal", "desk-view.db-shm"} {
		_ = os.Remove(filepath.Join(d.data, name)) // it may not be there yet
	}
}

// deskAct is an action that somebody sent, and what they were told of it in the end.
type deskAct struct {
	note    string // unique: it finds the record
	counts  bool
	why     string // it does not count
	unknown int    // answers that did not come
}

// A deskPerson works at a desk with a browser.
type deskPerson struct {
	w        *deskWorld
	name     string
	desk     *deskProcess
	browser  *http.Client
	r        *rand.Rand
	acts     []*deskAct
	taken    map[string]int // alerts that next gave them
	askNext  int            // requests for it
	seen     map[string]int // pages, as the audit log names them
	asked    int            // requests in all that are audited as views
	failures int            // requests that were not answered
}

func newDeskPerson(w *deskWorld, i int, d *deskProcess) *deskPerson {
	p := &deskPerson{w: w, name: fmt.Sprintf("person%d", i), desk: d, r: rand.New(rand.NewPCG(w.seed, uint64(100+i))), taken: make(map[string]int), seen: make(map[string]int)}
	roles := desk.Roles(desk.Analyst)
	if i%3 == 0 {
		roles = desk.Roles(desk.Supervisor)
	}
	// Cheap once: the log-in makes it as dear as passwords are.
	a, err := desk.OpenAccounts(w.t.Context(), filepath.Join(d.data, "desk.db"), desk.AccountsConfig{Cost: desk.Cost{MemoryKiB: 8, Passes: 1, Lanes: 1}})
	if err == nil {
		err = a.Add(w.t.Context(), desk.User{Name: p.name, Roles: roles}, deskPassword)
	}
	if err == nil {
		err = a.Close()
	}
	jar, err2 := cookiejar.New(nil)
	if err != nil || err2 != nil {
		w.t.Fatal(err, err2)
	}
	dialer := new(net.Dialer)
	p.browser = &http.Client{Jar: jar, Timeout: deskPatience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		// The desk's name stays, wherever it listens.
		Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, d.address())
		}}}
	w.t.Cleanup(p.browser.CloseIdleConnections)
	return p
}

// A deskPage is an answer.
type deskPage struct {
	status   int
	location string
	body     string
}

// ask sends one request; a form makes it a POST.
func (p *deskPerson) ask(path string, form url.Values) (page deskPage, err error) {
	method, body := http.MethodGet, io.Reader(nil)
	if form != nil {
		method, body = http.MethodPost, strings.NewReader(form.Encode())
	}
	r, err := http.NewRequest(method, "http://desk.test"+path, body)
	if err != nil {
		return page, err
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	a, err := p.browser.Do(r)
	if err != nil {
		return page, err
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	return deskPage{a.StatusCode, a.Header.Get("Location"), string(text)}, err
}

// insists asks until there is an answer; tried is called before each time.
func (p *deskPerson) insists(path string, form url.Values, tried func()) deskPage {
	for deadline := time.Now().Add(deskPatience); ; time.Sleep(2 * time.Millisecond) {
		tried()
		page, err := p.ask(path, form)
		switch {
		case strings.HasPrefix(page.location, "/login"):
			p.w.t.Errorf("%s was logged out at %s", p.name, path)
			return page
		case err == nil && page.status != http.StatusServiceUnavailable:
			return page
		case time.Now().After(deadline):
			p.w.t.Errorf("%s had no answer to %s: %v, status %d: %s", p.name, path, err, page.status, page.body)
			return page
		}
		p.failures++
	}
}

// logIn must work.
func (p *deskPerson) logIn() {
	page := p.insists("/login", url.Values{"name": {p.name}, "password": {deskPassword}}, func() {})
	if page.status != http.StatusSeeOther {
		p.w.t.Errorf("%s is not let in: %d %s", p.name, page.status, page.body)
	}
}

// look loads a page, whose view has to be audited.
func (p *deskPerson) look(path string) deskPage {
	page := p.insists(path, nil, func() { p.asked++ })
	if page.status == http.StatusOK {
		of, _ := url.QueryUnescape(path)
		p.seen[of]++
	}
	return page
}

var (
	alertLinks   = regexp.MustCompile(`href="/alerts/([^"/]+)"`)
	formPrevious = regexp.MustCompile(`name="previous" value="([^"]*)"`)
	formKinds    = regexp.MustCompile(`name="kind" value="(claimed|released|noted|escalated|snoozed|closed_fraud|closed_genuine|undone)"`)
)

// works does what analysts do until all actions are done.
func (p *deskPerson) works() {
	queues := []string{"/queue", "/queue?status=claimed", "/queue?status=escalated", "/queue?min=50", "/queue?text=card", "/queue?status=fraud"}
	var before []string // alerts that were acted on, which some go back to
	for {
		n, over := p.w.begin()
		if over {
			return
		}
		id := ""
		switch x := p.r.IntN(10); {
		case x == 0:
			id = p.next()
		case x < 6 && len(before) > 0:
			id = before[len(before)-1-p.r.IntN(min(3, len(before)))]
		default:
			found := alertLinks.FindAllStringSubmatch(p.look(queues[p.r.IntN(len(queues))]).body, 8)
			if len(found) > 0 {
				id = found[p.r.IntN(len(found))][1]
			}
		}
		if id == "" {
			p.w.mu.Lock()
			id = p.w.alerts[p.r.IntN(len(p.w.alerts))]
			p.w.mu.Unlock()
		}
		p.act(n, id)
		before = append(before, id)
	}
}

// next asks for the best alert, and returns it.
func (p *deskPerson) next() string {
	page := p.insists("/next", url.Values{}, func() { p.askNext++ })
	id, ok := strings.CutPrefix(page.location, "/alerts/")
	if !ok {
		return ""
	}
	p.taken[id]++
	return id
}

// act looks at an alert, presses one of the buttons there are, and presses it again,
// with the same form, until there is an answer; now and then twice whatever comes.
func (p *deskPerson) act(n int, id string) {
	page := p.look("/alerts/" + id)
	for deadline := time.Now().Add(deskPatience); page.status == http.StatusNotFound && time.Now().Before(deadline); page = p.look("/alerts/" + id) {
		time.Sleep(5 * time.Millisecond) // the view is folded anew
	}
	if strings.HasPrefix(page.location, "/second-looks/") {
		return // another closed it, and they are to look again without seeing how
	}
	previous, kinds := formPrevious.FindStringSubmatch(page.body), formKinds.FindAllStringSubmatch(page.body, -1)
	if previous == nil || len(kinds) == 0 {
		p.w.t.Errorf("no form at alert %s, status %d: %s", id, page.status, page.body)
		return
	}
	kind := kinds[p.r.IntN(len(kinds))][1]
	if p.r.IntN(3) == 0 && strings.Contains(page.body, `value="closed_fraud"`) {
		kind = "closed_fraud"
	}
	a := &deskAct{note: fmt.Sprintf("act %d", n)}
	p.acts = append(p.acts, a)
	form := url.Values{"kind": {kind}, "previous": {previous[1]}, "note": {a.note}}
	for again := p.r.IntN(20) == 0; ; again = false {
		tries := 0
		page = p.insists("/alerts/"+id+"/act", form, func() { tries++ })
		a.unknown += tries - 1
		to, why, _ := strings.Cut(page.location, "?told=")
		if page.status == http.StatusNotFound { // folded anew meanwhile: nothing was done
			again = true
		} else if page.status != http.StatusSeeOther || to != "/alerts/"+id {
			p.w.t.Errorf("%s %s at %s: %d %s", p.name, kind, id, page.status, page.body)
		}
		if a.counts, a.why = why == "", why; !again {
			return
		}
	}
}

// topic reads all values of a topic.
func (w *deskWorld) topic(name string) (values [][]byte) {
	w.t.Helper()
	_, end, err := w.log.Offsets(w.t.Context(), name, 0)
	r := kafka.NewReader(w.log, name, 0, kafka.Earliest)
	for err == nil {
		var set *kafka.Records
		if set, err = r.Next(w.t.Context(), end); set == nil {
			break
		}
		for set.Next() {
			values = append(values, bytes.Clone(set.Record().Value))
		}
		err = set.Err()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return values
}

// ready reports what a desk says of itself.
func (d *deskProcess) ready() bool {
	line := d.said("serves metrics")
	if line == nil {
		return false
	}
	a, err := http.Get("http://" + line["address"].(string) + "/readyz")
	if err != nil {
		return false
	}
	defer a.Body.Close()
	var says struct{ Ready bool }
	return json.NewDecoder(a.Body).Decode(&says) == nil && says.Ready
}
