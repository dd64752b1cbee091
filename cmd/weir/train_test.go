package main

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/trainer"
)

// testTokenKey is an environment that holds a key of tokens.
var testTokenKey = map[string]string{"WEIR_TOKEN_KEY": "k1:000102030405060708090a0b0c0d0e0f"}

// trained simulates a bank in a folder and trains a model of it; extra are more
// flags of weir train.
func trained(t *testing.T, extra ...string) (dir string, got called) {
	t.Helper()
	dir = t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	call(t, "simulate", "--customers", "150", "--days", "40", "--fraud-share", "0.05", "--output", in("tx.jsonl"), "--labels", in("labels.jsonl"), "--rates", in("rates.jsonl")).succeeds(t)
	args := append([]string{"train", "--labels", in("labels.jsonl"), "--rates", in("rates.jsonl"), "--key", in("sign.key"), "--out", in("model.weir")}, extra...)
	return dir, callWith(t, "", testTokenKey, append(args, in("tx.jsonl"))...)
}

// TestTrain seals a bundle that a reader who trusts the key takes, and the same
// bytes again from the same files.
func TestTrain(t *testing.T) {
	dir, got := trained(t, "--ripe", "5d", "--iterations", "30", "--review-per-day", "5", "--explore", "0.01", "--rank", "p*amount", "--json")
	got.succeeds(t)
	var rep trainReport
	lastLine(t, got.stdout, &rep)
	path := filepath.Join(dir, "model.weir")
	data := content(t, path)
	trust, err := trainer.LoadPublicKeys(filepath.Join(dir, "sign.key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := scoring.ReadBundle([]byte(data), trust)
	if err != nil {
		t.Fatal(err)
	}
	payments, _ := spec.Builtin("payments")
	if err := b.CheckSpec(payments.Hash); err != nil {
		t.Error(err)
	}
	s, err := cpu.New(b.Model)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.SelfTest(s); err != nil {
		t.Error(err)
	}
	if rep.Bundle != hex.EncodeToString(b.Hash[:]) || rep.Bytes != len(data) || rep.Unripe == 0 || rep.Held.AUC < 0.6 || b.Policy.Rank != scoring.ByAmount || b.Policy.Explore != 0.01 {
		t.Errorf("%+v, policy %+v", rep, b.Policy)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	again := []string{"train", "--labels", in("labels.jsonl"), "--rates", in("rates.jsonl"), "--key", in("sign.key"), "--out", path, "--ripe", "5d", "--iterations", "30", "--review-per-day", "5", "--explore", "0.01", "--rank", "p*amount", in("tx.jsonl")}
	text := callWith(t, "", testTokenKey, again...).succeeds(t).stdout
	if content(t, path) != data {
		t.Error("the same files and flags gave other bytes")
	}
	for _, words := range []string{"unripe", "held out", "bundle", rep.Bundle, "sign.key"} {
		if !strings.Contains(text, words) {
			t.Errorf("the summary does not say %q:\n%s", words, text)
		}
	}
}

func TestTrainFailure(t *testing.T) {
	_, got := trained(t)
	got.fails(t, exitFailed, "too little to learn from", "90d", "--ripe")
	_, got = trained(t, "--memory", "1", "--ripe", "1d")
	got.fails(t, exitFailed, "--memory")
	input := file(t, "in.csv", smallCSV)
	small := file(t, "small.spec", fraudSpec)
	call(t, "train", "--spec", small, input).fails(t, exitUsage, "--out")
	call(t, "train", "--spec", small, "--out", "x", input).fails(t, exitUsage, "--labels")
	call(t, "train", "--spec", small, "--out", "x", "--rank", "q", input).fails(t, exitUsage, "p*amount")
	call(t, "train", "--spec", small, "--out", "x", "--fit-share", "2", "--l2", "-1", input).fails(t, exitUsage, "FitShare", "L2")
	open := filepath.Join(t.TempDir(), "open.key")
	if _, _, err := trainer.LoadOrMakeKey(open); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	call(t, "train", "--spec", small, "--out", "x", "--key", open, "--label-column", "fraud", input).fails(t, exitFailed, "signing key", "open.key")
}

// TestTrainGoesOnFromTheChampion learns on from a network, and says why not from
// another model, or from one that knows the rows that it would be judged by.
func TestTrainGoesOnFromTheChampion(t *testing.T) {
	if testing.Short() {
		t.Skip("learning is tested for races in package trainer")
	}
	dir, got := trained(t, "--ripe", "5d", "--iterations", "5", "--rank", "auto", "--review-cards-per-day", "3")
	if got.succeeds(t); !strings.Contains(got.stdout, "cards  ") {
		t.Errorf("no word of cards:\n%s", got.stdout)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	train := func(args ...string) called {
		t.Helper()
		return callWith(t, "", testTokenKey, append([]string{"train", "--labels", in("labels.jsonl"), "--rates", in("rates.jsonl"), "--key", in("sign.key"),
			"--ripe", "5d", "--out", in("next.weir"), in("tx.jsonl")}, args...)...)
	}
	train("--family", "network", "--epochs", "2", "--to", "2025-01-26", "--out", in("network.weir")).succeeds(t)
	var facts trainer.Facts
	warm := []string{"--family", "network", "--warm", "--champion", in("network.weir")}
	train(warm...).succeeds(t)
	b, _, err := readAnyBundle(bundleFile{"", []byte(content(t, in("next.weir")))})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b.Facts, &facts); err != nil || facts.Kind != "network, continued" || facts.Network.Epochs != 1 || facts.Network.Rate >= trainer.DefaultNetwork().Rate/4 {
		t.Errorf("%+v, %v", facts, err)
	}
	train(append(warm, "--fit-share", "0.3")...).fails(t, exitFailed, "the champion network learnt from days up to 2025", "--fit-share")
	train("--family", "network", "--warm", "--champion", in("model.weir")).fails(t, exitFailed, "champion model", "not a network", "without --warm")
	train("--warm", "--champion", in("network.weir")).fails(t, exitUsage, "--family network")
	train("--family", "network", "--warm").fails(t, exitUsage, "--champion")
	train("--champion", in("network.weir"), "--spec", "handbook").fails(t, exitFailed, "another feature spec", "weir model promote FILE")
}
