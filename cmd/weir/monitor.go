package main

import (
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
)

// listenDefault is where a service says of itself how it is.
const listenDefault = "127.0.0.1:9464"

// monitorFlags say where a service is watched, and how.
type monitorFlags struct {
	listen            string
	pprof             string
	certFile, keyFile string

	log  *slog.Logger
	good atomic.Pointer[tls.Certificate] // the last pair that could be read
}

// addMonitor adds them; when says in which runs they count, "" for all.
func addMonitor(fs *flag.FlagSet, when string) *monitorFlags {
	m := &monitorFlags{}
	fs.StringVar(&m.listen, "listen", listenDefault, when+"`HOST:PORT` of /metrics, /healthz and /readyz")
	fs.StringVar(&m.certFile, "metrics-tls-cert", "", "PEM `FILE` with the certificate of these pages, and those that vouch for it: they speak\nTLS. It is read at each connection, so that a renewed one needs no word")
	fs.StringVar(&m.keyFile, "metrics-tls-key", "", "PEM `FILE` with its private key")
	return m
}

// check sees whether the pages can be served; what listens is looked at when it does.
func (m *monitorFlags) check() error {
	if (m.certFile == "") != (m.keyFile == "") {
		return usagef("--metrics-tls-cert and --metrics-tls-key belong together")
	}
	if m.certFile == "" {
		return nil
	}
	_, err := m.pair()
	return err
}

// pair reads certificate and key.
func (m *monitorFlags) pair() (*tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(m.certFile, m.keyFile)
	if err != nil {
		return nil, fmt.Errorf("--metrics-tls-cert %s, --metrics-tls-key %s: %w", m.certFile, m.keyFile, err)
	}
	m.good.Store(&c)
	return &c, nil
}

// current is the pair for a connection. While a renewed one cannot be read, the last that
// could serves: who is asked whether it lives must not seem dead for a file half written.
func (m *monitorFlags) current(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c, err := m.pair()
	if err != nil {
		m.log.Warn("the certificate of the metrics cannot be renewed, the old one serves", "cause", err)
		c = m.good.Load()
	}
	return c, nil
}

// tls is what the pages speak, nil for no TLS.
func (m *monitorFlags) tls() *tls.Config {
	if m.certFile == "" {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: m.current}
}

// pinned trusts the one certificate that is in a file, whatever name it is for: who asks
// itself how it is knows its own.
func pinned(file string) (*tls.Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--metrics-tls-cert: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("--metrics-tls-cert %s: it does not begin with a certificate in PEM", file)
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // the check below stands for the one of names and authorities
		VerifyConnection: func(s tls.ConnectionState) error {
			if subtle.ConstantTimeCompare(s.PeerCertificates[0].Raw, block.Bytes) != 1 {
				return fmt.Errorf("who answers has another certificate than %s", file)
			}
			return nil
		},
	}, nil
}

// authorities trusts those of a PEM file; whose says in errors what they sign.
func authorities(file, whose string) (*tls.Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read %s authorities: %w", whose, err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if !c.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read %s authorities: %s holds no certificate in PEM", whose, file)
	}
	return c, nil
}
