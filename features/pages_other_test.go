//go:build !linux

package features

func largePages(o Options) Options { return o }
