package link

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/weir-risk/weir/scoring/cuda/kernels"
)

// ErrUnsupported says that this system has no such memory.
var ErrUnsupported = errors.New("shared pages and futexes are there on Linux only")

// ErrVersion says that the other process speaks another protocol.
var ErrVersion = errors.New("the page is of another version")

// Sizes of a page.
const (
	Lanes      = 3                 // batches in flight
	Slots      = 3                 // models on the device
	RowsMax    = 4096              // of one batch
	BatchBytes = 4<<20 + pageBytes // header and rows
	ImageBytes = 32 << 20          // the largest model

	// A lane has its scores behind its batch, and its done word behind these.
	ScoresOffset = BatchBytes
	DoneOffset   = ScoresOffset + 4*RowsMax
	LaneBytes    = DoneOffset + pageBytes

	// Size is that of a whole page.
	Size = int64(controlBytes + Lanes*LaneBytes + ImageBytes)

	pageBytes    = 4096
	controlBytes = 2 * pageBytes
	version      = 0x77656972_0002 // "weir", and the number of the layout
)

// RowsOf is how many rows of so many columns a lane takes.
func RowsOf(columns int) int {
	return min(RowsMax, (BatchBytes-kernels.HeaderBytes)/(4*columns))
}

// State is how far a worker is.
type State = uint32

// The states of a worker.
const (
	Starting State = iota
	Ready
	Failed
)

// Gone is what the scorer writes into the words of a worker that has ended, for those
// who wait for it; no batch and no model has that number.
const Gone = 1<<32 - 1

// A Word is a futex in a cache line of its own.
type Word struct {
	v atomic.Uint32
	_ [60]byte
}

// Load reads the word.
func (w *Word) Load() uint32 { return w.v.Load() }

// Store writes the word; nobody sleeps on it.
func (w *Word) Store(v uint32) { w.v.Store(v) }

// Set writes the word and wakes whoever sleeps on it.
func (w *Word) Set(v uint32) {
	w.v.Store(v)
	wake(&w.v)
}

// Add counts the word on and wakes whoever sleeps on it.
func (w *Word) Add() {
	w.v.Add(1)
	wake(&w.v)
}

// Control is the part of a page that the two sides talk through.
type Control struct {
	version uint64
	Device  uint32 // the ordinal that the worker opens
	Half    uint32 // 1 where models may come for the float16 kernel too

	State    Word
	Bell     Word
	Upload   Word
	Uploaded Word

	Info  Info
	Fault Fault // of the start, with State
	Model Model // with Upload, and its fault with Uploaded
	Lane  [Lanes]Lane
}

// Info is what the worker found; it is there with Ready.
type Info struct {
	Name         [128]byte
	Driver       uint32 // cuDriverGetVersion: 12020 is CUDA 12.2
	Major, Minor uint32 // compute capability
	Processors   uint32
	Count        uint32 // of the devices that the driver sees
	Memory, Free uint64 // bytes, Free before the worker took its share
	Pinned       uint32 // 1 where the device reads this page itself
	Binary       uint32 // 1 where the kernels came ready made, 0 where the driver compiled them
}

// DeviceName is the name as text.
func (i *Info) DeviceName() string { return text(i.Name[:]) }

// Model is one to be put into a slot: the fields are the scorer's, the fault is the
// worker's.
type Model struct {
	Slot, Columns uint32
	Bytes         uint64
	Fault         Fault
}

// Lane is the words and fields of one lane.
type Lane struct {
	Request, Answer Word
	Slot, Rows      uint32
	Fault           Fault
}

// Fault is an error on its way to the other process; class None is none.
type Fault struct {
	Class Class
	Code  int32 // CUresult, 0 where no call of the driver said it
	text  [256]byte
}

// Put writes a fault.
func (f *Fault) Put(class Class, code int, why string) {
	f.Class, f.Code = class, int32(code)
	clear(f.text[:])
	copy(f.text[:len(f.text)-1], why)
}

// Clear takes a fault away.
func (f *Fault) Clear() { f.Class = None }

// Text says why.
func (f *Fault) Text() string { return text(f.text[:]) }

func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// A Page is the shared memory as one side sees it.
type Page struct {
	*Control
	memory []byte
}

// Pinnable is all that the device reads and writes: the lanes, LaneBytes each.
func (p *Page) Pinnable() []byte {
	return p.memory[controlBytes : controlBytes+Lanes*LaneBytes]
}

// Rows is the room for the rows of a lane's batch.
func (p *Page) Rows(lane int) []float32 {
	at := lane*LaneBytes + kernels.HeaderBytes
	return floats(p.Pinnable()[at : at+BatchBytes-kernels.HeaderBytes])
}

// Scores is where the scores of a lane's batch come.
func (p *Page) Scores(lane int) []float32 {
	at := lane*LaneBytes + ScoresOffset
	return floats(p.Pinnable()[at : at+4*RowsMax])
}

func floats(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), len(b)/4)
}

// Image is the room for a model's image.
func (p *Page) Image() []byte { return p.memory[Size-ImageBytes:] }

// over lays the control part over mapped memory.
func over(memory []byte) *Page {
	return &Page{Control: (*Control)(unsafe.Pointer(&memory[0])), memory: memory}
}

// check compares the versions.
func (p *Page) check() error {
	if p.version != version {
		return fmt.Errorf("%w: %x, not %x", ErrVersion, p.version, version)
	}
	return nil
}

func init() {
	if unsafe.Sizeof(Control{}) > controlBytes {
		panic("link: the control part has outgrown its pages")
	}
}
