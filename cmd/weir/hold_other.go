//go:build !unix

package main

import (
	"errors"
	"os"
)

var errNoLocks = errors.New("not on this system")

func hold(string) (*os.File, error) { return nil, errNoLocks }

func holder(string) (int, error) { return 0, errNoLocks }

func terminate(int) error { return errNoLocks }

func gone(int) bool { return false }
