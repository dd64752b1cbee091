package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/trainer"
)

// write puts files into the current folder.
func write(t *testing.T, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCheck shows what a person sees, right and wrong.
func TestCheck(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, map[string]string{
		"small.spec": fraudSpec,
		"bad.spec":   "spec bad\nbase EUR\nfield id = $.id\nfield time = $.t as rfc3393\nfield amount = $.a decimal\nfield customer = $.c\nhome custmer\nmean(amount) by customer over 500d\n",
		"cards.spec": strings.Replace(fraudSpec, "field customer", "field card = $.card secret\nfield customer", 1),
		"token.key":  "k1:zz\n",
		"open.key":   "k1:000102030405060708090a0b0c0d0e0f\n",
		"none.pem":   "nothing\n",
	})
	if err := os.Chmod("open.key", 0o644); err != nil {
		t.Fatal(err)
	}
	log, address := brokerWith(t, "bank.transactions")
	got := call(t, "check", "--spec", "cards.spec", "--kafka", address, "--history", "clickhouse://weir:hunter2@ch:9000/weir", "--topic-prefix", "bank.").succeeds(t)
	golden(t, "check_right.txt", strings.ReplaceAll(got.stdout, address, "k1:9092"))
	call(t, "check", "--spec", "small.spec").succeeds(t)
	if err := log.Ensure(t.Context(), []schemas.Layout{{Topic: "bank.decisions", Partitions: 2, Config: map[string]string{"cleanup.policy": "compact"}}}); err != nil {
		t.Fatal(err)
	}
	call(t, "check", "--spec", "small.spec", "--kafka", address, "--topic-prefix", "bank.").fails(t, exitFailed,
		"wrong  topics       bank.decisions: 2 partitions, and transactions 1: each takes some of these, and scorers halt where one has none\n",
		"wrong  topics       bank.decisions: is compacted: records are deleted whose key comes again; cleanup.policy=delete\n")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	got = call(t, "check", "--spec", "small.spec", "--kafka", closed.Addr().String(), "--kafka-tls", "--kafka-sasl", "PLAIN", "--kafka-user", "weir", "--kafka-password-file", "small.spec").fails(t, exitFailed, "wrong  topics ", "connect")
	if !strings.Contains(got.stdout, " over TLS, as weir by PLAIN; topics transactions, decisions and") {
		t.Errorf("it says\n%s", got.stdout)
	}

	got = call(t, "check", "--spec", "bad.spec", "--token-key-file", "token.key", "--key", "none.key", "--trust", "none.pem", "--bundle", "none.weir",
		"--kafka", "k1,k2:x", "--kafka-user", "weir", "--kafka-ca", "none.pem", "--listen", "9464", "--web", "0.0.0.0:8464", "--pprof", "x:99999", "--data", "bad.spec",
		"--compression", "best", "--rows-max", "0", "--session", "0s", "--log", "xml", "--history", "mysql://weir:hunter2@db/x").fails(t, exitFailed)
	golden(t, "check_wrong.txt", got.stderr)
	if all := got.stdout + got.stderr; strings.Contains(all, "hunter2") || strings.Contains(all, "k1:zz") {
		t.Errorf("a secret is shown:\n%s", all)
	}
	call(t, "check", "--token-key-file", "open.key").fails(t, exitFailed, "token key", "chmod 600")
	call(t, "check", "--spec", "nothing", "--history", "no/history.db").fails(t, exitFailed, "neither a file nor built in", "no/history.db")

	var report struct {
		OK       bool
		Problems []finding
	}
	lastLine(t, call(t, "check", "--json", "--rows-max", "0").fails(t, exitFailed).stdout, &report)
	if report.OK || len(report.Problems) != 1 || report.Problems[0].What != "rows-max" {
		t.Errorf("%+v", report)
	}
}

// TestCheckTakesTheFlagsOfUp lets a person put check where up stands.
func TestCheckTakesTheFlagsOfUp(t *testing.T) {
	up, check := flag.NewFlagSet("", flag.ContinueOnError), flag.NewFlagSet("", flag.ContinueOnError)
	upCommand.flags(up)
	checkCommand.flags(check)
	up.VisitAll(func(f *flag.Flag) {
		if check.Lookup(f.Name) == nil {
			t.Errorf("weir check does not take --%s", f.Name)
		}
	})
}

