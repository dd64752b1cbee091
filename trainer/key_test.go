package trainer

import (
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestKeySuccess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sign.pem")
	// Many at once agree on one key.
	var wait sync.WaitGroup
	keys, makers := make([]ed25519.PrivateKey, 8), make([]bool, 8)
	for i := range keys {
		wait.Go(func() {
			var err error
			if keys[i], makers[i], err = LoadOrMakeKey(path); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	made := 0
	for i, k := range keys {
		if !k.Equal(keys[0]) {
			t.Error("two keys")
		}
		if makers[i] {
			made++
		}
	}
	if made != 1 {
		t.Errorf("%d makers", made)
	}
	f := func(name string, mode os.FileMode, head string) {
		t.Helper()
		info, err := os.Stat(name)
		text, _ := os.ReadFile(name)
		if err != nil || info.Mode().Perm() != mode || !strings.HasPrefix(string(text), head) {
			t.Errorf("%v, %v, %.40q", err, info.Mode(), text)
		}
		trust, err := LoadPublicKeys(name)
		if err != nil || len(trust) != 1 || !trust[0].Equal(keys[0].Public()) {
			t.Errorf("%s: %v, %v", name, trust, err)
		}
	}
	f(path, 0o600, "-----BEGIN PRIVATE KEY-----")
	f(path+".pub", 0o644, "-----BEGIN PUBLIC KEY-----")
	// As Kubernetes mounts a secret, of root and for a group.
	if err := os.Chmod(path, 0o440); err != nil {
		t.Fatal(err)
	}
	if k, err := LoadKey(path); err != nil || !k.Equal(keys[0]) {
		t.Errorf("a key of mode 0440: %v", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 2 {
		t.Errorf("%d files are left", len(left))
	}
	// A lost public key comes back.
	if err := os.Remove(path + ".pub"); err != nil {
		t.Fatal(err)
	}
	if _, again, err := LoadOrMakeKey(path); err != nil || again {
		t.Errorf("%t, %v", again, err)
	}
	f(path+".pub", 0o644, "-----BEGIN PUBLIC KEY-----")
}

func TestKeyFailure(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good.pem")
	if _, _, err := LoadOrMakeKey(good); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	f := func(name, content string, mode os.FileMode, want error) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadKey(path); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v, not %v", name, err, want)
		}
		if _, made, err := LoadOrMakeKey(path); err == nil || made {
			t.Errorf("%s: written over: %v", name, err)
		}
	}
	f("open", string(text), 0o644, nil)
	f("group", string(text), 0o640, nil)
	f("all", string(text), 0o444, nil)
	f("empty", "", 0o600, ErrKey)
	f("torn", string(text[:len(text)/2]), 0o600, ErrKey)
	f("rubbish", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 0o600, ErrKey)
	public, err := os.ReadFile(good + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	f("public", string(public), 0o600, ErrKey)
	if _, err := LoadPublicKeys(filepath.Join(dir, "empty")); !errors.Is(err, ErrKey) {
		t.Errorf("%v", err)
	}
	if _, _, err := LoadOrMakeKey(filepath.Join(dir, "none", "key")); err == nil {
		t.Error("a key in no folder")
	}
}
