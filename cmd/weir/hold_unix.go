//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// hold takes a file for this process until it is closed; the kernel gives it back when
// the process ends, however it ends. Where another has it, errHeld is wrapped. The lock is
// one of fcntl, whose holder the kernel names: a number in a file would name some other
// process once its writer is gone, or where it was written in another container.
func hold(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK})
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) {
		err = errHeld
		if pid, e := holderOf(f); e == nil && pid > 0 {
			err = fmt.Errorf("%w: process %d", errHeld, pid)
		}
	}
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return f, nil
}

// holder returns who holds a file: 0 where nobody does, and below 0 where it is somebody
// whom this process cannot see, on another machine or in another container.
func holder(name string) (pid int, err error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return holderOf(f)
}

func holderOf(f *os.File) (pid int, err error) {
	l := syscall.Flock_t{Type: syscall.F_WRLCK}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &l); err != nil {
		return 0, fmt.Errorf("ask who holds %s: %w", f.Name(), err)
	}
	switch {
	case l.Type == syscall.F_UNLCK:
		return 0, nil
	case l.Pid <= 0:
		return -1, nil
	}
	return int(l.Pid), nil
}

// terminate asks a process to end.
func terminate(pid int) error { return syscall.Kill(pid, syscall.SIGTERM) }

// gone reports whether there is no such process.
func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }
