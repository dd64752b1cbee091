package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// A child is a process of a measurement: weir itself as bench-role. It ends when
// its standard input does, so it never outlives whoever started it.
type child struct {
	role  string
	cmd   *exec.Cmd
	stdin io.Closer
	lines *bufio.Reader
}

// The cores of a measurement, for startOn.
const (
	anyCore = iota
	brokerCore
	measuredCore
)

// roleEnv tells a test's binary that it is to be weir.
const roleEnv = "WEIR_BENCH_ROLE"

// startChild starts a role with its flags.
func startChild(e *env, core int, role string, flags ...string) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.Command(exe, append(append([]string{"bench-role"}, flags...), role)...)
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.Stderr = e.stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	if err := startOn(core, cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	return &child{role: role, cmd: cmd, stdin: stdin, lines: bufio.NewReader(stdout)}, nil
}

// line waits for the next line that the child prints.
func (c *child) line(ctx context.Context) (string, error) {
	defer context.AfterFunc(ctx, func() { _ = c.stdin.Close() })()
	text, err := c.lines.ReadString('\n')
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		return "", fmt.Errorf("%s ended before it was done", c.role)
	}
	return strings.TrimSpace(text), nil
}

// measured waits for the child's measurement.
func (c *child) measured(ctx context.Context) (u usage, err error) {
	text, err := c.line(ctx)
	if err == nil {
		err = json.Unmarshal([]byte(text), &u)
	}
	if err == nil && u.Records == 0 {
		err = errors.New("nothing was measured")
	}
	if err != nil {
		return u, fmt.Errorf("measure %s: %w", c.role, err)
	}
	return u, nil
}

// stop ends the child, by force where it does not end by itself.
func (c *child) stop() {
	_ = c.stdin.Close()
	timer := time.AfterFunc(10*time.Second, func() { _ = c.cmd.Process.Kill() })
	_ = c.cmd.Wait() // how it ended matters to nobody: what it had to say, it has said
	timer.Stop()
}

// kill ends the child at once, as a power cut would.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait() // it was killed
}

// startBroker starts an embedded broker in memory and returns where it listens.
func startBroker(ctx context.Context, e *env) (c *child, addr string, err error) {
	if c, err = startChild(e, brokerCore, "broker"); err != nil {
		return nil, "", err
	}
	if addr, err = c.line(ctx); err != nil {
		c.stop()
		return nil, "", err
	}
	return c, addr, nil
}
