package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fails has each secret be wrong in turn, unreadable, or written where it does not belong:
// whatever is said of it repeats none.
func (w *secretsWorld) fails() {
	w.t.Helper()
	w.failsAtServers()
	w.failsAsFiles()
	w.failsAsText()
}

// refused runs a command that must not end well.
func (w *secretsWorld) refused(environment map[string]string, args ...string) {
	w.t.Helper()
	if c := w.run(environment, args...); c.code == exitOK {
		w.t.Errorf("%q ends well:\n%s", args[:1], c.stdout)
	}
}

// failsAtServers sends wrong passwords, and right ones where nobody answers.
func (w *secretsWorld) failsAtServers() {
	w.t.Helper()
	wrong := w.environment()
	wrong["WEIR_KAFKA_PASSWORD"] = w.secrets["variable"]
	sasl := []string{"--kafka-sasl", "SCRAM-SHA-512", "--kafka-user", "weir"}
	w.refused(wrong, append([]string{"tail", "audit"}, w.kafka...)...)
	w.refused(wrong, append([]string{"check"}, w.kafka...)...)
	if !testing.Short() && os.Getenv("WEIR_KAFKA") != "" { // it takes its time
		w.refused(nil, append(append([]string{"check", "--kafka", w.brokers, "--kafka-tls"}, sasl...), "--kafka-password-file", w.file("kafka password"))...)
		w.refused(wrong, append([]string{"status", "--at", "127.0.0.1:1"}, w.kafka...)...)
	}
	w.refused(nil, append(append([]string{"tail", "audit"}, w.kafka...), "--kafka-password-file", w.file("text in the file"))...)
	w.refused(nil, append(append([]string{"check", "--kafka", "127.0.0.1:1"}, sasl...), "--kafka-password-file", w.file("kafka password"))...)
	plain := []string{"check", "--kafka", w.brokers, "--kafka-sasl", "PLAIN", "--kafka-user", "weir", "--kafka-password-file", w.file("text in the file")}
	w.refused(nil, plain...)
	for _, url := range []string{"clickhouse://weir@127.0.0.1:1/weir", "clickhouse://weir@127.0.0.1:1/weir?secure=true", "clickhouse://weir:" + w.secrets["flag"] + "@127.0.0.1:1/weir",
		"clickhouse://weir:" + w.secrets["flag"] + "%zz@127.0.0.1:1/weir", "clickhouse://127.0.0.1:1/weir?password=" + w.secrets["flag"]} {
		w.run(w.environment(), "check", "--history", url) // which does not ask whether it answers
		w.refused(w.environment(), "migrate", "--history", url)
	}
	registry := []string{"check", "--source-format", "avro", "--schema-registry"}
	w.refused(w.environment(), append(registry, "http://127.0.0.1:1", "--schema-registry-user", "weir")...)
	w.refused(nil, append(registry, "http://weir:"+w.secrets["flag"]+"@127.0.0.1:1")...)
	w.refused(nil, append(registry, "http://127.0.0.1:1", "--schema-registry-user", "weir", "--schema-registry-password-file", w.file("text in the file"))...)
	desk := []string{"desk", "--data", filepath.Join(w.data, "none"), "--web", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--oidc-issuer", "http://127.0.0.1:1", "--oidc-client-id", "weir"}
	w.refused(w.environment(), append(desk, w.kafka...)...)
	w.refused(w.environment(), append(append(desk, w.kafka...), "--public-url", "https://weir:"+w.secrets["flag"]+"@desk.example", "--oidc-role", "a=analyst")...)
}

// failsAsFiles gives each flag that names a secret's file others: one cut short, one that
// holds another thing, one that all may read, a folder, the secret itself in its place.
func (w *secretsWorld) failsAsFiles() {
	w.t.Helper()
	name := func(s string) string { return filepath.Join(w.vault, s) }
	cut := func(from string) string {
		text, err := os.ReadFile(w.file(from))
		if err != nil {
			w.t.Fatal(err)
		}
		writeFile(w.t, name("cut"), string(text[:len(text)*2/5]))
		return name("cut")
	}
	open := name("open to all")
	writeFile(w.t, open, w.secrets["text in the file"])
	if err := os.Chmod(open, 0o644); err != nil {
		w.t.Fatal(err)
	}
	long := name("long")
	writeFile(w.t, long, w.secrets["text in the file"]+strings.Repeat(" x", 1<<16)+"\n"+w.secrets["flag"])
	data := filepath.Join(w.data, "none")
	kafka := slices.Clone(w.kafka)
	for _, of := range []struct {
		flag, file string
		command    []string
	}{
		{"--token-key-file", "token key", append([]string{"score", "--data", data, "--listen", "127.0.0.1:0"}, kafka...)},
		{"--token-key-previous-file", "token key before", append([]string{"score", "--data", data, "--listen", "127.0.0.1:0"}, kafka...)},
		{"--rollback-key", "rollback key", append([]string{"score", "--data", data, "--listen", "127.0.0.1:0"}, kafka...)},
		{"--trust", "champion key", append([]string{"score", "--data", data, "--listen", "127.0.0.1:0"}, kafka...)},
		{"--signing-key", "desk key", append([]string{"desk", "--data", data, "--web", "127.0.0.1:0", "--listen", "127.0.0.1:0"}, kafka...)},
		{"--oidc-client-secret-file", "oidc secret", append([]string{"desk", "--data", data, "--oidc-issuer", "https://127.0.0.1:1", "--oidc-client-id", "weir"}, kafka...)},
		{"--champion", "champion key", append([]string{"train", "--history", filepath.Join(w.data, "none.db")}, kafka...)},
		{"--kafka-password-file", "kafka password", []string{"check", "--kafka", "127.0.0.1:1", "--kafka-sasl", "PLAIN", "--kafka-user", "weir"}},
		{"--history-password-file", "clickhouse password", []string{"check", "--history", "clickhouse://weir@127.0.0.1:1/weir"}},
		{"--schema-registry-password-file", "registry password", []string{"check", "--source-format", "avro", "--schema-registry", "http://127.0.0.1:1", "--schema-registry-user", "weir"}},
		{"--otlp-headers-file", "otlp headers", []string{"check", "--otlp-endpoint", "http://127.0.0.1:1"}},
		{"--password-file", "analyst password", []string{"user", "add", "other", "--role", "analyst", "--data", data}},
		{"--passphrase-file", "passphrase", []string{"restore", "--check", "--from", w.file("token key")}},
		{"--passphrase-file", "passphrase", []string{"backup", "--data", data, "--to", name("none.backup")}},
	} {
		environment := w.environment()
		files := []string{cut(of.file), w.secrets["flag"], open}
		if os.Getenv("WEIR_KAFKA") != "" {
			files = append(files, w.file("text in the file"), long, w.vault, "", "-", w.file("desk certificate"))
		}
		for _, file := range files {
			// Some of them are a secret as good as any: what is said then is searched all the same.
			if c := callWith(w.t, "", environment, append(slices.Clone(of.command), of.flag, file, "--bogus-"+of.file)...); c.code == exitOK {
				w.t.Error("a flag that there is not is taken")
			}
			if file == "" && of.command[0] == "desk" || of.flag == "--oidc-client-secret-file" && file != w.secrets["flag"] {
				continue // it would serve
			}
			w.run(environment, append(slices.Clone(of.command), of.flag, file)...)
		}
	}
	for _, pair := range [][2]string{{"desk certificate", "champion key"}, {"desk tls key", "desk tls key"}, {"desk certificate", "text in the file"}} {
		w.refused(w.environment(), append([]string{"desk", "--data", data, "--web", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--tls-cert", w.file(pair[0]), "--tls-key", w.file(pair[1])}, kafka...)...)
		w.refused(w.environment(), "check", "--kafka", "127.0.0.1:1", "--kafka-tls", "--kafka-cert", w.file(pair[0]), "--kafka-key", w.file(pair[1]))
	}
}

// failsAsText writes secrets where a flag, a variable or a line of the file is wrong.
func (w *secretsWorld) failsAsText() {
	w.t.Helper()
	flag, variable, text := w.secrets["flag"], w.secrets["variable"], w.secrets["text in the file"]
	for _, args := range [][]string{{"score", "--kafka-password", flag}, {"score", "--kafka-password=" + flag}, {"record", "--history-password=" + flag}, {"desk", "--oidc-client-secret", flag},
		{"score", "--token-key=" + flag}, {flag}, {"user", "add", flag}, {"tail", flag}, {"score", "--help", flag}, {"help", flag}, {"score", flag}, {"config", "explain", flag}} {
		w.run(w.environment(), args...)
	}
	for _, name := range []string{"WEIR_TOKEN_KEY", "WEIR_KAFKA_PASSWORD", "WEIR_KAFKA_PASSWORD_FILE", "WEIR_KAFKA_TLS", "WEIR_KAFKA_SASL", "WEIR_KAFKA_KEY", "WEIR_CLICKHOUSE_PASSWORD", "WEIR_HISTORY_PASSWORD_FILE",
		"WEIR_OIDC_CLIENT_SECRET", "WEIR_KEYS_TOKEN_FILE", "WEIR_KEYS_ROLLBACK_FILE", "WEIR_OTLP_HEADERS_FILE", "WEIR_OTLP_ENDPOINT", "WEIR_KAFKA_PASWORD", "WEIR_SCHEMA_REGISTRY_PASSWORD"} {
		w.run(map[string]string{name: variable}, "check", "--kafka", "127.0.0.1:1", "--kafka-user", "weir", "--timeout", "1s")
		w.run(map[string]string{name: "k1:" + variable}, "score", "--kafka", "127.0.0.1:1", "--data", filepath.Join(w.data, "none"), "--listen", "127.0.0.1:0", "--log-level", "none")
	}
	for i, lines := range []string{
		"kafka:\n  password: " + text, "kafka:\n  password-file: " + text, "kafka:\n  password-file: {value: \"" + strings.ReplaceAll(text, `"`, `\"`) + "\"}", "kafka: {password-file: [" + flag + ", x}",
		"keys:\n  token-file: k1:" + text, "keys:\n  token: " + text, "keys:\n  rollback-file: |\n    -----BEGIN PRIVATE KEY-----\n    " + text + "\n    -----END PRIVATE KEY-----",
		"history:\n  url: clickhouse://weir:" + text + "@ch/weir", "history:\n  password: " + text, "oidc:\n  client-secret: " + text, "otlp:\n  headers: " + text, "otlp:\n  endpoint: https://weir:" + text + "@collector",
		"otlp:\n  headers-file: \"Authorization: " + strings.ReplaceAll(text, `"`, `\"`) + "\"", "oidc:\n  client-secret-file: " + text,
		"desk:\n  tls-key: " + text, "schema-registry:\n  url: https://weir:" + text + "@sr", "metrics:\n  listen: " + text, text + ": x", "? " + text, "kafka:\n" + text, "log:\n  level: " + text,
		"secret: " + text + "\n\tx", "kafka:\n  brokers: weir:" + text + "@k1:9092",
	} {
		name := filepath.Join(w.vault, "wrong.yaml")
		writeFile(w.t, name, lines+"\n")
		for _, command := range []string{"check", "score"} {
			if c := w.run(nil, command, "--config", name); c.code == exitOK {
				w.t.Errorf("file %d is taken by %s", i, command)
			}
		}
		w.run(nil, "check", "--config", name, "--json")
	}
}

// leaks has one secret get out, and fails unless the search says so.
func (w *secretsWorld) leaks(name string) {
	w.t.Helper()
	found := 0
	w.keep("leak", []byte("password="+w.secrets[name]))
	w.everything(func(_ string, text []byte) {
		if bytes.Contains(text, []byte("password=")) {
			found += len(w.search.In(text))
		}
	})
	if found == 0 {
		w.t.Error("a leak that was planted is not found")
	}
	_ = os.Remove(filepath.Join(w.out, "leak"))
}
