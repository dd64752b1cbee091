package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/weir-risk/weir/cmd/weir/internal/leaktest"
	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/trainer"
)

// A secretsWorld is weir as a bank runs it, with a secret wherever one can be given and
// card numbers wherever one can come from. What it lets out is searched for them: what
// goes into vault and nowhere else is left out, and the topics that others write.
type secretsWorld struct {
	t       *testing.T
	r       *rand.Rand
	search  leaktest.Search
	vault   string // the files of the secrets
	out     string // all that processes and commands say
	data    string // folders of the roles
	brokers string
	prefix  string   // of the topics
	kafka   []string // the flags that reach the brokers
	traces  []string // and the collector
	traced  atomic.Int64
	history []string
	topics  schemas.Topics
	log     *kafka.Client
	secrets map[string]string
	cards   map[string]string
	sent    int64
	said    int // commands
	pages   int
}

// secretWords are the secrets that are a text.
var secretWords = []string{"kafka password", "clickhouse password", "registry password", "oidc secret", "analyst password", "owner password",
	"passphrase", "collector token", "text in the file", "flag", "variable"}

// newSecretsWorld draws the secrets and fills the vault, but for those of the brokers and
// the history.
func newSecretsWorld(t *testing.T) *secretsWorld {
	t.Helper()
	const seed = 11
	dir := t.TempDir()
	w := &secretsWorld{t: t, r: rand.New(rand.NewPCG(seed, 0)), vault: filepath.Join(dir, "vault"), out: filepath.Join(dir, "out"),
		data: filepath.Join(dir, "data"), secrets: make(map[string]string), cards: make(map[string]string)}
	for _, folder := range []string{w.vault, w.out, w.data} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	before := sealWork
	sealWork = 4 // a guess is cheap here
	t.Cleanup(func() { sealWork = before })
	t.Chdir(w.out) // what is written beside is searched too
	for _, name := range secretWords {
		w.plant(name, w.word(name))
	}
	w.put("otlp headers", "X-Bank: weir\nAuthorization: Bearer "+w.secrets["collector token"]+"\n")
	for _, name := range []string{"token key", "token key before"} {
		raw := w.bytes(32)
		w.search.Add(name, raw)
		id := map[string]string{"token key": "k2", "token key before": "k1"}[name]
		w.put(name, id+":"+hex.EncodeToString(raw)+"\n")
	}
	for _, name := range []string{"champion key", "desk key", "rollback key"} {
		key, _, err := trainer.LoadOrMakeKey(w.file(name))
		if err != nil {
			t.Fatal(err)
		}
		w.search.Add(name, key.Seed())
		w.plantPEM(name)
	}
	for _, name := range cardPlaces {
		w.cards[name] = w.card()
		w.search.AddCard("card: "+name, w.cards[name])
	}
	return w
}

// word draws a password that has to be escaped wherever texts are.
func (w *secretsWorld) word(name string) string {
	return fmt.Sprintf("%.3s%x+/&\"é%x", name, w.bytes(7), w.bytes(5))
}

func (w *secretsWorld) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(w.r.Uint32())
	}
	return b
}

// card draws a card number with a right check digit.
func (w *secretsWorld) card() string {
	for {
		digits := fmt.Sprintf("4%015d", w.r.Int64N(1e15))
		if !bytes.Equal(schemas.HideCards([]byte(digits)), []byte(digits)) {
			return digits
		}
	}
}

// plant has a secret looked for, and puts it into a file of the vault.
func (w *secretsWorld) plant(name, secret string) {
	w.search.Add(name, []byte(secret))
	w.secrets[name] = secret
	w.put(name, secret+"\n")
}

// plantPEM has the lines of a PEM file looked for, and what they stand for.
func (w *secretsWorld) plantPEM(name string) {
	w.t.Helper()
	text, err := os.ReadFile(w.file(name))
	if err != nil {
		w.t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		w.t.Fatalf("%s is no PEM", name)
	}
	// The first bytes of a key's file say of which kind it is: they are no secret.
	der := block.Bytes[len(block.Bytes)/2:]
	w.search.Add(name+", its bytes", der)
	body := strings.ReplaceAll(base64.StdEncoding.EncodeToString(block.Bytes), "\n", "")
	w.search.Add(name+", its text", []byte(body[len(body)/2:]))
}

