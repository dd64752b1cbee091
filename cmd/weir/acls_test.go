package main

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// An aclLine is a line of deploy/kafka/acls.
type aclLine struct{ role, operation, kind, name string }

const aclFolder = "../../deploy/kafka"

func readACLs(t *testing.T) (list []aclLine) {
	t.Helper()
	for line := range strings.Lines(content(t, filepath.Join(aclFolder, "acls"))) {
		if words := strings.Fields(line); len(words) > 0 && words[0] != "#" {
			list = append(list, aclLine{words[0], words[1], words[2], words[3]})
		}
	}
	return list
}

// TestTheListOfRightsIsTheCodes holds deploy/kafka/acls to what the roles ask for as they
// start.
func TestTheListOfRightsIsTheCodes(t *testing.T) {
	topics := schemas.DefaultTopics("")
	for role, want := range map[string][]kafka.Right{
		"score": (&scoreFlags{}).rights(topics), "record": recordRights(topics), "desk": (&deskFlags{}).rights(topics),
		"models": modelRights(topics), "simulate": simulateRights(topics),
	} {
		var got, wants []string
		for _, l := range readACLs(t) {
			if l.role == role && l.kind == "topic" {
				got = append(got, fmt.Sprintf("%s on topic %s", l.operation, l.name))
			}
		}
		for _, r := range want {
			wants = append(wants, r.String())
		}
		if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(wants))) {
			t.Errorf("%s has the rights\n%q, and asks for\n%q", role, got, wants)
		}
	}
	models := kafka.Right{Operation: kafka.Write, Topic: "models"}
	if f := (&scoreFlags{rollbackKey: "key"}); !slices.Contains(f.rights(topics), models) {
		t.Error("a scorer that rolls back does not ask for its right")
	}
	if f := (&deskFlags{models: deskModelFlags{key: "key"}}); !slices.Contains(f.rights(topics), models) {
		t.Error("a desk that signs does not ask for its right")
	}
}

// grant returns the lines that deploy/kafka/grant prints, as ACLs.
func grant(t *testing.T, args ...string) (list []kafkago.ACLEntry) {
	t.Helper()
	out, err := exec.Command(filepath.Join(aclFolder, "grant"), args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	command := regexp.MustCompile(`^kafka-acls.sh --add --allow-principal (\S+) --operation (\S+) --(topic|group) (\S+)$`)
	for line := range strings.Lines(string(out)) {
		m := command.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			t.Fatalf("grant prints %q", line)
		}
		a := kafkago.ACLEntry{Principal: m[1], ResourceName: m[4], ResourcePatternType: kafkago.PatternTypeLiteral, Host: "*", PermissionType: kafkago.ACLPermissionTypeAllow}
		if err := errors.Join(a.Operation.UnmarshalText([]byte(m[2])), a.ResourceType.UnmarshalText([]byte(m[3]))); err != nil {
			t.Fatal(err)
		}
		list = append(list, a)
	}
	return list
}

// An aclWorld is a broker that denies what is not allowed, with topics that an
// administrator made, and a user for each role.
type aclWorld struct {
	t           *testing.T
	admin       *kafkago.Client
	log         *kafka.Client // an administrator's
	sasl        string        // where users log in
	prefix, dir string
	topics      schemas.Topics
	paid        int
	commands    map[string][]string // by role

	// Of the desk.
	alerts []string
	closed int
	cookie *http.Cookie
}

