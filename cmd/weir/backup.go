package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weir-risk/weir/alerts/desk"
	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/trainer"
)

var backupCommand = &command{
	name: "backup", summary: "write keys, accounts, spec, settings and bundles into one sealed file", json: true,
	about: `Takes what is nowhere else: the token keys, the keys that bundles are signed with and
those that are trusted, the desk's accounts, views and webhooks (copied while it serves,
without sessions), the spec, the file of settings, and with --kafka the bundles of the
topic of models. Where each is it takes from the same settings as the roles. What is not there
is left out, and the list says what is in it. Passwords and certificates that
settings name are not in it: they belong to whoever gives them out. Nor are the topics,
the history, snapshots and the embedded broker's folder.

The file is tar, compressed by gzip and sealed by age with a passphrase, and its first
entry lists size and SHA-256 of all others: age -d FILE | tar xz opens it without weir.
Keep the passphrase elsewhere. --plain writes it unsealed, for a store that seals itself.`,
	examples: []string{
		"weir backup --to weir.backup --passphrase-file passphrase",
		"weir backup --to weir.backup --passphrase-file passphrase --kafka k1:9092 --config weir.yaml",
		"weir backup --to weir.tgz --plain --data /var/lib/weir --json",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		b := &backupRun{kafka: addKafka(fs), tokens: addTokens(fs), spec: addSpec(fs, "payments")}
		fs.StringVar(&b.data, "data", "weir-data", "`FOLDER` of the role's data")
		fs.StringVar(&b.trust, "trust", "", "PEM `FILE` of the public keys whose bundles are taken")
		fs.StringVar(&b.train, "key", "", "PEM `FILE` of the key that weir train signs with")
		fs.StringVar(&b.desk, "signing-key", "", "PEM `FILE` of the key that the desk signs with")
		fs.StringVar(&b.rollback, "rollback-key", "", "PEM `FILE` of the key that roll-backs are signed with")
		fs.StringVar(&b.to, "to", "", "`FILE` to write, which must not be there yet")
		b.seal.add(fs)
		fs.BoolVar(&b.plain, "plain", false, "do not seal it, though secret keys are in it")
		return b.run
	},
}

// backupRun is one run of the command.
type backupRun struct {
	kafka                       *kafkaFlags
	tokens                      *tokenFlags
	spec                        *string
	data, trust, train          string
	desk, rollback, to, staging string
	seal                        sealFlags
	plain                       bool
	files                       []backupFile
	slots                       map[string]ingest.Slot
}

// A backupFile is one file of a backup.
type backupFile struct {
	Name   string `json:"name"` // in the archive, and below the folder that it is restored to
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	Secret bool   `json:"secret,omitempty"`
	From   string `json:"from,omitempty"` // where it was

	open func() (io.ReadCloser, error)
}

