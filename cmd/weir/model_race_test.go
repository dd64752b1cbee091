package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-risk/weir/alerts/desk"
	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// raceWorld is a topic of models that several people and programs write to, each of whom
// has the key.
type raceWorld struct {
	t       *testing.T
	log     *kafka.Client
	address string
	key     ed25519.PrivateKey
	files   []string
	bundles []*scoring.Bundle
}

func newRaceWorld(t *testing.T, bundles int) *raceWorld {
	t.Helper()
	w := &raceWorld{t: t}
	w.log, w.address = brokerWith(t, "transactions")
	err := w.log.Ensure(t.Context(), schemas.DefaultTopics("").Layouts(1))
	t.Chdir(t.TempDir())
	if err == nil {
		w.key, err = signingKey("weir-data")
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range bundles {
		w.files = append(w.files, fmt.Sprintf("%d.weir", i))
		w.bundles = append(w.bundles, randomBundle(t, w.files[i], uint64(i+1), w.key, nil))
	}
	call(t, "model", "promote", "--kafka", w.address, "--by", "first", w.files[0]).succeeds(t)
	return w
}

// reads returns what the topic says now.
func (w *raceWorld) reads() *ingest.Models {
	w.t.Helper()
	m := ingest.NewModels(w.log, schemas.DefaultTopics(""), []ed25519.PublicKey{w.key.Public().(ed25519.PublicKey)})
	if err := m.Read(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return m
}

// promoter is a weir model promote that has read the topic, and promotes when it is
// called.
func (w *raceWorld) promoter(by string, bundle int) func() error {
	w.t.Helper()
	e := &env{stdout: io.Discard, stderr: io.Discard, lookup: func(string) (string, bool) { return "", false }}
	m := &modelRun{topic: &topicModels{kafka: &kafkaFlags{brokers: w.address}, key: filepath.Join("weir-data", "signing.key"), by: by}}
	w.t.Cleanup(m.close)
	if _, err := m.signing(w.t.Context(), e); err != nil {
		w.t.Fatal(err)
	}
	return func() error { return m.promote(w.t.Context(), e, w.files[bundle]) }
}

// trains is a weir train on a machine of its own that found a model to be better than
// the champion, and publishes it when it is called.
func (w *raceWorld) trains(by string, bundle int) func() error {
	w.t.Helper()
	r := &rival{log: w.log, models: w.reads(), topics: schemas.DefaultTopics(""), key: w.key, by: by}
	return func() error {
		_, _, err := r.publish(w.t.Context(), []byte(content(w.t, w.files[bundle])), w.bundles[bundle], true, "better")
		return err
	}
}

// decides is a desk that makes a bundle champion, as two model owners agreed on.
func (w *raceWorld) decides(by string, bundle int) func() error {
	w.t.Helper()
	d := &deskModels{service: &service{client: w.log, topics: schemas.DefaultTopics("")}, key: w.key, models: w.reads(),
		known: make(map[[32]byte]*deskModel), diffs: make(map[[2]*deskModel][]desk.ModelChange)}
	was := d.models.Slots[championSlot]
	return func() error {
		return d.Publish(w.t.Context(), desk.Publication{Bundle: fmt.Sprintf("%x", w.bundles[bundle].Hash), Previous: was.Bundle, PreviousMs: was.Time,
			By: by, Reason: "agreed", Time: max(time.Now().UnixMilli(), was.Time+1)})
	}
}

// TestTheFirstToPromoteIsNotUndone has people at the command line, at the desk, and
// trainers make another bundle champion, each having read the topic before the others
// wrote: once one after the other, and many times at once. One of them has it, and the
// others are told who.
func TestTheFirstToPromoteIsNotUndone(t *testing.T) {
	w := newRaceWorld(t, 4)
	names := []string{"a person", "another one", "a desk", "a trainer", "another trainer"}
	all := func() []func() error {
		now := w.reads().Champion()
		b := func(k int) int { // of the three others, so that two want the same one
			return (slices.IndexFunc(w.bundles, func(b *scoring.Bundle) bool { return b.Hash == now }) + k) % len(w.bundles)
		}
		return []func() error{w.promoter(names[0], b(1)), w.promoter(names[1], b(2)), w.decides(names[2], b(3)), w.trains(names[3], b(1)), w.trains(names[4], b(2))}
	}
	told := func(k int, err error, winner string) {
		t.Helper()
		switch want := map[int]error{2: desk.ErrModelOvertaken, 3: errMoved, 4: errMoved}[k]; {
		case err == nil:
			t.Errorf("%s promotes over %s", names[k], winner)
		case want != nil && !errors.Is(err, want), k < 3 && !strings.Contains(err.Error(), winner):
			t.Errorf("%s is told %v, and %s was first", names[k], err, winner)
		}
	}
	for _, data := range w.files { // the topic holds them, so that the desk may promote them
		call(t, "model", "challenge", "--kafka", w.address, data).succeeds(t)
	}
	for k := range names {
		round := all()
		if err := round[k](); err != nil {
			t.Fatalf("%s, alone: %v", names[k], err)
		}
		for i := range names {
			if i != k {
				told(i, round[i](), names[k])
			}
		}
		if got := w.reads().Slots[championSlot]; got.By != names[k] {
			t.Errorf("%s was first, and %s has it", names[k], got.By)
		}
	}
	for range 8 {
		round, errs := all(), make([]error, len(names))
		var wait sync.WaitGroup
		for i, act := range round {
			wait.Go(func() { errs[i] = act() })
		}
		wait.Wait()
		winner := w.reads().Slots[championSlot].By
		for i, err := range errs {
			if names[i] != winner {
				told(i, err, winner)
			} else if err != nil {
				t.Errorf("%s has it, and is told %v", winner, err)
			}
		}
	}
	// What lost is listed with why, and the last record is the one in force.
	var got listed
	lastLine(t, call(t, "model", "ls", "--json", "--kafka", w.address).succeeds(t).stdout, &got)
	if len(got.Refused) == 0 || got.Refused[0].Refused != "slot_overtaken" || got.Slots[championSlot].By != w.reads().Slots[championSlot].By {
		t.Errorf("listed are %+v", got)
	}
}
