package scoring

// Bins is an input as a learner sees it: a linear term, and bins that each rise
// from 0 to 1 between two edges,
//
//	g(z) = clip(z, -Clip, Clip)*Linear + sum over b of clip((z-Edges[b]) / (Edges[b+1]-Edges[b]), 0, 1) * Weights[b]
//
// for each of width outputs.
type Bins struct {
	Linear  []float32 // width
	Clip    float32   // see above; 0 clips nothing
	Edges   []float32 // strictly ascending, in units of z; -Clip and Clip are among them where the bins reach further
	Weights []float32 // len(Edges)-1 rows of width; none where there are fewer than 2 edges
	Missing []float32 // width: the value where the column is missing
}

// Table returns in as a table that computes b, its prefixes summed in float64;
// in says the rest: column, logarithm, standardisation and bounds. It is the
// step from a trained first layer to a [Model].
func (b *Bins) Table(in Input) Input {
	// Below the first edge only the linear term is left: a segment of its own.
	in.Edges, in.Prefix, in.Slope, in.Missing = nil, nil, nil, 0
	if len(b.Edges) == 0 || in.Lo < b.Edges[0] {
		in.Edges = append(in.Edges, in.Lo)
	}
	in.Edges = append(in.Edges, b.Edges...)
	width := len(b.Linear)
	below := len(in.Edges) - len(b.Edges) // segments before the first bin
	sum := make([]float64, width)
	for s, edge := range in.Edges {
		if k := s - below; k > 0 {
			for j := range sum {
				sum[j] += float64(b.Weights[(k-1)*width+j])
			}
		}
		at := b.clip(edge)
		linear := b.Clip == 0 || edge < b.Clip && (s+1 == len(in.Edges) || in.Edges[s+1] > -b.Clip)
		for j, w := range b.Linear {
			in.Prefix = append(in.Prefix, float32(sum[j]+float64(w)*at))
			slope := 0.0
			if linear {
				slope = float64(w)
			}
			if k := s - below; k >= 0 && k+1 < len(b.Edges) {
				slope += float64(b.Weights[k*width+j]) / (float64(b.Edges[k+1]) - float64(b.Edges[k]))
			}
			in.Slope = append(in.Slope, float32(slope))
		}
	}
	in.Prefix = append(in.Prefix, b.Missing...)
	in.Slope = append(in.Slope, make([]float32, width)...)
	return in
}

// clip returns what the linear term takes for z.
func (b *Bins) clip(z float32) float64 {
	if b.Clip == 0 {
		return float64(z)
	}
	return float64(min(max(z, -b.Clip), b.Clip))
}
