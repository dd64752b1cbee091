package worker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/weir-risk/weir/scoring/cuda/driver"
	"github.com/weir-risk/weir/scoring/cuda/link"
)

// Device is what batches are scored by: an engine, or what stands in for one in a
// test. Upload is called by one thread, Launch and Done by another.
type Device interface {
	// Attach makes the device usable by the calling thread.
	Attach() error
	// Info says what the device is.
	Info() link.Info
	// Upload puts an image into a slot that no batch names.
	Upload(slot int, image []byte, columns int) error
	// Launch starts the batch that a lane holds.
	Launch(lane, slot, rows int, seq uint64) error
	// Done reports whether the lane's batch has ended, its scores being in the page. It
	// is called over and over; ask says that the driver should be asked for errors too.
	Done(lane int, ask bool) (bool, error)
}

// Main is the process: it returns its exit code. The page is the file of descriptor 3;
// library is the path of the driver's, empty for libcuda.so.1.
func Main(library string) int {
	return Run(func(p *link.Page) (Device, error) { return open(p, library) })
}

// Run is Main with the device that open opens.
func Run(open func(*link.Page) (Device, error)) int {
	file := os.NewFile(3, "page")
	p, err := link.Open(file)
	if err != nil {
		fmt.Fprintln(os.Stderr, "page:", err)
		return 1
	}
	file.Close()
	// It never ends but with the process, which is what it is for.
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	runtime.LockOSThread()
	d, err := open(p)
	if err != nil {
		p.Fault.Put(Class(err), driver.Code(err), err.Error())
		p.State.Set(link.Failed)
		return 1
	}
	p.Info = d.Info()
	p.State.Set(link.Ready)
	go load(p, d) // ends with the process
	if err := serve(p, d); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return 1
}

// spin is how long a word is looked at before sleeping on it: a wake-up costs more than
// a small batch does, but a core that spins is a core less where there are few.
func spin() time.Duration {
	if runtime.GOMAXPROCS(0) < 4 {
		return 0
	}
	return 50 * time.Microsecond
}

// load puts models into their slots.
func load(p *link.Page, d Device) {
	runtime.LockOSThread()
	err := d.Attach()
	for seen := uint32(0); ; {
		now := p.Upload.Wait(seen, 0, time.Second)
		if now == seen {
			continue
		}
		seen = now
		m := &p.Model
		switch {
		case err != nil:
		case m.Slot >= link.Slots || m.Bytes > link.ImageBytes || m.Columns == 0:
			err = fmt.Errorf("%w: a model of %d bytes for slot %d", errRequest, m.Bytes, m.Slot)
		default:
			err = d.Upload(int(m.Slot), p.Image()[:m.Bytes], int(m.Columns))
		}
		put(&m.Fault, err)
		p.Uploaded.Set(now)
	}
}

// errRequest says that the scorer asked for something that cannot be.
var errRequest = errors.New("request does not make sense")

func put(f *link.Fault, err error) {
	if err == nil {
		f.Clear()
		return
	}
	f.Put(Class(err), driver.Code(err), err.Error())
}

// A batch is looked at without a pause for a while, then every so often, since the
// device is slow or hung.
const (
	lookFor   = 200 * time.Microsecond
	lookEvery = 50 * time.Microsecond
	askEvery  = 1 << 12 // looks without a pause to one question to the driver
)

// serve launches batches and answers them, until one fails.
func serve(p *link.Page, d Device) error {
	var seen, busy [link.Lanes]uint32 // busy: the number of the batch in flight
	spin, inFlight, looks, ask := spin(), 0, 0, false
	var since time.Time // the last launch
	for {
		bell := p.Bell.Load()
		for n := range p.Lane {
			l := &p.Lane[n]
			if now := l.Request.Load(); now != seen[n] && busy[n] == 0 {
				seen[n], busy[n] = now, now
				inFlight, looks, since = inFlight+1, 0, time.Now()
				if err := d.Launch(n, int(l.Slot), int(l.Rows), uint64(now)); err != nil {
					return fail(p, busy, err)
				}
			}
			if busy[n] == 0 {
				continue
			}
			done, err := d.Done(n, ask)
			if err != nil {
				return fail(p, busy, err)
			}
			if done {
				l.Fault.Clear()
				l.Answer.Set(busy[n])
				busy[n], inFlight = 0, inFlight-1
			}
		}
		if inFlight == 0 {
			p.Bell.Wait(bell, spin, time.Second)
			continue
		}
		looks++
		ask = looks%askEvery == 0
		if looks&63 == 0 && time.Since(since) > min(lookFor, 4*spin) {
			looks-- // so that the next look is followed by a pause too
			ask = true
			p.Bell.Wait(bell, 0, lookEvery)
		}
	}
}

// fail answers every batch that is in flight with the fault of one.
func fail(p *link.Page, busy [link.Lanes]uint32, err error) error {
	for n, seq := range busy {
		if seq != 0 {
			put(&p.Lane[n].Fault, err)
			p.Lane[n].Answer.Set(seq)
		}
	}
	return err
}

// Class returns the class of an error of this package or of the driver's.
func Class(err error) link.Class {
	code := driver.Code(err)
	switch {
	case err == nil:
		return link.None
	case errors.Is(err, driver.ErrNoLibrary), errors.Is(err, driver.ErrUnsupported), code == driver.StubLibrary:
		return link.NoLibrary
	case errors.Is(err, driver.ErrNoSymbol):
		return link.NoSymbol
	case errors.Is(err, errOldDriver), code == driver.OldDriver, code == driver.NewPTX:
		return link.OldDriver
	case errors.Is(err, errOldDevice), code == driver.NoImage:
		return link.TooOld
	case errors.Is(err, errNoDevice), code == driver.NoDevice, code == driver.BadDevice, code == driver.Mismatch:
		return link.NoDevice
	case code == driver.OutOfMemory:
		return link.OutOfMemory
	case driver.Lost(err) && code != driver.LaunchFault:
		return link.Sticky
	case code == driver.LaunchFault, errors.Is(err, errUnanswered):
		return link.Launch
	}
	return link.Refused
}
