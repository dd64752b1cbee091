package rules

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/trainer"
)

// byPromtool are the rules that cannot be caused on this machine, and why; promtool's unit
// tests alone have them fire.
var byPromtool = make(map[string]string)

// A world is weir on real Kafka and ClickHouse, seen by real Prometheus.
type world struct {
	t                     *testing.T
	dir                   string
	kafka, clickhouse     string
	kafkaPort, clickPort  string
	bank                  *bank
	shop                  *shop
	watch                 *watcher
	a, b, record, desk    *node // two scorers, a recorder, a desk
	odd, train            *node // a scorer without room or GPU, a trainer without a history
	person                *browser
	disk                  *disk            // of the recorder
	refusing              *httptest.Server // takes no webhook
	keyFile, passwordFile string
}

func (w *world) node(name string, args ...string) *node {
	n := &node{t: w.t, name: name, args: args}
	w.t.Cleanup(func() { n.end(syscall.SIGKILL) })
	return n
}

func newWorld(t *testing.T) *world {
	if os.Getenv("WEIR_PROMETHEUS") == "" {
		t.Skip("deploy/rules/alerts starts Prometheus, Kafka and ClickHouse, and runs this")
	}
	w := &world{t: t, dir: t.TempDir(), kafkaPort: os.Getenv("WEIR_KAFKA_PORT"), clickPort: os.Getenv("WEIR_CLICKHOUSE_PORT")}
	w.kafka, w.clickhouse = "127.0.0.1:"+w.kafkaPort, "clickhouse://127.0.0.1:"+w.clickPort+"/alerts"
	w.keyFile, w.passwordFile = filepath.Join(w.dir, "signing.key"), filepath.Join(w.dir, "password")
	key, _, err := trainer.LoadOrMakeKey(w.keyFile)
	if err == nil {
		err = os.WriteFile(w.passwordFile, []byte(password), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.bank = &bank{t: t, log: kafka.New(kafka.Options{Brokers: []string{w.kafka}}), topics: schemas.DefaultTopics("")}
	t.Cleanup(w.bank.log.Close)
	t.Cleanup(w.bank.wg.Wait)
	if err := w.bank.log.Ensure(t.Context(), w.bank.topics.Layouts(1)); err != nil {
		t.Fatal(err)
	}
	w.shop = &shop{t: t, bank: w.bank, key: key}
	w.refusing = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusServiceUnavailable) }))
	t.Cleanup(w.refusing.Close)
	w.nodes()
	return w
}

// nodes makes the processes, and starts those that there are from the start.
func (w *world) nodes() {
	data := func(name string) string { return filepath.Join(w.dir, name) }
	score := func(name string, more ...string) *node {
		return w.node(name, append([]string{"score", "--kafka", w.kafka, "--data", data(name), "--trust", w.keyFile + ".pub",
			"--session", "4s", "--snapshot-every", "500"}, more...)...)
	}
	theKey := []string{"--token-key-file", filepath.Join(data("a"), "token.key")} // a makes it
	w.a, w.b = score("a"), score("b", append(theKey, "--rollback-key", w.keyFile)...)
	w.odd = score("odd", append(theKey, "--state-max", "1KiB", "--device", "cuda")...)
	w.odd.env = []string{"WEIR_LIBCUDA=/nowhere/libcuda.so"}
	w.disk = newDisk(w.t, data("record"))
	w.record = w.node("record", "record", "--kafka", w.kafka, "--history", w.clickhouse, "--data", data("record"), "--note-every", "1s")
	w.train = w.node("train", "train", "--every", "24h", "--kafka", w.kafka, "--history", "clickhouse://127.0.0.1:1/none", "--key", w.keyFile, "--journal", data("trials"))
	w.desk = w.node("desk", "desk", "--kafka", w.kafka, "--data", data("desk"), "--web", "127.0.0.1:0", "--webhooks-allow", "127.0.0.0/8", "--within", "1s")
	for _, name := range []string{"ann", "sue"} { // ann's account will be locked
		w.weir("user", "add", name, "--role", "analyst,supervisor", "--data", data("desk"), "--password-file", w.passwordFile)
	}
	w.bank.pay()
	w.a.start()
	w.watch = watch(w.t, w.dir)
	for _, n := range []*node{w.b, w.record, w.desk, w.odd, w.train} {
		n.start()
	}
	w.watch.targets(w.a, w.b, w.record, w.desk, w.odd, w.train)
}

