package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/weir-risk/weir/ingest/decode/wiretest"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// A registry is a schema registry, with the flags that name it to weir.
type registry struct {
	t      testing.TB
	client *sr.Client
	flags  []string
	prefix string // of its subjects: others may have theirs there
}

// The user and the password of a registry that asks for them.
const registryUser, registrySecret = "weir", "correct-horse-7"

// A guarded registry is a fake one behind HTTPS that lets one user in. It may be
// away.
type guarded struct {
	registry
	fake              *srfake.Registry
	url, ca, password string // the last two are files
	away              atomic.Bool
	asked             atomic.Int64
}

func newGuarded(t testing.TB) *guarded {
	t.Helper()
	fake := srfake.New()
	t.Cleanup(fake.Close)
	behind, err := url.Parse(fake.URL())
	if err != nil {
		t.Fatal(err)
	}
	g, proxy := &guarded{fake: fake}, httputil.NewSingleHostReverseProxy(behind)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.asked.Add(1)
		user, password, _ := r.BasicAuth()
		switch {
		case g.away.Load():
			http.Error(w, "away", http.StatusServiceUnavailable)
		case user != registryUser || password != registrySecret:
			http.Error(w, "<html>who?", http.StatusUnauthorized)
		case r.URL.Path == "/schemas/types": // which the fake one does not know
			_, _ = w.Write([]byte(`["AVRO","PROTOBUF"]`))
		default:
			proxy.ServeHTTP(w, r)
		}
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // a client that does not trust it is a case
	s.StartTLS()
	t.Cleanup(s.Close)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	g.url, g.ca, g.password = s.URL, secretFile(t, string(authority)), secretFile(t, registrySecret+"\n")
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	g.t, g.flags = t, []string{"--schema-registry", g.url, "--schema-registry-user", registryUser, "--schema-registry-ca", g.ca}
	g.client = registryClient(t, sr.URLs(s.URL), sr.BasicAuth(registryUser, registrySecret), sr.DialTLSConfig(&tls.Config{RootCAs: roots}))
	return g
}

