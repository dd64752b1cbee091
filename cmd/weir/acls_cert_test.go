package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// certificate makes one for a role's user, which the brokers' authority signs, and returns
// the flags of somebody who has it.
func (w *aclWorld) certificate(role string) []string {
	w.t.Helper()
	in := func(name string) string { return filepath.Join(w.secure, name) }
	authority, err := tls.LoadX509KeyPair(in("ca.pem"), in("ca.key"))
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: w.prefix + role}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, authority.Leaf, &key.PublicKey, authority.PrivateKey)
	if err != nil {
		w.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		w.t.Fatal(err)
	}
	certificate, secret := filepath.Join(w.dir, role+".pem"), filepath.Join(w.dir, role+".key")
	err = errors.Join(os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(secret, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	if err != nil {
		w.t.Fatal(err)
	}
	return []string{"--kafka", w.login, "--kafka-tls", "--kafka-ca", in("ca.pem"), "--kafka-cert", certificate, "--kafka-key", secret, "--topic-prefix", w.prefix}
}
