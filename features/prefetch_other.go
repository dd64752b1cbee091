//go:build !amd64 && !arm64

package features

// prefetch is left out where there is no assembly for it.
func prefetch(*uint64) {}

// prefetchAll is left out where there is no assembly for it.
func prefetchAll([]uint64) {}

// prefetchBoth is left out where there is no assembly for it.
func prefetchBoth(_, _ *uint64) {}
