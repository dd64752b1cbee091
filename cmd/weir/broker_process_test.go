package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/weir-risk/weir/ingest/broker"
)

// A brokerProcess is the embedded broker as a process of its own, which syncs every
// append: it can be killed, and comes back at its address with what it acknowledged.
type brokerProcess struct {
	t    testing.TB
	dir  string
	addr string
	cmd  *exec.Cmd
	open io.Closer // its standard input: it ends with whoever holds that
}

// runBroker is what such a process runs, until its standard input ends.
func runBroker(dir, addr string) {
	b, err := broker.Start(broker.Options{Dir: dir, Addr: addr, SyncWrites: true, Session: 100 * time.Millisecond})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	b.Close()
	os.Exit(0)
}

// brokerIn starts one on a folder of its own.
func brokerIn(t testing.TB, dir string) *brokerProcess {
	t.Helper()
	b := &brokerProcess{t: t, dir: dir, addr: freeAddress(t)}
	b.start()
	t.Cleanup(b.kill)
	return b
}

// freeAddress returns an address that nobody listens at. Its port is below those that the
// system gives to whoever connects: of these, one may be gone while the broker is.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 1000 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(22_000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

func (b *brokerProcess) start() {
	b.t.Helper()
	b.cmd = exec.Command(os.Args[0])
	b.cmd.Env = append(os.Environ(), "WEIR_TEST_BROKER="+b.dir, "WEIR_TEST_BROKER_ADDR="+b.addr)
	b.cmd.Stderr = os.Stderr
	in, err := b.cmd.StdinPipe()
	if err == nil {
		err = b.cmd.Start()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	b.open = in
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		c, err := net.Dial("tcp", b.addr)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(until) {
			b.t.Fatalf("the broker does not serve at %s: %v", b.addr, err)
		}
	}
}

// kill ends it at once, as a crash would.
func (b *brokerProcess) kill() {
	_ = b.cmd.Process.Signal(syscall.SIGKILL)
	_ = b.cmd.Wait()
	_ = b.open.Close()
}
