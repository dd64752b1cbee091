package link

// Class is a kind of fault: what a log, a metric and a person tell apart.
type Class uint32

// The classes. Those up to TooOld are of the machine and stay as they are until
// somebody changes it; a new worker may mend the others.
const (
	None        Class = iota
	NoLibrary         // there is no libcuda.so.1
	NoSymbol          // the library lacks a function that is called
	NoDevice          // the driver sees no such device
	OldDriver         // the driver is older than the kernels
	TooOld            // the device's compute capability is too low
	OutOfMemory       // of the device, or of pinned memory
	Refused           // the driver refused a call
	Launch            // a batch failed, on its way to the device or on it
	Sticky            // the driver has lost its state: every call fails from now on
	Deadline          // no answer in time
	Died              // the worker ended by itself
	WrongBits         // scores that are not those of the CPU
	Start             // the worker could not be started
	classes
)

// Classes lists the classes that are faults.
func Classes() []Class {
	var all []Class
	for c := NoLibrary; c < classes; c++ {
		all = append(all, c)
	}
	return all
}

var classNames = [classes]string{"none", "no_library", "no_symbol", "no_device", "old_driver", "old_device",
	"out_of_memory", "refused", "launch", "sticky", "deadline", "died", "wrong_bits", "start"}

// String names the class as a metric's label does.
func (c Class) String() string {
	if c < classes {
		return classNames[c]
	}
	return "unknown"
}

// Lasting reports whether another try finds the same until the machine is changed.
func (c Class) Lasting() bool { return c >= NoLibrary && c <= TooOld }
