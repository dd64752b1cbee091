// Package cpu scores on the processor.
//
// In go a [scoring.Model] and rows, out come scores with the bits that
// scoring/doc.go defines. [New] picks AVX2 and FMA assembly where the processor
// has both, at run time; everywhere else, and under the build tag purego, a twin
// in plain Go gives the same bits, some fifty times slower.
package cpu
