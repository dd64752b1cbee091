package main

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/trainer"
)

// topicModels are what weir model does with the topic of models.
type topicModels struct {
	kafka           *kafkaFlags
	key, by, reason string
}

func addTopicModels(fs *flag.FlagSet) *topicModels {
	t := &topicModels{kafka: addKafka(fs)}
	fs.StringVar(&t.key, "key", filepath.Join("weir-data", "signing.key"), "PEM `FILE` of the key that promote signs with")
	fs.StringVar(&t.by, "by", cmp.Or(os.Getenv("USER"), "unknown"), "who promotes: a `NAME` for the record")
	fs.StringVar(&t.reason, "reason", "promoted by hand", "why: a `TEXT` for the record")
	return t
}

// promote publishes a bundle's file, signed again by the key, and makes it the
// champion.
func (t *topicModels) promote(ctx context.Context, e *env, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read bundle: %w", err)
	}
	key, err := trainer.LoadKey(t.key)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w; --key FILE names the key whose bundles the scorers trust", err)
	}
	if err != nil {
		return err
	}
	log, err := t.kafka.client(e)
	if err != nil {
		return err
	}
	defer log.Close()
	trust := []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}
	if data, err = scoring.Sign(data, key); err != nil {
		return fmt.Errorf("bundle %s: %w", file, err)
	}
	b, err := scoring.ReadBundle(data, trust)
	if err != nil {
		return fmt.Errorf("bundle %s: %w", file, err)
	}
	m := ingest.NewModels(log, t.kafka.topics(), trust)
	if err := m.Read(ctx); err != nil {
		return err
	}
	before := m.Slots["champion"].Bundle
	slot := ingest.Slot{By: t.by, Reason: t.reason, Previous: before}
	if err := ingest.PublishBundle(ctx, log, t.kafka.topics(), data, b.Hash, "champion", slot, key); err != nil {
		return err
	}
	if !e.json {
		e.printf("champion      %x  %s\n", b.Hash, b.Name)
		if before != "" {
			e.printf("before it     %s\n", before)
		}
	}
	return e.report(map[string]any{"champion": fmt.Sprintf("%x", b.Hash), "previous": before})
}

// list prints the bundles of the topic and what would serve.
func (t *topicModels) list(ctx context.Context, e *env, trust string) error {
	keys, err := trainer.LoadPublicKeys(trust)
	if err != nil {
		return fmt.Errorf("keys that bundles are signed with: %w; --trust FILE names them", err)
	}
	log, err := t.kafka.client(e)
	if err != nil {
		return err
	}
	defer log.Close()
	m := ingest.NewModels(log, t.kafka.topics(), keys)
	if err := m.Read(ctx); err != nil {
		return err
	}
	type line struct {
		Bundle   string `json:"bundle"`
		Name     string `json:"name,omitempty"`
		Spec     string `json:"spec,omitempty"`
		Champion bool   `json:"champion"`
		Refused  string `json:"refused,omitempty"`
	}
	var lines []line
	for _, hash := range m.Bundles() {
		l := line{Bundle: fmt.Sprintf("%x", hash), Champion: hash == m.Champion()}
		data, err := m.File(ctx, hash)
		if err != nil {
			return err
		}
		if b, err := scoring.ReadBundle(data, keys); err != nil {
			l.Refused = err.Error()
		} else {
			l.Name, l.Spec = b.Name, b.Spec.Name
		}
		lines = append(lines, l)
	}
	if !e.json {
		w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "BUNDLE\tNAME\tSPEC\tSTATE")
		for _, l := range lines {
			state := ""
			switch {
			case l.Champion:
				s := m.Slots["champion"]
				state = fmt.Sprintf("champion, by %s: %s", s.By, s.Reason)
			case l.Refused != "":
				state = "refused: " + l.Refused
			}
			fmt.Fprintf(w, "%.16s\t%s\t%s\t%s\n", l.Bundle, l.Name, l.Spec, state)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	for _, err := range m.Refused {
		fmt.Fprintln(e.stderr, err)
	}
	return e.report(map[string]any{"bundles": append([]line{}, lines...)})
}
