package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/textproto"
	"net/url"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-risk/weir/ingest/trace"
)

// traceFlags say where the spans of sampled transactions are sent.
type traceFlags struct {
	endpoint, headers, ca string
	sample                float64
}

func addTrace(fs *flag.FlagSet) *traceFlags {
	f := &traceFlags{}
	fs.StringVar(&f.endpoint, "otlp-endpoint", "", "`URL` of an OpenTelemetry collector that is sent traces of sampled transactions, by OTLP\nover HTTP, such as http://127.0.0.1:4318; /v1/traces if it has no path (none if not given)")
	fs.Float64Var(&f.sample, "otlp-sample", 0.01, "`SHARE` of the transactions that is traced, the same ones in all roles")
	fs.StringVar(&f.headers, "otlp-headers-file", "", "`FILE` with a line NAME: VALUE for each header of a request, where the collector asks\nwho sends")
	fs.StringVar(&f.ca, "otlp-ca", "", "PEM `FILE` of the authorities that sign the collector's certificate\n(the system's if not given)")
	return f
}

// config returns what a tracer is made with, without what depends on the process. An error
// names every mistake.
func (f *traceFlags) config() (c trace.Config, err error) {
	if f.endpoint == "" {
		if f.headers != "" || f.ca != "" {
			err = usagef("--otlp-headers-file and --otlp-ca are of no use without --otlp-endpoint URL")
		}
		return c, err
	}
	var errs [4]error
	if !(f.sample >= 0 && f.sample <= 1) {
		errs[0] = usagef("--otlp-sample %v: from 0 to 1", f.sample)
	}
	secure := false
	if u, err := url.Parse(f.endpoint); err != nil || u.User != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		errs[1] = usagef("--otlp-endpoint: %v; what it may ask of who sends is in --otlp-headers-file", trace.ErrURL)
	} else if secure = u.Scheme == "https"; !secure && f.ca != "" {
		errs[1] = usagef("--otlp-ca is of no use with http: --otlp-endpoint https://HOST:PORT")
	}
	c.URL, c.Share = f.endpoint, f.sample
	c.Header, errs[2] = f.header()
	c.Client, errs[3] = f.client()
	return c, errors.Join(errs[:]...)
}

// header reads the headers of requests. What is wrong with a line is not shown: it may be
// the secret.
func (f *traceFlags) header() (http.Header, error) {
	if f.headers == "" {
		return nil, nil
	}
	text, err := readSecret(f.headers)
	if err != nil {
		return nil, fmt.Errorf("read the headers for the collector: %w", err)
	}
	text = append(bytes.TrimSpace(text), "\r\n\r\n"...)
	header, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(text))).ReadMIMEHeader()
	if err != nil || len(header) == 0 {
		return nil, fmt.Errorf("read the headers for the collector: %s has a line that is not NAME: VALUE", f.headers)
	}
	return http.Header(header), nil
}

// client returns one that goes nowhere else than it is told, with its headers.
func (f *traceFlags) client() (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	c := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if f.ca == "" {
		return c, nil
	}
	var err error
	transport.TLSClientConfig, err = authorities(f.ca, "the collector's")
	return c, err
}

// open starts the tracer of a process, nil where none is asked for. Its metrics are there
// all the same.
func (f *traceFlags) open(e *env, topic string, r prometheus.Registerer, log *slog.Logger) (*trace.Tracer, error) {
	metrics := trace.NewMetrics(r)
	c, err := f.config()
	if err != nil || f.endpoint == "" {
		return nil, err
	}
	var v version
	v.read()
	c.Topic, c.Version, c.Log, c.Metrics = topic, v.Version, log, metrics
	c.Service = "weir"
	if e.config != nil {
		c.Service += "-" + e.config.command
	}
	c.Node, _ = os.Hostname() // without one it is not told
	return trace.New(c)
}