func (w *secretsWorld) file(name string) string {
	return filepath.Join(w.vault, strings.ReplaceAll(name, " ", "-"))
}

func (w *secretsWorld) put(name, text string) string {
	w.t.Helper()
	writeFile(w.t, w.file(name), text)
	return w.file(name)
}

// embeddedSecrets is the world on a broker in this process that asks for SCRAM, and SQLite.
func embeddedSecrets(t *testing.T) *secretsWorld {
	w := newSecretsWorld(t)
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "weir", w.secrets["kafka password"]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	w.brokers = c.ListenAddrs()[0]
	w.kafka = []string{"--kafka", w.brokers, "--kafka-sasl", "SCRAM-SHA-512", "--kafka-user", "weir"}
	w.history = []string{"--history", filepath.Join(w.data, "history.db")}
	w.connect(kafka.Security{Mechanism: "SCRAM-SHA-512", User: "weir", Password: w.secrets["kafka password"]})
	return w
}

// connect makes the topics.
func (w *secretsWorld) connect(s kafka.Security) {
	w.t.Helper()
	o := kafka.Options{Brokers: []string{w.brokers}}
	if err := s.Apply(&o); err != nil {
		w.t.Fatal(err)
	}
	w.log = kafka.New(o)
	w.t.Cleanup(w.log.Close)
	w.topics = schemas.DefaultTopics(w.prefix)
	if err := w.log.Ensure(w.t.Context(), w.topics.Layouts(2)); err != nil {
		w.t.Fatal(err)
	}
}

// environment holds the secrets that variables hold.
func (w *secretsWorld) environment() map[string]string {
	return map[string]string{"WEIR_KAFKA_PASSWORD": w.secrets["kafka password"], "WEIR_CLICKHOUSE_PASSWORD": w.secrets["clickhouse password"],
		"WEIR_SCHEMA_REGISTRY_PASSWORD": w.secrets["registry password"], "WEIR_OIDC_CLIENT_SECRET": w.secrets["oidc secret"]}
}

// A secretsRole is a role of weir's as a process.
type secretsRole struct {
	w    *secretsWorld
	name string
	cmd  *exec.Cmd
	done chan struct{}
}

// role starts a process, whose temporary files are searched too.
func (w *secretsWorld) role(name string, args ...string) *secretsRole {
	w.t.Helper()
	p := &secretsRole{w: w, name: name, done: make(chan struct{})}
	args = append(args, "--data", filepath.Join(w.data, name), "--listen", "127.0.0.1:0", "--log-level", "debug")
	p.cmd = exec.Command(os.Args[0], slices.Concat(args, w.kafka, w.traces)...)
	p.cmd.Dir = w.out
	p.cmd.Env = []string{"WEIR_TEST_PHASES=" + filepath.Join(w.vault, name+".phases"), "TMPDIR=" + w.out, "HOME=" + w.out, "GOTRACEBACK=all"}
	for k, v := range w.environment() {
		p.cmd.Env = append(p.cmd.Env, k+"="+v)
	}
	var err error
	for stream, to := range map[string]interface{ Set(*os.File) }{"stdout": outOf{p.cmd}, "stderr": errOf{p.cmd}} {
		var f *os.File
		if f, err = os.Create(filepath.Join(w.out, name+"."+stream)); err == nil {
			defer f.Close()
			to.Set(f)
		}
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	go func() { // ends with the process
		_ = p.cmd.Wait()
		close(p.done)
	}()
	w.t.Cleanup(func() { p.end(syscall.SIGKILL) })
	return p
}

type outOf struct{ *exec.Cmd }
type errOf struct{ *exec.Cmd }

func (c outOf) Set(f *os.File) { c.Stdout = f }
func (c errOf) Set(f *os.File) { c.Stderr = f }

func (p *secretsRole) end(s syscall.Signal) {
	_ = p.cmd.Process.Signal(s)
	<-p.done
}

// says waits for a pattern in the log and returns its first group.
func (p *secretsRole) says(pattern string) string {
	p.w.t.Helper()
	at := regexp.MustCompile(pattern)
	var text []byte
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		text, _ = os.ReadFile(filepath.Join(p.w.out, p.name+".stderr"))
		if m := at.FindSubmatch(text); m != nil {
			return string(m[1])
		}
		select {
		case <-p.done:
			p.w.t.Fatalf("%s ended:\n%s", p.name, text)
		default:
		}
	}
	p.w.t.Fatalf("%s does not say %s:\n%s", p.name, pattern, text)
	return ""
}

