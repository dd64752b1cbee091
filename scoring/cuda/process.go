package cuda

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/weir-risk/weir/scoring/cuda/link"
)

// Fault is why a worker, or a batch on it, failed.
type Fault struct {
	Class link.Class
	Code  int // CUresult, 0 where no call of the driver said it
	Text  string
}

func (f *Fault) Error() string { return f.Text }

func faultf(class link.Class, format string, a ...any) *Fault {
	return &Fault{Class: class, Text: fmt.Sprintf(format, a...)}
}

func faultOf(f *link.Fault) *Fault { return &Fault{f.Class, int(f.Code), f.Text()} }

// A process is one life of the worker that holds the device. The supervisor starts and
// ends it; two goroutines end with the process: one waits for it, one reads what it says.
type process struct {
	page     *link.Page
	command  *exec.Cmd
	lifeline *os.File // the worker ends with it
	ended    chan struct{}
	said     sync.WaitGroup

	once   sync.Once
	failed chan struct{} // closed with fault
	fault  *Fault

	// The rest is the device's, under its lock.
	slots [link.Slots]*Scorer
	lanes [servingLanes]bool // taken
	users int                // who is in the page now
	over  bool               // nobody else may come in

	seq [link.Lanes]uint32 // of who holds the lane
}

// The last lane is the supervisor's, for golden rows; scorers share the others.
const (
	servingLanes = link.Lanes - 1
	goldenLane   = link.Lanes - 1
)

// fail ends the worker's service. The first fault is the one that counts.
func (w *process) fail(f *Fault) {
	w.once.Do(func() {
		w.fault = f
		close(w.failed)
	})
}

// errStopped says that the device is being closed.
var errStopped = errors.New("the device is being closed")

// spawn starts a worker for a device, and does not wait for it.
func spawn(cfg *Config) (*process, error) {
	page, file, err := link.New(cfg.Ordinal, cfg.Half)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	w := &process{page: page, ended: make(chan struct{}), failed: make(chan struct{})}
	if err := w.start(cfg.Command, environment(cfg.Env), file, cfg.Log); err != nil {
		page.Close()
		return nil, fmt.Errorf("start the GPU worker: %w", err)
	}
	return w, nil
}

// start runs the process.
func (w *process) start(command, env []string, file *os.File, log *slog.Logger) error {
	stdin, lifeline, err := os.Pipe()
	if err != nil {
		return err
	}
	defer stdin.Close()
	said, stderr, err := os.Pipe()
	if err != nil {
		lifeline.Close()
		return err
	}
	defer stderr.Close()
	c := exec.Command(command[0], command[1:]...)
	c.Stdin, c.Stderr, c.ExtraFiles, c.Env, c.Dir, c.SysProcAttr = stdin, stderr, []*os.File{file}, env, "/", attributes()
	if err := c.Start(); err != nil {
		lifeline.Close()
		said.Close()
		return err
	}
	w.command, w.lifeline = c, lifeline
	w.said.Go(func() { listen(said, log) })
	go w.wait()
	return nil
}

// wait waits for the end of the process; the words are the worker's until then. What it
// ended with is what it answered last, or that it died.
func (w *process) wait() {
	why := "it ended"
	if err := w.command.Wait(); err != nil {
		why = err.Error()
	}
	for n := range w.page.Lane {
		if f := &w.page.Lane[n].Fault; f.Class != link.None {
			w.fail(faultOf(f))
		}
	}
	w.fail(faultf(link.Died, "the GPU worker died: %s", why))
	if w.page.State.Load() == link.Starting {
		w.page.State.Set(link.Failed)
	}
	w.page.Uploaded.Set(link.Gone)
	for n := range w.page.Lane {
		w.page.Lane[n].Answer.Set(link.Gone)
	}
	close(w.ended)
}

// linesMax bounds what one worker can put into the log: a crash says hundreds of lines.
const linesMax = 20

// listen logs what the worker says, until it has ended.
func listen(said *os.File, log *slog.Logger) {
	defer said.Close()
	lines, n, middle := bufio.NewReaderSize(said, 512), 0, false
	for {
		line, more, err := lines.ReadLine()
		if err != nil {
			break
		}
		if text := strings.TrimSpace(string(line)); text != "" && !middle {
			if n++; n <= linesMax {
				log.Warn("the GPU worker says", "line", text)
			}
		}
		middle = more // what a line holds beyond the buffer is left out
	}
	if n > linesMax {
		log.Warn("the GPU worker said more", "lines", n-linesMax)
	}
}

// end kills the process and waits until it is gone.
func (w *process) end() {
	w.command.Process.Kill()
	<-w.ended
	w.lifeline.Close()
	w.said.Wait()
}

// ready waits until the worker is ready.
func (w *process) ready(within time.Duration, stop <-chan struct{}) error {
	if err := await(&w.page.State, link.Starting, within, stop, w.failed); err != nil {
		return err
	}
	if w.page.State.Load() == link.Ready {
		return nil
	}
	if w.page.Fault.Class != link.None {
		return faultOf(&w.page.Fault)
	}
	<-w.ended // it ended without a word
	return w.fault
}

// stopEvery is how often who waits for a word looks whether it should go on.
const stopEvery = 20 * time.Millisecond

// await waits until a word is no longer old.
func await(word *link.Word, old uint32, within time.Duration, stop, failed <-chan struct{}) error {
	for waited := time.Duration(0); ; waited += stopEvery {
		if word.Wait(old, 0, stopEvery) != old {
			return nil
		}
		select {
		case <-stop:
			return errStopped
		default:
		}
		if waited >= within {
			return faultf(link.Deadline, "the GPU worker did not answer within %v", within)
		}
	}
}

// upload puts a model into a slot.
func (w *process) upload(slot int, image []byte, columns int, within time.Duration, stop <-chan struct{}) error {
	if len(image) > link.ImageBytes {
		return fmt.Errorf("its image of %d MiB has no room in a slot of %d", len(image)>>20, link.ImageBytes>>20)
	}
	copy(w.page.Image(), image)
	m := &w.page.Model
	m.Slot, m.Columns, m.Bytes = uint32(slot), uint32(columns), uint64(len(image))
	before := w.page.Uploaded.Load()
	w.page.Upload.Add()
	if err := await(&w.page.Uploaded, before, within, stop, w.failed); err != nil {
		return err
	}
	if w.page.Uploaded.Load() == link.Gone {
		<-w.ended
		return w.fault
	}
	if m.Fault.Class != link.None {
		return faultOf(&m.Fault)
	}
	return nil
}

// submit sends the batch that lies in a lane, and returns what the lane's answer is
// until it comes.
func (w *process) submit(lane, slot, rows int) (before uint32) {
	l := &w.page.Lane[lane]
	before = w.seq[lane]
	if w.seq[lane]++; w.seq[lane] == link.Gone {
		w.seq[lane] = 1
	}
	l.Slot, l.Rows = uint32(slot), uint32(rows)
	l.Request.Store(w.seq[lane])
	w.page.Bell.Add()
	return before
}

// collect waits for the lane's batch.
func (w *process) collect(lane int, before uint32, spin, limit time.Duration) *Fault {
	l := &w.page.Lane[lane]
	switch l.Answer.Wait(before, spin, limit) {
	case w.seq[lane]:
		if l.Fault.Class != link.None {
			return faultOf(&l.Fault)
		}
		return nil
	case link.Gone:
		<-w.failed // it says why
		return w.fault
	}
	return faultf(link.Deadline, "the GPU did not answer in time")
}
