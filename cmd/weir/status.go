package main

import (
	"context"
	"errors"
	"flag"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/weir-risk/weir/ingest/kafka"
)

var statusCommand = &command{
	name: "status", summary: "say on one screen how weir is: nodes, lag, decisions, models, history, desk", json: true,
	about: `It asks /metrics and /readyz of the nodes of --at, twice with a second between, which is
the rate's, and with --kafka also the brokers: how far the scorers' group has come by what it committed, and how many
members it has. It changes nothing. A node that does not answer is a row that says so.
Counts are of the processes that run now, since their start.

It exits with 0 where all is well and with 1 where a node does not answer, a role is not
ready, or nobody decides though a scorer was asked. --watch goes on until Ctrl-C: on a
terminal it draws the screen anew, elsewhere it prints a line a second; the exit code is
that of the last look.`,
	examples: []string{
		"weir status                                          # the weir up or weir score of this machine",
		"weir status --at 10.0.0.1:9464,10.0.0.2:9464 --kafka k1:9092",
		"weir status --at score-1:9464,score-2:9464,record:9464,desk:9464 --watch",
		"weir status --json",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		s := &statusRun{kafka: addKafka(fs)}
		fs.StringVar(&s.at, "at", listenDefault, "`HOST:PORT,...` that roles were started with as --listen")
		fs.StringVar(&s.ca, "ca", "", "PEM `FILE` of the authorities that sign the roles' certificates: they are asked over TLS")
		fs.StringVar(&s.group, "group", "weir-score", "with --kafka, the consumer `GROUP` of the scorers")
		fs.BoolVar(&s.watch, "watch", false, "look again each second until Ctrl-C")
		fs.DurationVar(&s.timeout, "timeout", 3*time.Second, "`TIME` to wait for an answer")
		return s.run
	},
}

// statusRun is one run of the command.
type statusRun struct {
	kafka     *kafkaFlags
	at, group string
	ca        string
	watch     bool
	timeout   time.Duration

	nodes  []string
	http   *http.Client
	client *kafka.Client // nil without --kafka
	before []statusNode  // the look before, for the rate
	looked time.Time
}

// statusEvery is the time between two looks, over which the rate is taken.
const statusEvery = time.Second

func (s *statusRun) run(ctx context.Context, e *env, _ []string) error {
	for one := range strings.SplitSeq(s.at, ",") {
		at, err := reachable(strings.TrimSpace(one))
		if err != nil {
			return usagef("--at: %v", err)
		}
		s.nodes = append(s.nodes, at)
	}
	if s.timeout <= 0 {
		return usagef("--timeout %v: longer than 0", s.timeout)
	}
	if s.kafka.brokers != "" {
		var err error
		if s.client, err = s.kafka.client(e); err != nil {
			return err
		}
		defer s.client.Close()
	}
	// What is asked are the nodes themselves: a proxy of the environment has no part in it.
	t := &http.Transport{Proxy: nil}
	if s.ca != "" {
		var err error
		if t.TLSClientConfig, err = authorities(s.ca, "the roles'"); err != nil {
			return err
		}
	}
	s.http = &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer s.http.CloseIdleConnections()
	s.look(ctx)
	var r *statusReport
	for sleep(ctx, statusEvery) == nil {
		next := s.look(ctx)
		if ctx.Err() != nil {
			break // a look that was cut short says nothing of the nodes
		}
		if err := s.show(e, next, r != nil); err != nil {
			return err
		}
		if r = next; !s.watch {
			break
		}
	}
	switch {
	case r == nil:
		return errors.New("stopped before there was an answer")
	case !r.OK:
		return errFound
	}
	return nil
}

// show prints a look: JSON, a screen, or where nobody looks at a terminal a line.
func (s *statusRun) show(e *env, r *statusReport, again bool) error {
	if e.json {
		return e.report(r)
	}
	if !s.watch {
		e.printf("%s", r.screen())
		return nil
	}
	f, ok := e.stdout.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		e.printf("%s\n", r.line())
		return nil
	}
	// Each line is written over the one that was there, so that nothing flickers.
	if !again {
		e.printf("\x1b[2J")
	}
	e.printf("\x1b[H%s\x1b[J", strings.ReplaceAll(r.screen(), "\n", "\x1b[K\n"))
	return nil
}
