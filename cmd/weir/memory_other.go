//go:build !linux

package main

// memoryLimit is not known here: the state has no bound unless one is given.
func memoryLimit() int64 { return 0 }
