//go:build linux

package cuda

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/scoring/cuda/driver"
	"github.com/weir-risk/weir/scoring/cuda/link"
	"github.com/weir-risk/weir/scoring/cuda/worker"
)

// The test program is its own worker, with a device that scores in Go from the packed
// image, and fails when it is told to.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "gpu-parent" {
		os.Exit(parent())
	}
	if len(os.Args) > 1 && os.Args[1] == "gpu-worker" {
		library, ok := os.LookupEnv("WEIR_LIBCUDA")
		if ok {
			os.Exit(worker.Main(library))
		}
		os.Exit(worker.Run(openFake))
	}
	os.Exit(m.Run())
}

// A control is memory that a test shares with its workers, to say what fails and when.
// The driver in fakedriver reads the same.
type control struct {
	launched atomic.Int64  // batches, of all workers
	at       atomic.Int64  // the batch at which fault strikes, once; 0 is none
	fault    atomic.Uint32 // one of those below
	absent   atomic.Uint32 // so many workers find no device
	slow     atomic.Uint32 // microseconds that a batch takes more
	wrong    atomic.Uint32 // 1: the first score of a batch has a wrong bit; 2: each is wrong by a quarter or more of itself
	struck   atomic.Int64
	_        [4096 - 48]byte
}

// What can strike.
const (
	strikeLaunch   = iota + 1 // the launch is refused
	strikeSticky              // an illegal address: every call fails from now on
	strikeHang                // the batch never ends
	strikeCrash               // the process dies
	strikeMemory              // the launch finds no memory
	strikeWrong               // wrong bits from now on, in this process
	strikeLost                // the device is gone, for this process and the next three
	strikeScribble            // all rows and scores in the page are overwritten, and every call fails from then on
)

// onDriver says that the tests run on a driver, be it a fake one.
var onDriver = os.Getenv("WEIR_LIBCUDA") != ""

const controlVariable = "CUDA_FAKE_CONTROL"