func TestSpec(t *testing.T) {
	list := call(t, "spec", "list").succeeds(t).stdout
	for _, name := range spec.BuiltinNames() {
		if !strings.Contains("\n"+list, "\n"+name+" ") {
			t.Errorf("%s is not listed:\n%s", name, list)
		}
	}
	shown := call(t, "spec", "show", "payments").succeeds(t).stdout
	if shown != string(spec.BuiltinText("payments")) || shown != call(t, "check", "--print").succeeds(t).stdout {
		t.Error("not the text of the built-in spec")
	}
	canonical := call(t, "spec", "show", "--canonical", file(t, "small.spec", fraudSpec)).succeeds(t).stdout
	if a, err := spec.Parse("a", []byte(canonical)); err != nil || string(a.Format()) != canonical {
		t.Errorf("%v\n%s", err, canonical)
	}
	call(t, "spec").fails(t, exitUsage, "weir spec list")
	call(t, "spec", "show", "nothing").fails(t, exitUsage, "handbook")
}

func TestVersion(t *testing.T) {
	var v version
	lastLine(t, call(t, "version", "--json").succeeds(t).stdout, &v)
	if len(v.Engine) != 64 || v.Backend != "avx512" && v.Backend != "avx2" && v.Backend != "go" || v.Zones != spec.ZoneRelease {
		t.Errorf("%+v", v)
	}
	text := call(t, "--version").succeeds(t).stdout
	for _, word := range []string{v.Engine, v.Backend, v.Go, v.Platform} {
		if !strings.Contains(text, word) {
			t.Errorf("no %q in\n%s", word, text)
		}
	}
}

// TestModel looks into a bundle and holds it to what a scorer asks for.
func TestModel(t *testing.T) {
	dir, got := trained(t, "--ripe", "5d", "--iterations", "10")
	got.succeeds(t)
	t.Chdir(dir)
	payments, _ := spec.Builtin("payments")
	features := len(payments.Features)
	text := call(t, "model", "show", "model.weir").succeeds(t).stdout
	for _, words := range []string{"name         model", fmt.Sprintf("payments, %d features", features), "no hidden layer, 1 member\n", "calibration  beta", "roc_auc"} {
		if !strings.Contains(text, words) {
			t.Errorf("no %q in\n%s", words, text)
		}
	}
	var f modelFacts
	lastLine(t, call(t, "model", "show", "--json", "model.weir").succeeds(t).stdout, &f)
	if f.Spec != "payments" || len(f.Features) != features || len(f.Signer) != 64 || !json.Valid(f.Facts) {
		t.Errorf("%+v", f)
	}
	right := call(t, "model", "verify", "--trust", "sign.key.pub", "model.weir").succeeds(t).stdout
	if strings.Count(right, "ok ") != 3 {
		t.Errorf("verified:\n%s", right)
	}
	call(t, "check", "--trust", "sign.key.pub", "--bundle", "model.weir").succeeds(t)
	call(t, "model", "verify", "--trust", "sign.key.pub", "--spec", "handbook", "model.weir").fails(t, exitFailed, "made for the spec payments", "handbook")
	call(t, "model", "verify", "model.weir").fails(t, exitFailed, "trusted keys", "--trust")
	if _, _, err := trainer.LoadOrMakeKey("other.key"); err != nil {
		t.Fatal(err)
	}
	call(t, "model", "verify", "--trust", "other.key.pub", "model.weir").fails(t, exitFailed, "unknown key", "--trust")
	data := []byte(content(t, "model.weir"))
	damaged := func(at int) string {
		copied := append([]byte(nil), data...)
		copied[at] ^= 1
		path := filepath.Join(t.TempDir(), "damaged.weir")
		if err := os.WriteFile(path, copied, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	call(t, "model", "show", damaged(1000)).fails(t, exitFailed, "damaged.weir", "hash")
	call(t, "model", "show", damaged(len(data)-1)).fails(t, exitFailed, "signature is wrong")
	call(t, "model", "show", "sign.key").fails(t, exitFailed, "not a bundle")
	call(t, "model", "look", "model.weir").fails(t, exitUsage, "show BUNDLE")
}
