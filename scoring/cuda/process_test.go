//go:build linux

package cuda

import (
	"bufio"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-risk/weir/scoring/cuda/link"
)

// pid is that of the worker that serves.
func (b *bench) pid(t testing.TB) int {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.serving == nil {
		t.Fatalf("nothing serves: %v", b.stats.Reason)
	}
	return b.serving.command.Process.Pid
}

// ends waits until a process has ended, be it anybody's child.
func ends(t testing.TB, pid int, do func()) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	do()
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, 20_000)
		if err == unix.EINTR {
			continue
		}
		if n != 1 || err != nil {
			t.Fatalf("process %d goes on: %v", pid, err)
		}
		return
	}
}

func descriptors(t testing.TB, pid string) []string {
	t.Helper()
	list, err := os.ReadDir("/proc/" + pid + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		if name, err := os.Readlink("/proc/" + pid + "/fd/" + e.Name()); err == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// pages counts the pages of workers that are mapped.
func pages(t testing.TB) int {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(maps), "/memfd:weir-gpu")
}

// TestNothingIsLeftBehind closes devices in every state and looks for processes,
// descriptors and pages.
func TestNothingIsLeftBehind(t *testing.T) {
	warm := newBench(t, Config{}) // what the runtime opens once is open from here on
	warm.serves(t)
	warm.Close()
	before := descriptors(t, "self")
	m := someModel(1)
	list, out := batches(t, m, 1, 5, 100), make([]float32, 100)
	for name, until := range map[string]func(*bench) int{
		"starting": func(b *bench) int { return 0 },
		"serving": func(b *bench) int {
			b.serves(t)
			return b.pid(t)
		},
		"stopped": func(b *bench) int {
			b.serves(t)
			b.signal(syscall.SIGSTOP)
			return b.pid(t)
		},
		"hung": func(b *bench) int {
			s := b.scorer(t, m)
			b.serves(t)
			pid := b.pid(t)
			b.control.strike(strikeHang, 1)
			list[0].score(t, s, out) // after a deadline
			b.control.absent.Store(1 << 30)
			return pid
		},
		"waiting": func(b *bench) int {
			b.serves(t)
			pid := b.pid(t)
			b.control.absent.Store(1 << 30)
			b.signal(syscall.SIGKILL)
			b.is(t, Waiting)
			return -pid
		},
	} {
		b := newBench(t, Config{Always: true, Deadline: 200 * time.Millisecond})
		pid := until(b)
		if pid > 0 && syscall.Kill(pid, 0) == nil {
			ends(t, pid, func() { b.Close() })
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if err := syscall.Kill(max(pid, -pid), 0); pid != 0 && err != syscall.ESRCH {
			t.Errorf("%s: the worker is still there: %v", name, err)
		}
		if after := descriptors(t, "self"); !slices.Equal(after, before) {
			t.Errorf("%s: descriptors %q, before %q", name, after, before)
		}
		if n := pages(t); n != 0 {
			t.Errorf("%s: %d pages are mapped", name, n)
		}
	}
}

// TestWorkerInheritsNothing looks at what the worker has open, and was told.
func TestWorkerInheritsNothing(t *testing.T) {
	t.Setenv("WEIR_TOKEN_KEY", "secret")
	t.Setenv("CUDA_VISIBLE_DEVICES", "0")
	secret, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	b := newBench(t, Config{})
	b.serves(t)
	pid := strconv.Itoa(b.pid(t))
	for _, name := range descriptors(t, pid) {
		known := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
		if !slices.ContainsFunc([]string{"pipe:", "/dev/", "anon_inode:", "/memfd:weir-gpu", "socket:", "/sys/fs/cgroup/"}, known) && !onDriver {
			t.Errorf("the worker has %q open", name)
		}
	}
	env, err := os.ReadFile("/proc/" + pid + "/environ")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(env), "secret") || !strings.Contains(string(env), "CUDA_VISIBLE_DEVICES=0") {
		t.Errorf("the worker's environment is %q", env)
	}
	if dir, err := os.Readlink("/proc/" + pid + "/cwd"); err != nil || dir != "/" {
		t.Errorf("the worker stands in %s (%v)", dir, err)
	}
}

// parent is the test program as a process that has a device and says who its worker is.
func parent() int {
	d := Open(Config{Env: []string{controlVariable + "=" + os.Getenv(controlVariable)}, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	for {
		d.mu.Lock()
		w := d.serving
		d.mu.Unlock()
		if w != nil {
			fmt.Println(w.command.Process.Pid)
			select {} // until it is killed
		}
	}
}

// TestWorkerDiesWithItsParent kills a process that has a worker, and looks for the worker,
// also where that one stands still.
func TestWorkerDiesWithItsParent(t *testing.T) {
	b := newBench(t, Config{}) // for its control
	for _, stopped := range []bool{false, true} {
		c := exec.Command("/proc/self/exe", "gpu-parent")
		c.Stderr = os.Stderr
		c.Env = append(os.Environ(), controlVariable+"="+b.controlName)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		if stopped {
			syscall.Kill(pid, syscall.SIGSTOP)
		}
		ends(t, pid, func() { c.Process.Kill() })
		c.Wait()
	}
}

// TestWorkersThatDoNotStart are none, ones that end at once, and ones that say nothing.
func TestWorkersThatDoNotStart(t *testing.T) {
	for _, c := range []struct {
		command []string
		class   link.Class
	}{
		{[]string{"/nowhere/weir", "gpu-worker"}, link.Start},
		{[]string{"true"}, link.Died},
		{[]string{"sleep", "1000"}, link.Deadline},
	} {
		b := newBench(t, Config{Command: c.command, StartWithin: 100 * time.Millisecond})
		b.until(t, "fault", func(s Stats) bool { return s.Faults[c.class] > 0 && s.Reason != "" })
		m := someModel(1)
		one := batches(t, m, 1, 1, 100)[0]
		one.score(t, b.scorer(t, m), make([]float32, 100))
		b.Close()
	}
}

// TestWorkerSaysLittle bounds what a worker can put into the log.
func TestWorkerSaysLittle(t *testing.T) {
	b := newBench(t, Config{Command: []string{"sh", "-c", "for i in $(seq 100); do echo line $i >&2; done; head -c 100000 /dev/zero | tr '\\0' x >&2"}})
	b.until(t, "fault", func(s Stats) bool { return s.Faults[link.Died] > 0 })
	b.Close()
	text := b.log.String()
	if n := strings.Count(text, "the GPU worker says"); n == 0 || n%linesMax != 0 || len(text) > 100_000 {
		t.Errorf("%d lines of the worker in %d bytes", n, len(text))
	}
	if !strings.Contains(text, "the GPU worker said more") {
		t.Error("the rest is not counted")
	}
}
