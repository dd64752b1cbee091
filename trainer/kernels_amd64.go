//go:build !purego

package trainer

import "golang.org/x/sys/cpu"

// vector says whether the processor has what the kernels use.
var vector = cpu.X86.HasAVX2 && cpu.X86.HasFMA

// dot64 adds to 64 sums: c[j] += a[k] * b[k][j] over n, aStep and bStep bytes
// apart. n is at least 1.
//
//go:noescape
func dot64(c, a *float32, aStep int, b *float32, bStep, n int)

// line64 adds u*slope[j] + prefix[j] to 64 sums.
//
//go:noescape
func line64(c *float32, u float32, slope, prefix *float32)

// spread64 adds u*g[j] to 64 slopes and g[j] to as many prefixes.
//
//go:noescape
func spread64(slope, prefix *float32, u float32, grad *float32)

// activate64 computes 64 outputs: h[j] = max(z[j]*s[j] + b[j], 0) * keep[j].
//
//go:noescape
func activate64(h, z, s, b, keep *float32)

// slope64 takes 64 gradients dx of outputs back, where h[j] > 0, as
// g = dx[j]*scale: ds[j] += g*z[j], db[j] += g, dz[j] += g*s[j].
//
//go:noescape
func slope64(dz, ds, db, dx, h, z, s *float32, scale float32)
