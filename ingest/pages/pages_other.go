//go:build !linux

package pages

func gather(uintptr) {}
