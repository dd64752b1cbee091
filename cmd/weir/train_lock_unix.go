//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// lockFile takes a file for this process until it is closed; the kernel gives it
// back when the process ends, however it ends. It waits for whoever has it, and says
// so once. Nobody deletes the file. Where it cannot be made, since the key is a secret that
// is mounted, the key's own file is taken.
func lockFile(ctx context.Context, e *env, name, key string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission) {
		f, err = os.Open(key)
	}
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	for said := false; ; said = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if errors.Is(err, syscall.EWOULDBLOCK) {
			if !said {
				fmt.Fprintf(e.stderr, "another weir trains with this key and holds %s; waiting for it\n", name)
			}
			err = sleep(ctx, 100*time.Millisecond)
		}
		if err != nil {
			_ = f.Close() // nothing was written
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
	}
}
