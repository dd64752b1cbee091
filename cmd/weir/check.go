package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/weir-risk/weir/cmd/weir/internal/config"
	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/decode"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/trainer"
)

var checkCommand = &command{
	name: "check", summary: "check spec, keys, bundle and flags before anything is started", json: true,
	about: `It takes the flags of weir up, and says of each thing that they name whether it is
right: what is, and what is to be known, on stdout; every mistake at once, with its
place and a remedy, on stderr, and the exit code is then 1. Nothing is started or
made; the brokers are asked for the settings of the topics and the schema registry for
its schemas, where they are given.

With --config FILE every mistake in the file of settings is told with its line and
column, its reason and what to do: keys that there are not, values that are none, what
contradicts what, files that are not there or that others may read.`,
	examples: []string{
		"weir check --spec bank.spec",
		"weir check --spec bank.spec --bundle model.weir --trust keys.pem",
		"weir check --kafka k1:9093,k2:9093 --kafka-tls --kafka-ca ca.pem --history clickhouse://ch:9000/weir   # topics too",
		"weir check --source-format avro --schema-registry https://sr:8081 --schema-registry-ca ca.pem",
		"weir check --spec payments --print > bank.spec",
		"weir check --config weir.yaml                   # each mistake as weir.yaml:LINE:COLUMN: reason; hint",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		c := &checking{up: addUp(fs)}
		fs.StringVar(&c.key, "key", "", "PEM `FILE` of a signing key to check")
		fs.BoolVar(&c.print, "print", false, "print the spec's text and check nothing else")
		return c.run
	},
}

// checking is one run of the command.
type checking struct {
	*up
	key   string
	print bool
}

func (c *checking) run(ctx context.Context, e *env, _ []string) error {
	if c.print {
		s, err := loadSpec(*c.score.spec)
		if err != nil {
			return err
		}
		_, err = e.stdout.Write(s.Text)
		return err
	}
	f := newFindings(e)
	settled := f.settings(e.config)
	s := f.spec(*c.score.spec)
	for _, before := range c.score.before {
		f.follows(s, before)
	}
	c.tokens(f, s)
	trust := c.keys(f)
	if c.bundle != "" {
		f.bundle(c.bundle, trust, s)
	}
	if !settled { // what follows would say the same again, without the place
		return f.end()
	}
	if _, err := c.training(); err != nil {
		f.wrong("training", "%v", err)
	}
	c.wiring(ctx, f, s)
	c.registry(ctx, f)
	return f.end()
}

// settings says what is wrong with the file of settings, and reports whether it is right.
func (f *findings) settings(c *configuration) bool {
	for _, text := range config.Misspelt(f.env.environ) {
		f.Notes = append(f.Notes, finding{What: "environment", Text: text})
	}
	if c.file == nil {
		return true
	}
	c.file.Look(c.outside(f.env), spec.BuiltinNames(), trainer.OthersMayRead)
	for _, p := range c.file.Problems {
		f.Problems = append(f.Problems, finding{"settings", p.String(), &p})
	}
	if len(c.file.Problems) > 0 {
		return false
	}
	f.right("settings", "%s: %s", c.name, several(len(c.file.Values), "setting"))
	return true
}

// findings are what a check has found: right things and those to know on stdout, wrong
// ones on stderr.
type findings struct {
	env      *env
	Right    []finding `json:"right"`
	Notes    []finding `json:"notes"`
	Problems []finding `json:"problems"`
}

func newFindings(e *env) *findings {
	return &findings{env: e, Right: []finding{}, Notes: []finding{}, Problems: []finding{}}
}

// finding is one thing that was looked at.
type finding struct {
	What string `json:"what"`
	Text string `json:"text"`

	*config.Problem // of a file of settings, for programs
}

func (f *findings) right(what, format string, a ...any) {
	f.Right = append(f.Right, finding{What: what, Text: fmt.Sprintf(format, a...)})
}

func (f *findings) wrong(what, format string, a ...any) {
	for line := range strings.SplitSeq(fmt.Sprintf(format, a...), "\n") {
		f.Problems = append(f.Problems, finding{What: what, Text: line})
	}
}

// end prints the table.
func (f *findings) end() error {
	if !f.env.json {
		for _, r := range f.Right {
			f.env.printf("ok     %-12s %s\n", r.What, r.Text)
		}
		for _, n := range f.Notes {
			f.env.printf("note   %-12s %s\n", n.What, n.Text)
		}
	}
	for _, p := range f.Problems {
		fmt.Fprintf(f.env.stderr, "wrong  %-12s %s\n", p.What, p.Text)
	}
	err := f.env.report(struct {
		OK bool `json:"ok"`
		*findings
	}{len(f.Problems) == 0, f})
	if err == nil && len(f.Problems) > 0 {
		err = errFound
	}
	return err
}

