package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/trainer"
)

// The exit codes of weir train --exit-code, beside those of every command.
const (
	exitNotBetter = 3
	exitTooFew    = 4
)

// gateFlags say what a new model is held against, and where it goes.
type gateFlags struct {
	kafka    *kafkaFlags
	trust    string
	by       string
	champion string
	report   string
	exitCode bool
}

func addGate(fs *flag.FlagSet) *gateFlags {
	g := &gateFlags{kafka: addKafka(fs)}
	fs.StringVar(&g.trust, "trust", filepath.Join("weir-data", "signing.key.pub"), "PEM `FILE` of public keys whose champion is taken too")
	fs.StringVar(&g.by, "by", cmp.Or(os.Getenv("USER"), "unknown"), "who publishes: a `NAME` for the record")
	fs.StringVar(&g.champion, "champion", "", "bundle `FILE` to hold the model against, if not the champion of --kafka")
	fs.StringVar(&g.report, "report", "", "HTML `FILE` for a report of data, model and comparison; it holds no row")
	fs.BoolVar(&g.exitCode, "exit-code", false, "exit with 3 where the model is not better, with 4 where there are too few labels to tell")
	return g
}

// A rival is what a new model is held against, and the topic that it goes to.
type rival struct {
	lock   *os.File        // held while it is open
	bundle *scoring.Bundle // nil where there is no champion
	log    *kafka.Client   // nil where nothing is published
	models *ingest.Models
	topics schemas.Topics
	key    ed25519.PrivateKey
	by     string
	judged *trainer.Judged // what the champion says of the rows held out, once it was asked
}

// open reads the champion of a spec. The caller closes the rival, which may be nil.
// Where it is to publish it has the key's lock, so that of two who train with a key
// the later sees what the first published.
func (g *gateFlags) open(ctx context.Context, e *env, s *spec.Spec, key ed25519.PrivateKey, keyFile string) (r *rival, err error) {
	if g.kafka.brokers == "" && g.champion == "" {
		return nil, nil
	}
	r = &rival{topics: g.kafka.topics(), key: key, by: g.by}
	if g.champion != "" {
		data, err := os.ReadFile(g.champion)
		if err != nil {
			return nil, fmt.Errorf("read champion: %w", err)
		}
		if r.bundle, _, err = readAnyBundle(bundleFile{g.champion, data}); err != nil {
			return nil, err
		}
		return r, foreign(r.bundle.CheckSpec(s.Hash))
	}
	trust := []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}
	more, err := trainer.LoadPublicKeys(g.trust)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("trusted keys: %w", err)
	}
	if r.lock, err = lockFile(ctx, e, keyFile+".lock", keyFile); err != nil {
		return nil, err
	}
	if r.log, err = g.kafka.client(e); err != nil {
		r.close()
		return nil, err
	}
	r.models = ingest.NewModels(r.log, r.topics, append(trust, more...))
	if !unprepared { // a model that was learnt all night is to be published
		err = r.log.Check(ctx, modelRights(r.topics))
	}
	if err == nil {
		err = r.models.Read(ctx)
	}
	if err == nil && r.models.Champion() != [32]byte{} {
		r.bundle, _, err = r.models.Open(ctx, r.models.Champion(), s.Hash)
		if err != nil {
			err = foreign(fmt.Errorf("champion: %w", err))
		}
	}
	if err != nil {
		r.close()
	}
	return r, err
}

// foreign says of a champion of another spec what to do about it.
func foreign(err error) error {
	if errors.Is(err, scoring.ErrForeignSpec) {
		err = fmt.Errorf("%w: a champion of another spec cannot be compared, and is replaced by hand: weir train --out FILE without it, then weir model promote FILE", err)
	}
	return err
}

func (r *rival) close() {
	if r == nil {
		return
	}
	if r.log != nil {
		r.log.Close()
	}
	if r.lock != nil {
		_ = r.lock.Close() // nothing was written
	}
}

// judge holds a fitted model against the rival on the rows that neither learnt from.
func (r *rival) judge(e *env, d *trainer.Dataset, o *trainer.Options, fitted *trainer.Result, s *spec.Spec, name string) (*trainer.Verdict, error) {
	_, _, held, err := trainer.Cut(d, o)
	if err != nil {
		return nil, err
	}
	var champion trainer.Judged
	if r.bundle != nil {
		if champion, err = trainer.JudgeBundle(r.bundle.Name, r.bundle, held); err != nil {
			return nil, err
		}
		r.judged = &champion
		var facts trainer.Facts
		if json.Unmarshal(r.bundle.Facts, &facts) == nil && facts.To > rfc3339(held.Time[0]) {
			fmt.Fprintf(e.stderr, "the champion learnt from days up to %s, of which some are held out here: it looks better than it is\n", facts.To)
		}
	}
	challenger, err := fitted.Judge(name, held)
	if err != nil {
		return nil, err
	}
	g := o.Gate(held)
	digits, _ := schemas.CurrencyDigits([]byte(s.Base))
	g.Segments = []trainer.Segment{trainer.AmountBands(held, digits), trainer.Hours(held)}
	return trainer.Gate(champion, challenger, held, g)
}

// errMoved is of a champion that is no longer the one that was compared with.
var errMoved = errors.New("the champion is another now than the one compared with: somebody else published; train again")

