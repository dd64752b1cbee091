package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Look adds to the problems what is wrong with the files that the file names: what
// is not there, what others may read, and what is no certificate. Builtin are the names
// of specs that are no files; tooOpen tells of a mode whether weir refuses a key that has
// it.
func (f *File) Look(outside map[string]string, builtin []string, tooOpen func(fs.FileMode) bool) {
	for _, s := range Settings {
		v := f.Values[s.Key]
		if v == nil || outside[s.Key] != "" || slices.ContainsFunc(f.Problems, func(p Problem) bool { return p.Key == s.Key }) {
			continue
		}
		for _, name := range v.Items {
			if reason, hint := s.look(name, builtin, tooOpen); reason != "" {
				f.problem(v.Place, s.Key, s.Key+": "+reason, hint)
			}
		}
	}
	f.pair("desk.tls-cert", "desk.tls-key", outside)
	f.pair("kafka.cert", "kafka.key", outside)
	f.pair("metrics.tls-cert", "metrics.tls-key", outside)
	f.sort()
}

// look sees whether a file is what its setting needs.
func (s *Setting) look(name string, builtin []string, tooOpen func(fs.FileMode) bool) (reason, hint string) {
	switch {
	case s.Kind == Output:
		return s.place(name)
	case s.Key == "spec.file":
		for _, b := range builtin {
			if b == name {
				return "", ""
			}
		}
		hint = "or one of those that are built in: " + strings.Join(builtin, ", ")
	case s.Kind != Path && s.Kind != Secret:
		return "", ""
	}
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if hint == "" {
			hint = "a relative name is one from where weir is started"
		}
		return "there is no file " + name, hint
	case err != nil:
		return err.Error(), "weir's user must be able to reach it"
	case info.IsDir():
		return name + " is a folder", "name the file in it"
	case info.Size() == 0:
		return name + " is empty", "write what it is to hold"
	case s.Kind == Secret && (s.Section() == "keys" || s.Key == "oidc.client-secret-file") && tooOpen(info.Mode()):
		return "others than the owner may read the secret in " + name, "chmod 600 " + name
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return err.Error(), "weir's user must be able to read it"
	}
	certificates := strings.HasSuffix(s.Key, ".ca") || strings.HasSuffix(s.Key, "cert")
	switch {
	case certificates && !x509.NewCertPool().AppendCertsFromPEM(text):
		return name + " holds no certificate in PEM", "it begins with -----BEGIN CERTIFICATE-----"
	case s.Key == "keys.trust-file" && strings.Contains(string(text), "PRIVATE KEY"):
		return name + " holds a private key", "whoever reads it could sign models: name the file of public keys"
	case s.Key == "keys.token-file" && !tokenKey.MatchString(strings.TrimSpace(string(text))):
		return name + " holds no key of tokens", "it is one line, ID:HEX, of 16 to 64 bytes"
	}
	return "", ""
}

// place sees whether something can be made where a setting says.
func (s *Setting) place(name string) (reason, hint string) {
	info, err := os.Stat(name)
	folder := s.Key == "data"
	switch {
	case err == nil && folder && !info.IsDir():
		return name + " is a file, not a folder", "name a folder; it is made where there is none"
	case err == nil && !folder && info.IsDir():
		return name + " is a folder", "name a file in it"
	case errors.Is(err, fs.ErrNotExist) && filepath.IsAbs(name):
		if _, err := os.Stat(filepath.Dir(name)); errors.Is(err, fs.ErrNotExist) {
			return "there is no folder " + filepath.Dir(name), "make it, for weir's user"
		}
	}
	return "", ""
}

// Missing reports whether a setting is of a secret whose file is not there. Whoever says
// so does not repeat the name: it may be the secret itself.
func (s *Setting) Missing(name string) bool {
	_, err := os.Stat(name)
	return s.Kind == Secret && errors.Is(err, fs.ErrNotExist)
}

// pair sees whether a certificate and a key belong together, where each is well by itself.
func (f *File) pair(cert, key string, outside map[string]string) {
	c, k := f.Values[cert], f.Values[key]
	if c == nil || k == nil || outside[cert] != "" || outside[key] != "" {
		return
	}
	for _, p := range f.Problems {
		if p.Key == cert || p.Key == key {
			return
		}
	}
	if _, err := tls.LoadX509KeyPair(c.Text(), k.Text()); err != nil {
		f.problem(k.Place, key, key+" is not the key of "+cert+": "+strings.TrimPrefix(err.Error(), "tls: "), "give each certificate its own key")
	}
}
