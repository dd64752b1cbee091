package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const testPassphrase = "correct horse battery staple"

// backedUp makes a data folder with all that a backup keeps, and a backup of it.
func backedUp(t *testing.T, seal ...string) (data, file string) {
	t.Helper()
	before := sealWork
	sealWork = 4 // a guess is cheap here
	t.Cleanup(func() { sealWork = before })
	data, dir := t.TempDir(), t.TempDir()
	if err := makeTokenKey(filepath.Join(data, "token.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := signingKey(data); err != nil {
		t.Fatal(err)
	}
	callWith(t, testPassword, nil, "user", "add", "ann", "--role", "analyst", "--data", data).succeeds(t)
	settings := filepath.Join(dir, "weir.yaml")
	writeFile(t, settings, "data: "+data+"\n")
	file = filepath.Join(dir, "weir.backup")
	call(t, append([]string{"backup", "--to", file, "--config", settings}, seal...)...).succeeds(t)
	return data, file
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func passphraseFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "passphrase")
	writeFile(t, name, text+"\n")
	return name
}

// TestBackupAndRestore brings keys, settings and accounts back as they were.
func TestBackupAndRestore(t *testing.T) {
	pass := passphraseFile(t, testPassphrase)
	data, file := backedUp(t, "--passphrase-file", pass)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	sealed, err := os.ReadFile(file)
	if err != nil || bytes.Contains(sealed, []byte("token.key")) || !bytes.HasPrefix(sealed, []byte("age-encryption.org/v1\n")) {
		t.Errorf("it is not sealed: %v", err)
	}
	call(t, "backup", "--data", data, "--to", file, "--passphrase-file", pass).fails(t, exitFailed, "there already")
	call(t, "backup", "--data", data, "--to", file+"2").fails(t, exitUsage, "--plain")
	call(t, "backup", "--data", data, "--to", file+"2", "--passphrase-file", passphraseFile(t, "short")).fails(t, exitFailed, "16 characters")
	if left, _ := filepath.Glob(filepath.Join(data, ".backup*")); len(left) > 0 {
		t.Errorf("the copy of the accounts is left: %q", left)
	}

	to := filepath.Join(t.TempDir(), "new")
	call(t, "restore", "--from", file, "--data", to).fails(t, exitUsage, "--passphrase-file")
	call(t, "restore", "--from", file, "--data", to, "--passphrase-file", passphraseFile(t, "another passphrase")).fails(t, exitFailed, "does not open")
	call(t, "restore", "--from", file, "--data", to, "--passphrase-file", pass, "--dry-run").succeeds(t)
	if _, err := os.Lstat(to); err == nil {
		t.Fatal("the folder was made though nothing was to be written")
	}
	call(t, "restore", "--from", file, "--data", to, "--passphrase-file", pass).succeeds(t)
	for _, name := range []string{"token.key", "signing.key", "signing.key.pub"} {
		was, err1 := os.ReadFile(filepath.Join(data, name))
		is, err2 := os.ReadFile(filepath.Join(to, name))
		if err1 != nil || err2 != nil || !bytes.Equal(was, is) {
			t.Errorf("%s: %v %v", name, err1, err2)
		}
	}
	if _, err := os.Stat(filepath.Join(to, "weir.yaml")); err != nil {
		t.Error(err)
	}
	if list := call(t, "user", "ls", "--data", to).succeeds(t).stdout; !strings.Contains(list, "ann") {
		t.Errorf("accounts: %s", list)
	}

	// What is there stays, all of it, unless told otherwise.
	writeFile(t, filepath.Join(to, "token.key"), "mine")
	if err := os.Remove(filepath.Join(to, "signing.key")); err != nil {
		t.Fatal(err)
	}
	call(t, "restore", "--from", file, "--data", to, "--passphrase-file", pass).fails(t, exitFailed, "nothing is written", "token.key", "--force")
	if mine, _ := os.ReadFile(filepath.Join(to, "token.key")); string(mine) != "mine" {
		t.Errorf("token.key is %q", mine)
	}
	if _, err := os.Stat(filepath.Join(to, "signing.key")); err == nil {
		t.Error("a file was written beside those that are there")
	}
	writeFile(t, filepath.Join(to, "desk.db-wal"), "of the database before")
	call(t, "restore", "--from", file, "--data", to, "--passphrase-file", pass, "--force").succeeds(t)
	if mine, _ := os.ReadFile(filepath.Join(to, "token.key")); string(mine) == "mine" {
		t.Error("--force overwrites nothing")
	}
	if _, err := os.Stat(filepath.Join(to, "desk.db-wal")); err == nil {
		t.Error("the log of the database before is there still")
	}
	if left, _ := filepath.Glob(filepath.Join(to, "*.part*")); len(left) > 0 {
		t.Errorf("parts are left: %q", left)
	}
}