// spec checks a spec, which it returns where it can be read.
func (f *findings) spec(name string) *spec.Spec {
	s, err := loadSpec(name)
	if err == nil {
		err = features.Check(s)
	}
	if err == nil && len(s.Fallback) == 0 {
		err = errors.New("no fallback line: what is done where no model can score? Write, for example: fallback review when amount > 1000")
	}
	if err != nil {
		f.wrong("spec", "%v", err)
		return nil
	}
	f.right("spec", "%s: %s, %s over %s, %s, hash %x", s.Name, several(len(s.Features), "feature"), several(len(s.Aggregates), "aggregate"),
		several(len(s.Entities), "kind of entity", "kinds of entities"), several(len(s.Fallback), "fallback rule"), s.Hash[:8])
	return s
}

// follows checks whether a ledger that before decided can go on by s.
func (f *findings) follows(s, before *spec.Spec) {
	if s == nil {
		return
	}
	if err := s.Follow(before); err != nil {
		f.wrong("spec-before", "%s (%x) cannot go on where %s (%x) decided: %v", s.Name, s.Hash[:8], before.Name, before.Hash[:8], err)
		return
	}
	f.right("spec-before", "%s: a ledger that it decided can go on by %s", before.Name, s.Name)
}

// tokens checks the key of tokens, where there are secrets.
func (c *checking) tokens(f *findings, s *spec.Spec) {
	made := filepath.Join(c.service.data, "token.key")
	_, inEnv := f.env.lookup("WEIR_TOKEN_KEY")
	t := *c.score.tokens
	if t.key == "" && !inEnv {
		if s == nil || !decode.NeedsTokens(s) {
			return
		}
		if _, err := os.Stat(made); errors.Is(err, fs.ErrNotExist) {
			f.right("token key", "none yet: weir up makes %s", made)
			return
		}
		t.key = made
	}
	if _, err := t.load(f.env, ""); err != nil {
		f.wrong("token key", "%v", err)
		return
	}
	from := t.key
	if from == "" {
		from = "WEIR_TOKEN_KEY"
	}
	f.right("token key", "%s", from)
}

// keys checks the signing key and the keys that are trusted, and returns these.
func (c *checking) keys(f *findings) []ed25519.PublicKey {
	var trust []ed25519.PublicKey
	name, asked := c.key, c.key != ""
	if !asked {
		name = filepath.Join(c.service.data, "signing.key")
	}
	key, err := trainer.LoadKey(name)
	switch {
	case err == nil:
		f.right("signing key", "%s", name)
		trust = append(trust, key.Public().(ed25519.PublicKey))
	case errors.Is(err, fs.ErrNotExist) && !asked:
		f.right("signing key", "none yet: weir up makes %s", name)
	default:
		f.wrong("signing key", "%v", err)
	}
	if c.score.trust == "" {
		return trust
	}
	trust, err = trainer.LoadPublicKeys(c.score.trust)
	if err != nil {
		f.wrong("trust", "%v", err)
		return nil
	}
	f.right("trust", "%s: %s", c.score.trust, several(len(trust), "key"))
	return trust
}

// wiring checks the flags that say how weir is connected.
func (c *checking) wiring(ctx context.Context, f *findings, s *spec.Spec) {
	if c.brokers(f) && s != nil {
		c.topics(ctx, f, s)
	}
	address(f, "listen", c.service.listen, hostPort)
	if err := c.service.monitorFlags.check(); err != nil {
		f.wrong("metrics", "%v", err)
	}
	if t, err := c.service.trace.config(); err != nil {
		f.wrong("traces", "%v", err)
	} else if t.URL != "" {
		f.right("traces", "%v of the transactions to %s", t.Share, t.URL)
	}
	if err := c.desk.check(); err != nil {
		f.wrong("desk", "%v", err)
	} else if !c.desk.off() {
		f.right("desk", "%s://%s", c.desk.scheme(), c.desk.web)
	}
	if c.service.kafka.brokers == "" {
		address(f, "broker", c.broker, hostPort)
	}
	if c.partitions < 1 {
		f.wrong("partitions", "--partitions %d: 1 or more", c.partitions)
	}
	if c.service.pprof != "" {
		address(f, "pprof", c.service.pprof, loopback)
	}
	if info, err := os.Stat(c.service.data); err == nil && !info.IsDir() {
		f.wrong("data", "%s is no folder", c.service.data)
	}
	if _, err := kafka.ParseCodec(c.score.codec); err != nil {
		f.wrong("compression", "--compression: %v", err)
	}
	if c.score.rowsMax < 1 {
		f.wrong("rows-max", "--rows-max %d: 1 or more", c.score.rowsMax)
	}
	if c.score.shards < 0 || c.score.shards > c.partitions {
		f.wrong("shards", "--shards %d: at most one for each of %d partitions of transactions", c.score.shards, c.partitions)
	}
	if c.score.session <= 0 {
		f.wrong("session", "--session %s: more than none; brokers allow 6 s and more", c.score.session)
	}
	if _, err := c.service.logger(f.env); err != nil {
		f.wrong("log", "%v", err)
	}
	if c.history.url != "" {
		historyURL(f, c.history.url)
	}
}

