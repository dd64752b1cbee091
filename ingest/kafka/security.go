package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"github.com/weir-risk/weir/schemas"
)

// Security says how this client and the brokers prove who they are. The zero
// value is a plain connection.
type Security struct {
	TLS bool
	// CAFile holds the authorities that sign the brokers' certificates, PEM; the
	// system's where it is empty.
	CAFile string
	// CertFile and KeyFile are this client's own, PEM, where the brokers ask.
	CertFile, KeyFile string
	// Mechanism is PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; empty is no SASL.
	// PLAIN without TLS sends the password as it is.
	Mechanism, User string
	// Password is SASL's; PasswordFile, where not empty, holds it instead.
	Password, PasswordFile string
}

// Apply sets what o needs to connect so. Its errors name the file or the setting
// that is wrong, never the password.
func (s Security) Apply(o *Options) error {
	if s.TLS || s.CAFile != "" || s.CertFile != "" || s.KeyFile != "" {
		config, err := s.config()
		if err != nil {
			return err
		}
		o.TLS = config
	}
	if s.Mechanism == "" {
		if s.User != "" {
			return errors.New("a SASL user is given and no mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
		}
		return nil
	}
	m, err := s.mechanism()
	o.SASL = m
	return err
}

func (s Security) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CAFile != "" {
		pem, err := os.ReadFile(s.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the brokers' authorities: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read the brokers' authorities: %s holds no certificate in PEM", s.CAFile)
		}
	}
	if (s.CertFile == "") != (s.KeyFile == "") {
		return nil, errors.New("a client's certificate and its key are given together or not at all")
	}
	if s.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(s.CertFile, s.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read the client's certificate %s and key %s: %w", s.CertFile, s.KeyFile, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

func (s Security) mechanism() (sasl.Mechanism, error) {
	password := s.Password
	if s.PasswordFile != "" {
		b, err := os.ReadFile(s.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("read the SASL password: %w", schemas.HideName(err))
		}
		password = strings.TrimRight(string(b), "\r\n")
	}
	if s.User == "" || password == "" {
		return nil, fmt.Errorf("SASL %s needs a user and a password, which comes from a file or from the environment", s.Mechanism)
	}
	switch s.Mechanism {
	case "PLAIN":
		return plain.Mechanism{Username: s.User, Password: password}, nil
	case "SCRAM-SHA-256":
		return scram.Mechanism(scram.SHA256, s.User, password)
	case "SCRAM-SHA-512":
		return scram.Mechanism(scram.SHA512, s.User, password)
	}
	return nil, fmt.Errorf("no SASL mechanism is called %q: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", s.Mechanism)
}
