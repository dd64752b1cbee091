package scoring

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
)

// A bundle's file, all integers little-endian:
//
//	 8  magic
//	 4  version
//	 4  length of the manifest, M
//	 4  length of the sections, S
//	 M  manifest: canonical JSON (manifest.go)
//	 S  sections: the numbers of the model, background and self-test as float32,
//	    then the spec's text, in the order of sections and at the lengths that
//	    follow from the manifest
//	32  SHA-256 of everything before: the bundle's identity
//	32  Ed25519 public key; zeros in an unsigned bundle
//	64  signature of signedText and the hash; zeros in an unsigned bundle
//
// A bundle has one form: what ReadBundle takes, Encode and Sign give again.
const (
	bundleMagic   = "weirbndl"
	bundleVersion = 1
	headBytes     = len(bundleMagic) + 3*4
	sealBytes     = sha256.Size + ed25519.PublicKeySize + ed25519.SignatureSize
	signedText    = "weir bundle v1\n" // so that the signature is of nothing else
)

// Encode returns the bundle as an unsigned file. The same bundle gives the same
// bytes. It returns Validate's error, ErrFacts, or ErrTooLarge.
func (b *Bundle) Encode() ([]byte, error) {
	if err := b.Validate(); err != nil {
		return nil, fmt.Errorf("encode bundle: %w", err)
	}
	data, err := b.encode()
	if err != nil {
		return nil, fmt.Errorf("encode bundle: %w", err)
	}
	return data, nil
}

// encode is Encode without validation.
func (b *Bundle) encode() ([]byte, error) {
	text, err := b.manifest()
	if err != nil {
		return nil, err
	}
	size := 0
	for _, list := range b.sections() {
		size += 4 * len(*list)
	}
	size += len(b.Spec.Text)
	total := headBytes + len(text) + size + sealBytes
	if total > BundleBytesMax {
		return nil, fmt.Errorf("%d bytes: %w", total, ErrTooLarge)
	}
	data := append(make([]byte, 0, total), bundleMagic...)
	data = binary.LittleEndian.AppendUint32(data, bundleVersion)
	data = binary.LittleEndian.AppendUint32(data, uint32(len(text)))
	data = binary.LittleEndian.AppendUint32(data, uint32(size))
	data = append(data, text...)
	for _, list := range b.sections() {
		for _, v := range *list {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
	}
	data = append(data, b.Spec.Text...)
	hash := sha256.Sum256(data)
	data = append(data, hash[:]...)
	return data[:total], nil
}

// sections lists the float32 tables of the bundle in the file's order. Numbers
// that are not in slices are put into the first of them.
func (b *Bundle) sections() []*[]float32 {
	m := b.Model
	scalars := make([]float32, 0, 5*len(m.Inputs))
	list := []*[]float32{&scalars}
	for i := range m.Inputs {
		in := &m.Inputs[i]
		scalars = append(scalars, in.Mean, in.Inv, in.Lo, in.Hi, in.Missing)
		list = append(list, &in.Edges, &in.Prefix, &in.Slope)
	}
	for l := range m.Hidden {
		h := &m.Hidden[l]
		list = append(list, &h.R, &h.W, &h.S, &h.B)
	}
	return append(list, &m.Out, &m.Bias, &b.Background, &b.SelfTestRows, &b.SelfTestScores)
}

// Sign returns the bundle in data, signed or not, with key's signature. The
// hash does not change. Data must have a bundle's outline and hash, otherwise
// the error is as ReadBundle's.
func Sign(data []byte, key ed25519.PrivateKey) ([]byte, error) {
	if _, err := openBundle(data); err != nil {
		return nil, fmt.Errorf("sign bundle: %w", err)
	}
	at := len(data) - sealBytes
	hash := data[at : at+sha256.Size]
	signed := bytes.Clone(data[:at+sha256.Size])
	signed = append(signed, key.Public().(ed25519.PublicKey)...)
	return append(signed, ed25519.Sign(key, append([]byte(signedText), hash...))...), nil
}

// ReadBundle reads and checks a bundle that one of the trusted keys has signed.
// The bundle keeps no part of data. Its errors are those from ErrTooLarge to
// ErrProfile and, of the model, those of [Model.Validate].
func ReadBundle(data []byte, trust []ed25519.PublicKey) (*Bundle, error) {
	b, err := readBundle(data, trust)
	if err != nil {
		return nil, fmt.Errorf("read bundle of %d bytes: %w", len(data), err)
	}
	return b, nil
}

func readBundle(data []byte, trust []ed25519.PublicKey) (*Bundle, error) {
	o, err := openBundle(data)
	if err != nil {
		return nil, err
	}
	if err := o.verify(trust); err != nil {
		return nil, err
	}
	b, err := parseManifest(o.manifest)
	if err != nil {
		return nil, err
	}
	if err := b.fill(o.sections); err != nil {
		return nil, err
	}
	if err := b.Validate(); err != nil {
		return nil, err
	}
	b.Hash, b.Signer = [32]byte(o.hash), bytes.Clone(o.key)
	return b, nil
}

// outline is a bundle's file, taken apart.
type outline struct {
	manifest, sections, hash, key, signature []byte
}

// openBundle takes a file apart and checks its hash.
func openBundle(data []byte) (outline, error) {
	if len(data) > BundleBytesMax {
		return outline{}, ErrTooLarge
	}
	if n := min(len(data), len(bundleMagic)); string(data[:n]) != bundleMagic[:n] {
		return outline{}, ErrMagic
	}
	if len(data) < headBytes {
		return outline{}, ErrTruncated
	}
	head := data[len(bundleMagic):]
	if v := binary.LittleEndian.Uint32(head); v != bundleVersion {
		return outline{}, fmt.Errorf("version %d, not %d: %w", v, bundleVersion, ErrVersion)
	}
	text, size := int64(binary.LittleEndian.Uint32(head[4:])), int64(binary.LittleEndian.Uint32(head[8:]))
	total := int64(headBytes) + text + size + sealBytes
	if int64(len(data)) < total {
		return outline{}, fmt.Errorf("want %d bytes: %w", total, ErrTruncated)
	}
	if int64(len(data)) > total {
		return outline{}, fmt.Errorf("want %d bytes: %w", total, ErrTrailing)
	}
	body := data[:total-sealBytes]
	seal := data[total-sealBytes:]
	hash := sha256.Sum256(body)
	if !bytes.Equal(hash[:], seal[:sha256.Size]) {
		return outline{}, fmt.Errorf("content %x, named %x: %w", hash[:8], seal[:8], ErrHash)
	}
	return outline{
		manifest: body[headBytes:][:text], sections: body[int64(headBytes)+text:], hash: hash[:],
		key:       seal[sha256.Size:][:ed25519.PublicKeySize],
		signature: seal[sha256.Size+ed25519.PublicKeySize:],
	}, nil
}

// verify checks the signature.
func (o *outline) verify(trust []ed25519.PublicKey) error {
	zero := [ed25519.PublicKeySize + ed25519.SignatureSize]byte{}
	if bytes.Equal(o.key, zero[:len(o.key)]) && bytes.Equal(o.signature, zero[:len(o.signature)]) {
		return ErrUnsigned
	}
	for _, key := range trust {
		if !bytes.Equal(key, o.key) {
			continue
		}
		if !ed25519.Verify(key, append([]byte(signedText), o.hash...), o.signature) {
			return ErrSignature
		}
		return nil
	}
	return fmt.Errorf("key %x: %w", o.key[:8], ErrUnknownSigner)
}

func le64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
