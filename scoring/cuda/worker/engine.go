package worker

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/weir-risk/weir/scoring/cuda/driver"
	"github.com/weir-risk/weir/scoring/cuda/kernels"
	"github.com/weir-risk/weir/scoring/cuda/link"
)

// Why a driver or a device is not used, and what a launch may end in.
var (
	errOldDriver  = errors.New("the NVIDIA driver is too old: r525 or later is needed")
	errOldDevice  = errors.New("the GPU is too old: compute capability 8.0 or later is needed")
	errNoDevice   = errors.New("there is no such GPU")
	errUnanswered = errors.New("the kernel ended without an answer")
)

// The least that will do.
const (
	driverMin     = 12000 // CUDA 12.0, which r525 brought
	capabilityMin = 8
)

// tiers are the sizes that a batch is launched as: the smallest that holds its rows.
var tiers = [...]int{64, 256, 1024, link.RowsMax}

// Arguments of cuda.h.
const (
	attributeProcessors = 16
	attributeMajor      = 75
	attributeMinor      = 76
	streamNonBlocking   = 1
	captureRelaxed      = 2
	registerPortable    = 1
	registerMapped      = 2
	hostAllocMapped     = 2
)

// An engine is one device with the kernels loaded: slots for models, and for each
// lane a stream and a graph for each tier. It implements Device.
type engine struct {
	lib   *driver.Library
	page  *link.Page
	found link.Info

	context  uintptr
	kernels  [len(codes)]uintptr // 0 is not loaded
	loader   uintptr             // the stream of uploads
	lanes    [link.Lanes]lane
	slots    [link.Slots]slot
	pinned   []byte // what the device reads and writes: the page's lanes, or a copy
	pinnedAt uint64 // its device address
	out      vars
}

// The kernels, by the arithmetic of the models that they take.
const (
	float32Code = iota
	float16Code
)

var codes = [...]struct {
	ptx, cubin func() []byte
	entry      string
	threads    uintptr
}{
	float32Code: {kernels.PTX, kernels.Cubin, kernels.Entry, kernels.Threads},
	float16Code: {kernels.PTXF16, kernels.CubinF16, kernels.EntryF16, kernels.ThreadsF16},
}

// lane is one batch at a time.
type lane struct {
	stream uintptr
	exec   [len(codes)][len(tiers)]uintptr
	launch [len(codes)][len(tiers)][]uintptr // arguments, made once
	query  []uintptr
	batch  []byte // header and rows, as the device sees them
	word   *atomic.Uint64
	seq    uint64
	rows   int
}

// slot is room for a model. The loader writes columns and code and the serving thread
// reads them, with the scorer between the two.
type slot struct {
	at      uint64
	columns atomic.Uint32
	code    atomic.Uint32 // of codes
}

// vars is what the driver writes to and reads from by address. It lies in the
// engine, on the heap, where nothing moves.
type vars struct {
	number   int32
	count    int32
	handle   uintptr
	address  uint64
	free     uint64
	total    uint64
	name     [len(link.Info{}.Name)]byte
	entry    []byte
	image    []byte
	args     [4]uint64
	pointers [4]uintptr
}

