// Package driver calls NVIDIA's driver library, libcuda.so.1, which is looked for
// when a worker starts: the same binary serves machines with and without one.
//
// [Load] resolves every function that weir calls by its exact exported name, so that
// what is missing is known before anything is done. A [Func] is called with integers
// and addresses; what it returns becomes an error of class [Error].
//
// purego makes the calls, without cgo: three costs come with it. The binary is linked
// to glibc; where that is not wanted, the build tag nogpu leaves purego out and Load
// says so. Arguments must lie in a slice that the caller keeps, or each call allocates.
// And an address among them must be of the heap or of the driver: a stack may move
// before the call, and nothing sees an address in a uintptr.
//
// A fault of the processor inside the library ends this process, and an illegal address
// on the device spoils the library for good. That is why only the worker, a process of
// its own, loads it; link says how it is talked to.
package driver