// unzipped returns what gzip has packed, nil where it is damaged.
func unzipped(data []byte) []byte {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil
	}
	content, err := io.ReadAll(z)
	if err != nil {
		return nil
	}
	return content
}

// TestDamagedBackups flips and cuts off bytes: nothing is ever written of what is left.
func TestDamagedBackups(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	pass := passphraseFile(t, testPassphrase)
	for _, seal := range [][]string{{"--passphrase-file", pass}, {"--plain"}} {
		_, file := backedUp(t, seal...)
		good, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		open := seal
		if seal[0] == "--plain" {
			open = nil
		}
		check := func(what string, at int, bad []byte) {
			t.Helper()
			to, damaged := filepath.Join(t.TempDir(), "new"), filepath.Join(t.TempDir(), "damaged")
			writeFile(t, damaged, string(bad))
			c := call(t, append([]string{"restore", "--from", damaged, "--data", to}, open...)...)
			if c.code != exitFailed {
				t.Errorf("%s at %d of %d: exit code %d\n%s", what, at, len(good), c.code, c.stderr)
			}
			if _, err := os.Lstat(to); err == nil {
				t.Errorf("%s at %d of %d: something was written", what, at, len(good))
			}
		}
		const head = 40 // of age, whose damage makes it no backup of age; and of gzip, which has a time that nothing depends on
		for range 12 {
			at := head + rnd.IntN(len(good)-head)
			bad := bytes.Clone(good)
			bad[at] ^= byte(1 << rnd.IntN(8))
			// Where bytes repeat, gzip may copy the same ones from another place.
			if content := unzipped(bad); content == nil || !bytes.Equal(content, unzipped(good)) {
				check("flipped", at, bad)
			}
			at = head + rnd.IntN(len(good)-head)
			check("cut off", at, good[:at])
		}
	}
}

// packed makes a backup of a manifest and of entries of its own.
func packed(t *testing.T, files []backupFile, entries ...*tar.Header) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	list, _ := json.Marshal(manifest{Format: backupFormat, Files: files})
	add := func(h *tar.Header, body []byte) {
		h.Size = int64(len(body))
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	add(&tar.Header{Name: manifestName, Mode: 0o600}, list)
	for _, h := range entries {
		body := []byte("hello")
		if h.Typeflag == tar.TypeSymlink {
			body = nil
		}
		h.Mode = 0o600
		add(h, body)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "made")
	writeFile(t, name, b.String())
	return name
}

// TestHostileBackups refuses what leads out of the folder, and what is not what it says.
func TestHostileBackups(t *testing.T) {
	hello := backupFile{Name: "a", Size: 5, SHA256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"}
	named := func(name string) []backupFile { f := hello; f.Name = name; return []backupFile{f} }
	entry := func(name string) *tar.Header { return &tar.Header{Name: name} }
	other := hello
	other.SHA256 = strings.Repeat("0", 64)
	for _, x := range []struct{ file, want string }{
		{packed(t, named("../a"), entry("../a")), "no name"},
		{packed(t, named("/a"), entry("/a")), "no name"},
		{packed(t, named("b/../../a"), entry("b/../../a")), "no name"},
		{packed(t, named("./a"), entry("./a")), "no name"},
		{packed(t, []backupFile{hello, hello}, entry("a"), entry("a")), "no name"},
		{packed(t, []backupFile{other}, entry("a")), "SHA-256"},
		{packed(t, []backupFile{hello}, entry("b")), "comes where"},
		{packed(t, []backupFile{hello}), "unexpected EOF"},
		{packed(t, []backupFile{hello}, entry("a"), entry("b")), "more in it"},
		{packed(t, []backupFile{{Name: "a"}}, &tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}), "comes where"},
	} {
		to := filepath.Join(t.TempDir(), "new")
		call(t, "restore", "--from", x.file, "--data", to).fails(t, exitFailed, x.want)
		if _, err := os.Lstat(to); err == nil {
			t.Errorf("%s: something was written", x.want)
		}
	}
	// A link in the folder does not lead out of it either.
	to, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(to, "bundles")); err != nil {
		t.Fatal(err)
	}
	call(t, "restore", "--from", packed(t, named("bundles/a"), entry("bundles/a")), "--data", to).fails(t, exitFailed, "bundles")
	if list, _ := os.ReadDir(outside); len(list) > 0 {
		t.Error("something was written outside")
	}
	good := packed(t, []backupFile{hello}, entry("a"))
	call(t, "restore", "--from", good, "--data", to).succeeds(t)
	call(t, "restore", "--from", good, "--data", to, "--passphrase-file", passphraseFile(t, testPassphrase)).fails(t, exitFailed, "not sealed")
	if f, err := os.Open(filepath.Join(to, "a")); err != nil {
		t.Error(err)
	} else if text, _ := io.ReadAll(f); string(text) != "hello" {
		t.Errorf("it holds %q", text)
	}
}