func ptr[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

// open opens the page's device.
func open(p *link.Page, library string) (Device, error) {
	lib, err := driver.Load(library)
	if err != nil {
		return nil, err
	}
	e := &engine{lib: lib, page: p}
	for _, step := range []func() error{e.find, e.modules, e.pin, e.memory, e.graphs} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// Info says what was found.
func (e *engine) Info() link.Info { return e.found }

// Attach makes the device's context the thread's.
func (e *engine) Attach() error { return e.lib.CtxSetCurrent.Call(e.context) }

// find looks for the device and makes its context this thread's.
func (e *engine) find() error {
	l, o := e.lib, &e.out
	if err := l.Init.Call(0); err != nil {
		return err
	}
	if err := l.DriverGetVersion.Call(ptr(&o.number)); err != nil {
		return err
	}
	e.found.Driver = uint32(o.number)
	if o.number < driverMin {
		return fmt.Errorf("%w; this one is of CUDA %d.%d", errOldDriver, o.number/1000, o.number%1000/10)
	}
	if err := l.DeviceGetCount.Call(ptr(&o.count)); err != nil {
		return err
	}
	e.found.Count = uint32(o.count)
	ordinal := e.page.Control.Device
	if int64(ordinal) >= int64(o.count) {
		return fmt.Errorf("%w: number %d of %d", errNoDevice, ordinal, o.count)
	}
	if err := l.DeviceGet.Call(ptr(&o.number), uintptr(ordinal)); err != nil {
		return err
	}
	device := uintptr(o.number)
	if err := l.DeviceGetName.Call(ptr(&o.name[0]), uintptr(len(o.name)), device); err != nil {
		return err
	}
	e.found.Name = o.name
	for _, a := range []struct {
		attribute uintptr
		to        *uint32
	}{{attributeProcessors, &e.found.Processors}, {attributeMajor, &e.found.Major}, {attributeMinor, &e.found.Minor}} {
		if err := l.DeviceGetAttribute.Call(ptr(&o.number), a.attribute, device); err != nil {
			return err
		}
		*a.to = uint32(o.number)
	}
	if e.found.Major < capabilityMin {
		return fmt.Errorf("%w; %s has %d.%d", errOldDevice, e.found.DeviceName(), e.found.Major, e.found.Minor)
	}
	if err := l.DevicePrimaryCtxRetain.Call(ptr(&o.handle), device); err != nil {
		return err
	}
	e.context = o.handle
	if err := e.Attach(); err != nil {
		return err
	}
	if err := l.MemGetInfo.Call(ptr(&o.free), ptr(&o.total)); err != nil {
		return err
	}
	e.found.Free, e.found.Memory = o.free, o.total
	return nil
}

// modules loads the kernels: the ready made ones of compute capability 9.0, or what
// the driver makes of the PTX; that of float16 where it was asked for.
func (e *engine) modules() error {
	l, o := e.lib, &e.out
	for i, c := range codes {
		if i == float16Code && e.page.Control.Half == 0 {
			continue
		}
		if e.found.Major == 9 {
			o.image, e.found.Binary = c.cubin(), 1
		} else {
			o.image = append(bytes.Clone(c.ptx()), 0)
		}
		if err := l.ModuleLoadData.Call(ptr(&o.handle), ptr(&o.image[0])); err != nil {
			return err
		}
		o.entry, o.image = append([]byte(c.entry), 0), nil
		if err := l.ModuleGetFunction.Call(ptr(&o.handle), o.handle, ptr(&o.entry[0])); err != nil {
			return err
		}
		e.kernels[i] = o.handle
	}
	return nil
}

// pin has the device read and write the page itself, or where the driver refuses,
// memory of its own to and from which batches are copied.
func (e *engine) pin() error {
	l, o := e.lib, &e.out
	e.pinned, e.found.Pinned = e.page.Pinnable(), 1
	size := uintptr(len(e.pinned))
	err := l.MemHostRegister.Call(ptr(&e.pinned[0]), size, registerPortable|registerMapped)
	if err == nil {
		err = l.MemHostGetDevicePointer.Call(ptr(&e.pinnedAt), ptr(&e.pinned[0]), 0)
	}
	if err == nil || driver.Lost(err) {
		return err
	}
	e.found.Pinned = 0
	if err := l.MemHostAlloc.Call(ptr(&o.handle), size, hostAllocMapped); err != nil {
		return err
	}
	e.pinned = unsafe.Slice((*byte)(pointer(o.handle)), size)
	clear(e.pinned) // a done word must not hold a number
	return l.MemHostGetDevicePointer.Call(ptr(&e.pinnedAt), o.handle, 0)
}

// pointer makes a pointer to memory that is the driver's.
func pointer(address uintptr) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Pointer(&address))
}

// memory takes the device memory of the slots and makes the streams.
func (e *engine) memory() error {
	l, o := e.lib, &e.out
	for n := range e.slots {
		if err := l.MemAlloc.Call(ptr(&e.slots[n].at), link.ImageBytes); err != nil {
			return err
		}
	}
	for n := range e.lanes {
		if err := l.StreamCreate.Call(ptr(&o.handle), streamNonBlocking); err != nil {
			return err
		}
		e.lanes[n].stream = o.handle
	}
	if err := l.StreamCreate.Call(ptr(&o.handle), streamNonBlocking); err != nil {
		return err
	}
	e.loader = o.handle
	return nil
}