// brokers checks how the brokers are reached, and reports whether they are to be asked.
func (c *checking) brokers(f *findings) (ask bool) {
	k := c.service.kafka
	k.security.Password, _ = f.env.lookup("WEIR_KAFKA_PASSWORD")
	fine := true
	if err := k.security.Apply(&kafka.Options{}); err != nil {
		f.wrong("kafka", "%v", err)
		fine = false
	}
	if k.brokers == "" {
		return false
	}
	list := strings.Split(k.brokers, ",")
	for _, b := range list {
		if err := hostPort(b); err != nil {
			f.wrong("kafka", "--kafka: %v", err)
			fine = false
		}
	}
	if fine {
		how := "without TLS"
		if k.security.TLS || k.security.CAFile != "" || k.security.CertFile != "" {
			how = "over TLS"
		}
		if k.security.Mechanism != "" {
			how += ", as " + k.security.User + " by " + k.security.Mechanism
		}
		f.right("kafka", "%s %s; topics %s, %s and what goes with them", k.brokers, how, k.topics().Transactions, k.topics().Decisions)
	}
	return fine
}

// topics checks the topics that there are.
func (c *checking) topics(ctx context.Context, f *findings, s *spec.Spec) {
	log, err := c.service.kafka.client(f.env)
	if err != nil {
		f.wrong("kafka", "%v", err)
		return
	}
	defer log.Close()
	found, there, err := ingest.CheckTopics(ctx, log, c.service.kafka.topics(), s, c.score.tenant)
	if err != nil {
		f.wrong("topics", "%v", err)
		return
	}
	before := len(f.Problems)
	for _, t := range found {
		text := strings.Join(t.Topics, ", ") + ": " + t.What
		if t.Remedy != "" {
			text += "; " + t.Remedy
		}
		if t.Wrong {
			f.wrong("topics", "%s", text)
		} else {
			f.Notes = append(f.Notes, finding{What: "topics", Text: text})
		}
	}
	if len(f.Problems) == before && there > 0 {
		f.right("topics", "%s, whose settings lose nothing that is acknowledged or kept", several(there, "topic"))
	}
}

// registry asks the schema registry whether it lets weir in.
func (c *checking) registry(ctx context.Context, f *findings) {
	flags := c.score.format
	s, err := flags.schemas(f.env, slog.New(slog.DiscardHandler))
	if err == nil && s != nil {
		err = s.Check(ctx)
	}
	switch {
	case err != nil:
		f.wrong("source", "%v%s", err, registryRemedy(err))
	case s != nil && flags.user != "":
		f.right("source", "%s, with the schemas of %s, as %s", flags.format, flags.registry, flags.user)
	case s != nil:
		f.right("source", "%s, with the schemas of %s", flags.format, flags.registry)
	}
}

// address checks the value of a flag that names a place to listen.
func address(f *findings, flag, value string, check func(string) error) {
	if err := check(value); err != nil {
		f.wrong(flag, "--%s: %v", flag, err)
		return
	}
	f.right(flag, "%s", value)
}

func hostPort(text string) error {
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return fmt.Errorf("%q is no HOST:PORT", text)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q: the port is no number from 0 to 65535", text)
	}
	return nil
}

// historyURL checks where the history is to be kept. Opening ClickHouse connects
// nowhere, opening SQLite would make the file.
func historyURL(f *findings, text string) {
	scheme, _, found := strings.Cut(text, ":")
	if !found || scheme == "sqlite" {
		file := strings.TrimPrefix(text, "sqlite:")
		if _, err := os.Stat(filepath.Dir(file)); err != nil {
			f.wrong("history", "--history %s: its folder is not there", text)
			return
		}
		f.right("history", "SQLite in %s", file)
		return
	}
	password, _ := f.env.lookup(history.PasswordVariable)
	store, err := history.Open(context.Background(), text, history.Options{Password: password})
	if err != nil {
		f.wrong("history", "--history: %v", err)
		return
	}
	if err := store.Close(); err != nil {
		f.wrong("history", "--history: %v", err)
		return
	}
	where := "ClickHouse"
	if u, err := url.Parse(text); err == nil { // without user and password
		where += " at " + u.Host + u.Path
	}
	f.right("history", "%s", where)
}
