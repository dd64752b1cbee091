package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/weir-risk/weir/ingest/decode/wireformat"
	"github.com/weir-risk/weir/schemas"
)

// registryPassword is the variable of the password at the schema registry.
const registryPassword = "WEIR_SCHEMA_REGISTRY_PASSWORD"

// formatFlags say how the records of transactions are written.
type formatFlags struct {
	format, registry, user, passwordFile, ca string
}

func addFormat(fs *flag.FlagSet) *formatFlags {
	f := &formatFlags{}
	fs.StringVar(&f.format, "source-format", "json", "`FORMAT` of the transactions' records: json, avro or protobuf; the last two in the\nwire format of a schema registry")
	fs.StringVar(&f.registry, "schema-registry", "", "`URL,...` of the schema registry and its copies, http or https, asked one after another\nuntil one knows a schema")
	fs.StringVar(&f.user, "schema-registry-user", "", "`USER` at the registry; the password is in the environment variable\n"+registryPassword+", or in a file:")
	fs.StringVar(&f.passwordFile, "schema-registry-password-file", "", "`FILE` that holds the password")
	fs.StringVar(&f.ca, "schema-registry-ca", "", "PEM `FILE` of the authorities that sign the registry's certificates\n(the system's if not given)")
	return f
}

// schemas returns the registry's schemas, nil where records are JSON. An error
// names every mistake.
func (f *formatFlags) schemas(e *env, log *slog.Logger) (*wireformat.Schemas, error) {
	format, err := wireformat.ParseFormat(f.format)
	switch {
	case err != nil:
		return nil, usagef("--source-format %v", err)
	case format == wireformat.JSON && (f.registry != "" || f.user != "" || f.passwordFile != "" || f.ca != ""):
		return nil, usagef("a schema registry is of no use with JSON: --source-format avro or protobuf")
	case format == wireformat.JSON:
		return nil, nil
	case f.registry == "":
		return nil, usagef("--source-format %s needs --schema-registry URL", f.format)
	}
	o := wireformat.Options{URLs: strings.Split(f.registry, ","), User: f.user, Format: format, Now: time.Now, Log: log}
	errs := []error{f.addresses(o.URLs), nil, nil}
	o.Password, errs[1] = f.password(e)
	o.TLS, errs[2] = f.tls()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return wireformat.NewSchemas(o)
}

// addresses checks the registry's addresses. What is wrong is not shown: it may
// hold a password.
func (f *formatFlags) addresses(list []string) error {
	secure := false
	for _, text := range list {
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "":
			return usagef("--schema-registry: an address that is no http://HOST:PORT or https://HOST:PORT")
		case u.User != nil:
			return usagef("--schema-registry: the user belongs in --schema-registry-user, and the password into a file or the environment")
		}
		secure = secure || u.Scheme == "https"
	}
	if f.ca != "" && !secure {
		return usagef("--schema-registry-ca is of no use with http: --schema-registry https://HOST:PORT")
	}
	return nil
}

// registryRemedy says what mends an error of the registry's, where a flag does.
func registryRemedy(err error) string {
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &certificate):
		return "; --schema-registry-ca FILE names who signs its certificate"
	case errors.Is(err, wireformat.ErrDenied):
		return "; --schema-registry-user and the password say who asks"
	}
	return ""
}

func (f *formatFlags) password(e *env) (string, error) {
	switch {
	case f.user == "" && f.passwordFile != "":
		return "", usagef("--schema-registry-password-file needs --schema-registry-user USER")
	case f.user == "":
		return "", nil
	}
	password, _ := e.lookup(registryPassword)
	if f.passwordFile != "" {
		text, err := os.ReadFile(f.passwordFile)
		if err != nil {
			return "", fmt.Errorf("read the schema registry's password: %w", schemas.HideName(err))
		}
		password = strings.TrimRight(string(text), "\r\n")
	}
	if password == "" {
		return "", usagef("--schema-registry-user needs a password: --schema-registry-password-file FILE, or the environment variable %s", registryPassword)
	}
	return password, nil
}

// tls returns nil where the system's authorities will do.
func (f *formatFlags) tls() (*tls.Config, error) {
	if f.ca == "" {
		return nil, nil
	}
	return authorities(f.ca, "the schema registry's")
}
