package main

import (
	"crypto/ed25519"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/trainer"
)

// typed are the commands of a section of deploy's page, as they are written there.
func typed(t *testing.T, section string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile("../../deploy/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, page, ok := strings.Cut(string(text), "\n## "+section+"\n")
	if !ok {
		t.Fatalf("there is no section %q", section)
	}
	page, _, _ = strings.Cut(page, "\n## ")
	for line := range strings.Lines(page) {
		if command, ok := strings.CutPrefix(line, "    "); ok {
			lines = append(lines, strings.TrimSpace(command))
		}
	}
	return lines
}

// A rotation is a change of the key of models, command by command.
type rotation struct {
	t        *testing.T
	w        *trainWorld
	address  string
	commands []string
	old      ed25519.PrivateKey
}

// next types the next commands of the page.
func (r *rotation) next(n int) {
	r.t.Helper()
	for _, line := range r.commands[:n] {
		if args, ok := strings.CutPrefix(line, "weir "); ok {
			args = strings.NewReplacer("127.0.0.1:9092", r.address, `"new key"`, "rotated").Replace(args)
			if strings.HasPrefix(args, "train") {
				args += " --spec handbook --ripe 5d --iterations 8"
			}
			call(r.t, strings.Fields(args)...).succeeds(r.t)
		} else if out, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
			r.t.Fatalf("%s: %v %s", line, err, out)
		}
	}
	r.commands = r.commands[n:]
}

// publish makes a bundle champion by the old key.
func (r *rotation) publish(seed uint64) {
	r.t.Helper()
	data, sealed, err := trainer.Seal(handbookBundle(r.t, seed), r.old)
	if err == nil {
		slot := ingest.Slot{By: "me", Reason: "old key"}
		err = ingest.PublishBundle(r.t.Context(), r.w.log, schemas.DefaultTopics(""), data, sealed.Hash, "champion", slot, r.old, time.Now())
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rotation) score() *process {
	return start(r.t, "score", "--kafka", r.address, "--spec", "handbook", "--data", "score", "--listen", "127.0.0.1:0", "--log", "json", "--trust", "models.pem")
}

func (r *rotation) verified(by string) {
	r.t.Helper()
	call(r.t, "model", "verify", "--kafka", r.address, "--trust", by, "champion").succeeds(r.t)
}

// loaded waits for a champion that is another than before.
func loaded(p *process, before any) any {
	p.t.Helper()
	p.until("a champion", func() bool {
		m := p.said("champion loaded")
		return m != nil && m["bundle"] != before
	})
	return p.said("champion loaded")["bundle"]
}

// TestTheKeyOfModelsIsChanged does what deploy's page says, with a scorer started as it
// says: by both keys, and by the new one alone.
func TestTheKeyOfModelsIsChanged(t *testing.T) {
	notForRace(t)
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed, with which the page makes keys")
	}
	r := &rotation{t: t, commands: typed(t, "Change the key of models")}
	if len(r.commands) != 8 {
		t.Fatalf("the page has the commands %q", r.commands)
	}
	r.w = newTrainWorld(t)
	r.address = r.w.args[len(r.w.args)-1]
	var err error
	if r.old, err = trainer.LoadKey(filepath.Join("weir-data", "signing.key")); err == nil {
		err = os.Link(filepath.Join("weir-data", "signing.key.pub"), "old.pub")
	}
	if err != nil {
		t.Fatal(err)
	}
	r.publish(1)
	r.verified("old.pub")
	r.next(4) // the new key, and a file of both
	p := r.score()
	first := loaded(p, nil)
	r.next(3) // a champion by the new key
	second := loaded(p, first)
	r.verified("models.pem")
	p.stop()
	r.next(1) // without the old key
	p = r.score()
	if now := loaded(p, nil); now != second {
		t.Errorf("%v decides, not %v", now, second)
	}
	// The first champion's slot is refused from the start; then one by who has the old key still.
	p.until("a refusal", func() bool { return p.said("record of models refused") != nil })
	before := p.said("record of models refused")["cause"]
	r.publish(2)
	p.until("another refusal", func() bool {
		m := p.said("record of models refused")
		return m["cause"] != before && m["reason"] == "slot_signature"
	})
	if now := p.said("champion loaded")["bundle"]; now != second {
		t.Errorf("%v decides, not %v", now, second)
	}
	r.verified("models.pem")
	p.stop()
}

// handbookBundle is a random network for the spec.
func handbookBundle(t *testing.T, seed uint64) *scoring.Bundle {
	t.Helper()
	s, _ := spec.Builtin("handbook")
	names := s.FeatureNames()
	b := &scoring.Bundle{Name: fmt.Sprint("by the old key ", seed), Spec: scoring.SpecText{Name: s.Name, Text: s.Text, Hash: s.Hash}, Features: names,
		Model: trainer.RandomModel(seed, len(names), 4, 1), Policy: scoring.Policy{Review: 0.5}, Calibration: scoring.Calibration{A: 1, B: 1}}
	scorer, err := cpu.New(b.Model)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.SetSelfTest(scorer, scoring.Matrix{Data: make([]float32, 16*len(names)), Rows: 16, Cols: len(names)}); err != nil {
		t.Fatal(err)
	}
	return b
}
