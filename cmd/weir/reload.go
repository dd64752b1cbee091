package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/weir-risk/weir/alerts/desk"
	"github.com/weir-risk/weir/cmd/weir/internal/config"
)

// reloads read the file of settings anew when the process is sent SIGHUP, and make good
// what may change while it runs. What may not is named in the log. A process without a
// file ends by the signal, as by the end of its terminal.
type reloads struct {
	env     *env
	log     *slog.Logger
	config  *configuration // what is in force
	signals chan os.Signal
	hooks   []reloadHook
}

// A reloadHook makes settings good. Prepare looks whether it can, and changes nothing;
// it returns what changes them.
type reloadHook struct {
	keys    []string
	always  bool // also where the file says the same: what it names may be other
	prepare func(get func(key string) string) (commit func(), err error)
}

// newReloads begins to wait for signals; stop ends that. It returns nil where no file is
// named, which does nothing.
func newReloads(e *env, log *slog.Logger) *reloads {
	if e.config == nil || e.config.name == "" {
		return nil
	}
	r := &reloads{env: e, log: log, config: e.config, signals: make(chan os.Signal, 1)}
	signal.Notify(r.signals, syscall.SIGHUP)
	r.on(reloadHook{keys: []string{"log.level"}, prepare: func(get func(string) string) (func(), error) {
		var level slog.Level
		err := level.UnmarshalText([]byte(get("log.level")))
		return func() { e.level.Set(level) }, err
	}})
	return r
}

func (r *reloads) stop() {
	if r != nil {
		signal.Stop(r.signals)
	}
}

// on adds a hook; all are there before run.
func (r *reloads) on(h reloadHook) {
	if r != nil {
		r.hooks = append(r.hooks, h)
	}
}

// run reads the file at each signal, until the context ends.
func (r *reloads) run(ctx context.Context) error {
	if r == nil {
		<-ctx.Done()
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.signals:
			r.reload()
		}
	}
}

// reload reads the file once. Where anything of it is wrong, all stays as it was.
func (r *reloads) reload() {
	next, err := r.read()
	if err != nil {
		r.log.Error("settings are not reloaded: the old ones go on", "file", r.config.name, "cause", err)
		return
	}
	if n := len(next.file.Problems); n > 0 {
		for _, p := range next.file.Problems {
			r.log.Error("settings are wrong", "place", fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column), "reason", p.Reason, "hint", p.Hint)
		}
		r.log.Error("settings are not reloaded: the old ones go on", "file", r.config.name, "cause", several(n, "mistake"))
		return
	}
	changed, restart := r.compare(next)
	var commits []func()
	for _, h := range r.hooks {
		if !h.always && !slices.ContainsFunc(h.keys, func(key string) bool { return slices.Contains(changed, key) }) {
			continue
		}
		commit, err := h.prepare(func(key string) string { return next.binding(key).text })
		if err != nil {
			r.log.Error("settings are not reloaded: the old ones go on", "file", r.config.name, "cause", err)
			return
		}
		commits = append(commits, commit)
	}
	for _, commit := range commits {
		commit()
	}
	for _, key := range changed {
		now, then := next.binding(key), r.config.binding(key)
		r.log.Info("setting changed", "key", key, "from", config.Hidden(then.text), "to", config.Hidden(now.text))
		*then = *now
	}
	for _, key := range restart {
		r.log.Warn("setting changed: needs a restart", "key", key)
	}
	r.config.file = next.file
	r.log.Info("settings reloaded", "file", r.config.name, "changed", len(changed), "need_restart", len(restart))
}

// read makes of the file, the variables and the flags what they say now.
func (r *reloads) read() (*configuration, error) {
	next, err := r.config.again()
	if err != nil {
		return nil, err
	}
	return next, next.load(r.env, r.config.name)
}

// compare returns the keys whose values are other ones: those that a hook makes good, and
// those that need a restart. What a flag or a variable puts out of force is said.
func (r *reloads) compare(next *configuration) (changed, restart []string) {
	for _, b := range next.bound {
		old := r.config.binding(b.Key)
		hooked := slices.ContainsFunc(r.hooks, func(h reloadHook) bool { return slices.Contains(h.keys, b.Key) })
		switch {
		case b.text == old.text:
			r.overruled(next, b)
		case hooked:
			changed = append(changed, b.Key)
		default:
			restart = append(restart, b.Key)
		}
	}
	return changed, restart
}

// overruled says where the file has changed and something else goes before it.
func (r *reloads) overruled(next *configuration, b *binding) {
	now, then := next.file.Values[b.Key], r.config.file.Values[b.Key]
	if b.from == fromFile || b.from == fromDefault || now == nil || then != nil && then.Text() == now.Text() {
		return
	}
	r.log.Warn("setting changed in the file only", "key", b.Key, "in_force", b.from)
}

// binding returns that of a key, nil where the command has none.
func (c *configuration) binding(key string) *binding {
	if i := slices.IndexFunc(c.bound, func(b *binding) bool { return b.Key == key }); i >= 0 {
		return c.bound[i]
	}
	return nil
}

// reloadLimits has the limits of a desk follow the file.
func reloadLimits(r *reloads, pages *desk.Server) {
	r.on(reloadHook{keys: []string{"desk.within", "desk.second-looks", "desk.approvals", "desk.webhooks-allow"}, prepare: func(get func(string) string) (func(), error) {
		var l desk.Limits
		var err error
		if l.Within, err = time.ParseDuration(get("desk.within")); err != nil {
			return nil, fmt.Errorf("desk.within: %w", err)
		}
		if l.SecondLooks, err = strconv.ParseFloat(get("desk.second-looks"), 64); err != nil {
			return nil, fmt.Errorf("desk.second-looks: %w", err)
		}
		if l.Approvals, err = strconv.Atoi(get("desk.approvals")); err != nil {
			return nil, fmt.Errorf("desk.approvals: %w", err)
		}
		if text := get("desk.webhooks-allow"); text != "" {
			var list networks
			if err = list.Set(text); err != nil {
				return nil, fmt.Errorf("desk.webhooks-allow: %w", err)
			}
			l.WebhooksAllow = list
		}
		return func() { pages.SetLimits(l) }, nil
	}})
}

// A certificate is the one that the desk shows, and its key.
type certificate struct {
	pair atomic.Pointer[tls.Certificate]
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.pair.Load(), nil }

// certificate loads the desk's certificate, nil where it has none, and has it loaded again
// with the settings: a certificate is renewed in files of the same names.
func (f *deskFlags) certificate(r *reloads) (*certificate, error) {
	if f.certFile == "" {
		return nil, nil
	}
	load := func(cert, key string) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("--tls-cert %s, --tls-key %s: %w", cert, key, err)
		}
		return &pair, nil
	}
	pair, err := load(f.certFile, f.keyFile)
	if err != nil {
		return nil, err
	}
	c := &certificate{}
	c.pair.Store(pair)
	r.on(reloadHook{keys: []string{"desk.tls-cert", "desk.tls-key"}, always: true, prepare: func(get func(string) string) (func(), error) {
		if get("desk.tls-cert") == "" {
			return nil, fmt.Errorf("desk.tls-cert: TLS cannot be taken away from a desk that serves")
		}
		pair, err := load(get("desk.tls-cert"), get("desk.tls-key"))
		return func() { c.pair.Store(pair) }, err
	}})
	return c, nil
}