// commandMax is how long a command may take: one that would serve is told to end then.
const commandMax = 2 * time.Second

// run runs a command in this process and keeps what it says.
func (w *secretsWorld) run(environment map[string]string, args ...string) called {
	w.t.Helper()
	most := commandMax
	if args[0] == "tail" {
		most = commandMax / 20 // it waits for more
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), most)
	defer cancel()
	var stdout, stderr bytes.Buffer
	e := &env{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr,
		lookup: func(name string) (string, bool) { v, ok := environment[name]; return v, ok }}
	began := time.Now()
	c := called{run(ctx, args, e), stdout.String(), stderr.String()}
	if d := time.Since(began); d > commandMax/4 {
		w.t.Logf("%.1f s: %d %q", d.Seconds(), c.code, args)
	}
	w.said++
	w.keep(fmt.Sprintf("%03d.%s", w.said, strings.ReplaceAll(args[0], w.secrets["flag"], "")), fmt.Appendf(nil, "exit code %d\n%s\n%s", c.code, c.stdout, c.stderr))
	return c
}

// keep keeps an output for the search.
func (w *secretsWorld) keep(name string, text []byte) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.out, strings.ReplaceAll(name, "/", "_")), text, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// body keeps the answer of an address, and returns its body.
func (w *secretsWorld) body(name, url string) []byte {
	w.t.Helper()
	a, err := http.Get(url)
	if err != nil {
		w.t.Fatal(err)
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	w.keep(name, fmt.Appendf(nil, "%v\n%s", a.Header, body))
	return body
}

// secretFiles are files of the roles that are there to hold a secret.
var secretFiles = regexp.MustCompile(`(^|/)(token\.key|signing\.key)$`)

// everything calls fn with each output there is: files, rows of SQLite, records of topics.
func (w *secretsWorld) everything(fn func(name string, text []byte)) {
	w.t.Helper()
	for _, root := range []string{w.out, w.data} {
		err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || secretFiles.MatchString(name) {
				return err
			}
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			fn(strings.TrimPrefix(name, filepath.Dir(root)+"/"), text)
			if bytes.HasPrefix(text, []byte("SQLite format 3\x00")) {
				return w.rows(name, fn)
			}
			return nil
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	for _, l := range w.topics.Layouts(1) {
		if !slices.Contains([]string{w.topics.Transactions, w.topics.Labels, w.topics.Rates}, l.Topic) { // they are the bank's
			w.records(l.Topic, fn)
		}
	}
}

// rows are those of a SQLite file, each whole: on its pages they may be in pieces.
func (w *secretsWorld) rows(name string, fn func(string, []byte)) error {
	db, err := sql.Open("sqlite", "file:"+name+"?mode=ro")
	if err != nil {
		return err
	}
	defer db.Close()
	var tables []string
	list, err := db.Query(`SELECT name FROM sqlite_master WHERE type = 'table'`)
	if err != nil {
		return err
	}
	for list.Next() {
		var table string
		if err := list.Scan(&table); err != nil {
			return err
		}
		tables = append(tables, table)
	}
	if err := list.Err(); err != nil {
		return err
	}
	for _, table := range tables {
		rows, err := db.Query(`SELECT * FROM "` + table + `"`)
		if err != nil {
			return err
		}
		columns, _ := rows.Columns()
		values, to := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			to[i] = &values[i]
		}
		var text []byte
		for rows.Next() {
			if err := rows.Scan(to...); err != nil {
				return err
			}
			for _, v := range values {
				if b, ok := v.([]byte); ok {
					text = append(append(text, b...), '\n')
				} else {
					text = fmt.Appendf(text, "%v\n", v)
				}
			}
		}
		if err := rows.Err(); err != nil {
			return err
		}
		fn(filepath.Base(name)+" table "+table, text)
	}
	return nil
}

// records are those of a topic: keys, values and headers.
func (w *secretsWorld) records(topic string, fn func(string, []byte)) {
	w.t.Helper()
	t, err := w.log.Describe(w.t.Context(), topic)
	if err != nil {
		w.t.Fatal(err)
	}
	var text []byte
	for p := range int32(t.Partitions) {
		first, end, err := w.log.Offsets(w.t.Context(), topic, p)
		if err != nil {
			w.t.Fatal(err)
		}
		r := kafka.NewReader(w.log, topic, p, first)
		for r.Position() < end {
			rs, err := r.Next(w.t.Context(), end)
			if err != nil {
				w.t.Fatal(err)
			}
			if rs == nil {
				break
			}
			for rs.Next() {
				record := rs.Record()
				text = append(append(append(append(text, record.Key...), '\n'), record.Value...), '\n')
				for _, h := range record.Headers {
					text = append(append(append(append(text, h.Key...), ' '), h.Value...), '\n')
				}
			}
		}
		r.Close()
	}
	fn("topic "+topic, text)
}

// TestNoSecretGetsOut runs the stream from end to end with secrets and card numbers planted,
// has each secret be wrong in turn, and searches everything that comes out.
func TestNoSecretGetsOut(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts processes")
	}
	w := embeddedSecrets(t)
	w.lives()
	w.fails()
	w.searched()
	w.leaks("kafka password")
}

