package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTraceFlags(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	c, err := (&traceFlags{endpoint: "https://otel:4318", sample: .5, headers: file("good", "authorization: Bearer s3cret: x\nX-Scope-OrgID: bank\n\n")}).config()
	if err != nil || c.Share != .5 || c.Header.Get("Authorization") != "Bearer s3cret: x" || c.Header.Get("X-Scope-OrgID") != "bank" {
		t.Errorf("%+v, %v", c, err)
	}
	if err := c.Client.CheckRedirect(nil, nil); err == nil {
		t.Error("a collector may send headers elsewhere")
	}
	if c, err := (&traceFlags{sample: .01}).config(); err != nil || c.URL != "" {
		t.Errorf("%+v, %v", c, err)
	}
	for want, f := range map[string]traceFlags{
		"no use without --otlp-endpoint": {headers: "x"},
		"--otlp-sample 2":                {endpoint: "http://otel:4318", sample: 2},
		"not http://HOST:PORT":           {endpoint: "otel:4318"},
		"is in --otlp-headers-file":      {endpoint: "http://u:s3cret@otel:4318"},
		"no use with http":               {endpoint: "http://otel:4318", ca: file("ca", "x")},
		"no certificate in PEM":          {endpoint: "https://otel:4318", ca: file("ca", "x")},
		"is not NAME: VALUE":             {endpoint: "http://otel:4318", headers: file("bad", "s3cret\n")},
		"no such file":                   {endpoint: "http://otel:4318", headers: filepath.Join(dir, "none")},
	} {
		if _, err := f.config(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%+v: %v, which has not %q", f, err, want)
		}
	}
}

func TestCheckTellsOfTraces(t *testing.T) {
	c := call(t, "check", "--otlp-endpoint", "http://127.0.0.1:4318", "--data", t.TempDir())
	if !strings.Contains(c.stdout, "0.01 of the transactions to http://127.0.0.1:4318") {
		t.Errorf("%s%s", c.stdout, c.stderr)
	}
	if c := call(t, "check", "--otlp-endpoint", "http://u:s3cret@127.0.0.1:4318", "--data", t.TempDir()); !strings.Contains(c.stderr, "traces") || strings.Contains(c.stdout+c.stderr, "s3cret") {
		t.Errorf("%s%s", c.stdout, c.stderr)
	}
}
