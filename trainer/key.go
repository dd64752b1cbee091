package trainer

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/weir-risk/weir/schemas"
)

// The types of the PEM blocks of key files.
const (
	privateBlock = "PRIVATE KEY" // PKCS #8
	publicBlock  = "PUBLIC KEY"  // PKIX
)

// keyBytesMax bounds a key file.
const keyBytesMax = 64 << 10

// ErrKey is of a file that holds no Ed25519 key of the sort wanted; test with
// errors.Is.
var ErrKey = errors.New("no Ed25519 key")

// OthersMayRead reports whether a file of this mode may be read by others than those whom
// it is for. 0440 is of one group and written by nobody: so a secret looks that Kubernetes
// mounts for a process that is not root, which owns none of its files.
func OthersMayRead(mode fs.FileMode) bool {
	return mode.Perm()&0o077 != 0 && mode.Perm() != 0o440
}

// LoadKey reads the private key of a PEM file (PKCS #8). A file that others than
// its owner may read is refused, see [OthersMayRead].
func LoadKey(path string) (ed25519.PrivateKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read signing key: %w", schemas.HideName(err))
	}
	if mode := info.Mode().Perm(); OthersMayRead(mode) {
		return nil, fmt.Errorf("read signing key: %s may be read by others (mode %04o, want 0600)", path, mode)
	}
	keys, err := readBlocks(path)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if key, ok := k.(ed25519.PrivateKey); ok {
			return key, nil
		}
	}
	return nil, fmt.Errorf("read signing key: %s: %w", path, ErrKey)
}

// LoadOrMakeKey reads the private key of a file, or makes a key and the file,
// readable by its owner only, where there is none. The public key goes into a
// file of the same name with ".pub" behind it, unless that is there, or nothing can
// be written beside the key: a secret that is mounted.
func LoadOrMakeKey(path string) (key ed25519.PrivateKey, made bool, err error) {
	key, err = LoadKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, made, err = makeKey(path)
	}
	if err != nil {
		return nil, false, err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err == nil {
		err = writeFresh(path+".pub", &pem.Block{Type: publicBlock, Bytes: public}, 0o644)
	}
	mounted := !made && (errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission))
	if err != nil && !errors.Is(err, fs.ErrExist) && !mounted {
		return nil, false, fmt.Errorf("write public key: %w", err)
	}
	return key, made, nil
}

// makeKey makes a key and its file. Where another process was quicker, it is
// that one's key.
func makeKey(path string) (key ed25519.PrivateKey, made bool, err error) {
	_, key, err = ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, false, fmt.Errorf("make signing key: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, false, fmt.Errorf("make signing key: %w", err)
	}
	err = writeFresh(path, &pem.Block{Type: privateBlock, Bytes: private}, 0o600)
	if errors.Is(err, fs.ErrExist) {
		key, err = LoadKey(path)
		return key, false, err
	}
	if err != nil {
		return nil, false, fmt.Errorf("write signing key: %w", err)
	}
	return key, true, nil
}

// LoadPublicKeys reads the keys of a PEM file whose signatures are trusted:
// public keys (PKIX), and private ones for their public half. There is one at
// least.
func LoadPublicKeys(path string) ([]ed25519.PublicKey, error) {
	keys, err := readBlocks(path)
	if err != nil {
		return nil, err
	}
	var list []ed25519.PublicKey
	for _, k := range keys {
		switch k := k.(type) {
		case ed25519.PublicKey:
			list = append(list, k)
		case ed25519.PrivateKey:
			list = append(list, k.Public().(ed25519.PublicKey))
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("read public keys: %s: %w", path, ErrKey)
	}
	return list, nil
}

// readBlocks parses the key blocks of a PEM file; others are passed over.
func readBlocks(path string) (keys []any, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, keyBytesMax))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		var key any
		switch block.Type {
		case privateBlock:
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case publicBlock:
			key, err = x509.ParsePKIXPublicKey(block.Bytes)
		default:
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read key file %s: %w: %w", path, ErrKey, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// writeFresh writes a PEM file that is whole or not there, and fails with
// fs.ErrExist where there is one already.
func writeFresh(path string, block *pem.Block, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	err = errors.Join(f.Chmod(mode), pem.Encode(f, block), f.Sync(), f.Close())
	if err == nil {
		err = os.Link(f.Name(), path)
	}
	return errors.Join(err, os.Remove(f.Name()))
}