// searched fails where something got out, and where the search would not have found it.
func (w *secretsWorld) searched() {
	w.t.Helper()
	outputs, size := 0, 0
	w.everything(func(name string, text []byte) {
		outputs, size = outputs+1, size+len(text)
		for _, found := range w.search.In(text) {
			w.t.Errorf("%s holds the %s:\n%.600q", name, found, text)
		}
	})
	w.t.Logf("%d outputs, %d kB, %d commands, %d forms of secrets", outputs, size/1000, w.said, len(w.search.Known()))
	if outputs < 60 {
		w.t.Errorf("only %d outputs", outputs)
	}
	// The control: each form, in a file of the roles and in the middle of an output.
	hidden := filepath.Join(w.data, "leak")
	for name, text := range w.search.Known() {
		writeFile(w.t, hidden, "a line\nbefore "+string(text)+" behind\n")
		found := false
		text, err := os.ReadFile(hidden)
		if err != nil {
			w.t.Fatal(err)
		}
		found = slices.Contains(w.search.In(text), name)
		if !found {
			w.t.Errorf("a planted %s is not found", name)
		}
	}
	_ = os.Remove(hidden)
}

// champion publishes a model that sends every payment to review, by the key in the vault.
func (w *secretsWorld) champion(file string) {
	w.t.Helper()
	by, err := loadSpec(file)
	if err != nil {
		w.t.Fatal(err)
	}
	key, _, err := trainer.LoadOrMakeKey(w.file("champion key"))
	if err != nil {
		w.t.Fatal(err)
	}
	sealed := randomBundle(w.t, filepath.Join(w.out, "champion.weir"), 3, key, func(b *scoring.Bundle) {
		b.Policy.Review, b.Spec = 0, scoring.SpecText{Name: by.Name, Text: by.Text, Hash: by.Hash}
	})
	text, err := os.ReadFile(filepath.Join(w.out, "champion.weir"))
	if err == nil {
		err = ingest.PublishBundle(w.t.Context(), w.log, w.topics, text, sealed.Hash, "champion", ingest.Slot{By: "test", Reason: "test"}, key, time.Now())
	}
	if err != nil {
		w.t.Fatal(err)
	}
	var both []byte // whose bundles are taken
	for _, name := range []string{"champion key", "desk key", "rollback key"} {
		text, err := os.ReadFile(w.file(name) + ".pub")
		if err != nil {
			w.t.Fatal(err)
		}
		both = append(both, text...)
	}
	writeFile(w.t, filepath.Join(w.out, "models.pem"), string(both))
}
