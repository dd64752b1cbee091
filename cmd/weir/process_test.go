package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/weir-risk/weir/alerts/desk"
	"github.com/weir-risk/weir/ingest"
)

// TestMain makes the test binary weir itself where a test starts it as a process
// of its own.
func TestMain(m *testing.M) {
	// Under the race detector a try of a password takes seconds; what one costs is a
	// matter of package desk.
	desk.DefaultCost = desk.Cost{MemoryKiB: 64, Passes: 1, Lanes: 1}
	// A worker's environment holds little; weir starts it by its own name.
	if len(os.Args) > 1 && os.Args[1] == gpuWorkerCommand.name {
		main()
	}
	if dir := os.Getenv("WEIR_TEST_BROKER"); dir != "" {
		runBroker(dir, os.Getenv("WEIR_TEST_BROKER_ADDR"))
	}
	if name := os.Getenv("WEIR_TEST_PHASES"); name != "" {
		word := mapWord(name)
		probe = func(p ingest.Phase, in bool) {
			if in {
				atomic.OrUint32(word, uint32(p))
			} else {
				atomic.AndUint32(word, ^uint32(p))
			}
		}
		main()
	}
	os.Exit(m.Run())
}

// mapWord maps the first word of a file, which outlives whoever writes it.
func mapWord(name string) *uint32 {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = f.Truncate(4096)
	}
	var page []byte
	if err == nil {
		page, err = syscall.Mmap(int(f.Fd()), 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	}
	if err != nil {
		panic(err)
	}
	return (*uint32)(unsafe.Pointer(&page[0]))
}

// A process is weir as a process of its own.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	word   *uint32
	stdout bytes.Buffer
	done   chan error
	began  time.Time

	mu  sync.Mutex
	log []map[string]any // its log's lines
}

// start starts weir with arguments; it is killed at the test's end.
func start(t testing.TB, args ...string) *process {
	t.Helper()
	return startProgram(t, os.Args[0], args...)
}

// startProgram starts a weir of another version.
func startProgram(t testing.TB, program string, args ...string) *process {
	t.Helper()
	phases := filepath.Join(t.TempDir(), "phases")
	p := &process{t: t, word: mapWord(phases), done: make(chan error, 1), began: time.Now()}
	p.cmd = exec.Command(program, args...)
	p.cmd.Env = append(os.Environ(), "WEIR_TEST_PHASES="+phases)
	p.cmd.Stdout = &p.stdout
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process
		p.read(stderr)
		p.done <- p.cmd.Wait()
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *process) read(stderr io.Reader) {
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		var line map[string]any
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			line = map[string]any{"msg": lines.Text()} // a panic's
		}
		p.mu.Lock()
		p.log = append(p.log, line)
		p.mu.Unlock()
	}
}

// said returns the last line of the log with a message, nil where there is none.
func (p *process) said(msg string) map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.log) - 1; i >= 0; i-- {
		if p.log[i]["msg"] == msg {
			return p.log[i]
		}
	}
	return nil
}

// forget forgets what the log said.
func (p *process) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = nil
}

// level reports whether the log has a line of a level.
func (p *process) level(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.log, func(line map[string]any) bool { return line["level"] == name })
}

// logged returns the last lines of the log, and of a panic the functions that
// weir was in.
func (p *process) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lines, panics []string
	for _, line := range p.log {
		msg, _ := line["msg"].(string)
		switch text, _ := json.Marshal(line); {
		case line["level"] != nil, strings.HasPrefix(msg, "weir "):
			lines = append(lines, string(text))
		case strings.HasPrefix(msg, "goroutine "), strings.Contains(msg, "weir-risk"):
			panics = append(panics, msg)
		}
	}
	lines, panics = lines[max(0, len(lines)-20):], panics[:min(60, len(panics))]
	return strings.Join(append(lines, panics...), "\n")
}

// phases returns what the process is in the middle of, or was when it ended.
func (p *process) phases() ingest.Phase { return ingest.Phase(atomic.LoadUint32(p.word)) }

func (p *process) alive() bool {
	select {
	case err := <-p.done:
		p.done <- err
		return false
	default:
		return true
	}
}

// kill ends the process at once, as a crash would.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	err := <-p.done
	p.done <- err
}

// stop asks the process to end and returns its standard output.
func (p *process) stop() string {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	err := <-p.done
	p.done <- err
	if err != nil {
		p.t.Fatalf("%v; it said\n%s%s", err, p.stdout.String(), p.logged())
	}
	return p.stdout.String()
}

// until waits until f holds; the process must stay alive.
func (p *process) until(what string, f func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !f(); {
		switch {
		case !p.alive():
			p.t.Fatalf("weir ended before %s:\n%s%s", what, p.stdout.String(), p.logged())
		case time.Now().After(deadline):
			// Its goroutines say what it waits for.
			_ = p.cmd.Process.Signal(syscall.SIGQUIT)
			p.done <- <-p.done
			p.t.Fatalf("no %s after 60 s:\n%s", what, p.logged())
		}
		time.Sleep(time.Millisecond)
	}
}

// resident is how much memory the process has, in MiB; 0 where the system does not say.
func (p *process) resident() float64 {
	return float64(memoryOf(strconv.Itoa(p.cmd.Process.Pid), "VmRSS")) / (1 << 20)
}

// ready reports whether the process says that what arrives now is dealt with now.
func (p *process) ready() bool {
	p.t.Helper()
	code, _ := get(p.t, "http://"+p.said("serves metrics")["address"].(string)+"/readyz")
	return code == 200
}

// memory is what a process has, in MiB, and what of it is the state of its entities.
type memory struct{ resident, state float64 }

func (p *process) memory() memory {
	p.t.Helper()
	return memory{p.resident(), max(0, p.metric("weir_state_bytes")) / (1 << 20)}
}

// grew fails the test where the process has more memory than before, by more than a run of
// its collector explains, and what came to be known of entities: that and as much again,
// for the collector doubles it.
func (p *process) grew(before memory) {
	p.t.Helper()
	after := p.memory()
	most := before.resident + 64 + 2*(after.state-before.state)
	p.t.Logf("%.0f MiB of memory before, %.1f of it state; %.0f and %.1f after", before.resident, before.state, after.resident, after.state)
	if after.resident > most {
		p.t.Errorf("memory went from %.0f to %.0f MiB, where %.0f are explained", before.resident, after.resident, most)
	}
}
