package main

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weir-risk/weir/alerts/desk"
	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/trainer"
)

// deskModelFlags say what the desk's page of the models goes by.
type deskModelFlags struct {
	key, trust string
	approvals  int
	alone      bool // there is no scorer in this process
}

func (f *deskModelFlags) add(fs *flag.FlagSet, beside bool) {
	key := "(the desk changes no model if not given)"
	if beside {
		key = "(the one of this data folder if neither this nor --trust is given)"
	} else {
		f.alone = true
		fs.StringVar(&f.trust, "trust", "", "PEM `FILE` of the public keys whose bundles and slots are taken\n(the one of this data folder, where there is one, if not given)")
	}
	fs.StringVar(&f.key, "signing-key", "", "PEM `FILE` of the key that signs what model owners decide at the desk\n"+key)
	fs.IntVar(&f.approvals, "approvals", 2, "`NUMBER` of model owners that a change of the champion needs at the desk: 1 or 2")
}

func (f *deskModelFlags) check() error {
	if f.approvals != 1 && f.approvals != 2 {
		return usagef("--approvals %d: 1 or 2", f.approvals)
	}
	return nil
}

// keys loads the keys whose models are shown, and the one that signs, nil where there is
// none. One that the others do not know would sign what scorers refuse.
func (f *deskModelFlags) keys(s *service) (trust []ed25519.PublicKey, key ed25519.PrivateKey, err error) {
	switch {
	case f.trust != "":
		trust, err = trainer.LoadPublicKeys(f.trust)
	case !f.alone:
		trust, err = s.trusted("")
	default:
		if trust, err = trainer.LoadPublicKeys(filepath.Join(s.flags.data, "signing.key.pub")); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err != nil {
		return nil, nil, err
	}
	if f.key == "" && !f.alone && f.trust == "" {
		key, err = signingKey(s.flags.data)
		return trust, key, err
	}
	if f.key == "" {
		return trust, nil, nil
	}
	if key, err = trainer.LoadKey(f.key); err != nil {
		return nil, nil, fmt.Errorf("--signing-key: %w", err)
	}
	public := key.Public().(ed25519.PublicKey)
	if known := slices.ContainsFunc(trust, func(k ed25519.PublicKey) bool { return k.Equal(public) }); !known {
		if f.trust != "" {
			return nil, nil, fmt.Errorf("--signing-key %s: its public key is not among those of --trust %s: scorers that go by these would refuse what the desk signs", f.key, f.trust)
		}
		trust = append(trust, public)
	}
	return trust, key, nil
}

// deskModels is what the desk knows of the models, and how it makes one the champion: a
// [desk.Models] of the topic models and the history.
type deskModels struct {
	service *service
	past    history.Store // nil where there is none
	trust   []ed25519.PublicKey
	key     ed25519.PrivateKey // nil where the desk changes nothing

	reading sync.Mutex // held by who reads the topic
	models  *ingest.Models
	known   map[[32]byte]*deskModel
	diffs   map[[2]*deskModel][]desk.ModelChange

	mu     sync.Mutex // guards the others
	live   modelsLive
	paired time.Time // when live.pair was made
}

// deskModel is a bundle that was looked at, without its network: years of models would
// not fit into memory with theirs.
type deskModel struct {
	desk.Model
	bundle *scoring.Bundle // nil where it cannot be read
}

// deskModels makes it. The history is the caller's, nil where there is none.
func (s *service) deskModels(f *deskModelFlags, past history.Store) (*deskModels, error) {
	trust, key, err := f.keys(s)
	if err != nil {
		return nil, err
	}
	return &deskModels{service: s, past: past, trust: trust, key: key, models: ingest.NewModels(s.client, s.topics, trust), known: make(map[[32]byte]*deskModel),
		diffs: make(map[[2]*deskModel][]desk.ModelChange), live: modelsLive{none: "The history was not read yet."}}, nil
}

// slotsShown is how many records of slots the page shows: each may be of a bundle that
// has to be read.
const slotsShown = 20

// Look implements [desk.Models].
func (d *deskModels) Look(ctx context.Context) (*desk.ModelsNow, error) {
	now, err := d.look(ctx)
	if err != nil {
		return nil, fmt.Errorf("look at the models: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now.NoHistory, now.Newest = d.live.none, d.live.newest
	for _, m := range []*desk.Model{now.Champion, now.Challenger, now.Previous} {
		if m != nil {
			m.Days = d.live.days[m.Hash[:16]]
		}
	}
	if p := d.live.pair; p != nil && now.Champion != nil && now.Challenger != nil && now.Champion.Hash[:16] == p.champion && now.Challenger.Hash[:16] == p.challenger {
		now.Pair = &p.ModelPair
	}
	return now, nil
}

// look reads the topic.
func (d *deskModels) look(ctx context.Context) (*desk.ModelsNow, error) {
	d.reading.Lock()
	defer d.reading.Unlock()
	if err := d.models.Read(ctx); err != nil {
		return nil, err
	}
	now := &desk.ModelsNow{MaySign: d.key != nil}
	for _, r := range d.models.Refused {
		now.Refused = append(now.Refused, r.Err.Error())
	}
	for _, p := range slices.Backward(d.models.Past) {
		if len(now.Slots) == slotsShown {
			break
		}
		c := desk.SlotChange{Time: p.Time, Slot: p.Name, Hash: p.Bundle, By: p.By, Reason: p.Reason, Share: p.Share}
		m, err := d.model(ctx, p.Bundle)
		if err != nil {
			return nil, err
		}
		if m != nil {
			c.Name = m.Name
		}
		now.Slots = append(now.Slots, c)
	}
	slot := d.models.Slots[championSlot]
	now.Since, now.Share = slot.Time, d.models.Slots[challengerSlot].Share
	champion, err := d.model(ctx, slot.Bundle)
	if err != nil || champion == nil {
		return now, err
	}
	challenger, err := d.model(ctx, d.models.Slots[challengerSlot].Bundle)
	if err != nil {
		return nil, err
	}
	previous, err := d.model(ctx, slot.Previous)
	if err != nil {
		return nil, err
	}
	now.Champion, now.Challenger, now.Previous = champion.copied(), challenger.copied(), previous.copied()
	switch {
	case challenger != nil && challenger != champion:
		now.ChangesOf = "from the champion to the challenger"
		now.Changes, err = d.changes(ctx, champion, challenger)
	case previous != nil && previous != champion:
		now.ChangesOf = "from the one before to the champion"
		now.Changes, err = d.changes(ctx, previous, champion)
	}
	return now, err
}

// copied returns what the page is given of a model, which it may add to.
func (m *deskModel) copied() *desk.Model {
	if m == nil {
		return nil
	}
	c := m.Model
	return &c
}

// model returns the bundle of a hash, nil for none.
func (d *deskModels) model(ctx context.Context, hash string) (*deskModel, error) {
	b, err := hex.DecodeString(hash)
	if err != nil || len(b) != 32 {
		return nil, nil
	}
	key := [32]byte(b)
	if m := d.known[key]; m != nil && m.bundle != nil {
		return m, nil
	}
	m := &deskModel{Model: desk.Model{Hash: hash, Name: "unknown"}}
	data, err := d.models.File(ctx, key)
	if errors.Is(err, ingest.ErrModelsAway) {
		return nil, err
	}
	if err != nil { // it may come, or be gone
		m.Refused = err.Error()
		return m, nil
	}
	full, signer, err := readAnyBundle(bundleFile{shortened(hash), data})
	if err == nil {
		f := factsOf(data, full, signer)
		m.Model = described(&f)
		m.bundle = &scoring.Bundle{Name: full.Name, Hash: full.Hash, Spec: full.Spec, Features: full.Features, Profile: full.Profile,
			Policy: full.Policy, Calibration: full.Calibration}
		_, _, err = d.models.Open(ctx, key, full.Spec.Hash)
	}
	if errors.Is(err, ingest.ErrModelsAway) {
		return nil, err
	}
	if err != nil {
		m.Refused = ingest.RefusalName(err) + ": " + err.Error()
	}
	d.known[key] = m
	return m, nil
}

func shortened(hash string) string { return hash[:min(16, len(hash))] }

// changes returns in what two models differ, as weir model diff has it.
func (d *deskModels) changes(ctx context.Context, a, b *deskModel) ([]desk.ModelChange, error) {
	key := [2]*deskModel{a, b}
	if list, ok := d.diffs[key]; ok {
		return list, nil
	}
	if a.bundle == nil || b.bundle == nil {
		return nil, nil
	}
	diff := &modelDiff{}
	for i, m := range key {
		data, err := d.models.File(ctx, m.bundle.Hash)
		if err != nil {
			return nil, err
		}
		bundle, signer, err := readAnyBundle(bundleFile{m.Name, data})
		if err != nil {
			return nil, err
		}
		diff.names[i], diff.bundles[i] = m.Name, modelRef{bundle, factsOf(data, bundle, signer)}
	}
	if err := diff.compare(); err != nil {
		return nil, err
	}
	if len(d.diffs) > slotsShown {
		clear(d.diffs)
	}
	d.diffs[key] = diff.changes()
	return d.diffs[key], nil
}

// changes writes a comparison down for the page: the features first.
func (d *modelDiff) changes() (list []desk.ModelChange) {
	only := func(group string, a, b []string) {
		for _, name := range a {
			list = append(list, desk.ModelChange{Group: group, What: name, A: "yes", B: "–"})
		}
		for _, name := range b {
			list = append(list, desk.ModelChange{Group: group, What: name, A: "–", B: "yes"})
		}
	}
	only("Features", d.OnlyA, d.OnlyB)
	switch features := len(d.bundles[0].facts.Features); {
	case d.order:
		list = append(list, desk.ModelChange{Group: "Features", What: fmt.Sprintf("the same %d, in another order", features)})
	case len(list) == 0:
		list = append(list, desk.ModelChange{Group: "Features", What: fmt.Sprintf("the same %d", features)})
	}
	if s := d.Scores; s != nil && !d.Same {
		list = append(list, desk.ModelChange{Group: "Scores", What: fmt.Sprintf("on the %s that they carry they correlate by %.4f and are apart by %.4f in the mean, %.4f at most",
			several(s.Rows, "row"), s.Correlation, s.Mean, s.Most)})
	}
	only("Lines of the spec", d.SpecA, d.SpecB)
	lines := func(group string, of []diffLine) {
		for _, l := range of {
			c := desk.ModelChange{Group: group, What: l.What, A: cmp.Or(side(l.A), "–"), B: cmp.Or(side(l.B), "–")}
			a, okA := number(l.A)
			if b, okB := number(l.B); okA && okB {
				c.By = fmt.Sprintf("%+.4g", b-a)
			}
			if c.A != c.B {
				list = append(list, c)
			}
		}
	}
	lines("What they are", d.Changes)
	lines("What their trainers say", d.Facts)
	return list
}

// Publish implements [desk.Models].
func (d *deskModels) Publish(ctx context.Context, p desk.Publication) error {
	d.reading.Lock()
	defer d.reading.Unlock()
	if d.key == nil {
		return errors.New("the desk has no key to sign with: --signing-key FILE")
	}
	m, err := d.model(ctx, p.Bundle)
	if err != nil {
		return err
	}
	if m == nil || m.bundle == nil {
		return fmt.Errorf("%w: the topic does not hold it", desk.ErrModelRefused)
	}
	champion, err := d.model(ctx, p.Previous)
	if err != nil {
		return err
	}
	if champion != nil && champion.bundle != nil && champion.bundle.Spec.Hash != m.bundle.Spec.Hash {
		return fmt.Errorf("%w: it was made for the spec %s (%.8x), and scorers serve %s (%.8x)", desk.ErrModelRefused,
			m.bundle.Spec.Name, m.bundle.Spec.Hash, champion.bundle.Spec.Name, champion.bundle.Spec.Hash)
	}
	data, err := d.models.File(ctx, m.bundle.Hash)
	if err != nil {
		return err
	}
	if data, _, err = vouch(bundleFile{m.Name, data}, d.key); err != nil {
		return fmt.Errorf("%w: %w", desk.ErrModelRefused, err)
	}
	s := d.models.After(championSlot)
	if now := d.models.Slots[championSlot]; now.Bundle != p.Previous || now.Time != p.PreviousMs {
		return fmt.Errorf("%w: %q made %.16s champion: %s", desk.ErrModelOvertaken, now.By, now.Bundle, now.Reason)
	}
	// The record's own time is the slot's, so that writing it again writes the same.
	s.Bundle, s.By, s.Reason, s.Time = p.Bundle, p.By, p.Reason, p.Time
	err = fill(ctx, d.service.client, d.service.topics, d.models, championSlot, s, data, d.key, time.UnixMilli(p.Time))
	if errors.Is(err, ingest.ErrSlotOvertaken) {
		err = fmt.Errorf("%w: %w", desk.ErrModelOvertaken, err)
	}
	return err
}

// described is what the page shows of what a bundle says of itself.
func described(f *modelFacts) desk.Model {
	m := desk.Model{Hash: f.Hash, Name: f.Name, Spec: f.Spec + " (" + shortened(f.SpecHash) + ")", Signer: f.Signer}
	said := flat(f.Facts)
	text := func(key string, format func(float64) string) string {
		if x, ok := said[key].(float64); ok && format != nil {
			return format(x)
		}
		if s, ok := said[key].(string); ok {
			return s
		}
		return ""
	}
	add := func(to *[]desk.ModelFact, name, value string) {
		if value != "" {
			*to = append(*to, desk.ModelFact{Name: name, Value: value})
		}
	}
	count := func(x float64) string { return thousands(int64(x)) }
	share := func(x float64) string { return fmt.Sprintf("%.1f %%", 100*x) }
	plain := func(x float64) string { return fmt.Sprintf("%.3f", x) }
	l := &m.Learnt
	day := func(key string) string { t := text(key, nil); return t[:min(len(t), len(time.DateOnly))] }
	if day("from") != "" {
		add(l, "Days", day("from")+" to "+day("to"))
	}
	add(l, "Payments", text("rows", count))
	add(l, "Frauds", text("frauds", count))
	add(l, "Labels known by", text("as_of", nil))
	network := "no hidden layer"
	if len(f.Hidden) > 0 {
		network = "hidden layers of " + strings.ReplaceAll(strings.Trim(fmt.Sprint(f.Hidden), "[]"), " ", " and ")
	}
	add(l, "Network", cmp.Or(text("kind", nil), "network")+", "+network+", "+several(f.Members, "member"))
	add(l, "Features", fmt.Sprint(len(f.Features)))
	add(l, "Calibration", f.Calibration)
	h := &m.Held
	for _, x := range []struct {
		name, key string
		format    func(float64) string
	}{{"Payments", "rows", count}, {"Frauds", "frauds", count}, {"Days", "days", func(x float64) string { return fmt.Sprintf("%.1f", x) }},
		{"ROC AUC", "roc_auc", plain}, {"Average precision", "average_precision", plain}, {"Alerts", "reviewed", count}, {"Precision", "precision", share},
		{"Recall", "recall", share}, {"Money caught", "money_recall", share}, {"Cards a day", "cards_per_day", func(x float64) string { return fmt.Sprintf("%.1f", x) }},
		{"Frauds expected of those seen", "expected_over_seen", func(x float64) string { return fmt.Sprintf("%.2f", x) }}} {
		add(h, x.name, text("held_out."+x.key, x.format))
	}
	p := &m.Policy
	add(p, "Ranks by", f.Rank)
	add(p, "Review from", fmt.Sprintf("%.4g", f.Review))
	if f.Block > 0 {
		add(p, "Block from", fmt.Sprintf("%.4g", f.Block))
	}
	add(p, "Explores", fmt.Sprintf("%g %%", 100*f.Explore))
	return m
}

// noHistory says where to look for one.
const noHistory = "There is no history here, so nothing is known of how models do live: --history names it, weir record writes it."
