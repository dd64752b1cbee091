package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/trainer"
)

var modelCommand = &command{
	name: "model", args: "ls | show | verify | diff | export | promote | challenge | rollback | compare | watch [BUNDLE...]",
	summary: "look into bundles, prove that they would serve, say which one decides", json: true,
	about: `A BUNDLE is a file; or with --kafka what the topic of models holds as champion or
challenger, or under a hash, of which 8 digits or more will do.

ls lists what the topic holds, what serves, and what is refused by which name.
show prints what a bundle says of itself: spec, network, operating point, what it
was learnt from and how it did on rows held out, and who signed it. It trusts nobody
and needs no key. diff prints two side by side: features, network, operating point,
what their trainers say, and how far their scores are apart on rows that they carry.
export writes a bundle of the topic into the file --out.

verify does what a scorer does before it takes a bundle: the signature must be of a
trusted key, the spec's text must have the hash that the bundle names, and every back
end of this machine must give the bits of the self-test rows. The exit code is 1
otherwise.

promote publishes a bundle, signed by --key, and makes it the champion: every scorer
that trusts the key swaps it in between two steps. rollback makes the one before the
champion the champion again. challenge makes a bundle the challenger: it scores what
the champion scores, and decides nothing, or for a --share of the cards, the same ones
for as long as it challenges; challenge none ends that. Of two who change a slot at
once, here, at a desk or by weir train, the first has it and the other is told by whom. Scorers of a
version before this rule take no slot of it: replace them first. compare says how
the two do: where they agree, what each would have alerted at its own operating
point, and as far as labels have come who was right; no label means genuine from the
age --ripe on. It reads the history, and the challengers' bundles with --kafka, or
--bundle FILE. Where a challenger decides for cards, its rows are a pair of their own,
in which it is the champion.

watch says of each day whether it was like the days that its bundle was learnt from
(population stability of every feature and of the score), how much was alerted, and as
labels come how precise the alerts were, by age of the labels, how many of all frauds
they caught, by what exploration drew, and how probabilities compare with frauds. weir
record and weir up note the same in the history's table figures once a day is over;
watch reads what is noted and makes the rest.`,
	examples: []string{
		"weir model show model.weir",
		"weir model verify --trust weir-data/signing.key.pub model.weir",
		"weir model verify --trust keys.pem --spec bank.spec model.weir",
		"weir model ls --kafka 127.0.0.1:9092",
		"weir model diff --kafka 127.0.0.1:9092 champion model.weir",
		"weir model promote --kafka 127.0.0.1:9092 --reason 'learnt from May' model.weir",
		"weir model challenge --kafka 127.0.0.1:9092 model.weir",
		"weir model challenge --kafka 127.0.0.1:9092 --share 0.05 challenger",
		"weir model compare --kafka 127.0.0.1:9092 --from 2026-05-01",
		"weir model compare --history clickhouse://127.0.0.1:9000/weir --bundle model.weir --json",
		"weir model watch --kafka 127.0.0.1:9092",
		"weir model watch --history clickhouse://127.0.0.1:9000/weir --bundle model.weir --from 2026-05-01 --json",
		"weir model promote --kafka 127.0.0.1:9092 challenger",
		"weir model rollback --kafka 127.0.0.1:9092 --reason 'too many alerts'",
		"weir model export --kafka 127.0.0.1:9092 --out champion.weir champion",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		m := &modelRun{topic: addTopicModels(fs), compare: addComparison(fs)}
		fs.StringVar(&m.trust, "trust", filepath.Join("weir-data", "signing.key.pub"), "PEM `FILE` of the public keys whose signatures are trusted")
		fs.StringVar(&m.spec, "spec", "", "`FILE` or name of the spec that it is to serve (its own if not given)")
		fs.StringVar(&m.out, "out", "", "`FILE` that export writes")
		return func(ctx context.Context, e *env, args []string) error {
			defer m.close()
			return m.run(ctx, e, args)
		}
	},
}

// modelRun is one run of the command.
type modelRun struct {
	trust, spec, out string
	topic            *topicModels
	compare          *comparison

	log    *kafka.Client  // nil until it is needed
	models *ingest.Models // read to the topic's end
}

