package broker_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// childDir tells a copy of this test binary to be a broker on a folder.
const childDir = "WEIR_TEST_BROKER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		serve(dir)
	}
	os.Exit(m.Run())
}

// serve is the broker of a child process: it says where it listens and serves
// until its input ends, with the test, or it is killed.
func serve(dir string) {
	b, err := broker.Start(broker.Options{Dir: dir})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println(b.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// child starts a broker in a process of its own.
func child(t *testing.T, dir string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.HasPrefix(line, "error:") {
		t.Fatalf("the child says %q, %v", line, err)
	}
	return cmd, strings.TrimSpace(line)
}

func client(t testing.TB, addr string) *kafka.Client {
	t.Helper()
	c := kafka.New(kafka.Options{Brokers: []string{addr}})
	t.Cleanup(c.Close)
	return c
}

func ensure(t testing.TB, c *kafka.Client) {
	t.Helper()
	if err := c.Ensure(t.Context(), []schemas.Layout{{Topic: "t", Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
}

func batch(t testing.TB, first, n int) []byte {
	t.Helper()
	var w kafka.BatchWriter
	for i := range n {
		w.Append(nil, fmt.Appendf(nil, "value %d", first+i), 1, nil)
	}
	b, err := w.Finish(kafka.LZ4)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// check reads the topic and reports the number of records, which must be the
// ones written, in order.
func check(t *testing.T, c *kafka.Client) (n int) {
	t.Helper()
	_, end, err := c.Offsets(t.Context(), "t", 0)
	if err != nil {
		t.Fatal(err)
	}
	r := kafka.NewReader(c, "t", 0, 0)
	defer r.Close()
	for {
		records, err := r.Next(t.Context(), end)
		if err != nil {
			t.Fatal(err)
		}
		if records == nil {
			return n
		}
		for records.Next() {
			if got, want := string(records.Record().Value), fmt.Sprint("value ", n); got != want || records.Record().Offset != int64(n) {
				t.Fatalf("offset %d holds %q, want %q", records.Record().Offset, got, want)
			}
			n++
		}
		if err := records.Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAKilledBrokerKeepsWhatItAcknowledged kills the broker's process again and
// again while records are written, each time on the folder that the kill left.
func TestAKilledBrokerKeepsWhatItAcknowledged(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	acked := 0
	for round := range 6 {
		cmd, addr := child(t, dir)
		c := client(t, addr)
		ensure(t, c)
		found := check(t, c)
		// One request was on its way when the process was killed: it may have
		// been appended and not acknowledged.
		if found < acked || found > acked+10 {
			t.Fatalf("round %d: %d records, %d were acknowledged", round, found, acked)
		}
		acked = found
		after := acked + 10*random.IntN(200)
		kill := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			<-kill
			_ = cmd.Process.Kill()
		}()
		for killed := false; ; {
			if !killed && acked >= after {
				close(kill) // and the writing goes on until it hits
				killed = true
			}
			base, err := c.Produce(t.Context(), "t", 0, batch(t, acked, 10))
			if err != nil {
				if !killed {
					t.Fatal(err)
				}
				break
			}
			if base != int64(acked) {
				t.Fatalf("appended at %d, want %d", base, acked)
			}
			acked += 10
		}
		<-done
		_ = cmd.Wait()
	}
}

func TestASecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	cmd, _ := child(t, dir)
	_, err := broker.Start(broker.Options{Dir: dir})
	if !errors.Is(err, broker.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint("process ", cmd.Process.Pid)) || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v, want the folder and process %d", err, cmd.Process.Pid)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	b, err := broker.Start(broker.Options{Dir: dir})
	if err != nil {
		t.Fatalf("after the first was killed: %v", err)
	}
	if _, err := broker.Start(broker.Options{Dir: dir}); !errors.Is(err, broker.ErrLocked) {
		t.Errorf("a second broker of this process: %v", err)
	}
	b.Close()
	b.Close()
	if b, err = broker.Start(broker.Options{Dir: dir}); err != nil {
		t.Fatalf("after it was closed: %v", err)
	}
	b.Close()
}

func TestAnAddressInUseIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	_, err = broker.Start(broker.Options{Addr: l.Addr().String(), Dir: dir})
	if !errors.Is(err, broker.ErrInUse) || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("got %v", err)
	}
	b, err := broker.Start(broker.Options{Dir: dir}) // the folder is free again
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
}

func TestAnImpossibleFolderIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := broker.Start(broker.Options{Dir: file}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
}

// written makes a folder with 20 batches of 10 records and returns its segment.
func written(t *testing.T) (dir, segment string) {
	t.Helper()
	dir = t.TempDir()
	b, err := broker.Start(broker.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, b.Addr())
	ensure(t, c)
	for i := range 20 {
		if _, err := c.Produce(t.Context(), "t", 0, batch(t, 10*i, 10)); err != nil {
			t.Fatal(err)
		}
	}
	b.Close()
	return dir, filepath.Join(dir, "partitions", "t-0", "0.dat")
}

func TestADamagedFolderIsRefused(t *testing.T) {
	f := func(name string, damage func(dir, segment string) error) {
		t.Helper()
		dir, segment := written(t)
		if err := damage(dir, segment); err != nil {
			t.Fatal(err)
		}
		b, err := broker.Start(broker.Options{Dir: dir})
		if err == nil {
			b.Close()
		}
		if !errors.Is(err, broker.ErrDamaged) {
			t.Errorf("%s: got %v, want %v", name, err, broker.ErrDamaged)
		}
	}
	flip := func(file string, at int) error {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		b[at] ^= 0x40
		return os.WriteFile(file, b, 0o600)
	}
	f("a record", func(_, segment string) error { return flip(segment, 100) })
	f("a length", func(_, segment string) error { return flip(segment, 8) })
	f("a format", func(_, segment string) error { return flip(segment, 16) })
	f("meta.json is gone", func(dir, _ string) error { return os.Remove(filepath.Join(dir, "meta.json")) })
	f("meta.json", func(dir, _ string) error { return flip(filepath.Join(dir, "meta.json"), 0) })
	f("topics.json", func(dir, _ string) error { return flip(filepath.Join(dir, "topics.json"), 0) })
}

// TestATornLastBatchIsCutOff cuts the last batch at every byte, as a power
// failure may: the batches before it stay.
func TestATornLastBatchIsCutOff(t *testing.T) {
	dir, segment := written(t)
	whole, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	size := len(whole) / 20
	for _, cut := range []int{1, 2, size / 2, size - 20} {
		if err := os.WriteFile(segment, whole[:len(whole)-cut], 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := broker.Start(broker.Options{Dir: dir})
		if err != nil {
			t.Fatalf("%d bytes fewer: %v", cut, err)
		}
		if n := check(t, client(t, b.Addr())); n != 190 {
			t.Errorf("%d bytes fewer: %d records, want 190", cut, n)
		}
		b.Close()
	}
}

// TestNothingIsAnsweredAfterClose sends over a connection that was open.
func TestNothingIsAnsweredAfterClose(t *testing.T) {
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := net.Dial("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	c := client(t, b.Addr())
	ensure(t, c) // so the broker has accepted the connection before it
	b.Close()
	if err := raw.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := raw.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d bytes, %v", n, err)
	}
}
