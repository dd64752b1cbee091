package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/trainer"
)

// A trainWorld is a folder with a history and a key, beside a broker.
type trainWorld struct {
	log   *kafka.Client
	train func(args ...string) called
	args  []string
}

func newTrainWorld(t *testing.T) *trainWorld {
	t.Helper()
	log, address := brokerWith(t, "transactions")
	if err := log.Ensure(t.Context(), schemas.DefaultTopics("").Layouts(1)); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if _, err := signingKey("weir-data"); err != nil {
		t.Fatal(err)
	}
	newPast(t, 3, 4000, 40).write("history.db")
	w := &trainWorld{log: log, args: []string{"train", "--history", "history.db", "--spec", "handbook", "--ripe", "5d", "--by", "me", "--kafka", address}}
	w.train = func(args ...string) called { return call(t, append(w.args, args...)...) }
	return w
}

// slots reads what the topic of models says now.
func (w *trainWorld) slots(t *testing.T) *ingest.Models {
	t.Helper()
	trust, err := trainer.LoadPublicKeys(filepath.Join("weir-data", "signing.key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	m := ingest.NewModels(w.log, schemas.DefaultTopics(""), trust)
	if err := m.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

// notForRace says why a test of a history is left out there.
func notForRace(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts nothing that could race, and SQLite is slow under the race detector")
	}
}

// TestTrainPublishesWhatIsBetter walks a topic of models through trainings: a first
// champion, one that is better, the same again, one that is not, too few labels.
func TestTrainPublishesWhatIsBetter(t *testing.T) {
	notForRace(t)
	w := newTrainWorld(t)
	f := func(slot, words string, code int, args ...string) (rep trainReport) {
		t.Helper()
		got := w.train(append(args, "--json")...)
		if got.code != code {
			t.Fatalf("%q ends with %d, want %d: %s%s", args, got.code, code, got.stdout, got.stderr)
		}
		lastLine(t, got.stdout, &rep)
		if rep.Slot != slot || rep.Published != (slot == "champion") || !strings.Contains(rep.Reason, words) {
			t.Errorf("%q is published as %q: %s; want %q and %q", args, rep.Slot, rep.Reason, slot, words)
		}
		return rep
	}
	f("", "too little to learn from (", exitTooFew, "--exit-code", "--as-of", rfc3339(pastStart+3*dayMs))
	f("", "at least 30 frauds", exitTooFew, "--exit-code", "--as-of", rfc3339(pastStart+12*dayMs), "--iterations", "8")
	f("", "at least 30 frauds", exitOK, "--as-of", rfc3339(pastStart+12*dayMs), "--iterations", "8", "--report", "few.html")
	w.train("--as-of", rfc3339(pastStart+3*dayMs)).fails(t, exitFailed, "too little")
	if m := w.slots(t); len(m.Slots) > 0 || len(m.Bundles()) > 0 {
		t.Errorf("something was published: %v", m.Slots)
	}
	// It learns of other payments, where other columns tell.
	newPastBy(t, 4, 4000, 40, 2).write("other.db")
	poor := f("champion", "no champion", exitOK, "--iterations", "20", "--history", "other.db")
	better := f("champion", "better", exitOK, "--iterations", "20", "--exit-code", "--report", "better.html")
	for _, words := range []string{poor.Challenger["name"].(string), "Held out", "Calibration", "customer", "labels came within 1.0 days, nine in ten within 3.0", "<td>read</td>", "<td>gate</td>"} {
		if !strings.Contains(content(t, "better.html"), words) {
			t.Errorf("the report does not say %q", words)
		}
	}
	if !strings.Contains(content(t, "better.html"), "better: average precision") || !strings.Contains(content(t, "few.html"), "Held out") {
		t.Error("a report does not say what came of it")
	}
	if c := better.Champion; c["bundle"] != poor.Bundle || better.Challenger["bundle"] != better.Bundle || better.Verdict == nil ||
		better.Challenger["average_precision"].(float64) <= c["average_precision"].(float64) {
		t.Errorf("%v, %v", c, better.Challenger)
	}
	f("", "not better", exitNotBetter, "--iterations", "20", "--exit-code")
	f("", "it is the champion itself", exitOK, "--iterations", "20")
	worse := f("challenger", "worse", exitNotBetter, "--iterations", "1", "--l2", "2", "--exit-code")
	m := w.slots(t)
	if c := m.Slots["champion"]; c.Bundle != better.Bundle || c.Previous != poor.Bundle || c.By != "me" || c.Reason != better.Reason {
		t.Errorf("champion %+v", c)
	}
	if c := m.Slots["challenger"]; c.Bundle != worse.Bundle || c.Reason != worse.Reason || c.Previous != "" {
		t.Errorf("challenger %+v", c)
	}
	if _, _, err := m.Open(t.Context(), m.Champion(), spec32(t)); err != nil {
		t.Error(err)
	}
	// A challenger that decides for some cards is a trial that goes on.
	call(t, "model", "challenge", "--kafka", w.args[len(w.args)-1], "--share", "0.1", better.Bundle).succeeds(t)
	f("", "a trial that goes on", exitOK, "--iterations", "1", "--l2", "3")
	// From a file it is the same, and nothing is published.
	w.args = w.args[:len(w.args)-2]
	w.train("--iterations", "20", "--out", "good.weir").succeeds(t)
	text := w.train("--iterations", "1", "--l2", "2", "--champion", "good.weir", "--out", "bad.weir").succeeds(t).stdout
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "not published: ") || !strings.Contains(last, "worse") && !strings.Contains(last, "not better") {
		t.Errorf("the last line is %q", last)
	}
}

func spec32(t *testing.T) [32]byte {
	t.Helper()
	s, err := loadSpec("handbook")
	if err != nil {
		t.Fatal(err)
	}
	return s.Hash
}

// TestTheLaterOfTwoTrainersSeesTheFirst has somebody publish between a training's
// comparison and its end, and holds the lock of one that begins.
func TestTheLaterOfTwoTrainersSeesTheFirst(t *testing.T) {
	notForRace(t)
	w := newTrainWorld(t)
	w.train("--iterations", "2", "--out", "a.weir").succeeds(t)
	address, keyFile := w.args[len(w.args)-1], filepath.Join("weir-data", "signing.key")
	key, err := trainer.LoadKey(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	e := &env{stderr: os.Stderr, lookup: func(string) (string, bool) { return "", false }}
	g := &gateFlags{kafka: &kafkaFlags{brokers: address}, by: "late"}
	s, _ := spec.Builtin("handbook")
	r, err := g.open(t.Context(), e, s, key, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	waits := &firstLine{said: make(chan string, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int)
	go func() {
		ended <- run(ctx, append(w.args, "--iterations", "3"), &env{stdout: waits, stderr: waits, lookup: e.lookup})
	}()
	if text := <-waits.said; !strings.Contains(text, "another weir trains with this key") {
		t.Errorf("the second says %q", text)
	}
	cancel()
	if code := <-ended; code != exitFailed {
		t.Errorf("the second ends with %d", code)
	}
	data := []byte(content(t, "a.weir"))
	b, _, err := readAnyBundle(bundleFile{"a.weir", data})
	if err != nil {
		t.Fatal(err)
	}
	other := randomBundle(t, "other.weir", 7, key, nil)
	call(t, "model", "promote", "--kafka", address, "other.weir").succeeds(t)
	if slot, _, err := r.publish(t.Context(), data, b, true, "better"); !errors.Is(err, errMoved) || slot != "" {
		t.Errorf("published as %q over another, %v", slot, err)
	}
	r.close()
	if m := w.slots(t); m.Champion() != other.Hash {
		t.Errorf("champion is %x", m.Champion())
	}
	// The lock is free again, and that champion is of another spec.
	w.train("--iterations", "3").fails(t, exitFailed, "spec", "weir model promote")
}

// firstLine is a writer that tells the first that is written.
type firstLine struct{ said chan string }

func (f *firstLine) Write(b []byte) (int, error) {
	select {
	case f.said <- string(b):
	default:
	}
	return len(b), nil
}

// TestKilledTrainersPublishAllOrNothing kills trainings at any moment: a slot points
// at a whole bundle or is not there, and so is the file.
func TestKilledTrainersPublishAllOrNothing(t *testing.T) {
	notForRace(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	w := newTrainWorld(t)
	began := time.Now()
	w.train("--iterations", "2").succeeds(t)
	took := time.Since(began)
	killed := 0
	for i := range sizeOf(100, 20, 8) {
		before := w.slots(t).Champion()
		p := start(t, append(w.args, "--iterations", fmt.Sprint(3+i), "--out", "out.weir")...)
		timer := time.NewTimer(time.Duration(r.Int64N(int64(took))))
		select {
		case <-timer.C:
			p.kill()
			killed++
		case err := <-p.done:
			if err != nil {
				t.Fatalf("%v: %s", err, fmt.Sprint(p.log))
			}
			p.done <- err
		}
		timer.Stop()
		m := w.slots(t)
		for slot := range m.Slots {
			if _, _, err := m.Open(t.Context(), m.Hash(slot), spec32(t)); err != nil {
				t.Errorf("%s after kill %d: %v", slot, i, err)
			}
		}
		if m.Champion() == [32]byte{} || len(m.Refused) > 0 {
			t.Errorf("champion was %x, is %x; refused: %v", before, m.Champion(), m.Refused)
		}
		if data, err := os.ReadFile("out.weir"); err == nil {
			if _, _, err := readAnyBundle(bundleFile{"out.weir", data}); err != nil {
				t.Errorf("the file after kill %d: %v", i, err)
			}
		}
	}
	if killed == 0 {
		t.Errorf("none was killed within %v", took)
	}
	w.train("--iterations", "40").succeeds(t)
}
