package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gonum.org/v1/gonum/stat"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/trainer"
)

// randomBundle writes a sealed bundle of a random network into a file.
func randomBundle(t *testing.T, file string, seed uint64, key ed25519.PrivateKey, change func(b *scoring.Bundle)) *scoring.Bundle {
	t.Helper()
	s, _ := spec.Builtin("payments")
	names := s.FeatureNames()
	b := &scoring.Bundle{Name: strings.TrimSuffix(filepath.Base(file), ".weir"), Spec: scoring.SpecText{Name: s.Name, Text: s.Text, Hash: s.Hash}, Features: names,
		Model: trainer.RandomModel(seed, len(names), 8, 1), Policy: scoring.Policy{Review: 0.5}, Calibration: scoring.Calibration{A: 1, B: 1},
		Facts: json.RawMessage(fmt.Sprintf(`{"kind":"random","held_out":{"rows":100,"roc_auc":0.%d}}`, seed))}
	if change != nil {
		change(b)
	}
	scorer, err := cpu.New(b.Model)
	if err != nil {
		t.Fatal(err)
	}
	rows := make([]float32, 16*len(names))
	for i := range rows {
		rows[i] = float32(i*i%23) / 7
	}
	if err := b.SetSelfTest(scorer, scoring.Matrix{Data: rows, Rows: 16, Cols: len(names)}); err != nil {
		t.Fatal(err)
	}
	data, sealed, err := trainer.Seal(b, key)
	if err == nil {
		err = os.WriteFile(file, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// modelWorld is a folder with a key and bundles, beside a broker.
func modelWorld(t *testing.T) (log *kafka.Client, key ed25519.PrivateKey, model func(args ...string) called) {
	t.Helper()
	log, address := brokerWith(t, "transactions")
	if err := log.Ensure(t.Context(), schemas.DefaultTopics("").Layouts(1)); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	key, err := signingKey("weir-data")
	if err != nil {
		t.Fatal(err)
	}
	return log, key, func(args ...string) called {
		return call(t, append([]string{"model", "--kafka", address, "--by", "me"}, args...)...)
	}
}

// listed is what weir model ls --json says.
type listed struct {
	Bundles []modelLine          `json:"bundles"`
	Slots   map[string]modelSlot `json:"slots"`
	Refused []modelRefusal       `json:"refused"`
}

// TestModelsOfATopic walks bundles through the slots, as people do.
func TestModelsOfATopic(t *testing.T) {
	_, key, model := modelWorld(t)
	a, b := randomBundle(t, "a.weir", 1, key, nil), randomBundle(t, "b.weir", 2, key, nil)
	hash := func(b *scoring.Bundle) string { return fmt.Sprintf("%x", b.Hash) }
	holds := func(champion, previous, challenger string) {
		t.Helper()
		var got listed
		lastLine(t, model("ls", "--json").succeeds(t).stdout, &got)
		if s := got.Slots["champion"]; s.Bundle != champion || s.Previous != previous || s.By != "me" {
			t.Errorf("champion %+v, want %s after %q", s, champion, previous)
		}
		if s := got.Slots["challenger"]; s.Bundle != challenger {
			t.Errorf("challenger %+v, want %q", s, challenger)
		}
		for _, l := range got.Bundles {
			if l.Champion != (l.Bundle == champion) || l.Challenger != (l.Bundle == challenger) || l.Refused != "" || l.Spec != "payments" {
				t.Errorf("%+v", l)
			}
		}
	}
	model("rollback").fails(t, exitFailed, "no champion")
	model("show", "champion").fails(t, exitFailed, "there is no champion")
	model("promote", "a.weir").succeeds(t)
	holds(hash(a), "", "")
	model("rollback").fails(t, exitFailed, "nothing was champion before it")
	model("challenge", "b.weir").succeeds(t)
	holds(hash(a), "", hash(b))
	if text := model("ls").succeeds(t).stdout; !strings.Contains(text, "champion, by me: promoted by hand") || !strings.Contains(text, "challenger, by me: challenges by hand") {
		t.Errorf("ls prints\n%s", text)
	}
	model("promote", "challenger", "--reason", "it is better").succeeds(t)
	holds(hash(b), hash(a), hash(b))
	var back map[string]string
	lastLine(t, model("rollback", "--json").succeeds(t).stdout, &back)
	if back["champion"] != hash(a) || back["previous"] != hash(b) {
		t.Errorf("rollback reports %v", back)
	}
	holds(hash(a), hash(b), hash(b))
	model("challenge", "--share", "1.5", "challenger").fails(t, exitUsage, "0 to 1")
	model("challenge", "--share", "0.05", "challenger").succeeds(t)
	if text := model("ls").succeeds(t).stdout; !strings.Contains(text, "challenger of 5 % of cards, by me") {
		t.Errorf("ls prints\n%s", text)
	}
	holds(hash(a), hash(b), hash(b))
	model("challenge", "none").succeeds(t)
	holds(hash(a), hash(b), "")
	model("show", hash(b)[:8]).succeeds(t)
	model("show", hash(b)[:7]).fails(t, exitFailed, "8 digits")
	model("verify", "champion").succeeds(t)
	model("verify", "--spec", "handbook", "champion").fails(t, exitFailed, "made for the spec payments")
	model("export", "champion").fails(t, exitUsage, "--out FILE")
	model("export", hash(b), "--out", "out.weir").succeeds(t)
	if content(t, "out.weir") != content(t, "b.weir") {
		t.Error("what was exported is another file")
	}
	if left, _ := filepath.Glob("*.part"); len(left) > 0 {
		t.Errorf("%q is left", left)
	}
}

// TestModelLsNamesWhatIsRefused publishes what no scorer takes, past the commands
// that would not.
func TestModelLsNamesWhatIsRefused(t *testing.T) {
	log, key, model := modelWorld(t)
	topics := schemas.DefaultTopics("")
	publish := func(slot string, data []byte, hash [32]byte, key ed25519.PrivateKey) {
		t.Helper()
		if err := ingest.PublishBundle(t.Context(), log, topics, data, hash, slot, ingest.Slot{By: "x", Reason: "y"}, key, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	good := randomBundle(t, "good.weir", 1, key, nil)
	swapped := randomBundle(t, "swapped.weir", 2, key, func(b *scoring.Bundle) { b.Features[0], b.Features[1] = b.Features[1], b.Features[0] })
	publish("champion", []byte(content(t, "good.weir"))[:500], good.Hash, key)
	publish("challenger", []byte(content(t, "swapped.weir")), swapped.Hash, key)
	stranger := ed25519.NewKeyFromSeed(make([]byte, 32))
	if err := ingest.PublishSlot(t.Context(), log, topics, "champion", ingest.Slot{Bundle: fmt.Sprintf("%x", swapped.Hash)}, stranger, time.Now()); err != nil {
		t.Fatal(err)
	}
	gone := sha256.Sum256(nil)
	if err := ingest.PublishSlot(t.Context(), log, topics, "challenger", ingest.Slot{Bundle: fmt.Sprintf("%x", gone)}, key, time.Now()); err != nil {
		t.Fatal(err)
	}
	var got listed
	lastLine(t, model("ls", "--json").succeeds(t).stdout, &got)
	want := map[string]modelLine{
		fmt.Sprintf("%x", good.Hash):    {Champion: true, Refused: "truncated"},
		fmt.Sprintf("%x", swapped.Hash): {Refused: "columns", Name: "swapped", Spec: "payments"},
		fmt.Sprintf("%x", gone):         {Challenger: true, Refused: "no_bundle"},
	}
	for _, l := range got.Bundles {
		w := want[l.Bundle]
		if w.Bundle, w.Cause = l.Bundle, l.Cause; l != w || l.Cause == "" {
			t.Errorf("%+v, want %+v", l, w)
		}
	}
	if len(got.Bundles) != len(want) || len(got.Refused) != 1 || got.Refused[0].Slot != "champion" || got.Refused[0].Refused != "slot_signature" {
		t.Errorf("%+v", got)
	}
	if text := model("ls").succeeds(t); !strings.Contains(text.stdout, "champion, by x: y; refused, truncated: ") || !strings.Contains(text.stderr, "refused, slot_signature: ") {
		t.Errorf("ls prints\n%s%s", text.stdout, text.stderr)
	}
	model("promote", "swapped.weir").fails(t, exitFailed, "swapped.weir", "columns")
	foreign := randomBundle(t, "foreign.weir", 3, key, func(b *scoring.Bundle) {
		s, err := spec.Parse("other", bytes.Replace(b.Spec.Text, []byte("\nlate 24h"), []byte("\nlate 1h"), 1))
		if err != nil {
			t.Fatal(err)
		}
		b.Spec = scoring.SpecText{Name: s.Name, Text: s.Text, Hash: s.Hash}
	})
	publish("champion", []byte(content(t, "good.weir")), good.Hash, key)
	if text := model("promote", "foreign.weir").succeeds(t); foreign.Spec.Hash == good.Spec.Hash || !strings.Contains(text.stderr, "refuse it") {
		t.Errorf("a bundle of another spec is promoted without a word: %s", text.stderr)
	}
	if text := model("promote", "foreign.weir").succeeds(t); strings.Contains(text.stderr, "refuse it") {
		t.Errorf("a bundle of the champion's spec is said to be foreign: %s", text.stderr)
	}
}

// TestModelDiff compares files.
func TestModelDiff(t *testing.T) {
	t.Chdir(t.TempDir())
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	a := randomBundle(t, "a.weir", 1, key, nil)
	randomBundle(t, "b.weir", 2, key, func(b *scoring.Bundle) { b.Policy.Review, b.Policy.Block = 0.25, 0.75 })
	diff := func(args ...string) (d modelDiff, text string) {
		t.Helper()
		lastLine(t, call(t, append([]string{"model", "diff", "--json"}, args...)...).succeeds(t).stdout, &d)
		return d, call(t, append([]string{"model", "diff"}, args...)...).succeeds(t).stdout
	}
	d, text := diff("a.weir", "b.weir")
	lines := make(map[string]diffLine)
	for _, l := range append(d.Changes, d.Facts...) {
		lines[l.What] = l
	}
	for what, want := range map[string][2]any{"name": {"a", "b"}, "review from": {.5, .25}, "block from": {0., .75}, "held_out.roc_auc": {.1, .2}, "held_out.rows": {100., 100.}} {
		if l := lines[what]; l.A != want[0] || l.B != want[1] {
			t.Errorf("%s: %v and %v, want %v", what, l.A, l.B, want)
		}
	}
	if _, ok := lines["members"]; ok || d.Same || d.Model || len(d.OnlyA)+len(d.OnlyB)+len(d.SpecA)+len(d.SpecB) > 0 {
		t.Errorf("%+v", d)
	}
	if s := d.Scores; s == nil || s.Rows != 32 || s.Mean <= 0 || s.Most < s.Mean || math.Abs(s.Correlation) > 1 {
		t.Errorf("scores %+v", d.Scores)
	}
	for _, words := range []string{"review from", "-0.25", "held_out.roc_auc  0.1", "+0.1"} {
		if !strings.Contains(text, words) {
			t.Errorf("no %q in\n%s", words, text)
		}
	}
	if d, text = diff("a.weir", "a.weir"); !d.Same || !d.Model || len(d.Changes) > 0 || d.Scores.Correlation < .999999 || d.Scores.Most != 0 || !strings.Contains(text, "same content") {
		t.Errorf("%+v\n%s", d, text)
	}
	other := randomBundle(t, "c.weir", 1, key, func(b *scoring.Bundle) { b.Features[3] = "mine" })
	d, text = diff("a.weir", "c.weir")
	if !d.Model || d.Scores != nil || fmt.Sprint(d.OnlyA, d.OnlyB) != fmt.Sprint([]string{a.Features[3]}, []string{other.Features[3]}) || !strings.Contains(text, "only in b:\n  mine") {
		t.Errorf("%+v\n%s", d, text)
	}
}

// comparing puts a few decisions into a history, whose figures can be told by hand,
// and returns what weir model compare says of them.
func comparing(t *testing.T) func(args ...string) (pairs []pair, text string) {
	t.Helper()
	t.Chdir(t.TempDir())
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	b := randomBundle(t, "rival.weir", 1, key, nil) // reviews from .5
	none, genuine, fraud := schemas.LabelNone, schemas.LabelGenuine, schemas.LabelFraud
	day := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	writeHistory(t, "h.db", day, []compared{
		{.9, .8, 1, 5, b.Prefix(), fraud},
		{.8, .1, 1, 5, b.Prefix(), genuine},
		{.1, .9, 0, 5, b.Prefix(), fraud},
		{.2, .2, 0, 5, b.Prefix(), genuine},
		{.7, .6, 1, 5, b.Prefix(), none},
		{.1, .1, .01, 5, b.Prefix(), genuine}, // explored
		{.9, .9, 1, 5, 77, fraud},             // a bundle that is not known
		{.3, 0, 0, 5, 0, fraud},               // no challenger
		{0, .6, 1, 0, b.Prefix(), fraud},      // no champion
	})
	return func(args ...string) (pairs []pair, text string) {
		t.Helper()
		args = append([]string{"model", "compare", "--history", "h.db", "--as-of", "2026-06-01"}, args...)
		var out struct{ Pairs []pair }
		lastLine(t, call(t, append(args, "--json")...).succeeds(t).stdout, &out)
		return out.Pairs, call(t, args...).succeeds(t).stdout
	}
}

// TestModelCompare holds what is printed to what was reckoned by hand.
func TestModelCompare(t *testing.T) {
	pairs, text := comparing(t)("--bundle", "rival.weir")
	if len(pairs) != 2 {
		t.Fatalf("%d pairs", len(pairs))
	}
	p := &pairs[0]
	r := stat.Correlation([]float64{.9, .8, .1, .2, .7, .1}, []float64{.8, .1, .9, .2, .6, .1}, nil)
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-6 {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	near("the correlation", p.Correlation, r)
	near("the difference", p.Apart, 1.7/6)
	near("the champion's average precision", *p.Labels.ChampionAP, .5+.5*2/5)
	near("the challenger's", *p.Labels.ChallengerAP, 1)
	if p.Rows != 6 || p.Name != "rival" || *p.Alerts != (alertOverlap{2, 1, 1, .5}) {
		t.Errorf("%+v, alerts %+v", p, p.Alerts)
	}
	l := &p.Labels
	if l.Fraud != 2 || l.Genuine != 3 || l.Champion != (judged{rightWrong{1, 1}, 1, .5, .5}) || *l.Challenger != (judged{rightWrong{2, 0}, 0, 1, 1}) ||
		*l.OnlyChampion != (rightWrong{0, 1}) || *l.OnlyChallenger != (rightWrong{1, 0}) {
		t.Errorf("%+v, challenger %+v, alone %+v and %+v", l, l.Challenger, l.OnlyChampion, l.OnlyChallenger)
	}
	if q := &pairs[1]; q.Rows != 1 || q.Alerts != nil || q.Labels.Challenger != nil || q.Challenger != "000000000000004d" {
		t.Errorf("%+v", q)
	}
	for _, words := range []string{"both 2, only the champion 1, only the challenger 1: 50.0 % in common", "precision 1.000 (2 of 2), recall 1.000 (2 of 2)  average precision 1.0000", "not known without"} {
		if !strings.Contains(text, words) {
			t.Errorf("no %q in\n%s", words, text)
		}
	}
}

// TestModelCompareByDate asks for parts of it, and for labels as they were.
func TestModelCompareByDate(t *testing.T) {
	compare := comparing(t)
	// Labels come a day later each; the first two by then are of the first two.
	pairs, _ := compare("--bundle", "rival.weir", "--as-of", "2026-05-03")
	if l := &pairs[0].Labels; l.Fraud != 1 || l.Genuine != 1 {
		t.Errorf("%+v", l)
	}
	// From the age of 31 days on, less some seconds, what has no label is genuine.
	pairs, _ = compare("--bundle", "rival.weir", "--ripe", "743h59m55.5s")
	if l := &pairs[0].Labels; l.Fraud != 2 || l.Genuine != 3 || l.Presumed != 1 || l.Champion != (judged{rightWrong{1, 2}, 1, 1. / 3, .5}) || l.Challenger.Precision != 2./3 {
		t.Errorf("%+v, challenger %+v", l, l.Challenger)
	}
	if pairs, _ = compare("--bundle", "rival.weir", "--ripe", "743h59m56.5s"); pairs[0].Labels.Presumed != 0 {
		t.Errorf("%+v", pairs[0].Labels)
	}
	if pairs, _ = compare("--from", "2026-05-01T00:00:02Z", "--to", "2026-05-01T00:00:04Z"); len(pairs) != 1 || pairs[0].Rows != 2 {
		t.Errorf("%+v", pairs)
	}
	if pairs, text := compare("--to", "2025-01-01"); len(pairs) != 0 || !strings.Contains(text, "model challenge") {
		t.Errorf("%+v %s", pairs, text)
	}
}

// compared is a decision of TestModelCompare.
type compared struct {
	score, rival, reviewed float32
	bundle, challenger     uint64
	label                  schemas.LabelVerdict
}

// writeHistory writes decisions, one a second, and their labels into a file: that
// of the n-th is known after n days.
func writeHistory(t *testing.T, file string, at int64, list []compared) {
	t.Helper()
	var values [][]byte
	for i, c := range list {
		d := &schemas.Decision{Place: schemas.Place{Offset: int64(i), Prev: int64(i) - 1, Timestamp: at}, Tenant: []byte("bank"),
			Tx: schemas.Transaction{Time: at + int64(i)*1000, Amount: 100, AmountBase: 100}, Features: []float32{1},
			Score: c.score, ReviewProb: c.reviewed, Bundle: c.bundle, Challenger: c.challenger, ChallengerScore: c.rival}
		d.Text[schemas.ID] = fmt.Appendf(nil, "t%d", i)
		if c.bundle == 0 {
			d.Verdict = schemas.Verdict{Outcome: schemas.Degraded, Reason: schemas.NoModel}
		}
		values = append(values, schemas.AppendDecision(nil, d))
	}
	for i, c := range list {
		if c.label != schemas.LabelNone {
			values = append(values, schemas.AppendLabelEntry(nil, &schemas.Label{TxID: fmt.Appendf(nil, "t%d", i), Verdict: c.label, Source: schemas.Analyst,
				Version: 1, KnownAt: at + int64(i+1)*dayMs, Place: schemas.Place{Offset: int64(i), Prev: int64(i) - 1}}))
		}
	}
	store, err := history.Open(t.Context(), file, history.Options{})
	if err == nil {
		_, err = store.Migrate(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	var block history.Block
	block.Reset(history.Ledger, 0, "transactions", history.Position{})
	block.AddBatch(0, at, &schemas.Facts{ID: schemas.BatchID{Writer: 1, Sequence: 1}, Records: uint32(len(values)), AlertsMark: -1, DeadMark: -1}, values)
	if err := store.Write(t.Context(), &block); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}
