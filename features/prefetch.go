//go:build amd64 || arm64

package features

// prefetch asks for the memory at p and does not wait for it.
//
//go:noescape
func prefetch(p *uint64)
