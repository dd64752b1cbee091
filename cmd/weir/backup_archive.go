package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/weir-risk/weir/ingest"
)

// backupFormat is the version of a backup's layout.
const backupFormat = 1

// manifestName is a backup's first entry.
const manifestName = "manifest.json"

// A manifest says what a backup holds.
type manifest struct {
	Format int                    `json:"format"`
	Made   time.Time              `json:"made"`
	Weir   string                 `json:"weir"`
	Files  []backupFile           `json:"files"`
	Slots  map[string]ingest.Slot `json:"slots,omitempty"` // of the topic of models
}

// sealWork is the logarithm of what a guess of a passphrase costs; a test needs less.
var sealWork = 18

// writeArchive writes a backup, whole or not at all.
func writeArchive(name string, m manifest, passphrase string) error {
	part := fmt.Sprintf("%s.part%d", name, os.Getpid())
	f, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err = errors.Join(seal(f, m, passphrase), f.Sync(), f.Close()); err == nil {
		err = os.Link(part, name) // which overwrites nothing
	}
	return errors.Join(err, os.Remove(part))
}

// seal writes a backup: age around gzip around tar.
func seal(w io.Writer, m manifest, passphrase string) (err error) {
	if passphrase != "" {
		to, err := age.NewScryptRecipient(passphrase)
		if err != nil {
			return err
		}
		to.SetWorkFactor(sealWork)
		sealed, err := age.Encrypt(w, to)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, sealed.Close()) }()
		if err := pack(sealed, m); err != nil {
			return err
		}
		return sealed.Close()
	}
	return pack(w, m)
}

func pack(w io.Writer, m manifest) error {
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	list, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := packFile(t, m.Made, manifestName, int64(len(list)), bytes.NewReader(list)); err != nil {
		return err
	}
	for _, f := range m.Files {
		r, err := f.open()
		if err != nil {
			return err
		}
		if err := errors.Join(packFile(t, m.Made, f.Name, f.Size, r), r.Close()); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return errors.Join(t.Close(), z.Close())
}

func packFile(t *tar.Writer, made time.Time, name string, size int64, r io.Reader) error {
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: made, Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err := io.Copy(t, r)
	return err
}

// The limits of a backup that is read: it may be anybody's.
const (
	manifestMax = 16 << 20
	backupMax   = 64 << 30
)

// readArchive reads a backup to its end and checks all of it; each file's bytes go to
// what take returns for it. What take wrote counts only where there is no error.
func readArchive(name, passphrase string, take func(backupFile) (io.WriteCloser, error)) (*manifest, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := unseal(bufio.NewReader(f), passphrase)
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("it is no backup, or a damaged one: %w", err)
	}
	m, err := unpack(tar.NewReader(z), take)
	if err != nil {
		return nil, fmt.Errorf("damaged: %w", err)
	}
	// The end of what gzip and age vouch for is behind the end of what tar reads.
	if _, err := io.Copy(io.Discard, z); err != nil {
		return nil, fmt.Errorf("damaged: %w", err)
	}
	return m, nil
}

// unseal returns what is sealed; what is not as it is.
func unseal(r *bufio.Reader, passphrase string) (io.Reader, error) {
	const intro = "age-encryption.org/"
	begin, _ := r.Peek(len(intro))
	switch sealed := string(begin) == intro; {
	case sealed && passphrase == "":
		return nil, usagef("it is sealed: --passphrase-file FILE opens it")
	case !sealed && passphrase != "":
		return nil, errors.New("it is not sealed, so the passphrase vouches for nothing; without --passphrase-file it is read as it is")
	case !sealed:
		return r, nil
	}
	key, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, err
	}
	opened, err := age.Decrypt(r, key)
	if err != nil {
		return nil, fmt.Errorf("it does not open; the passphrase is another one, or it is damaged: %w", err)
	}
	return opened, nil
}

func unpack(t *tar.Reader, take func(backupFile) (io.WriteCloser, error)) (*manifest, error) {
	h, err := t.Next()
	if err != nil {
		return nil, err
	}
	if h.Name != manifestName || h.Size > manifestMax {
		return nil, fmt.Errorf("the first entry is %.80q, and not %s", h.Name, manifestName)
	}
	m := &manifest{}
	if err := json.NewDecoder(t).Decode(m); err != nil {
		return nil, fmt.Errorf("%s: %w", manifestName, err)
	}
	if m.Format != backupFormat {
		return nil, fmt.Errorf("its layout is %d, this weir reads %d", m.Format, backupFormat)
	}
	seen, total := make(map[string]bool), int64(0)
	for _, f := range m.Files {
		total += f.Size
		if !safeName(f.Name) || seen[f.Name] || f.Size < 0 || total > backupMax {
			return nil, fmt.Errorf("%.80q is no name or size of a file of a backup", f.Name)
		}
		seen[f.Name] = true
	}
	for _, f := range m.Files {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		if h.Name != f.Name || h.Size != f.Size || h.Typeflag != tar.TypeReg {
			return nil, fmt.Errorf("%.80q comes where %s lists %s", h.Name, manifestName, f.Name)
		}
		if err := unpackFile(t, f, take); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	if _, err := t.Next(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("there is more in it than %s lists (%v)", manifestName, err)
	}
	return m, nil
}

func unpackFile(t *tar.Reader, f backupFile, take func(backupFile) (io.WriteCloser, error)) error {
	w, err := take(f)
	if err != nil {
		return err
	}
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(hash, w), t)
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != f.SHA256 {
		return fmt.Errorf("its SHA-256 is %s, %s says %.64q", got, manifestName, f.SHA256)
	}
	return nil
}

// safeName reports whether a name leads to below the folder that it is restored to.
func safeName(name string) bool {
	return name != manifestName && filepath.IsLocal(filepath.FromSlash(name)) && path.Clean(name) == name && !strings.ContainsAny(name, "\\\x00") && name != "."
}
