package trainer

// The three loops in which training spends its time, over rows of a multiple of
// 64 columns. Each has a plain twin, for other processors.

const lane = 64 // columns that a kernel takes

// product adds a times b to c: c is rows by width, a[i*aRow+k*aCol] the factors,
// b is inner by width.
func product(c, a []float32, aRow, aCol int, b []float32, rows, inner, width int) {
	if !vector {
		productPlain(c, a, aRow, aCol, b, rows, inner, width)
		return
	}
	_, _, _ = c[rows*width-1], a[(rows-1)*aRow+(inner-1)*aCol], b[inner*width-1]
	for j := 0; j < width; j += lane {
		for i := range rows {
			dot64(&c[i*width+j], &a[i*aRow], 4*aCol, &b[j], 4*width, inner)
		}
	}
}

func productPlain(c, a []float32, aRow, aCol int, b []float32, rows, inner, width int) {
	for i := range rows {
		sum := c[i*width : (i+1)*width]
		for k := range inner {
			v := a[i*aRow+k*aCol]
			for j, w := range b[k*width : (k+1)*width] {
				sum[j] += float32(v * w)
			}
		}
	}
}

// line adds u*slope + prefix to c, all of one length.
func line(c []float32, u float32, slope, prefix []float32) {
	if !vector {
		for j := range c {
			c[j] = float32(c[j]+prefix[j]) + float32(u*slope[j])
		}
		return
	}
	_, _ = slope[len(c)-1], prefix[len(c)-1]
	for j := 0; j < len(c); j += lane {
		line64(&c[j], u, &slope[j], &prefix[j])
	}
}

// spread adds u*g to slope and g to prefix: what line is to gradients.
func spread(slope, prefix []float32, u float32, g []float32) {
	if !vector {
		for j, v := range g {
			slope[j] += float32(u * v)
			prefix[j] += v
		}
		return
	}
	_, _ = slope[len(g)-1], prefix[len(g)-1]
	for j := 0; j < len(g); j += lane {
		spread64(&slope[j], &prefix[j], u, &g[j])
	}
}

// activate writes max(z*s + b, 0) * keep.
func activate(h, z, s, b, keep []float32) {
	if !vector {
		for j := range h {
			h[j] = max(float32(z[j]*s[j])+b[j], 0) * keep[j]
		}
		return
	}
	last := len(h) - 1
	_, _, _, _ = z[last], s[last], b[last], keep[last]
	for j := 0; j < len(h); j += lane {
		activate64(&h[j], &z[j], &s[j], &b[j], &keep[j])
	}
}

// slopes is what activate is to gradients, dx those of h: it adds those of z, s
// and b.
func slopes(dz, ds, db, dx, h, z, s []float32, scale float32) {
	if !vector {
		for j, v := range h {
			if v > 0 {
				g := dx[j] * scale
				ds[j] += float32(g * z[j])
				db[j] += g
				dz[j] += float32(g * s[j])
			}
		}
		return
	}
	last := len(h) - 1
	_, _, _, _, _, _ = dz[last], ds[last], db[last], dx[last], z[last], s[last]
	for j := 0; j < len(h); j += lane {
		slope64(&dz[j], &ds[j], &db[j], &dx[j], &h[j], &z[j], &s[j], scale)
	}
}
