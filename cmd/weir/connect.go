package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// kafkaFlags say how to reach the brokers and what the topics are called.
type kafkaFlags struct {
	brokers, prefix, source string
	security                kafka.Security
	shards                  int // of the ledger, where it has to be made; 0 is 1
}

func addKafka(fs *flag.FlagSet) *kafkaFlags {
	k := &kafkaFlags{}
	fs.StringVar(&k.brokers, "kafka", "", "`HOST:PORT,...` of Kafka's brokers")
	fs.StringVar(&k.prefix, "topic-prefix", "", "`PREFIX` of every topic's name")
	fs.StringVar(&k.source, "transactions", "", "`TOPIC` that brings the transactions, if not PREFIXtransactions")
	fs.BoolVar(&k.security.TLS, "kafka-tls", false, "speak TLS with the brokers")
	fs.StringVar(&k.security.CAFile, "kafka-ca", "", "PEM `FILE` of the authorities that sign the brokers' certificates\n(the system's if not given)")
	fs.StringVar(&k.security.CertFile, "kafka-cert", "", "PEM `FILE` of this client's certificate")
	fs.StringVar(&k.security.KeyFile, "kafka-key", "", "PEM `FILE` of its key")
	fs.StringVar(&k.security.Mechanism, "kafka-sasl", "", "SASL `MECHANISM`: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
	fs.StringVar(&k.security.User, "kafka-user", "", "SASL `USER`; the password is in the environment variable\nWEIR_KAFKA_PASSWORD, or in a file:")
	fs.StringVar(&k.security.PasswordFile, "kafka-password-file", "", "`FILE` that holds the password")
	return k
}

// topics returns the topics' names.
func (k *kafkaFlags) topics() schemas.Topics {
	t := schemas.DefaultTopics(k.prefix)
	if k.source != "" {
		t.Transactions, t.DLQ = k.source, k.source+".dlq"
	}
	return t
}

// client returns a client of the brokers, which must have been given.
func (k *kafkaFlags) client(e *env) (*kafka.Client, error) {
	if k.brokers == "" {
		return nil, usagef("--kafka HOST:PORT says where the brokers are")
	}
	o := kafka.Options{Brokers: strings.Split(k.brokers, ",")}
	k.security.Password, _ = e.lookup("WEIR_KAFKA_PASSWORD")
	if err := k.security.Apply(&o); err != nil {
		return nil, err
	}
	return kafka.New(o), nil
}

// addSpec declares --spec.
func addSpec(fs *flag.FlagSet, value string) *string {
	return fs.String("spec", value, "feature spec: a `FILE`, or the name of a built-in one\n("+strings.Join(spec.BuiltinNames(), ", ")+")")
}

// specList is the value of --spec-before.
type specList []*spec.Spec

func (l *specList) String() string { return "" }

// Set takes one.
func (l *specList) Set(name string) error {
	s, err := loadSpec(name)
	*l = append(*l, s)
	return err
}

// loadSpec reads a spec by its file's name, or takes a built-in one.
func loadSpec(name string) (*spec.Spec, error) {
	if s, ok := spec.Builtin(name); ok {
		return s, nil
	}
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("spec %q is neither a file nor built in (%s)", name, strings.Join(spec.BuiltinNames(), ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	return spec.Parse(name, text)
}

// addLog declares the flags of the log and returns what makes it.
func addLog(fs *flag.FlagSet) func(*env) (*slog.Logger, error) {
	format := fs.String("log", "text", "`FORMAT` of the log on stderr: text or json")
	level := fs.String("log-level", "info", "`LEVEL` of the log: debug, info, warn or error")
	return func(e *env) (*slog.Logger, error) {
		e.level = new(slog.LevelVar)
		if err := e.level.UnmarshalText([]byte(*level)); err != nil {
			return nil, usagef("--log-level %q: debug, info, warn or error", *level)
		}
		o := &slog.HandlerOptions{Level: e.level}
		switch *format {
		case "text":
			return slog.New(slog.NewTextHandler(e.stderr, o)), nil
		case "json":
			return slog.New(slog.NewJSONHandler(e.stderr, o)), nil
		}
		return nil, usagef("--log %q: text or json", *format)
	}
}
