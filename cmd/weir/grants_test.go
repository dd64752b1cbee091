package main

import (
	"encoding/xml"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-risk/weir/ingest/broker"
)

// A grantWorld is a ClickHouse of its own, with the users of deploy/clickhouse/grants.xml,
// and for each of their grants one who lacks it.
type grantWorld struct {
	*roleWorld
	server string
	grants map[string][]string // by role
}

// grantsOf reads the file.
func grantsOf(t *testing.T) map[string][]string {
	t.Helper()
	var file struct {
		Users struct {
			List []struct {
				XMLName xml.Name
				Query   []string `xml:"grants>query"`
			} `xml:",any"`
		} `xml:"users"`
	}
	if err := xml.Unmarshal([]byte(content(t, "../../deploy/clickhouse/grants.xml")), &file); err != nil {
		t.Fatal(err)
	}
	grants := make(map[string][]string)
	for _, u := range file.Users.List {
		grants[strings.TrimPrefix(u.XMLName.Local, "weir_")] = u.Query
	}
	return grants
}

// own are the roles that write, whose users without a grant have a database of their own.
var own = map[string]bool{"migrate": true, "record": true}

// lacking is the user of a role who lacks its i-th grant, and the database of that one.
func (w *grantWorld) lacking(role string, i int) (user, database string) {
	user = fmt.Sprintf("weir_%s_%d", role, i)
	if own[role] {
		return user, user
	}
	return user, "weir"
}

