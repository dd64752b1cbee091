//go:build !amd64 || purego

package trainer

const vector = false

func dot64(c, a *float32, aStep int, b *float32, bStep, n int)  { panic("BUG: no vectors") }
func line64(c *float32, u float32, slope, prefix *float32)      { panic("BUG: no vectors") }
func spread64(slope, prefix *float32, u float32, grad *float32) { panic("BUG: no vectors") }
func activate64(h, z, s, b, keep *float32)                      { panic("BUG: no vectors") }
func slope64(dz, ds, db, dx, h, z, s *float32, scale float32)   { panic("BUG: no vectors") }
