//go:build !linux

package cuda

import "syscall"

// attributes has nothing to say: there is no worker where there is no Linux.
func attributes() *syscall.SysProcAttr { return nil }
