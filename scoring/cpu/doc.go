// Package cpu scores on the processor.
//
// In go a [scoring.Model] and rows, out come scores with the bits that
// scoring/doc.go defines. [New] picks assembly for AVX-512, or for AVX2 and FMA, where
// the processor has them, at run time; everywhere else, and under the build tag purego,
// a twin in plain Go (twin.go) gives the same bits, some two hundred times slower. A
// Scorer owns its scratch and its packed copy of the model; Score allocates
// nothing.
//
// Score cuts rows into tiles, such that rows times members is about 96, so that
// what a tile computes stays in the second-level cache, and for each tile
//
//	gather   puts columns in the order of the inputs
//	encode   standardises, finds segments, sums the encoding
//	sums     runs the members' layers, stacked: they share each matrix
//	finish   sigmoids, mean in member order
//
// A layer has two products with the same sums. The dense one keeps 6 rows by 16
// columns in registers, 12 by 32 with AVX-512, and runs at the speed of the multipliers. The sparse one
// leaves out inputs that are 0, which behind a layer about half are, and is taken
// where enough of them are. So the time of a score depends on the row; its bits
// do not. Neither splits a sum: what a sum is made of goes through one lane in
// ascending order.
//
// Files: pack_amd64.go lays a model out, score_amd64.go drives the kernels, of which
// processor_amd64.go says which belong to which processor;
// kernels_amd64.s and kernels_amd64.go are written by internal/asm, a module of
// its own that uses avo (its main.go says how). onnx/bench.sh times the same
// network in ONNX Runtime; BenchmarkScore has gonum beside it.
package cpu
