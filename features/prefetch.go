//go:build amd64 || arm64

package features

// prefetch asks for the memory at p and does not wait for it.
//
//go:noescape
func prefetch(p *uint64)

// prefetchAll asks for all of the words, of which there is one at least.
//
//go:noescape
func prefetchAll(words []uint64)

// prefetchBoth asks for the memory at p and q.
//
//go:noescape
func prefetchBoth(p, q *uint64)
