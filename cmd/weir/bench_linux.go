package main

import (
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// startOn starts a command on one of the cores that this process may use, the
// last for core 1, the one before it for core 2 and so on; anywhere for core 0,
// or where there are too few.
func startOn(core int, c *exec.Cmd) error {
	var allowed unix.CPUSet
	if core == 0 || unix.SchedGetaffinity(0, &allowed) != nil || allowed.Count() < 2 || core > allowed.Count() {
		return c.Start()
	}
	var one unix.CPUSet
	for cpu := len(allowed)*64 - 1; core > 0 && cpu >= 0; cpu-- {
		if allowed.IsSet(cpu) {
			if core--; core == 0 {
				one.Set(cpu)
			}
		}
	}
	// A child inherits the affinity of the thread that starts it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if unix.SchedSetaffinity(0, &one) != nil {
		return c.Start()
	}
	err := c.Start()
	if e := unix.SchedSetaffinity(0, &allowed); err == nil {
		err = e
	}
	return err
}
