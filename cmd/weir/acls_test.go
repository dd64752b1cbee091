package main

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"errors"
	"fmt"
	"net"
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
	*roleWorld
	admin  *kafkago.Client
	login  string // where users log in
	secure string // the folder of the authority whose certificates they log in by; empty: by SCRAM
}

// newACLWorld has users log in by certificates, or by SCRAM.
func newACLWorld(t *testing.T, certificates bool) *aclWorld {
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
	w := &aclWorld{roleWorld: newRoleWorld(t, at, fmt.Sprintf("acl%d.", time.Now().UnixNano())), admin: &kafkago.Client{Addr: kafkago.TCP(at)}}
	if w.login = net.JoinHostPort(host, strconv.Itoa(port+4)); certificates {
		w.login, w.secure = net.JoinHostPort(host, strconv.Itoa(port+3)), os.Getenv("WEIR_KAFKA_SECURE")
	}
	for role := range w.commands {
		w.as(role, w.user(role)...)
		w.give(w.rights(role)...)
	}
	return w
}

// in returns the world for a subtest.
func (w *aclWorld) in(t *testing.T) *aclWorld {
	own, roles := *w, *w.roleWorld
	own.roleWorld, roles.t = &roles, t
	return &own
}

// user makes the user of a role, without a right, and returns the flags of somebody who
// is that one.
func (w *aclWorld) user(role string) []string {
	w.t.Helper()
	if w.secure != "" {
		return w.certificate(role)
	}
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
	return []string{"--kafka", w.login, "--kafka-sasl", "SCRAM-SHA-512", "--kafka-user", name, "--kafka-password-file", file, "--topic-prefix", w.prefix}
}

// principal is how the broker calls a role's user: of a certificate by its subject.
func (w *aclWorld) principal(role string) string {
	if w.secure != "" {
		return "User:CN=" + w.prefix + role
	}
	return "User:" + w.prefix + role
}

// rights are those that the list gives a role.
func (w *aclWorld) rights(role string) []kafkago.ACLEntry {
	return grant(w.t, "--topic-prefix", w.prefix, "--group", w.prefix+"g", role, w.principal(role))
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
	o := kafka.Options{Brokers: []string{w.login}}
	value := func(flag string) string { return flags[slices.Index(flags, flag)+1] }
	s := kafka.Security{Mechanism: "SCRAM-SHA-512"}
	if w.secure != "" {
		s = kafka.Security{CAFile: value("--kafka-ca"), CertFile: value("--kafka-cert"), KeyFile: value("--kafka-key")}
	} else {
		s.User, s.PasswordFile = value("--kafka-user"), value("--kafka-password-file")
	}
	if err := s.Apply(&o); err != nil {
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

// endToEnd has the roles work together: what the bank sends is decided, recorded, closed
// by an analyst, and proved.
func (w *aclWorld) endToEnd() {
	t := w.t
	services := w.decides()
	record := w.run(w.commands["record"]...)
	w.recorded(record)
	_, labels, err := w.log.Offsets(t.Context(), w.topics.Labels, 0)
	if err != nil {
		t.Fatal(err)
	}
	desk := w.opens()
	w.works(desk)
	desk.until("a label", func() bool {
		_, end, err := w.log.Offsets(t.Context(), w.topics.Labels, 0)
		return err == nil && end > labels
	})
	for _, b := range append(services, record, desk) {
		b.stop()
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
	w.give(grant(t, "--topic-prefix", prefix, "simulate", w.principal("simulate"))...)
	call(t, append(w.commands["simulate"], "--topic-prefix", prefix)...).fails(t, exitFailed, "this user lacks the right Create on topic "+prefix+"labels", "weir migrate", "administrator")
}

// migrates makes the topics by the user who may, and is refused where a right is missing
// to look, to make or to alter.
func (w *aclWorld) migrates(t *testing.T) {
	prefix := w.prefix + "made."
	flags := w.user("migrate")
	args := slices.Concat([]string{"migrate"}, flags, []string{"--data", t.TempDir(), "--partitions", "2", "--topic-prefix", prefix})
	w.commands["migrate"] = args
	defer delete(w.commands, "migrate") // what it lacks was seen here
	rights := grant(t, "--topic-prefix", prefix, "migrate", w.principal("migrate"))
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
	rights := grant(t, "--topic-prefix", prefix, "models", w.principal("models"))
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

// starts has roles look for their rights as they start, with each of them missing.
func (w *aclWorld) starts(roles ...string) {
	for _, role := range roles {
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
}

// TestRolesAtKafka has each role work with the rights that deploy/kafka/acls gives it, and
// takes each of them away in turn: the role says which one it lacks, as it starts, and
// where it does not look then, as it works. So no right is missing from the list, and none
// is in it for nothing.
func TestRolesAtKafka(t *testing.T) {
	w := newACLWorld(t, false)
	w.endToEnd()
	w.starts("score", "record", "desk", "simulate")
	t.Run("missing topics", w.misses)
	t.Run("migrate", w.migrates)
	t.Run("train", w.trains)
	w.as("record", "--note-every", "50ms")
	unprepared = true
	defer func() { unprepared = false }()
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

// TestRolesAtKafkaByCertificate has each role work as TestRolesAtKafka does where its user is
// the subject of a client's certificate, and a scorer miss each of its rights.
func TestRolesAtKafkaByCertificate(t *testing.T) {
	w := newACLWorld(t, true)
	w.endToEnd()
	w.starts("score")
}
