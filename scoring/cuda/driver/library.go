package driver

// Func is a function of the library.
type Func struct {
	address uintptr
	name    string
	pending *Error // what a call that is not ready yet returns: it is asked often
}

// Library holds the functions that weir calls. Their names are those of the header
// without cu and without the suffix of the version that the header maps them to.
type Library struct {
	Init, DriverGetVersion                                       Func
	DeviceGetCount, DeviceGet, DeviceGetName, DeviceGetAttribute Func
	DeviceTotalMem, MemGetInfo                                   Func
	DevicePrimaryCtxRetain, CtxSetCurrent                        Func
	ModuleLoadData, ModuleGetFunction, FuncSetAttribute          Func
	MemAlloc, MemHostAlloc, MemHostRegister                      Func
	MemHostGetDevicePointer, MemcpyHtoDAsync, MemsetD32Async     Func
	StreamCreate, StreamSynchronize, StreamQuery                 Func
	StreamBeginCapture, StreamEndCapture, LaunchKernel           Func
	GraphInstantiate, GraphUpload, GraphLaunch                   Func
	GraphDestroy, GraphExecDestroy                               Func
}

// symbol is one function and the name that the library exports it under. The bare
// names of those that end in _v2 are there too, with another ABI.
type symbol struct {
	name string
	f    *Func
}

func (l *Library) symbols() []symbol {
	return []symbol{
		{"cuInit", &l.Init}, {"cuDriverGetVersion", &l.DriverGetVersion},
		{"cuDeviceGetCount", &l.DeviceGetCount}, {"cuDeviceGet", &l.DeviceGet},
		{"cuDeviceGetName", &l.DeviceGetName}, {"cuDeviceGetAttribute", &l.DeviceGetAttribute},
		{"cuDeviceTotalMem_v2", &l.DeviceTotalMem}, {"cuMemGetInfo_v2", &l.MemGetInfo},
		{"cuDevicePrimaryCtxRetain", &l.DevicePrimaryCtxRetain}, {"cuCtxSetCurrent", &l.CtxSetCurrent},
		{"cuModuleLoadData", &l.ModuleLoadData}, {"cuModuleGetFunction", &l.ModuleGetFunction},
		{"cuFuncSetAttribute", &l.FuncSetAttribute}, {"cuMemAlloc_v2", &l.MemAlloc},
		{"cuMemHostAlloc", &l.MemHostAlloc}, {"cuMemHostRegister_v2", &l.MemHostRegister},
		{"cuMemHostGetDevicePointer_v2", &l.MemHostGetDevicePointer},
		{"cuMemcpyHtoDAsync_v2", &l.MemcpyHtoDAsync}, {"cuMemsetD32Async", &l.MemsetD32Async},
		{"cuStreamCreate", &l.StreamCreate}, {"cuStreamSynchronize", &l.StreamSynchronize},
		{"cuStreamQuery", &l.StreamQuery}, {"cuStreamBeginCapture_v2", &l.StreamBeginCapture},
		{"cuStreamEndCapture", &l.StreamEndCapture}, {"cuLaunchKernel", &l.LaunchKernel},
		{"cuGraphInstantiateWithFlags", &l.GraphInstantiate}, {"cuGraphUpload", &l.GraphUpload},
		{"cuGraphLaunch", &l.GraphLaunch}, {"cuGraphDestroy", &l.GraphDestroy},
		{"cuGraphExecDestroy", &l.GraphExecDestroy},
	}
}
