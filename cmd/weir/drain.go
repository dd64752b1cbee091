package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/weir-risk/weir/ingest"
)

var drainCommand = &command{
	name: "drain", summary: "take one scorer out cleanly, and wait until it is out", json: true,
	about: `It finds the weir score, or weir up, that runs with the data folder on this machine, asks
it to stop (SIGTERM), and waits until it has: what it decided is acknowledged, its shard is
handed over, a snapshot is written, and the process is gone. Then it says how long that
took, and with which snapshot the next start begins.

It exits with 1 where nothing runs with the folder and where the scorer still runs after
--timeout: it goes on stopping then, and another drain waits for it again. Who may send that
process signals may drain it. A scorer in a container is drained in it; Kubernetes and
Compose do by SIGTERM what drain does, and wait as long as they are told.`,
	examples: []string{
		"weir drain",
		"weir drain --data /var/lib/weir --timeout 2m",
		"weir drain --data /var/lib/weir && apt-get install weir && systemctl start weir-score",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		d := &drain{}
		fs.StringVar(&d.data, "data", "weir-data", "`FOLDER` that the scorer was started with")
		fs.DurationVar(&d.timeout, "timeout", 30*time.Second, "`TIME` to wait for its end")
		return d.run
	},
}

// scorerLock is the file in a data folder that the scorer which runs with it holds.
const scorerLock = "scorer.lock"

// errHeld is of a file that another process holds.
var errHeld = errors.New("another scorer runs with this folder")

// holdFolder takes the data folder for the scorer of this process: two would take one
// another's snapshots for their own. Where the file system knows no locks the scorer runs
// without, and weir drain does not find it.
func (s *service) holdFolder() (err error) {
	name := filepath.Join(s.flags.data, scorerLock)
	if s.held, err = hold(name); errors.Is(err, errHeld) {
		return fmt.Errorf("data folder %s: %w; a standby has a folder of its own: --data", s.flags.data, err)
	}
	if err != nil {
		s.log.Warn("the data folder cannot be locked: weir drain does not find this scorer", "file", name, "cause", err)
	}
	return nil
}

// drain is one run of the command.
type drain struct {
	data    string
	timeout time.Duration
}

// drained is the command's --json line.
type drained struct {
	PID      int     `json:"pid"`
	Seconds  float64 `json:"seconds"`
	Snapshot string  `json:"snapshot,omitempty"` // the newest there is
	Offset   int64   `json:"ledger_offset"`      // it is at
	Written  bool    `json:"written"`            // since it was asked to stop
}

func (d *drain) run(ctx context.Context, e *env, _ []string) error {
	if d.timeout <= 0 {
		return usagef("--timeout %v: longer than 0", d.timeout)
	}
	if _, err := os.Stat(d.data); err != nil {
		return fmt.Errorf("the data folder: %w; --data names it", err)
	}
	name := filepath.Join(d.data, scorerLock)
	pid, err := holder(name)
	switch {
	case err != nil:
		return err
	case pid == 0:
		return fmt.Errorf("no scorer runs with %s: nobody holds %s", d.data, name)
	case pid < 0:
		return fmt.Errorf("the scorer that runs with %s is on another machine or in another container: drain it there", d.data)
	}
	began := time.Now()
	if err := terminate(pid); err != nil && !gone(pid) {
		return fmt.Errorf("ask process %d to stop: %w", pid, err)
	}
	if err := d.wait(ctx, name, pid, began); err != nil {
		return err
	}
	r := drained{PID: pid, Seconds: time.Since(began).Seconds()}
	if err := r.look(d.data, began); err != nil {
		return err
	}
	if !e.json {
		e.printf("process %d has stopped after %.1f s\n", pid, r.Seconds)
		switch {
		case r.Snapshot == "":
			e.printf("it left no snapshot: the next start folds the ledger from its beginning\n")
		case r.Written:
			e.printf("it wrote a snapshot at ledger offset %s, from which the next start goes on\n", thousands(r.Offset))
		default:
			e.printf("it wrote no snapshot: the next start goes on from the one at ledger offset %s\n", thousands(r.Offset))
		}
	}
	return e.report(r)
}

// goneMax is how long a process is waited for that holds its folder no more: the broker of
// a weir up ends last, and a process whose parent does not look for it never does.
const goneMax = 5 * time.Second

// wait waits until a process holds its folder no more, and is gone.
func (d *drain) wait(ctx context.Context, name string, pid int, began time.Time) error {
	var free time.Time
	for !gone(pid) {
		holds, err := holder(name)
		switch {
		case err != nil:
			return err
		case holds != pid && free.IsZero():
			free = time.Now()
		case holds != pid && time.Since(free) > goneMax:
			return nil
		case holds == pid && time.Since(began) > d.timeout:
			return fmt.Errorf("process %d still runs %v after it was asked to stop, and goes on stopping; its log says what it waits for", pid, d.timeout)
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// look finds the snapshot that the next start begins with. Its time is that of a file
// system, which may count in seconds.
func (r *drained) look(data string, began time.Time) error {
	names, err := ingest.Snapshots(filepath.Join(data, "snapshots"))
	if err != nil || len(names) == 0 {
		return err
	}
	info, err := os.Stat(names[0])
	if err != nil {
		return fmt.Errorf("the newest snapshot: %w", err)
	}
	r.Snapshot, r.Written = names[0], !info.ModTime().Before(began.Truncate(time.Second))
	digits, _, _ := strings.Cut(filepath.Base(names[0]), ".")
	r.Offset, err = strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return fmt.Errorf("the newest snapshot: %w", err)
	}
	return nil
}