func mapControl(name string) (*control, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := syscall.Mmap(int(f.Fd()), 0, int(unsafe.Sizeof(control{})), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return (*control)(unsafe.Pointer(&b[0])), nil
}

// strike arms a fault for the n-th batch from now.
func (c *control) strike(fault uint32, n int64) {
	c.fault.Store(fault)
	c.at.Store(c.launched.Load() + n)
}

// A fake is a device of Go. It has no threads of its own: a batch is scored when it is
// asked for.
type fake struct {
	page    *link.Page
	control *control
	images  [link.Slots]atomic.Pointer[image]
	flying  [link.Lanes]func()
	sticky  error
	wrong   bool
}

func openFake(p *link.Page) (worker.Device, error) {
	name, ok := os.LookupEnv(controlVariable)
	if !ok {
		return nil, fmt.Errorf("%w: %s is not set", driver.ErrNoLibrary, controlVariable)
	}
	c, err := mapControl(name)
	if err != nil {
		return nil, err
	}
	if n := c.absent.Load(); n > 0 {
		c.absent.Store(n - 1)
		return nil, &driver.Error{Call: "cuInit", Code: driver.NoDevice}
	}
	return &fake{page: p, control: c}, nil
}

func (f *fake) Attach() error { return nil }

func (f *fake) Info() link.Info {
	i := link.Info{Driver: 12000, Major: 9, Pinned: 1, Memory: 1 << 30, Count: 1}
	copy(i.Name[:], "device of Go")
	return i
}

func (f *fake) Upload(slot int, data []byte, columns int) error {
	im, err := newImage(append([]byte(nil), data...))
	if err == nil && im.model.Columns != columns {
		err = fmt.Errorf("an image of %d columns, said to have %d", im.model.Columns, columns)
	}
	f.images[slot].Store(im)
	return err
}

var errHung = errors.New("hung")

func (f *fake) Launch(lane, slot, rows int, seq uint64) error {
	if f.sticky != nil {
		return f.sticky
	}
	hung := false
	if n := f.control.launched.Add(1); n == f.control.at.Load() {
		f.control.struck.Store(n)
		switch f.control.fault.Load() {
		case strikeLaunch:
			return &driver.Error{Call: "cuGraphLaunch", Code: driver.LaunchFault}
		case strikeMemory:
			return &driver.Error{Call: "cuGraphLaunch", Code: driver.OutOfMemory}
		case strikeSticky:
			f.sticky = &driver.Error{Call: "cuStreamQuery", Code: 700}
		case strikeLost:
			f.control.absent.Store(3)
			f.sticky = &driver.Error{Call: "cuStreamQuery", Code: 999}
		case strikeScribble:
			for lane := range link.Lanes {
				for i := range f.page.Rows(lane) {
					f.page.Rows(lane)[i] = 1e30
				}
				for i := range f.page.Scores(lane) {
					f.page.Scores(lane)[i] = .5
				}
			}
			f.sticky = &driver.Error{Call: "cuStreamQuery", Code: 700}
		case strikeHang:
			hung = true
		case strikeCrash:
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		case strikeWrong:
			f.wrong = true
		}
	}
	im := f.images[slot].Load()
	f.flying[lane] = func() {
		out := f.page.Scores(lane)
		if err := im.scorer.Score(scoring.Matrix{Data: f.page.Rows(lane), Rows: rows, Cols: im.model.Columns}, out); err != nil {
			panic(err)
		}
		switch how := f.control.wrong.Load(); {
		case how > 1:
			for i := range rows {
				out[i] = math.Float32frombits(math.Float32bits(out[i]) ^ 1<<22)
			}
		case f.wrong || how == 1:
			out[0] = math.Float32frombits(math.Float32bits(out[0]) ^ 1)
		}
	}
	if hung {
		f.flying[lane] = nil
	}
	return nil
}

func (f *fake) Done(lane int, ask bool) (bool, error) {
	if f.sticky != nil {
		return false, f.sticky
	}
	if f.flying[lane] == nil {
		return false, nil
	}
	f.flying[lane]()
	f.flying[lane] = nil
	return true, nil
}

// An image is what kernels.Pack wrote, read back as its comment says it.
type image struct {
	words  []uint32
	model  *scoring.Model
	scorer *cpu.Scorer
}

func newImage(data []byte) (*image, error) {
	im := &image{words: make([]uint32, len(data)/4)}
	for i := range im.words {
		im.words[i] = binary.LittleEndian.Uint32(data[4*i:])
	}
	w := im.words
	if len(w) < 64 || w[0] != 0x72696577 || w[1] != 1 || int(w[2]) != len(data) {
		return nil, errors.New("this is no image of a model")
	}
	m := &scoring.Model{Columns: int(w[3]), Width: int(w[5]), Members: int(w[6])}
	im.model = m
	for i := range int(w[4]) {
		m.Inputs = append(m.Inputs, im.input(w[int(w[10]/4)+12*i:]))
	}
	for l := range int(w[7]) {
		m.Hidden = append(m.Hidden, im.layer(l))
	}
	m.Out, m.Bias = im.floats(w[13], 0, m.Members*int(w[15])), im.floats(w[14], 0, m.Members)
	if m.LastWidth() == 0 { // the encoding is one sum, padded
		m.Width = 1
		for i := range m.Inputs {
			m.Inputs[i].Slope, m.Inputs[i].Prefix = every(m.Inputs[i].Slope, int(w[5])), every(m.Inputs[i].Prefix, int(w[5]))
		}
	}
	var err error
	im.scorer, err = cpu.New(m)
	return im, err
}

// floats are n numbers from place i of the part that begins at an offset in bytes.
func (im *image) floats(offset uint32, i, n int) []float32 {
	var list []float32
	for _, bits := range im.words[int(offset/4)+i : int(offset/4)+i+n] {
		list = append(list, math.Float32frombits(bits))
	}
	return list
}

// every is the first number of each row.
func every(list []float32, width int) (first []float32) {
	for i := 0; i < len(list); i += width {
		first = append(first, list[i])
	}
	return first
}

func (im *image) input(words []uint32) scoring.Input {
	f := func(word int) float32 { return math.Float32frombits(words[word]) }
	in := scoring.Input{Column: int(words[0]), Log: words[1] == 1, Mean: f(7), Inv: f(8), Lo: f(9), Hi: f(10)}
	segments, width := int(words[3]), im.model.Width
	rows := segments + 1
	if words[5] == 0 {
		rows, in.Missing = 1, f(6)
	} else {
		in.Edges = im.floats(im.words[11], int(words[2]), segments)
	}
	for r := range rows {
		row := im.floats(im.words[12], (int(words[4])+r)*2*width, 2*width)
		if in.Slope = append(in.Slope, row[width:]...); words[5] != 0 {
			in.Prefix = append(in.Prefix, row[:width]...)
		}
	}
	return in
}

func (im *image) layer(l int) scoring.Layer {
	w := im.words
	h := scoring.Layer{Width: int(w[16+4*l])}
	if l > 0 {
		before := int(w[12+4*l])
		h.W = im.floats(w[17+4*l], 0, before*h.Width)
		for k := range im.model.Members {
			h.R = append(h.R, im.floats(w[14+4*l], (3*k+2)*before, before)...)
		}
	}
	for k := range im.model.Members {
		h.S = append(h.S, im.floats(w[18+4*l], 3*k*h.Width, h.Width)...)
		h.B = append(h.B, im.floats(w[18+4*l], (3*k+1)*h.Width, h.Width)...)
	}
	return h
}