// users writes who there is.
func (w *grantWorld) users(file string) {
	w.t.Helper()
	var text strings.Builder
	user := func(name, database string, grants []string) {
		fmt.Fprintf(&text, "<%s><password>%s</password><grants>", name, testPassword)
		for _, g := range grants {
			fmt.Fprintf(&text, "<query>%s</query>", strings.ReplaceAll(g, " weir.", " "+database+"."))
		}
		fmt.Fprintf(&text, "</grants></%s>\n", name)
	}
	for role, grants := range w.grants {
		user("weir_"+role, "weir", grants)
		for i := range grants {
			name, database := w.lacking(role, i)
			var others []string
			others = append(append(others, grants[:i]...), grants[i+1:]...)
			user(name, database, others)
		}
	}
	if err := os.WriteFile(file, []byte("<clickhouse><users>\n"+text.String()+"</users></clickhouse>\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// newGrantWorld starts a ClickHouse, and an embedded broker with decisions and alerts.
func newGrantWorld(t *testing.T) *grantWorld {
	t.Helper()
	script := os.Getenv("WEIR_CLICKHOUSE_SCRIPT")
	if script == "" {
		t.Skip("no script that starts a ClickHouse is named by WEIR_CLICKHOUSE_SCRIPT: make integration has one")
	}
	b, err := broker.Start(broker.Options{Session: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	w := &grantWorld{roleWorld: newRoleWorld(t, b.Addr(), ""), grants: grantsOf(t)}
	for role := range w.commands {
		w.as(role, "--kafka", b.Addr())
	}
	w.commands["migrate"] = []string{"migrate"}
	w.commands["train"] = []string{"train", "--exit-code", "--ripe", "1d", "--key", filepath.Join(w.dir, "signing.key"), "--out", filepath.Join(w.dir, "learnt.weir")}
	w.commands["verify"] = []string{"verify", "--trust", filepath.Join(w.dir, "signing.key.pub"), "--bundle", filepath.Join(w.dir, "champion.weir")}
	file := filepath.Join(w.dir, "users.xml")
	w.users(file)
	port := strconv.Itoa(twoPorts())
	start := exec.Command(script, "start", port)
	start.Env = append(os.Environ(), "CLICKHOUSE_USERS="+file)
	t.Cleanup(func() {
		if out, err := exec.Command(script, "wipe", port).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	if out, err := start.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w.server = "127.0.0.1:" + port
	return w
}

// twoPorts returns the first of two in a row that nobody listens on.
func twoPorts() int {
	for {
		port := 10000 + rand.IntN(22000) // below those that the system gives to whoever connects
		a, errA := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		b, errB := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+1))
		for _, l := range []net.Listener{a, b} {
			if l != nil {
				_ = l.Close()
			}
		}
		if errA == nil && errB == nil {
			return port
		}
	}
}

// url is where a user finds the history.
func (w *grantWorld) url(user, database string) string {
	return (&url.URL{Scheme: "clickhouse", User: url.UserPassword(user, testPassword), Host: w.server, Path: database}).String()
}

// whole is a role's command as its own user.
func (w *grantWorld) whole(role string) []string {
	return append(slices.Clone(w.commands[role]), "--history", w.url("weir_"+role, "weir"))
}

// endToEnd has the roles work on one history: it is made, written, looked at, learnt from
// and proved.
func (w *grantWorld) endToEnd() {
	t := w.t
	services := w.decides()
	early := w.run(w.whole("record")...)
	early.ends(exitFailed, "the grant CREATE TABLE ON weir.migrations", "weir migrate by a user who may")
	call(t, w.whole("migrate")...).succeeds(t)
	record := w.run(w.whole("record")...)
	w.recorded(record)
	record.until("days", func() bool { return strings.Contains(record.said(), "days noted in the history") })
	w.commands["desk"] = w.whole("desk")
	desk := w.opens()
	if page := w.works(desk); !strings.Contains(page, "Equal") {
		t.Errorf("a decision computed again is\n%s", page)
	}
	if page := w.ask(desk, "GET", "/alerts/"+w.alerts[0]+"/history", nil); !strings.Contains(page, "payment") {
		t.Errorf("what was paid before is\n%s", page)
	}
	for _, b := range append(services, record, desk) {
		b.stop()
		if strings.Contains(b.said(), "Not enough privileges") {
			t.Errorf("it lacks a grant\n%s", b.said())
		}
	}
	if got := call(t, w.whole("train")...); got.code != exitTooFew {
		t.Errorf("training ends with %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	call(t, w.whole("verify")...).succeeds(t)
}

// refused runs a role, which lacks a grant, until it says so.
func (w *grantWorld) refused(role string, i int) {
	w.t.Helper()
	user, database := w.lacking(role, i)
	grant := strings.ReplaceAll(strings.TrimPrefix(w.grants[role][i], "GRANT "), " weir.", " "+database+".")
	what, on, _ := strings.Cut(grant, " ON ")
	lacks := regexp.MustCompile(fmt.Sprintf(`have the grant %s(\([^)]*\)| for at least one column)? ON %s`, what, strings.ReplaceAll(regexp.QuoteMeta(on), `\*`, `(\*|\w+)`)))
	b := w.run(append(slices.Clone(w.commands[role]), "--history", w.url(user, database))...)
	defer b.quit()
	page := ""
	for deadline := time.Now().Add(30 * time.Second); !lacks.MatchString(b.said() + page); time.Sleep(20 * time.Millisecond) {
		select {
		case code, runs := <-b.done:
			if !runs && !lacks.MatchString(b.said()) {
				w.t.Errorf("%s without %s ends without a word of it, %d\n%s", role, grant, code, b.said())
				return
			}
		default:
			if role == "desk" {
				page = w.works(b) + w.ask(b, "GET", "/alerts/"+w.alerts[0]+"/history", nil)
			}
		}
		if time.Now().After(deadline) {
			w.t.Errorf("%s works without %s\n%s", role, grant, b.said())
			return
		}
	}
}

// TestRolesAtClickHouse has each role work with the grants of deploy/clickhouse/grants.xml,
// and then as users who lack one of them each, which is named.
func TestRolesAtClickHouse(t *testing.T) {
	w := newGrantWorld(t)
	w.as("record", "--note-every", "50ms")
	w.endToEnd()
	for i := range w.grants["record"] {
		_, database := w.lacking("record", i)
		call(t, "migrate", "--history", "clickhouse://"+w.server+"/"+database).succeeds(t)
	}
	var wg sync.WaitGroup
	for role, grants := range w.grants {
		for i := range grants {
			if role == "desk" { // they have one folder
				w.refused(role, i)
			} else {
				wg.Go(func() { w.refused(role, i) })
			}
		}
	}
	wg.Wait()
}
