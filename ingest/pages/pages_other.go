//go:build !linux

package pages

import "errors"

func gather(uintptr) error { return errors.ErrUnsupported }