// publish makes a bundle champion, or where it is not better the challenger, and
// returns the slot; empty where it is left alone, and why. The topic is read once more
// before: of two who train at once, the later sees that the champion is not the one
// that it compared with, and where both come to that at once the log has one of them
// only. What is written last is the slot, so a trainer that dies leaves at most a bundle
// that nothing points at.
func (r *rival) publish(ctx context.Context, data []byte, b *scoring.Bundle, better bool, reason string) (slot, why string, err error) {
	before := r.models.Champion()
	if err := r.models.Read(ctx); err != nil {
		return "", "", err
	}
	switch slot = championSlot; {
	case r.models.Champion() != before:
		return "", "", fmt.Errorf("%w (%.8x compared, %.8x now)", errMoved, before, r.models.Champion())
	case before == b.Hash:
		return "", "it is the champion itself", nil // the same rows gave the same bytes
	case !better && r.models.Slots[challengerSlot].Share > 0:
		return "", "the challenger decides for a share of the cards, a trial that goes on", nil
	case !better:
		slot = challengerSlot
	}
	s := r.models.After(slot)
	s.Bundle, s.By, s.Reason = hex.EncodeToString(b.Hash[:]), r.by, reason
	err = fill(ctx, r.log, r.topics, r.models, slot, s, data, r.key, time.Now())
	if errors.Is(err, ingest.ErrSlotOvertaken) {
		err = fmt.Errorf("%w (%w)", errMoved, err)
	}
	if err != nil {
		return "", "", err
	}
	return slot, "", nil
}

// gateReport is what came of the comparison: the part of the --json line that says
// whether to act.
type gateReport struct {
	Published  bool             `json:"published"` // as champion
	Slot       string           `json:"slot,omitempty"`
	Reason     string           `json:"reason"`
	Champion   map[string]any   `json:"champion,omitempty"`
	Challenger map[string]any   `json:"challenger,omitempty"`
	Verdict    *trainer.Verdict `json:"verdict,omitempty"`
	code       int
}

// writeReport writes the report of what was learnt from d, whole or not at all.
func (t *training) writeReport(ctx context.Context, r *rival, d *trainer.Dataset, fitted *trainer.Result, s *spec.Spec, name string, v *trainer.Verdict) error {
	if t.gate.report == "" {
		return nil
	}
	rep := t.report
	rep.Name, rep.Spec, rep.Made = name, s.Name, rfc3339(time.Now().UnixMilli())
	rep.Data, rep.Options, rep.Result, rep.Verdict = d, t.options, fitted, v
	if r != nil {
		rep.Champion = r.judged
	}
	if t.searched != nil {
		rep.Search = t.searched.list
	}
	for _, group := range s.Groups() {
		g := trainer.Group{Name: group}
		for i := range s.Features {
			if s.Features[i].Group == group {
				g.Columns = append(g.Columns, i)
			}
		}
		rep.Groups = append(rep.Groups, g)
	}
	var text bytes.Buffer
	if err := rep.Write(ctx, &text); err != nil {
		return err
	}
	return writeWhole(t.gate.report, text.Bytes())
}

// writeWhole writes a file so that a reader sees the old one or the whole new one,
// and of two writers at once one of theirs.
func writeWhole(name string, data []byte) error {
	part := fmt.Sprintf("%s.part%d", name, os.Getpid())
	err := os.WriteFile(part, data, 0o644)
	if err == nil {
		err = os.Rename(part, name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), os.RemoveAll(part))
	}
	return nil
}

// settle judges a sealed bundle, publishes it, and says what came of it.
func (t *training) settle(ctx context.Context, e *env, r *rival, d *trainer.Dataset, fitted *trainer.Result, s *spec.Spec, data []byte, sealed *scoring.Bundle) (gateReport, error) {
	if r == nil {
		return gateReport{Reason: "no champion to hold it against: --kafka or --champion names one"}, t.writeReport(ctx, nil, d, fitted, s, sealed.Name, nil)
	}
	judging := time.Now()
	v, err := r.judge(e, d, &t.options, fitted, s, sealed.Name)
	few := errors.Is(err, trainer.ErrTooFew)
	if err != nil && !few {
		return gateReport{}, err
	}
	t.timed("gate", judging)
	// Before anything is published: what serves has a report.
	if err := t.writeReport(ctx, r, d, fitted, s, sealed.Name, v); err != nil {
		return gateReport{}, err
	}
	if few {
		return gateReport{Reason: err.Error(), code: exitTooFew}, nil
	}
	g := gateReport{Reason: v.Reason, Verdict: v, Challenger: figures(v, sealed, func(c *trainer.Contrast) float64 { return c.Challenger })}
	if r.bundle != nil {
		g.Champion = figures(v, r.bundle, func(c *trainer.Contrast) float64 { return c.Champion })
	}
	if !v.Publish {
		g.code = exitNotBetter
	}
	if r.log != nil {
		var why string
		if g.Slot, why, err = r.publish(ctx, data, sealed, v.Publish, v.Reason); why != "" {
			g.Reason += "; " + why
		}
		g.Published = g.Slot == championSlot
	}
	return g, err
}

// figures are what the gate says of one of the two.
func figures(v *trainer.Verdict, b *scoring.Bundle, of func(*trainer.Contrast) float64) map[string]any {
	m := map[string]any{"name": b.Name, "bundle": hex.EncodeToString(b.Hash[:])}
	for i := range v.Figures {
		m[strings.ReplaceAll(v.Figures[i].Figure, " ", "_")] = of(&v.Figures[i])
	}
	return m
}

func (g *gateReport) print(e *env) {
	where := "not published"
	if g.Slot != "" {
		where = "published as " + g.Slot
	}
	e.printf("%s: %s\n", where, g.Reason)
}

// end returns the error that gives the command its exit code.
func (g *gateReport) end(wanted bool) error {
	if !wanted || g.code == 0 {
		return nil
	}
	return exitCode(g.code)
}
