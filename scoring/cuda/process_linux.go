package cuda

import "syscall"

// attributes has the worker die with the thread that starts it, which is the
// supervisor's for as long as it runs, and lets it be when a terminal interrupts weir:
// weir ends it.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