// weir runs a command to its end.
func (w *world) weir(args ...string) string {
	w.t.Helper()
	name, err := weir()
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = w.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("weir %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// TestAlerts has every incident happen, and go by. WeirFewerNodes fires beside others, where
// a node ends that is not to be scraped any more.
func TestAlerts(t *testing.T) {
	w := newWorld(t)
	w.begins()
	w.goesBad()
	w.losesHistory()
	w.changes()
	w.getsBadModel()
	w.losesKafka()
	w.quiet()
	var missed []string
	for _, r := range readRules(t) {
		why, excused := byPromtool[r.Alert]
		if excused {
			t.Logf("%s by promtool alone: %s", r.Alert, why)
		}
		if !excused && !(w.watch.fired[r.Alert] && w.watch.gone[r.Alert]) {
			missed = append(missed, r.Alert)
		}
	}
	if len(missed) > 0 {
		t.Errorf("%q did not fire and clear", missed)
	}
	w.panels()
	w.pages()
}

// meanwhile does something again and again, so many at once, until it is stopped.
func (w *world) meanwhile(n int, do func()) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() { // ends with stop, or with the test
			for ctx.Err() == nil {
				do()
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// begins: there is no model yet, one scorer has no room and no GPU, the trainer no history,
// and of one target Prometheus does not even find the address. Somebody tries passwords,
// labels and a model of a stranger.
func (w *world) begins() {
	w.watch.targetsAnd([]string{forgotten}, w.a, w.b, w.record, w.desk, w.odd, w.train)
	stranger := open(w.t, w.desk.web)
	stop := w.meanwhile(4, func() { stranger.post("/login", url.Values{"name": {"ann"}, "password": {"not her password"}}) })
	guess := w.meanwhile(2, func() { stranger.token("/api/v1/alerts", "weir_not_a_token") })
	w.watch.fires("WeirDegraded", "WeirHalted", "WeirStateNearlyFull", "WeirGPUFailed", "WeirTrainingFails", "WeirNodeGone", "WeirLoginsRefused")
	stop()
	guess()
	w.bank.badLabels(30)
	w.shop.promote(1, false)
	w.watch.targets(w.a, w.b, w.record, w.desk)
	w.odd.end(syscall.SIGTERM)
	w.train.end(syscall.SIGTERM)
	w.watch.fires("WeirLabelsMalformed")
	w.watch.clears("WeirDegraded", "WeirHalted", "WeirStateNearlyFull", "WeirGPUFailed", "WeirTrainingFails", "WeirNodeGone", "WeirLoginsRefused")
	w.shop.stranger()
	w.watch.fires("WeirModelRefused")
}

// goesBad: garbage comes, currencies without a rate, and all of it late; and the disk of
// the recorder fills. In the end a model comes that knows what payments are like, and the
// bank begins to hurry.
func (w *world) goesBad() {
	w.owns(w.a)
	w.bank.garbage.Store(true)
	w.bank.late.Store(true)
	w.disk.fill()
	w.watch.fires("WeirGarbage", "WeirUnscored", "WeirDecisionsSlow", w.disk.alert())
	w.bank.garbage.Store(false)
	w.bank.late.Store(false)
	w.disk.empty()
	w.watch.clears("WeirGarbage", "WeirUnscored", "WeirDecisionsSlow", "WeirDiskFilling")
	w.shop.days = w.bank.vectors(2000)
	w.shop.promote(2, false)
	w.bank.hurries.Store(true)
}

// owns has a scorer decide: the other one is started again where it does.
func (w *world) owns(n *node) {
	w.t.Helper()
	other := w.a
	if n == w.a {
		other = w.b
	}
	if !n.decides() {
		w.t.Logf("%s decides, and is started again", other.name)
		other.end(syscall.SIGTERM)
		until(w.t, n.name+" decides", n.said, n.decides) // before the other one may take it back
		other.start()
	}
}

// losesHistory: ClickHouse stops, a file lies where snapshots were, and no label comes.
func (w *world) losesHistory() {
	folder := filepath.Join(w.dir, "a", "snapshots")
	w.bank.unlabeled.Store(true)
	script(w.t, "../clickhouse/clickhouse", "kill", w.clickPort)
	err := os.Rename(folder, folder+".away")
	if err == nil {
		err = os.WriteFile(folder, nil, 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.watch.fires("WeirHistoryAway", "WeirHistoryBehind", "WeirSnapshotFails", "WeirSnapshotOld", "WeirLabelsStopped")
	w.bank.unlabeled.Store(false)
	script(w.t, "../clickhouse/clickhouse", "start", w.clickPort)
	err = os.Remove(folder)
	if err == nil {
		err = os.Rename(folder+".away", folder)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.watch.clears("WeirHistoryAway", "WeirHistoryBehind", "WeirSnapshotFails", "WeirSnapshotOld", "WeirLabelsStopped")
}

// changes: days have gone by, and then for two weeks all payments are large, and most of
// them genuine. Meanwhile the disk of the desk hangs.
func (w *world) changes() {
	until(w.t, "a week has gone by", w.watch.now, func() bool { return w.bank.days.Load() > 7 })
	told := func() string { return w.watch.told("weir_alert_rate", "weir_score_psi", "weir_psi > 0.1") }
	until(w.t, "the alert rate is seen for a while", told, func() bool {
		return w.watch.holds("max_over_time(weir_alert_rate[12s]) < 0.1 and count_over_time(weir_alert_rate[12s]) > 10")
	})
	until(w.t, "it is known how precise alerts are", func() string { return w.watch.told("weir_live_precision") + "\n" + w.record.said() }, func() bool {
		return w.watch.holds("min by (age) (weir_live_precision{age='1d'}) > 0.9")
	})
	for _, name := range []string{"WeirFeatureDrift", "WeirScoreDrift", "WeirAlertRateMoved", "WeirPrecisionLow"} {
		if w.watch.fired[name] {
			w.t.Errorf("%s fires while the days are as ever\n%s", name, told())
		}
	}
	w.shop.promote(3, false)
	w.bank.large.Store(true)
	release := w.hangs("desk-view.db")
	w.watch.fires("WeirAlertsDrift", "WeirDeskBehind", "WeirFeatureDrift", "WeirScoreDrift", "WeirAlertRateMoved", "WeirPrecisionLow")
	release()
	w.bank.large.Store(false)
	w.watch.clears("WeirAlertsDrift", "WeirDeskBehind")
}

// getsBadModel: b, which has a key for roll-backs, is killed. A bad model is swapped in,
// which nobody rolls back until b is there again, and a is killed.
func (w *world) getsBadModel() {
	w.person = open(w.t, w.desk.web).enters("sue")
	if code := w.person.post("/webhooks", url.Values{"url": {w.refusing.URL + "/in"}, "event": {"alert.raised"}}); code != http.StatusOK {
		w.t.Fatalf("a webhook is answered by %d", code)
	}
	w.owns(w.a)
	w.b.end(syscall.SIGKILL)
	w.watch.fires("WeirNodeGone", "WeirNoStandby")
	until(w.t, "a decides", w.a.said, w.a.decides)
	w.shop.promote(4, true)
	w.watch.fires("WeirModelSuspect")
	w.b.start()
	w.watch.clears("WeirNodeGone", "WeirNoStandby")
	w.a.end(syscall.SIGKILL)
	w.watch.fires("WeirNodeGone", "WeirNobodyDecides", "WeirNoStandby", "WeirModelRolledBack", "WeirAlertsWait", "WeirWebhooksFail")
	w.a.start()
	w.watch.clears("WeirNodeGone", "WeirNobodyDecides", "WeirNoStandby", "WeirFeatureDrift", "WeirScoreDrift", "WeirAlertRateMoved", "WeirPrecisionLow")
	w.bank.hurries.Store(false)
	w.person.post("/webhooks/1", url.Values{"do": {"delete"}})
	w.desk.end(syscall.SIGTERM)
	w.desk.args = append(w.desk.args, "--within", "1000h")
	w.desk.start()
	w.watch.clears("WeirWebhooksFail", "WeirAlertsWait")
}

// losesKafka: the broker refuses what is decided, then nobody pays, nobody records, and then Kafka is
// killed.
func (w *world) losesKafka() {
	w.record.end(syscall.SIGTERM)
	w.watch.targets(w.a, w.b, w.desk)
	w.bank.ledgerTakes(w.kafka, false)
	w.watch.fires("WeirKafkaTrouble", "WeirLagGrowing", "WeirNobodyRecords")
	if w.watch.fired["WeirNoTransactions"] {
		w.t.Error("WeirNoTransactions fires while payments wait")
	}
	w.bank.ledgerTakes(w.kafka, true)
	w.watch.clears("WeirKafkaTrouble", "WeirLagGrowing")
	w.person = open(w.t, w.desk.web).enters("sue")
	w.bank.stopped.Store(true)
	w.watch.fires("WeirNoTransactions")
	script(w.t, "../kafka/kafka", "kill", w.kafkaPort)
	stop := w.meanwhile(4, func() { w.person.get("/queue") })
	w.watch.fires("WeirNobodyDecides", "WeirNotReady", "WeirAuditAway", "WeirDeskErrors")
	script(w.t, "../kafka/kafka", "start", w.kafkaPort)
	stop()
	w.bank.stopped.Store(false)
	w.record.start()
	w.watch.targets(w.a, w.b, w.record, w.desk)
	w.watch.clears("WeirNobodyDecides", "WeirNotReady", "WeirAuditAway", "WeirDeskErrors", "WeirNoTransactions", "WeirNobodyRecords")
}

// quiet: in the end no alert fires at all.
func (w *world) quiet() {
	w.t.Helper()
	until(w.t, "no alert fires", w.watch.now, func() bool {
		now, ok := w.watch.firing()
		return ok && len(now) == 0
	})
	for name := range w.watch.fired {
		w.watch.gone[name] = true
	}
}

// fromLongAgo finds what is not there within minutes, or without a GPU.
var fromLongAgo = regexp.MustCompile(`weir_gpu|weir_live_calibration|weir_train|challenger|weir_halted == 1|_webhook_(dead|pending)`)

// panels asks Prometheus what every panel of every dashboard asks; each has to have a series.
func (w *world) panels() {
	for _, b := range readBoards(w.t) {
		asked, empty := 0, 0
		for _, p := range b.Panels {
			for _, q := range p.Targets {
				asked++
				expr := strings.ReplaceAll(q.Expr, "$__rate_interval", "10s") // twice the step: what happens between two ranges is in neither
				if n := w.watch.series(expr); n == 0 {
					empty++
					if !fromLongAgo.MatchString(expr) {
						w.t.Errorf("%s, %s: %s has no series", b.Title, p.Title, expr)
					}
				}
			}
		}
		w.t.Logf("%s: %d of %d expressions have series", b.Title, asked-empty, asked)
	}
}

// readOnly are the commands of the pages that look and change nothing.
var readOnly = []string{"health", "tail", "verify", "model ls", "model verify champion", "check --kafka"}

// pages runs the commands that the pages quote, as they are written but for the addresses.
func (w *world) pages() {
	files, err := filepath.Glob(pages + "/*.md")
	if err == nil { // they are run where weir-data is the scorer's
		err = os.Symlink(filepath.Join(w.dir, "a"), filepath.Join(w.dir, "weir-data"))
	}
	if err == nil {
		err = os.Link(w.keyFile+".pub", filepath.Join(w.dir, "a", "signing.key.pub"))
	}
	if err != nil {
		w.t.Fatal(err)
	}
	tried := map[string]bool{}
	here := strings.NewReplacer("127.0.0.1:9092", w.kafka, "clickhouse://127.0.0.1:9000/weir", w.clickhouse,
		"127.0.0.1:9464", w.b.at, "127.0.0.1:9465", w.a.at, "--count 20", "--count 2")
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("`weir ([^`]+)`").FindAllStringSubmatch(string(text), -1) {
			line := here.Replace(m[1])
			if tried[line] || !slices.ContainsFunc(readOnly, func(p string) bool { return strings.HasPrefix(line, p+" ") || line == p }) {
				continue
			}
			if args := strings.Fields(line); !strings.Contains(line, "--listen") && args[0] == "health" {
				line += " --listen " + w.b.at
			}
			tried[line] = true
			w.weir(strings.Fields(line)...)
		}
	}
	w.t.Logf("%d commands of the pages were run", len(tried))
}