// run does what the first word says with the bundles that follow it.
func (m *modelRun) run(ctx context.Context, e *env, args []string) error {
	verb := ""
	if len(args) > 0 {
		verb, args = args[0], args[1:]
	}
	for _, v := range []struct {
		name    string
		bundles int
		run     func() error
	}{
		{"ls", 0, func() error { return m.list(ctx, e) }},
		{"show", 1, func() error { return m.show(ctx, e, args[0]) }},
		{"verify", 1, func() error { return m.verify(ctx, e, args[0]) }},
		{"diff", 2, func() error { return m.diff(ctx, e, args[0], args[1]) }},
		{"export", 1, func() error { return m.export(ctx, e, args[0]) }},
		{"promote", 1, func() error { return m.promote(ctx, e, args[0]) }},
		{"challenge", 1, func() error { return m.challenge(ctx, e, args[0]) }},
		{"rollback", 0, func() error { return m.rollback(ctx, e) }},
		{"compare", 0, func() error { return m.compareLive(ctx, e) }},
		{"watch", 0, func() error { return m.watchLive(ctx, e) }},
	} {
		if v.name == verb && v.bundles == len(args) {
			return v.run()
		}
	}
	return usagef("weir model ls, show BUNDLE, verify BUNDLE, diff BUNDLE BUNDLE, export BUNDLE, promote BUNDLE, challenge BUNDLE, rollback, compare, or watch")
}

// modelFacts is what a bundle says of itself: the --json line.
type modelFacts struct {
	Name        string          `json:"name"`
	Hash        string          `json:"hash"`
	Bytes       int             `json:"bytes"`
	Signer      string          `json:"signer,omitempty"` // public key, hexadecimal
	Spec        string          `json:"spec"`
	SpecHash    string          `json:"spec_hash"`
	Features    []string        `json:"features"`
	Inputs      int             `json:"inputs"`
	Hidden      []int           `json:"hidden"`
	Members     int             `json:"members"`
	Calibration string          `json:"calibration"`
	Rank        string          `json:"rank"`
	Review      float32         `json:"review"`
	Block       float32         `json:"block"`
	Explore     float32         `json:"explore"`
	SelfTest    int             `json:"self_test_rows"`
	Background  int             `json:"background_rows"`
	Facts       json.RawMessage `json:"facts"`
}

// readAnyBundle reads a bundle whoever signed it, and returns the signer, nil
// where there is none. It is for looking at it only: the signature is checked
// against the key that the file itself names.
func readAnyBundle(f bundleFile) (b *scoring.Bundle, signer ed25519.PublicKey, err error) {
	name, data := f.name, f.data
	// A key of its own is put in the place of the signature, so that an unsigned
	// file can be read as well; what was there is looked at apart.
	_, own, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, nil, err
	}
	signed, err := scoring.Sign(data, own)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	if b, err = scoring.ReadBundle(signed, []ed25519.PublicKey{own.Public().(ed25519.PublicKey)}); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	at := len(data) - ed25519.SignatureSize - ed25519.PublicKeySize
	signer = ed25519.PublicKey(bytes.Clone(data[at : at+ed25519.PublicKeySize]))
	if slices.Max(signer) == 0 {
		return b, nil, nil
	}
	if _, err := scoring.ReadBundle(data, []ed25519.PublicKey{signer}); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, signer, nil
}

func factsOf(data []byte, b *scoring.Bundle, signer ed25519.PublicKey) modelFacts {
	f := modelFacts{Name: b.Name, Hash: hex.EncodeToString(b.Hash[:]), Bytes: len(data), Signer: hex.EncodeToString(signer),
		Spec: b.Spec.Name, SpecHash: hex.EncodeToString(b.Spec.Hash[:]), Features: b.Features,
		Inputs: len(b.Model.Inputs), Hidden: []int{}, Members: b.Model.Members,
		Review: b.Policy.Review, Block: b.Policy.Block, Explore: b.Policy.Explore,
		SelfTest: len(b.SelfTestScores), Background: len(b.Background) / len(b.Features), Facts: b.Facts}
	for i := range b.Model.Hidden {
		f.Hidden = append(f.Hidden, b.Model.Hidden[i].Width)
	}
	f.Calibration = [...]string{scoring.Identity: "none", scoring.Platt: "Platt", scoring.Beta: "beta"}[b.Calibration.Kind]
	f.Rank = [...]string{scoring.ByProb: "p", scoring.BySqrtAmount: "p*sqrt(amount)", scoring.ByAmount: "p*amount"}[b.Policy.Rank]
	return f
}

func (m *modelRun) show(ctx context.Context, e *env, what string) error {
	file, err := m.find(ctx, e, what)
	if err != nil {
		return err
	}
	b, signer, err := readAnyBundle(file)
	if err != nil {
		return err
	}
	f := factsOf(file.data, b, signer)
	if !e.json {
		f.print(e)
	}
	return e.report(f)
}