// graphs makes the launches: for each lane, kernel and tier a graph of one node.
func (e *engine) graphs() error {
	l, o := e.lib, &e.out
	for n := range e.lanes {
		at := n * link.LaneBytes
		lane := &e.lanes[n]
		lane.batch = e.pinned[at : at+link.BatchBytes]
		lane.word = (*atomic.Uint64)(unsafe.Pointer(&e.pinned[at+link.DoneOffset]))
		lane.query = []uintptr{lane.stream}
		if err := l.MemAlloc.Call(ptr(&o.address), kernels.ScratchBytes); err != nil {
			return err
		}
		if err := l.MemsetD32Async.Call(uintptr(o.address), 0, kernels.ScratchBytes/4, e.loader); err != nil {
			return err
		}
		batch := e.pinnedAt + uint64(at)
		o.args = [4]uint64{batch, o.address, batch + link.ScoresOffset, batch + link.DoneOffset}
		for i := range o.args {
			o.pointers[i] = ptr(&o.args[i])
		}
		for code, kernel := range e.kernels {
			for tier, rows := range tiers {
				if kernel == 0 {
					continue
				}
				if err := e.graph(code, kernels.Grid(rows), &lane.exec[code][tier]); err != nil {
					return err
				}
				lane.launch[code][tier] = []uintptr{lane.exec[code][tier], lane.stream}
			}
		}
	}
	return l.StreamSynchronize.Call(e.loader)
}

// graph captures a launch of so many blocks with the arguments in e.out, and makes it
// ready for use.
func (e *engine) graph(code, blocks int, exec *uintptr) error {
	l, o := e.lib, &e.out
	if err := l.StreamBeginCapture.Call(e.loader, captureRelaxed); err != nil {
		return err
	}
	if err := l.LaunchKernel.Call(e.kernels[code], uintptr(blocks), 1, 1, codes[code].threads, 1, 1, 0, e.loader, ptr(&o.pointers[0]), 0); err != nil {
		return err
	}
	if err := l.StreamEndCapture.Call(e.loader, ptr(&o.handle)); err != nil {
		return err
	}
	graph := o.handle
	if err := l.GraphInstantiate.Call(ptr(&o.handle), graph, 0); err != nil {
		return err
	}
	*exec = o.handle
	if err := l.GraphDestroy.Call(graph); err != nil {
		return err
	}
	return l.GraphUpload.Call(*exec, e.loader)
}

// Upload copies an image into a slot, on the loader's stream: batches go on meanwhile.
func (e *engine) Upload(slot int, image []byte, columns int) error {
	s, code := &e.slots[slot], float32Code
	if kernels.IsF16(image) {
		code = float16Code
	}
	if e.kernels[code] == 0 {
		return fmt.Errorf("%w: a model for %s, which is not loaded", errRequest, codes[code].entry)
	}
	if err := e.lib.MemcpyHtoDAsync.Call(uintptr(s.at), ptr(&image[0]), uintptr(len(image)), e.loader); err != nil {
		return err
	}
	if err := e.lib.StreamSynchronize.Call(e.loader); err != nil {
		return err
	}
	s.columns.Store(uint32(columns))
	s.code.Store(uint32(code))
	return nil
}

// Launch writes the header and launches the graph of the batch's tier.
func (e *engine) Launch(n, slot, rows int, seq uint64) error {
	if slot < 0 || slot >= link.Slots || rows < 1 || rows > link.RowsMax {
		return fmt.Errorf("%w: %d rows with slot %d", errRequest, rows, slot)
	}
	columns := int(e.slots[slot].columns.Load())
	if columns == 0 || rows > link.RowsOf(columns) {
		return fmt.Errorf("%w: %d rows of %d columns", errRequest, rows, columns)
	}
	l := &e.lanes[n]
	kernels.PutHeader(l.batch, e.slots[slot].at, rows, columns, seq)
	if e.found.Pinned == 0 {
		size := kernels.HeaderBytes + 4*rows*columns
		copy(l.batch[kernels.HeaderBytes:size], e.page.Pinnable()[n*link.LaneBytes+kernels.HeaderBytes:])
	}
	tier := 0
	for tiers[tier] < rows {
		tier++
	}
	l.seq, l.rows = seq, rows
	return e.lib.GraphLaunch.Call(l.launch[e.slots[slot].code.Load()][tier]...)
}

// Done looks for the batch's number in the lane's done word.
func (e *engine) Done(n int, ask bool) (bool, error) {
	l := &e.lanes[n]
	if l.word.Load() == l.seq {
		e.fetch(n, l)
		return true, nil
	}
	if !ask {
		return false, nil
	}
	switch err := e.lib.StreamQuery.Call(l.query...); {
	case driver.Code(err) == driver.NotReady:
		return false, nil
	case err != nil:
		return false, err
	case l.word.Load() != l.seq:
		return false, errUnanswered
	}
	e.fetch(n, l)
	return true, nil
}

// fetch copies the scores into the page where the device did not write them there.
func (e *engine) fetch(n int, l *lane) {
	if e.found.Pinned == 0 {
		at := n*link.LaneBytes + link.ScoresOffset
		copy(e.page.Pinnable()[at:], e.pinned[at:at+4*l.rows])
	}
}