func newACLWorld(t *testing.T) *aclWorld {
	t.Helper()
	at := os.Getenv("WEIR_KAFKA")
	if os.Getenv("WEIR_KAFKA_SECURE") == "" {
		t.Skip("no broker that knows users is named by WEIR_KAFKA_SECURE: make integration starts one")
	}
	host, first, err := net.SplitHostPort(at)
	port, errP := strconv.Atoi(first)
	if err != nil || errP != nil {
		t.Fatal(at, err, errP)
	}
	w := &aclWorld{t: t, admin: &kafkago.Client{Addr: kafkago.TCP(at)}, log: kafka.New(kafka.Options{Brokers: []string{at}}),
		sasl: net.JoinHostPort(host, strconv.Itoa(port+4)), prefix: fmt.Sprintf("acl%d.", time.Now().UnixNano()), dir: t.TempDir()}
	t.Cleanup(w.log.Close)
	w.topics = schemas.DefaultTopics(w.prefix)
	if err := w.log.Ensure(t.Context(), w.topics.Layouts(2)); err != nil {
		t.Fatal(err)
	}
	key, err := signingKey(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(w.dir, "champion.weir")
	randomBundle(t, bundle, 1, key, func(b *scoring.Bundle) { b.Policy.Review = 1e-6 }) // all is alerted
	in := func(name string) string { return filepath.Join(w.dir, name) }
	w.commands = map[string][]string{
		"score":    {"score", "--data", in("score"), "--listen", "127.0.0.1:0", "--group", w.prefix + "g", "--session", "2s", "--trust", in("signing.key.pub")},
		"record":   {"record", "--data", in("record"), "--listen", "127.0.0.1:0"},
		"desk":     {"desk", "--data", in("desk"), "--listen", "127.0.0.1:0", "--web", "127.0.0.1:0", "--trust", in("signing.key.pub"), "--history", filepath.Join(in("record"), "history.db")},
		"models":   {"model", "promote", "--key", in("signing.key"), bundle},
		"verify":   {"verify", "--data", in("score"), "--trust", in("signing.key.pub")},
		"status":   {"status", "--json", "--at", "127.0.0.1:1", "--group", w.prefix + "g"},
		"simulate": {"simulate", "--customers", "20", "--days", "20"},
	}
	for role, words := range w.commands {
		verb := 1
		if role == "models" {
			verb = 2
		}
		w.commands[role] = slices.Concat(words[:verb], w.user(role), words[verb:])
		w.give(w.rights(role)...)
	}
	return w
}

// in returns the world for a subtest.
func (w *aclWorld) in(t *testing.T) *aclWorld {
	own := *w
	own.t = t
	return &own
}

// user makes the user of a role, without a right, and returns the flags of somebody who
// is that one.
func (w *aclWorld) user(role string) []string {
	w.t.Helper()
	name, password, salt := w.prefix+role, rand.Text(), []byte(rand.Text())
	salted, err := pbkdf2.Key(sha512.New, password, salt, 4096, sha512.Size)
	if err != nil {
		w.t.Fatal(err)
	}
	file := filepath.Join(w.dir, role+".password")
	err = os.WriteFile(file, []byte(password), 0o600)
	if err == nil {
		_, err = w.admin.AlterUserScramCredentials(w.t.Context(), &kafkago.AlterUserScramCredentialsRequest{Upsertions: []kafkago.UserScramCredentialsUpsertion{
			{Name: name, Mechanism: kafkago.ScramMechanismSha512, Iterations: 4096, Salt: salt, SaltedPassword: salted}}})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return []string{"--kafka", w.sasl, "--kafka-sasl", "SCRAM-SHA-512", "--kafka-user", name, "--kafka-password-file", file, "--topic-prefix", w.prefix}
}

// rights are those that the list gives a role.
func (w *aclWorld) rights(role string) []kafkago.ACLEntry {
	return grant(w.t, "--topic-prefix", w.prefix, "--group", w.prefix+"g", role, "User:"+w.prefix+role)
}

func (w *aclWorld) give(list ...kafkago.ACLEntry) {
	w.t.Helper()
	resp, err := w.admin.CreateACLs(w.t.Context(), &kafkago.CreateACLsRequest{ACLs: list})
	if err == nil {
		err = errors.Join(resp.Errors...)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *aclWorld) take(a *kafkago.ACLEntry) {
	w.t.Helper()
	resp, err := w.admin.DeleteACLs(w.t.Context(), &kafkago.DeleteACLsRequest{Filters: []kafkago.DeleteACLsFilter{{ResourceTypeFilter: a.ResourceType, ResourceNameFilter: a.ResourceName,
		ResourcePatternTypeFilter: a.ResourcePatternType, PrincipalFilter: a.Principal, HostFilter: a.Host, Operation: a.Operation, PermissionType: a.PermissionType}}})
	if err == nil {
		err = resp.Results[0].Error
	}
	if err != nil || len(resp.Results[0].MatchingACLs) != 1 {
		w.t.Fatal(err, resp)
	}
}

// client is a user's, by the flags.
func (w *aclWorld) client(flags []string) *kafka.Client {
	w.t.Helper()
	o := kafka.Options{Brokers: []string{w.sasl}}
	value := func(flag string) string { return flags[slices.Index(flags, flag)+1] }
	if err := (kafka.Security{Mechanism: "SCRAM-SHA-512", User: value("--kafka-user"), PasswordFile: value("--kafka-password-file")}).Apply(&o); err != nil {
		w.t.Fatal(err)
	}
	c := kafka.New(o)
	w.t.Cleanup(c.Close)
	return c
}

// knows waits until the broker knows that a user has a right to a topic, or that it has
// not: an ACL is a record that brokers read a moment later.
func (w *aclWorld) knows(c *kafka.Client, a *kafkago.ACLEntry, has bool) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); a.ResourceType == kafkago.ResourceTypeTopic; {
		err := c.Check(w.t.Context(), []kafka.Right{{Operation: kafka.Operation(a.Operation), Topic: a.ResourceName}})
		if a.Operation == kafkago.ACLOperationTypeCreate { // of one that is not there nothing is said
			err = c.TryCreate(w.t.Context(), schemas.Layout{Topic: a.ResourceName, Partitions: 1}, -1)
		}
		if (err == nil) == has {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s on %s: %v", a.Operation, a.ResourceName, err)
		}
	}
}

// produce sends a record as an administrator.
func (w *aclWorld) produce(topic, value string) {
	w.t.Helper()
	var b kafka.BatchWriter
	b.Append([]byte("c"), []byte(value), time.Now().UnixMilli(), nil)
	batch, err := b.Finish(kafka.None)
	if err == nil {
		_, err = w.log.Produce(w.t.Context(), topic, 0, batch)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// pays sends a payment, for which there will be an alert, and a record that is none.
func (w *aclWorld) pays() {
	w.t.Helper()
	w.paid++
	w.produce(w.topics.Transactions, fmt.Sprintf(`{"id":"%s%d","type":"authorisation","time":"%s","amount":"9000.00","currency":"EUR","card":"4000005898225926","customer":"C1"}`,
		w.prefix, w.paid, rfc3339(time.Now().UnixMilli())))
	w.produce(w.topics.Transactions, "no payment")
}

// holds waits until a topic holds records.
func (w *aclWorld) holds(b *background, topic string, records int64) {
	w.t.Helper()
	b.until(fmt.Sprintf("%d records of %s", records, topic), func() bool {
		sum := int64(0)
		for p := range int32(2) {
			if _, end, err := w.log.Offsets(w.t.Context(), topic, p); err == nil {
				sum += end
			}
		}
		return sum >= records
	})
}

// quit ends weir, whatever it says.
func (b *background) quit() {
	b.cancel()
	for range b.done {
	}
}

// run runs weir beside the test; what it says is also what it prints.
func (w *aclWorld) run(args ...string) *background {
	ctx, cancel := context.WithCancel(w.t.Context())
	b := &background{t: w.t, cancel: cancel, done: make(chan int, 1)}
	e := &env{stdin: strings.NewReader(""), stdout: b, stderr: b, lookup: func(string) (string, bool) { return "", false }}
	go func() { // ends with quit
		b.done <- run(ctx, args, e)
		close(b.done)
	}()
	w.t.Cleanup(b.quit)
	return b
}

// ask asks the desk that b is, where there is one by now.
func (w *aclWorld) ask(b *background, method, path string, form url.Values) (body string) {
	at := deskAt.FindStringSubmatch(b.said())
	if at == nil {
		return ""
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, at[1]+path, strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if w.cookie != nil {
		r.AddCookie(w.cookie)
	}
	a, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return "" // it has just ended
	}
	defer a.Body.Close()
	if list := a.Cookies(); len(list) > 0 && path == "/login" {
		w.cookie = list[0]
	}
	text, _ := io.ReadAll(a.Body)
	return string(text)
}

var deskAt = regexp.MustCompile(`serves the desk" address=(http://\S+)`)

// works has an analyst look at an alert, at the models, and close it, and have its
// decision computed again, of which it returns the page.
func (w *aclWorld) works(b *background) string {
	w.closed++
	alert := "/alerts/" + w.alerts[w.closed%len(w.alerts)]
	w.ask(b, "GET", alert, nil)
	w.ask(b, "GET", "/models", nil)
	w.ask(b, "POST", alert+"/act", url.Values{"kind": {"closed_fraud"}, "reason": {"card_lost"}})
	return w.ask(b, "POST", alert+"/receipt", nil)
}

// raised reads the ids of the alerts.
func (w *aclWorld) raised() (list []string) {
	w.t.Helper()
	_, end, err := w.log.Offsets(w.t.Context(), w.topics.Alerts, 0)
	r := kafka.NewReader(w.log, w.topics.Alerts, 0, kafka.Earliest)
	for set := (*kafka.Records)(nil); err == nil; {
		if set, err = r.Next(w.t.Context(), end); set == nil {
			break
		}
		for set.Next() {
			list = append(list, string(set.Record().Key))
		}
	}
	if err != nil || len(list) == 0 {
		w.t.Fatal(err, list)
	}
	return list
}

// endToEnd has the roles work together: what the bank sends is decided, recorded, closed
// by an analyst, and proved.
func (w *aclWorld) endToEnd() {
	t := w.t
	call(t, w.commands["simulate"]...).succeeds(t)
	call(t, w.commands["models"]...).succeeds(t)
	score := w.run(w.commands["score"]...)
	w.pays()
	w.holds(score, w.topics.Alerts, 1)
	w.holds(score, w.topics.DLQ, 1)
	record := w.run(w.commands["record"]...)
	record.until("a history", func() bool {
		code, body := record.get("/readyz")
		return code == http.StatusOK && strings.Contains(body, `"lag":0`) && !strings.Contains(body, `"ledger_offset":0`)
	})
	w.alerts = w.raised()
	_, labels, err := w.log.Offsets(t.Context(), w.topics.Labels, 0)
	if err != nil {
		t.Fatal(err)
	}
	callWith(t, testPassword, nil, "user", "add", "ann", "--role", "analyst,supervisor", "--data", filepath.Join(w.dir, "desk")).succeeds(t)
	desk := w.run(w.commands["desk"]...)
	desk.until("somebody who is logged in", func() bool {
		w.ask(desk, "POST", "/login", url.Values{"name": {"ann"}, "password": {testPassword}})
		return w.cookie != nil
	})
	desk.until("an alert", func() bool { return strings.Contains(w.ask(desk, "GET", "/alerts/"+w.alerts[0], nil), "closed_fraud") })
	w.works(desk)
	desk.until("a label", func() bool {
		_, end, err := w.log.Offsets(t.Context(), w.topics.Labels, 0)
		return err == nil && end > labels
	})
	desk.stop()
	record.stop()
	score.stop()
	for _, b := range []*background{score, record, desk} {
		if strings.Contains(b.said(), "uthorization") {
			t.Errorf("it lacks a right\n%s", b.said())
		}
	}
	call(t, w.commands["verify"]...).succeeds(t)
	if got := call(t, w.commands["status"]...); !strings.Contains(got.stdout, `"lag_from":"Kafka"`) {
		t.Errorf("the status is %s%s", got.stdout, got.stderr)
	}
}

// without takes a right away from a role, and gives it back after f.
func (w *aclWorld) without(role string, a *kafkago.ACLEntry, f func(t *testing.T)) {
	c := w.client(w.commands[role])
	w.take(a)
	w.knows(c, a, false)
	f(w.t)
	w.give(*a)
	w.knows(c, a, true)
}

// refused runs a role, which lacks a right, until it says so: of whom no right is left
// to a topic the broker does not say more than that it may not describe it.
func (w *aclWorld) refused(role string, a *kafkago.ACLEntry) {
	w.t.Helper()
	if role == "score" {
		w.pays()
	}
	b := w.run(w.commands[role]...)
	defer b.quit()
	lacks := regexp.MustCompile(fmt.Sprintf(`this user lacks the right (%s|Describe) on (topic|group) %s($|[^.\w])`, a.Operation, regexp.QuoteMeta(a.ResourceName)))
	page := ""
	for deadline := time.Now().Add(20 * time.Second); !lacks.MatchString(b.said() + page); time.Sleep(20 * time.Millisecond) {
		select {
		case code, runs := <-b.done:
			if !runs && !lacks.MatchString(b.said()) {
				w.t.Errorf("%s without %s on %s ends without a word of it, %d\n%s", role, a.Operation, a.ResourceName, code, b.said())
				return
			}
		default:
			if role == "desk" {
				page = w.works(b)
			}
		}
		if time.Now().After(deadline) {
			w.t.Errorf("%s works without %s on %s\n%s", role, a.Operation, a.ResourceName, b.said())
			return
		}
	}
}

// misses has a role find no topics: it says what it may not make, and who may.
func (w *aclWorld) misses(t *testing.T) {
	prefix := w.prefix + "none."
	w.give(grant(t, "--topic-prefix", prefix, "simulate", "User:"+w.prefix+"simulate")...)
	call(t, append(w.commands["simulate"], "--topic-prefix", prefix)...).fails(t, exitFailed, "this user lacks the right Create on topic "+prefix+"labels", "weir migrate", "administrator")
}

// migrates makes the topics by the user who may, and is refused where a right is missing
// to look, to make or to alter.
func (w *aclWorld) migrates(t *testing.T) {
	prefix := w.prefix + "made."
	flags := w.user("migrate")
	args := slices.Concat([]string{"migrate"}, flags, []string{"--data", t.TempDir(), "--partitions", "2", "--topic-prefix", prefix})
	w.commands["migrate"] = args
	rights := grant(t, "--topic-prefix", prefix, "migrate", "User:"+w.prefix+"migrate")
	w.give(rights...)
	made := false
	for _, a := range rights {
		name := strings.TrimPrefix(a.ResourceName, prefix)
		lacks := fmt.Sprintf("this user lacks the right %s on topic %s", a.Operation, a.ResourceName)
		if configs := a.Operation == kafkago.ACLOperationTypeAlterConfigs || a.Operation == kafkago.ACLOperationTypeDescribeConfigs; configs && !made {
			made = true
			call(t, args...).succeeds(t)
		}
		w.without("migrate", &a, func(t *testing.T) {
			if a.Operation == kafkago.ACLOperationTypeAlterConfigs {
				sees := a
				sees.Operation = kafkago.ACLOperationTypeDescribeConfigs
				call(t, args...).fails(t, exitFailed, strings.Replace(lacks, "Alter", "Describe", 1))
				w.give(sees)
				w.knows(w.client(flags), &sees, true)
				defer w.take(&sees)
			}
			call(t, append(args, "--dry-run", "--topic-setting", name+":segment.ms=604800001")...).fails(t, exitFailed, lacks)
		})
	}
}

// trains publishes what was learnt of a history, and is refused before it learns.
func (w *aclWorld) trains(t *testing.T) {
	prefix, history := w.prefix+"trained.", filepath.Join(w.dir, "learnt.db")
	if err := w.log.Ensure(t.Context(), schemas.DefaultTopics(prefix).Layouts(1)); err != nil {
		t.Fatal(err)
	}
	rights := grant(t, "--topic-prefix", prefix, "models", "User:"+w.prefix+"models")
	w.give(rights...)
	newPast(t, 3, 4000, 40).write(history)
	promote := w.commands["models"]
	args := slices.Concat([]string{"train"}, promote[2:len(promote)-1], []string{"--topic-prefix", prefix, "--history", history, "--spec", "handbook", "--ripe", "5d", "--iterations", "8"})
	if said := call(t, args...).succeeds(t).stdout; !strings.Contains(said, "published as champion") {
		t.Errorf("it said %s", said)
	}
	for _, a := range rights {
		w.without("models", &a, func(t *testing.T) {
			call(t, args...).fails(t, exitFailed, fmt.Sprintf("this user lacks the right %s on topic %s\n", a.Operation, a.ResourceName))
		})
	}
}

// TestRolesAtKafka has each role work with the rights that deploy/kafka/acls gives it, and
// takes each of them away in turn: the role says which one it lacks, as it starts, and
// where it does not look then, as it works. So no right is missing from the list, and none
// is in it for nothing.
func TestRolesAtKafka(t *testing.T) {
	w := newACLWorld(t)
	t.Run("together", func(t *testing.T) {
		w.t = t
		w.endToEnd()
	})
	w.t = t
	for _, role := range []string{"score", "record", "desk", "simulate"} {
		for _, a := range w.rights(role) {
			if a.ResourceType != kafkago.ResourceTypeTopic {
				continue
			}
			w.without(role, &a, func(t *testing.T) {
				b := w.run(w.commands[role]...)
				defer b.quit()
				b.ends(exitFailed, fmt.Sprintf("this user lacks the right %s on topic %s\n", a.Operation, a.ResourceName))
			})
		}
	}
	t.Run("missing topics", w.misses)
	t.Run("migrate", w.migrates)
	t.Run("train", w.trains)
	unprepared, watchEvery = true, 50*time.Millisecond
	defer func() { unprepared, watchEvery = false, time.Minute }()
	t.Run("at work", func(t *testing.T) {
		for role := range w.commands {
			t.Run(role, func(t *testing.T) {
				t.Parallel()
				own := w.in(t)
				for _, a := range w.rights(role) {
					own.without(role, &a, func(t *testing.T) { own.refused(role, &a) })
				}
			})
		}
	})
}
