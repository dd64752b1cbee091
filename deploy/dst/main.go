// Command dst runs weir's deterministic simulation: the whole of a stream in memory,
// seed by seed, while its network, its brokers and its processes fail (ingest,
// TestSimulation). It builds the test with a runtime that draws from the seed, see
// overlay.go, so that a seed that fails does the same again, goroutine by goroutine.
//
//	go run .                          10,000 seeds
//	WEIR_SEEDS=300 go run .           so many
//	WEIR_SEED=17 WEIR_SEEDS=1 go run .   one, with all that happened in it
//
// It exits with 1 where a seed failed, and with 2 where nothing could be run. A seed is
// run in a process that has run those of its block before it, for what a process has
// done once it does not do again.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	block    = 20              // seeds of a process; sim_seed_dst_test.go has the same
	patience = 5 * time.Minute // of a process: one that hangs has failed
	failures = 3               // after so many no other seed is begun
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code, err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "dst:", err)
		code = 2
	}
	os.Exit(code)
}

func run(ctx context.Context) (code int, err error) {
	first, err := number("WEIR_SEED", 1)
	if err != nil {
		return 0, err
	}
	seeds, err := number("WEIR_SEEDS", 10_000)
	if err != nil {
		return 0, err
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		return 0, err
	}
	began := time.Now()
	binary, err := build(ctx, root)
	if err != nil {
		return 0, err
	}
	fmt.Printf("built in %.0f s\n", time.Since(began).Seconds())
	s := &simulation{dir: filepath.Join(root, "ingest"), binary: binary, traces: make(map[string]uint64)}
	if seeds == 1 {
		return s.one(ctx, first)
	}
	if err := s.replays(ctx, first); err != nil {
		return 0, err
	}
	return s.all(ctx, first, first+seeds), ctx.Err()
}

func number(name string, otherwise uint64) (uint64, error) {
	text := os.Getenv(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%s is %q, not a number from 1", name, text)
	}
	return n, nil
}

// build builds the test binary below .cache and returns its name.
func build(ctx context.Context, root string) (string, error) {
	dir := filepath.Join(root, ".cache", "dst")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	file, err := overlay(strings.TrimSpace(string(goroot)), dir, os.Getenv("WEIR_OVERLAY"))
	if err != nil {
		return "", err
	}
	mod, err := without(root, dir)
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "ingest.test")
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-modfile="+mod, "-mod=mod", "-overlay="+file, "-tags=dst", "-o", binary, "./ingest")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the simulation: %w\n%s", err, out)
	}
	return binary, nil
}

// A simulation is the binary, and what became of the seeds.
type simulation struct {
	dir, binary string

	mu     sync.Mutex
	done   uint64
	failed []string
	traces map[string]uint64 // which seed left it
}

// command runs seeds in a process of one core, whose memory nobody collects while a
// seed runs.
func (s *simulation) command(ctx context.Context, first, seeds uint64, more ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.binary, "-test.run=^TestSimulation$", "-test.failfast")
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=off", "GODEBUG=asyncpreemptoff=1",
		fmt.Sprintf("WEIR_SEED=%d", first), fmt.Sprintf("WEIR_SEEDS=%d", seeds))
	cmd.Env = append(cmd.Env, more...)
	return cmd
}

// one runs a seed and shows what happened.
func (s *simulation) one(ctx context.Context, seed uint64) (int, error) {
	cmd := s.command(ctx, seed, 1, "WEIR_TRACE=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	var failed *exec.ExitError
	if err := cmd.Run(); errors.As(err, &failed) {
		return 1, nil
	} else if err != nil {
		return 0, err
	}
	return 0, nil
}

// replayRuns bounds in how many processes two have to leave the same traces. On a busy
// machine something of the wall's clock is left now and then, and a seed differs.
const replayRuns = 4

// replays sees that a block leaves the same traces again, and that no two seeds leave one.
func (s *simulation) replays(ctx context.Context, first uint64) error {
	var runs []map[uint64]string
	for len(runs) < replayRuns {
		out, err := s.command(ctx, first, block/2).CombinedOutput()
		if err != nil {
			return nil // the seeds are run again, and their failure said
		}
		traces, seen := make(map[uint64]string), make(map[string]uint64)
		for line := range strings.Lines(string(out)) {
			seed, trace, ok := parse(line)
			if other, twice := seen[trace]; ok && twice {
				return fmt.Errorf("seeds %d and %d leave the same trace", seed, other)
			}
			if ok {
				traces[seed], seen[trace] = trace, seed
			}
		}
		for _, before := range runs {
			if maps.Equal(before, traces) {
				fmt.Printf("%d seeds leave %d traces, the same in two of %d processes\n", len(traces), len(seen), len(runs)+1)
				return nil
			}
		}
		runs = append(runs, traces)
	}
	return fmt.Errorf("no two of %d processes leave the same traces of seeds %d to %d: what fails would not fail again", replayRuns, first, first+block/2-1)
}

// parse reads what the test says of a seed that has passed.
func parse(line string) (seed uint64, trace string, ok bool) {
	n, _ := fmt.Sscanf(line, "seed %d trace %s", &seed, &trace)
	return seed, trace, n == 2
}

// all runs seeds, a process a core, and says what came of it.
func (s *simulation) all(ctx context.Context, first, end uint64) int {
	began, last := time.Now(), time.Now()
	blocks := make(chan uint64)
	var wg sync.WaitGroup
	for range runtime.NumCPU() {
		wg.Go(func() {
			for from := range blocks {
				s.block(ctx, from, min(end, from+block-(from-1)%block))
			}
		})
	}
	say := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		took := time.Since(began).Seconds()
		fmt.Printf("%d of %d seeds in %.0f s, %.1f a second, %d failed\n", s.done, end-first, took, float64(s.done)/took, len(s.failed))
	}
	for from := first; from < end && ctx.Err() == nil && !s.enough(); from += block - (from-1)%block {
		blocks <- from
		if time.Since(last) > 10*time.Second {
			say()
			last = time.Now()
		}
	}
	close(blocks)
	wg.Wait()
	say()
	for _, f := range s.failed {
		fmt.Println(f)
	}
	if len(s.failed) > 0 {
		return 1
	}
	return 0
}

func (s *simulation) enough() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.failed) >= failures
}

// block runs the seeds of a block, which end at the first that fails.
func (s *simulation) block(ctx context.Context, from, end uint64) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := s.command(ctx, from, end-from)
	var out bytes.Buffer
	cmd.Stderr = &out
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	at := from
	if err == nil {
		lines := bufio.NewScanner(pipe)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if seed, _, ok := parse(lines.Text()); ok {
				at = seed + 1
				s.mu.Lock()
				s.done++
				s.mu.Unlock()
				continue
			}
			fmt.Fprintln(&out, lines.Text())
		}
		err = cmd.Wait()
	}
	if err == nil || errors.Is(context.Cause(ctx), context.Canceled) {
		return
	}
	again := fmt.Sprintf("make dst WEIR_SEED=%d WEIR_SEEDS=1", at)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = append(s.failed, fmt.Sprintf("seed %d failed: %s", at, again))
	fmt.Printf("%s\nseed %d failed (%v); the same again: %s\n", out.Bytes(), at, err, again)
}