func (f *modelFacts) print(e *env) {
	e.printf("name         %s\nhash         %s\nsize         %s bytes\n", f.Name, f.Hash, thousands(int64(f.Bytes)))
	signer := "nobody: sign it by training, or by weir up --bundle"
	if f.Signer != "" {
		signer = "the key " + f.Signer + " (weir model verify says whether it is trusted)"
	}
	e.printf("signed by    %s\n", signer)
	e.printf("spec         %s, %s, hash %s\n", f.Spec, several(len(f.Features), "feature"), f.SpecHash)
	hidden := "no hidden layer"
	if len(f.Hidden) > 0 {
		hidden = "hidden layers of " + strings.Trim(fmt.Sprint(f.Hidden), "[]")
	}
	e.printf("network      %s, %s, %s\n", several(f.Inputs, "input"), hidden, several(f.Members, "member"))
	e.printf("calibration  %s\n", f.Calibration)
	e.printf("policy       ranks by %s, review from %g", f.Rank, f.Review)
	if f.Block > 0 {
		e.printf(", block from %g", f.Block)
	}
	e.printf(", explores %g %%\n", 100*f.Explore)
	e.printf("self-test    %d rows, and %d that reasons compare with\n", f.SelfTest, f.Background)
	var facts map[string]any
	if err := json.Unmarshal(f.Facts, &facts); err == nil && len(facts) > 0 {
		e.printf("\nWhat its trainer says:\n")
		printFacts(e, "  ", facts)
	}
}

// printFacts prints the facts of a training, which each kind of trainer chooses
// for itself.
func printFacts(e *env, indent string, facts map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(facts)) {
		if inner, ok := facts[key].(map[string]any); ok {
			e.printf("%s%s\n", indent, key)
			printFacts(e, indent+"  ", inner)
			continue
		}
		value := fmt.Sprint(facts[key])
		if x, ok := facts[key].(float64); ok {
			value = fmt.Sprintf("%.6g", x)
			if x == float64(int64(x)) {
				value = thousands(int64(x))
			}
		}
		e.printf("%s%-*s %s\n", indent, 26-len(indent), key, value)
	}
}

// verify reports what a scorer would look at.
func (m *modelRun) verify(ctx context.Context, e *env, what string) error {
	trust, err := trainer.LoadPublicKeys(m.trust)
	if err != nil {
		return fmt.Errorf("trusted keys: %w; --trust FILE names them", err)
	}
	f := newFindings(e)
	var s *spec.Spec
	if m.spec != "" {
		if s, err = loadSpec(m.spec); err != nil {
			return err
		}
	}
	if m.topic.kafka.brokers == "" {
		f.bundle(what, trust, s)
		return f.end()
	}
	file, err := m.find(ctx, e, what)
	if err != nil {
		return err
	}
	f.bundleData(file.name, file.data, trust, s)
	return f.end()
}

// bundle looks at a bundle as a scorer would: s is the spec that it has to serve,
// nil for its own.
func (f *findings) bundle(name string, trust []ed25519.PublicKey, s *spec.Spec) {
	data, err := os.ReadFile(name)
	if err != nil {
		f.wrong("bundle", "read: %v", err)
		return
	}
	f.bundleData(name, data, trust, s)
}

func (f *findings) bundleData(name string, data []byte, trust []ed25519.PublicKey, s *spec.Spec) {
	b, err := scoring.ReadBundle(data, trust)
	if err != nil {
		remedy := ""
		if errors.Is(err, scoring.ErrUnknownSigner) || errors.Is(err, scoring.ErrUnsigned) {
			remedy = "; --trust FILE names the keys that are trusted, weir up --bundle signs it anew"
		}
		f.wrong("bundle", "%s: %v%s", name, err, remedy)
		return
	}
	f.right("signature", "%s, %s bytes, is of a trusted key", name, thousands(int64(len(data))))
	f.bundleSpec(b, s)
	scorer, err := cpu.New(b.Model)
	if err == nil {
		if err = b.SelfTest(scorer); err == nil {
			f.right("self-test", "%d rows give the same bits (cpu, %s)", len(b.SelfTestScores), scorer.Backend())
		}
	}
	if err != nil {
		f.wrong("self-test", "%s: %v", name, err)
	}
}

func (f *findings) bundleSpec(b *scoring.Bundle, s *spec.Spec) {
	own, err := spec.Parse(b.Spec.Name, b.Spec.Text)
	switch {
	case err != nil:
		f.wrong("bundle spec", "the spec in the bundle: %v", err)
		return
	case own.Hash != b.Spec.Hash:
		f.wrong("bundle spec", "the spec in the bundle has the hash %x, and the bundle names %x", own.Hash[:8], b.Spec.Hash[:8])
		return
	}
	names := own.FeatureNames()
	if !slices.Equal(names, b.Features) {
		f.wrong("bundle spec", "the spec in the bundle has other features than the model's columns")
		return
	}
	if s != nil && s.Hash != own.Hash {
		f.wrong("bundle spec", "the bundle was made for the spec %s (%x), not for %s (%x): train it anew, or serve it with its own (weir model show)", own.Name, own.Hash[:8], s.Name, s.Hash[:8])
		return
	}
	f.right("bundle spec", "%s, %d features, hash %x", own.Name, len(names), own.Hash[:8])
}