func registryClient(t testing.TB, o ...sr.ClientOpt) *sr.Client {
	t.Helper()
	c, err := sr.NewClient(o...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func secretFile(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// register puts an encoding's schema, and before it those that it refers to, into
// the registry and returns its id.
func (r *registry) register(e wiretest.Encoding) int {
	r.t.Helper()
	var refs []sr.SchemaReference
	for _, s := range e.Schema.Refers {
		at, err := r.client.CreateSchema(r.t.Context(), r.prefix+s.Subject, sr.Schema{Schema: s.Text, Type: e.Type})
		if err != nil {
			r.t.Fatal(err)
		}
		refs = append(refs, sr.SchemaReference{Name: s.Name, Subject: at.Subject, Version: at.Version})
	}
	main, err := r.client.CreateSchema(r.t.Context(), r.prefix+e.Type.String()+"-value", sr.Schema{Schema: e.Schema.Text, Type: e.Type, References: refs})
	if err != nil {
		r.t.Fatal(err)
	}
	return main.ID
}

// each tells of the records of a topic, and how many partitions it has.
func (w *crashWorld) each(topic string, tell func(partition int32, r *kafka.Record)) (partitions int) {
	w.t.Helper()
	described, err := w.log.Describe(w.t.Context(), topic)
	if err != nil {
		w.t.Fatal(err)
	}
	for p := range int32(described.Partitions) {
		_, end, err := w.log.Offsets(w.t.Context(), topic, p)
		if err != nil {
			w.t.Fatal(err)
		}
		for reader := kafka.NewReader(w.log, topic, p, kafka.Earliest); ; {
			records, err := reader.Next(w.t.Context(), end)
			if err != nil {
				w.t.Fatal(err)
			}
			if records == nil {
				reader.Close()
				break
			}
			for records.Next() {
				tell(p, records.Record())
			}
		}
	}
	return described.Partitions
}

// send writes a batch of records to a partition.
func (w *crashWorld) send(topic string, partition int32, b *kafka.BatchWriter) {
	w.t.Helper()
	batch, err := b.Finish(kafka.Snappy)
	if err == nil {
		_, err = w.log.Produce(w.t.Context(), topic, partition, batch)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// copyAs gives a run the records of another one, its transactions in an encoding.
func (w *crashWorld) copyAs(run, from string, encode func(record []byte) ([]byte, error)) {
	w.t.Helper()
	to, source := w.topics(run), w.topics(from)
	batches := make(map[int32]*kafka.BatchWriter)
	partitions := w.each(source.Transactions, func(p int32, r *kafka.Record) {
		value, err := encode(r.Value)
		if err != nil {
			w.t.Fatal(err)
		}
		if batches[p] == nil {
			batches[p] = &kafka.BatchWriter{}
		}
		batches[p].Append(r.Key, value, r.Timestamp, nil)
	})
	if err := w.log.Ensure(w.t.Context(), to.Layouts(partitions)); err != nil {
		w.t.Fatal(err)
	}
	for p, b := range batches {
		w.send(to.Transactions, p, b)
	}
	for from, to := range map[string]string{source.Rates: to.Rates, source.Labels: to.Labels} {
		var b kafka.BatchWriter
		count := 0
		w.each(from, func(_ int32, r *kafka.Record) {
			b.Append(r.Key, r.Value, r.Timestamp, nil)
			count++
		})
		if count > 0 {
			w.send(to, 0, &b)
		}
	}
	w.champion(to)
}

// unknownID is that of no schema.
const unknownID = math.MaxInt32

// decidesAs has the payments of the run json decided as they come in an encoding,
// and then two records that are not what the registry says. began, if set, is
// called when weir runs.
func (w *crashWorld) decidesAs(e wiretest.Encoding, id int, registry []string, began func(*process)) {
	w.t.Helper()
	run := strings.ToLower(e.Type.String())
	var good []byte
	w.copyAs(run, "json", func(record []byte) (value []byte, err error) {
		good, err = e.Encode(id, record)
		return good, err
	})
	flags := append([]string{"--source-format", run}, registry...)
	p := start(w.t, append(append(w.flags(run, filepath.Join(w.dir, run)), "--kafka", w.brokers), flags...)...)
	if began != nil {
		began(p)
	}
	p.until("decision of each payment", func() bool { return w.progress(run) == w.total })

	var b kafka.BatchWriter
	b.Append(nil, wiretest.Frame(unknownID, nil, good[5:]), w.now, nil)
	b.Append(nil, good[:len(good)-1], w.now, nil)
	w.send(w.topics(run).Transactions, 0, &b)
	p.until("dead letter of each bad record", func() bool {
		_, end, err := w.log.Offsets(w.t.Context(), w.topics(run).DLQ, 0)
		return err == nil && end >= 2
	})
	out := p.stop()
	var report stopReport
	if err := json.Unmarshal([]byte(out[strings.LastIndexByte(strings.TrimSpace(out), '\n')+1:]), &report); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	if report.SourceRecords != w.total+2 || report.Rejected != 2 || report.Scored < w.total/2 {
		w.t.Errorf("%s: %+v", run, report)
	}
	w.sameAs(run, "json", 2)
	said, _ := json.Marshal(p.log)
	w.quiet(out + string(said))
	w.provedAs(run, flags)
}

// sameAs holds a run's ledger to that of another one, which has some records less.
func (w *crashWorld) sameAs(run, other string, more int) {
	w.t.Helper()
	got, want := w.records(run), w.records(other)
	if len(got) != len(want)+more || len(want) < int(w.total) {
		w.t.Fatalf("%s: %d ledger records, %s has %d", run, len(got), other, len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			w.t.Fatalf("%s: ledger record %d is another than that of %s", run, i, other)
		}
	}
}

// quiet sees that what weir says holds no password.
func (w *crashWorld) quiet(said string) {
	w.t.Helper()
	if strings.Contains(said, registrySecret) {
		w.t.Errorf("the registry's password is shown: %s", said)
	}
}

// verify runs weir verify over a run, with the token key.
func (w *crashWorld) verify(run string, flags ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	args := []string{"verify", "--kafka", w.brokers, "--topic-prefix", w.prefix(run), "--trust", filepath.Join(w.dir, "signing.key.pub"),
		"--token-key-file", filepath.Join(w.dir, "token.key")}
	return w.ask(append(args, flags...)...)
}

// provedAs has weir verify prove a run from its source, and find it different where
// it takes the source for JSON.
func (w *crashWorld) provedAs(run string, flags []string) {
	w.t.Helper()
	code, out, errs := w.verify(run, flags...)
	if code != exitOK || !strings.Contains(out, "lost 0, doubled 0, different 0\n") || !strings.Contains(out, fmt.Sprintf("%d source records", w.total+2)) {
		w.t.Errorf("%s: verify exits with %d\n%s%s", run, code, out, errs)
	}
	w.quiet(out + errs)
	if code, out, _ := w.verify(run); code != exitFailed || strings.Contains(out, "different 0\n") {
		w.t.Errorf("%s as JSON: verify exits with %d\n%s", run, code, out)
	}
	_, letters, errs := w.ask("tail", "--kafka", w.brokers, "--topic-prefix", w.prefix(run), "--from", "start", "--end", "dlq")
	if !strings.Contains(letters, schemas.BadSchema.String()) || !strings.Contains(letters, schemas.WireTruncated.String()) {
		w.t.Errorf("%s: the dead letters are\n%s%s", run, letters, errs)
	}
	w.showsNoCard(run, "\"schema\":")
	w.showsNoCard("json", "******")
}

// showsNoCard has weir tail print a run's transactions, each with some words.
func (w *crashWorld) showsNoCard(run, words string) {
	w.t.Helper()
	code, out, errs := w.ask("tail", "--kafka", w.brokers, "--topic-prefix", w.prefix(run), "--from", "start", "--end", "transactions")
	if n := int64(strings.Count(out, words)); code != exitOK || n < w.total*3/4 || strings.Contains(out, "base64") {
		w.t.Errorf("%s: tail exits with %d and prints %d lines with %q; %.300s%s", run, code, n, words, out, errs)
	}
	cards := 0
	w.each(w.topics("json").Transactions, func(_ int32, r *kafka.Record) {
		var payment struct{ Card string }
		if err := json.Unmarshal(r.Value, &payment); err != nil {
			w.t.Fatal(err)
		}
		if payment.Card != "" {
			cards++
			if strings.Contains(out, payment.Card) {
				w.t.Errorf("%s: a card number is shown", run)
			}
		}
	})
	if cards == 0 {
		w.t.Error("the bank's payments have no cards")
	}
}

// formatWorld is a world whose payments are decided as JSON, and their encodings.
func formatWorld(t *testing.T) (w *crashWorld, asAvro, asProtobuf wiretest.Encoding) {
	t.Helper()
	asAvro, err := wiretest.Avro()
	if err != nil {
		t.Fatal(err)
	}
	if asProtobuf, err = wiretest.Protobuf(t.Context()); err != nil {
		t.Fatal(err)
	}
	w = newCrashWorld(t, kafkaForTest(t))
	w.load(600, 2, "json")
	if r := w.finish(w.score("json", "json"), "json"); r.Rejected > 0 || r.Scored < w.total/2 {
		t.Fatalf("%+v", r)
	}
	return w, asAvro, asProtobuf
}

// TestSourceFormats has weir decide the same payments as JSON, as Protobuf and as
// Avro, by schemas of a registry behind HTTPS and a password: the ledgers are the
// same byte for byte, and proved. A registry that is away is waited for.
func TestSourceFormats(t *testing.T) {
	w, asAvro, asProtobuf := formatWorld(t)
	r := newGuarded(t)
	r.flags = append(r.flags, "--schema-registry-password-file", r.password)
	w.command = "up"
	w.decidesAs(asProtobuf, r.register(asProtobuf), r.flags, nil)
	w.command = "score"
	id := r.register(asAvro)
	r.away.Store(true)
	w.decidesAs(asAvro, id, r.flags, func(p *process) {
		p.until("word of a registry that is away", func() bool { return p.said("source is held") != nil && r.asked.Load() > 2 })
		if line := p.said("source is held"); line["reason"] != "schema_registry" || !strings.Contains(fmt.Sprint(line["cause"]), "status 503") {
			t.Errorf("weir says %v", line)
		}
		if n := w.progress("avro"); n > 0 {
			t.Errorf("%d records are decided without their schema", n)
		}
		r.away.Store(false)
	})

	// What was unknown when it was decided is different from what is known later.
	r.fake.SeedSchema("late-value", 1, unknownID, sr.Schema{Schema: `"int"`, Type: sr.TypeAvro})
	if code, out, errs := w.verify("avro", append(r.flags, "--source-format", "avro")...); code != exitFailed || !strings.Contains(out, "different 1\n") || !strings.Contains(errs, "bad_schema") {
		t.Errorf("verify exits with %d\n%s%s", code, out, errs)
	}
}

// TestRealRegistry has payments decided by the schemas of the registry that
// WEIR_SCHEMA_REGISTRY names, a real one, as in TestSourceFormats.
func TestRealRegistry(t *testing.T) {
	at := os.Getenv("WEIR_SCHEMA_REGISTRY")
	if at == "" {
		t.Skip("no registry is named by WEIR_SCHEMA_REGISTRY: make integration starts one")
	}
	w, asAvro, asProtobuf := formatWorld(t)
	r := &registry{t: t, client: registryClient(t, sr.URLs(at)), flags: []string{"--schema-registry", at}, prefix: w.prefix("")}
	w.decidesAs(asAvro, r.register(asAvro), r.flags, nil)
	w.decidesAs(asProtobuf, r.register(asProtobuf), r.flags, nil)
	call(t, append([]string{"check", "--source-format", "avro"}, r.flags...)...).succeeds(t)
}

// TestCheckSourceFormat has weir check name what is wrong with the registry's
// flags, and with the registry, and never the password.
func TestCheckSourceFormat(t *testing.T) {
	t.Chdir(t.TempDir())
	r := newGuarded(t)
	gone := httptest.NewServer(nil)
	gone.Close()
	inEnv := map[string]string{registryPassword: registrySecret}
	check := func(environment map[string]string, flags ...string) called {
		t.Helper()
		got := callWith(t, "", environment, append([]string{"check"}, flags...)...)
		if all := got.stdout + got.stderr; strings.Contains(all, registrySecret) || strings.Contains(all, "wrong-horse") {
			t.Errorf("a password is shown:\n%s", all)
		}
		return got
	}
	asAvro := append([]string{"--source-format", "avro"}, r.flags...)
	for _, got := range []called{check(inEnv, asAvro...), check(nil, append(asAvro, "--schema-registry-password-file", r.password)...)} {
		if line := "ok     source       avro, with the schemas of " + r.url + ", as weir\n"; !strings.Contains(got.succeeds(t).stdout, line) {
			t.Errorf("no line %q in\n%s", line, got.stdout)
		}
	}
	if out := check(nil).succeeds(t).stdout; strings.Contains(out, "source") {
		t.Errorf("JSON has no registry to speak of:\n%s", out)
	}
	wrong := secretFile(t, "wrong-horse\n")
	file := func(name string) []string {
		return []string{"--schema-registry-user", "weir", "--schema-registry-password-file", name}
	}
	for _, c := range []struct {
		words string
		flags []string
	}{
		{"status 401|let this client in|--schema-registry-user", append(file(wrong), "--schema-registry", r.url, "--schema-registry-ca", r.ca)},
		{"status 401|--schema-registry-user", []string{"--schema-registry", r.url, "--schema-registry-ca", r.ca}},
		{"certificate|--schema-registry-ca FILE", append(file(r.password), "--schema-registry", r.url)},
		{"refused", []string{"--schema-registry", gone.URL}},
		{"refused", []string{"--schema-registry", gone.URL + "," + gone.URL}},
		{"--source-format avro needs --schema-registry", nil},
		{"needs a password|--schema-registry-password-file|" + registryPassword, []string{"--schema-registry", r.url, "--schema-registry-user", "weir"}},
		{"needs a password", append(file(secretFile(t, "\n")), "--schema-registry", r.url)},
		{"--schema-registry-password-file needs --schema-registry-user", []string{"--schema-registry", r.url, "--schema-registry-password-file", wrong}},
		{"password|no such file", append(file("none"), "--schema-registry", r.url)},
		{"authorities|no such file", []string{"--schema-registry", r.url, "--schema-registry-ca", "none"}},
		{"no certificate in PEM", []string{"--schema-registry", r.url, "--schema-registry-ca", wrong}},
		{"--schema-registry-ca is of no use with http", []string{"--schema-registry", gone.URL, "--schema-registry-ca", r.ca}},
		{"no http://HOST:PORT", []string{"--schema-registry", "weir:wrong-horse@registry"}},
		{"no http://HOST:PORT", []string{"--schema-registry", "https://registry?key=wrong-horse"}},
		{"--schema-registry-user", []string{"--schema-registry", "https://weir:wrong-horse@registry"}},
		{"no http://HOST:PORT", []string{"--schema-registry", r.url + ",registry:8081"}},
		{"needs a password|no certificate in PEM", []string{"--schema-registry", r.url, "--schema-registry-user", "weir", "--schema-registry-ca", wrong}},
		{`"avron"|json, avro or protobuf`, []string{"--source-format", "avron", "--schema-registry", r.url}},
		{"of no use with JSON", []string{"--source-format", "json", "--schema-registry", r.url}},
		{"of no use with JSON", []string{"--source-format", "json", "--schema-registry-ca", r.ca}},
	} {
		got := check(nil, append([]string{"--source-format", "avro"}, c.flags...)...)
		got.fails(t, exitFailed, strings.Split("wrong  source|"+c.words, "|")...)
	}
	_, broker := brokerWith(t, "decisions")
	call(t, "score", "--kafka", broker, "--source-format", "avro").fails(t, exitUsage, "--schema-registry URL")
}
