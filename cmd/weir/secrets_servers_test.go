package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-risk/weir/ingest/kafka"
)

// TestNoSecretGetsOutOfServers is TestNoSecretGetsOut with real servers: Apache Kafka behind
// TLS and SCRAM, and a ClickHouse with a password.
func TestNoSecretGetsOutOfServers(t *testing.T) {
	secure, broker, script := os.Getenv("WEIR_KAFKA_SECURE"), os.Getenv("WEIR_KAFKA"), os.Getenv("WEIR_CLICKHOUSE_SCRIPT")
	if secure == "" || script == "" {
		t.Skip("make integration starts a broker with TLS and SASL, and names a script that starts a ClickHouse")
	}
	w := newSecretsWorld(t)
	w.kafkaBehindTLS(secure, broker)
	server := w.clickhouse(script)
	w.lives()
	w.fails()
	tables := w.tables(server)
	if len(tables) < 4 {
		t.Errorf("the history has only %d tables", len(tables))
	}
	for name, text := range tables {
		w.keep("clickhouse."+name, text)
	}
	w.searched()
	w.leaks("clickhouse password")
}

// kafkaBehindTLS reaches a real broker, whose password and key are the planted ones.
func (w *secretsWorld) kafkaBehindTLS(secure, broker string) {
	w.t.Helper()
	content := func(name string) string {
		text, err := os.ReadFile(filepath.Join(secure, name))
		if err != nil {
			w.t.Fatal(err)
		}
		return string(text)
	}
	w.plant("kafka password", strings.TrimSpace(content("password")))
	w.put("kafka tls key", content("client.key"))
	w.plantPEM("kafka tls key")
	host, first, err := net.SplitHostPort(broker)
	port, errP := strconv.Atoi(first)
	if err != nil || errP != nil {
		w.t.Fatal(err, errP)
	}
	prefix := fmt.Sprintf("secrets%x.", os.Getpid())
	w.brokers, w.prefix = net.JoinHostPort(host, strconv.Itoa(port+5)), prefix
	ca, certificate := filepath.Join(secure, "ca.pem"), filepath.Join(secure, "client.pem")
	w.kafka = []string{"--kafka", w.brokers, "--kafka-tls", "--kafka-ca", ca, "--kafka-cert", certificate, "--kafka-key", w.file("kafka tls key"),
		"--kafka-sasl", "SCRAM-SHA-512", "--kafka-user", "weir", "--topic-prefix", prefix}
	w.connect(kafka.Security{CAFile: ca, Mechanism: "SCRAM-SHA-512", User: "weir", Password: w.secrets["kafka password"]})
}

// clickhouse starts a server with a user who has the planted password.
func (w *secretsWorld) clickhouse(script string) (server string) {
	w.t.Helper()
	var password strings.Builder
	if err := xml.EscapeText(&password, []byte(w.secrets["clickhouse password"])); err != nil {
		w.t.Fatal(err)
	}
	file := w.put("users.xml", "<clickhouse><users><weir><password>"+password.String()+
		"</password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></weir></users></clickhouse>\n")
	port := twoPorts()
	start := exec.Command(script, "start", strconv.Itoa(port))
	start.Env = append(os.Environ(), "CLICKHOUSE_USERS="+file)
	w.t.Cleanup(func() {
		if out, err := exec.Command(script, "wipe", strconv.Itoa(port)).CombinedOutput(); err != nil {
			w.t.Errorf("%v\n%s", err, out)
		}
	})
	if out, err := start.CombinedOutput(); err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
	w.history = []string{"--history", fmt.Sprintf("clickhouse://weir@127.0.0.1:%d/secrets", port)}
	return fmt.Sprintf("http://127.0.0.1:%d/", port+1)
}

// tables are the rows of the history, by table.
func (w *secretsWorld) tables(server string) map[string][]byte {
	w.t.Helper()
	ask := func(sql string) []byte {
		r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, server, strings.NewReader(sql))
		if err != nil {
			w.t.Fatal(err)
		}
		r.SetBasicAuth("weir", w.secrets["clickhouse password"])
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			w.t.Fatal(err)
		}
		defer a.Body.Close()
		body, err := io.ReadAll(a.Body)
		if err != nil || a.StatusCode != http.StatusOK {
			w.t.Fatalf("%s: %v %s", sql, err, body)
		}
		return body
	}
	all := make(map[string][]byte)
	for name := range strings.FieldsSeq(string(ask("SELECT name FROM system.tables WHERE database = 'secrets'"))) {
		all[name] = ask("SELECT * FROM secrets.`" + name + "` FORMAT JSONEachRow")
	}
	return all
}

// group are the flags of a scorers' group of its own, where others have been at the broker.
func (w *secretsWorld) group() []string {
	if w.prefix == "" {
		return nil
	}
	return []string{"--group", w.prefix + "score"}
}