func (b *backupRun) run(ctx context.Context, e *env, _ []string) (err error) {
	if b.to == "" {
		return usagef("--to FILE names the backup")
	}
	if (b.seal.file == "") != b.plain {
		return usagef("either --passphrase-file FILE, which seals the keys that are in it, or --plain")
	}
	passphrase, err := b.seal.read()
	if err != nil {
		return err
	}
	if _, err := os.Lstat(b.to); err == nil {
		return fmt.Errorf("%s is there already", b.to)
	}
	if _, err := os.Stat(b.data); err != nil {
		return fmt.Errorf("the folder of the data: %w; --data names it", err)
	}
	if b.staging, err = os.MkdirTemp(b.data, ".backup-"); err != nil {
		return fmt.Errorf("make a folder for the copy of the accounts: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.staging)) }()
	if err := b.collect(ctx, e); err != nil {
		return err
	}
	if len(b.files) == 0 {
		return fmt.Errorf("there is nothing to back up in %s: --data names the folder", b.data)
	}
	var v version
	v.read()
	m := manifest{Format: backupFormat, Made: time.Now().UTC().Truncate(time.Second), Weir: v.Version, Files: b.files, Slots: b.slots}
	if err := writeArchive(b.to, m, passphrase); err != nil {
		return fmt.Errorf("write %s: %w", b.to, err)
	}
	if !e.json {
		for _, f := range b.files {
			e.printf("%12s  %s\n", thousands(f.Size), f.Name)
		}
		e.printf("%s in %s\n", several(len(b.files), "file"), b.to)
		if b.kafka.brokers == "" {
			e.printf("without the bundles of the topic of models: --kafka HOST:PORT takes them too\n")
		}
	}
	return e.report(map[string]any{"backup": b.to, "sealed": !b.plain, "files": b.files})
}

// collect lists what is to be kept.
func (b *backupRun) collect(ctx context.Context, e *env) error {
	token, held := e.lookup("WEIR_TOKEN_KEY")
	if held && b.tokens.key == "" {
		b.bytes("token.key", "WEIR_TOKEN_KEY", []byte(token+"\n"), true)
	}
	for _, f := range []struct {
		name, from string
		secret     bool
		given      bool // must be there
	}{
		{"token.key", cmp.Or(b.tokens.key, filepath.Join(b.data, "token.key")), true, b.tokens.key != ""},
		{"token-previous.key", b.tokens.previous, true, true},
		{"signing.key", filepath.Join(b.data, "signing.key"), true, false},
		{"signing.key.pub", filepath.Join(b.data, "signing.key.pub"), false, false},
		{"trust.pem", b.trust, false, true},
		{"train.key", b.train, true, false}, // which training makes
		{"desk.key", b.desk, true, true},
		{"rollback.key", b.rollback, true, true},
		{"weir.yaml", e.config.name, true, true}, // it may hold a password in a URL
	} {
		if f.from == "" || f.name == "token.key" && held && b.tokens.key == "" {
			continue
		}
		data, err := os.ReadFile(f.from)
		if errors.Is(err, fs.ErrNotExist) && !f.given {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		b.bytes(f.name, f.from, data, f.secret)
	}
	if err := b.ownSpec(); err != nil {
		return err
	}
	if err := b.accounts(ctx); err != nil {
		return err
	}
	return b.bundles(ctx, e)
}

// bytes adds what is in memory.
func (b *backupRun) bytes(name, from string, data []byte, secret bool) {
	hash := sha256.Sum256(data)
	b.files = append(b.files, backupFile{name, int64(len(data)), hex.EncodeToString(hash[:]), secret, from,
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }})
}

// ownSpec adds the spec, where it is not one that weir has in itself.
func (b *backupRun) ownSpec() error {
	data, err := os.ReadFile(*b.spec)
	if errors.Is(err, fs.ErrNotExist) {
		_, err = loadSpec(*b.spec) // a built-in one, or an error that says so
		return err
	}
	if err != nil {
		return fmt.Errorf("spec: %w", err)
	}
	b.bytes("bank.spec", *b.spec, data, false)
	return nil
}

// accounts adds a copy of the desk's accounts, which may be open elsewhere.
func (b *backupRun) accounts(ctx context.Context) error {
	from, copied := filepath.Join(b.data, "desk.db"), filepath.Join(b.staging, "desk.db")
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	a, err := desk.OpenAccounts(ctx, from, desk.AccountsConfig{Now: time.Now})
	if err != nil {
		return err
	}
	if err := errors.Join(a.Backup(ctx, copied), a.Close()); err != nil {
		return err
	}
	f, err := os.Open(copied)
	if err != nil {
		return err
	}
	defer f.Close()
	hash := sha256.New()
	size, err := io.Copy(hash, f)
	if err != nil {
		return fmt.Errorf("read the copy of the accounts: %w", err)
	}
	b.files = append(b.files, backupFile{"desk.db", size, hex.EncodeToString(hash.Sum(nil)), true, from,
		func() (io.ReadCloser, error) { return os.Open(copied) }})
	return nil
}

// bundles adds those of the topic of models, and what its slots say.
func (b *backupRun) bundles(ctx context.Context, e *env) error {
	if b.kafka.brokers == "" {
		return nil
	}
	var trust []ed25519.PublicKey
	trust, err := trainer.LoadPublicKeys(cmp.Or(b.trust, filepath.Join(b.data, "signing.key.pub")))
	if err != nil {
		return fmt.Errorf("keys that bundles are signed with: %w; --trust FILE names them", err)
	}
	client, err := b.kafka.client(e)
	if err != nil {
		return err
	}
	defer client.Close()
	models := ingest.NewModels(client, b.kafka.topics(), trust)
	if err := models.Read(ctx); err != nil {
		return err
	}
	for _, hash := range models.Bundles() {
		data, err := models.File(ctx, hash)
		if err != nil {
			return err
		}
		name := hex.EncodeToString(hash[:])
		b.bytes("bundles/"+name+".weir", b.kafka.topics().Models, data, false)
	}
	b.slots = models.Slots
	return nil
}

// sealFlags say what a backup is sealed with.
type sealFlags struct{ file string }

func (s *sealFlags) add(fs *flag.FlagSet) {
	fs.StringVar(&s.file, "passphrase-file", "", "`FILE` with the passphrase that seals it, 16 characters or more")
}

// passphraseMin keeps guessing out of reach: age makes each guess cost a second.
const passphraseMin = 16

// read returns the passphrase, empty where none is named.
func (s *sealFlags) read() (string, error) {
	if s.file == "" {
		return "", nil
	}
	text, err := readSecret(s.file)
	if err != nil {
		return "", err
	}
	passphrase := strings.TrimRight(string(text), "\r\n")
	if len(passphrase) < passphraseMin {
		return "", fmt.Errorf("the passphrase in %s is shorter than %d characters", s.file, passphraseMin)
	}
	return passphrase, nil
}
