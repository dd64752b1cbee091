package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/ingest/decode"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/trainer"
)

// tokenFlags say where the deployment's token key is: the key under which card
// numbers and other secrets become tokens.
type tokenFlags struct{ key, previous string }

func addTokens(fs *flag.FlagSet) *tokenFlags {
	t := &tokenFlags{}
	fs.StringVar(&t.key, "token-key-file", "", "`FILE` of the key of tokens, ID:HEX; or the environment variable\nWEIR_TOKEN_KEY")
	fs.StringVar(&t.previous, "token-key-previous-file", "", "`FILE` of the key before it, in a change of keys. A card's behaviour is kept by its token\nunder that key, and is carried over only while it is given: give it for as long as the\nbehaviour should last, since every card begins anew on the day that it is left out.\nOther secrets have tokens of the new key only, and their behaviour begins anew at once")
	return t
}

// deployment is what follows from the deployment's token key.
type deployment struct {
	tokens *decode.Tokens
	engine features.Options // keyed: nobody outside can choose texts whose hashes meet
	check  uint64           // tells the key without telling it
}

// load reads the keys. Where none is named it is made in the file made; where
// that is empty too, the key is a passing one: features and models do not depend
// on it, and no token leaves the program.
func (t *tokenFlags) load(e *env, made string) (*deployment, error) {
	text, from, err := t.text(e, made)
	if err != nil {
		return nil, err
	}
	key, err := decode.ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("token key in %s: %w", from, err)
	}
	var previous *decode.Key
	if t.previous != "" {
		b, err := readSecret(t.previous)
		if err != nil {
			return nil, err
		}
		k, err := decode.ParseKey(string(b))
		if err != nil {
			return nil, fmt.Errorf("token key in %s: %w", t.previous, err)
		}
		previous = &k
	}
	d := &deployment{}
	if d.tokens, err = decode.NewTokens(key, previous); err != nil {
		return nil, err
	}
	copy(d.engine.Key[:], derive(key.Secret, "weir engine"))
	d.check = binary.BigEndian.Uint64(derive(key.Secret, "weir check"))
	return d, nil
}

// text returns the key as it is written, and where it is from.
func (t *tokenFlags) text(e *env, made string) (text, from string, err error) {
	name := t.key
	if name == "" {
		if text, ok := e.lookup("WEIR_TOKEN_KEY"); ok {
			return text, "WEIR_TOKEN_KEY", nil
		}
		if made == "" {
			return newTokenKey(), "memory", nil
		}
		if err := makeTokenKey(made); err != nil {
			return "", "", err
		}
		name = made
	}
	b, err := readSecret(name)
	return string(b), name, err
}

// newTokenKey draws a key.
func newTokenKey() string {
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // it never fails, see crypto/rand
	return "k1:" + hex.EncodeToString(secret[:])
}

// derive makes a key for another purpose from the deployment's.
func derive(secret []byte, purpose string) []byte {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(purpose))
	return m.Sum(nil)
}

// readSecret reads a file that only its owner may read, or one group, see
// [trainer.OthersMayRead].
func readSecret(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", schemas.HideName(err))
	}
	if trainer.OthersMayRead(info.Mode()) {
		return nil, fmt.Errorf("read key: others than the owner may read %s: chmod 600 it", name)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", schemas.HideName(err))
	}
	return b, nil
}

// makeTokenKey makes a file with a new key where there is none.
func makeTokenKey(name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return fmt.Errorf("make token key: %w", err)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("make token key: %w", err)
	}
	_, err = fmt.Fprintln(f, newTokenKey())
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("make token key: %w", err)
	}
	return nil
}
