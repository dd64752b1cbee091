// Package scoring holds the learned model: the arithmetic of a score, the
// bundle in which a model travels, and the policy that turns a score into an
// action.
//
// In go rows of features (a [Matrix], NaN for missing) and a bundle's bytes;
// out come scores, and for each score a [Ruling]. [ReadBundle] checks a bundle,
// a [Scorer] (scoring/cpu, scoring/cuda) computes its scores, [Bundle.SelfTest]
// proves that this back end gives the bits that the trainer's gave,
// [Bundle.Decide] rules on one transaction, and an [Explainer] says which
// groups of features moved its score. A Bundle and its [Model] are not
// changed once made and are shared freely; a Scorer belongs to one goroutine.
// Nothing here reads a clock, a file or the network, and neither Score nor
// Decide allocates.
//
// What it does not do: compute features, fit models, evaluate fallback rules
// (features does), choose between back ends.
//
// # The arithmetic of a score
//
// The bits of a score are part of weir's promise: a decision can be recomputed
// on another machine, or another kind of machine, years later. So each
// operation is written down here, and every back end does exactly these, in
// this order. It may do so for many rows, members and columns at once, and may
// pad tables with zeros where this says that no bit depends on it.
//
// # 1. Operations
//
// All values are IEEE 754 binary32, rounded to nearest even, with subnormals
// (neither flush-to-zero nor denormals-are-zero).
//
//	a + b, a - b, a * b, a / b   each rounded once; never contracted
//	fma(a, b, c)                 a*b + c rounded once; only where it is written
//	min(a, b)                    a < b ? a : b     MINPS with a as its first operand
//	max(a, b)                    a > b ? a : b     MAXPS likewise
//
// So min and max give b where either is NaN, and max(v, +0) is +0 for v = -0
// and for NaN, as PTX's max.f32 and min.f32 are for the operands that occur
// here. In Go these are float32 expressions with explicit conversions, [FMA],
// and comparisons; Go's built-in min and max differ and are not used.
//
//	exp(x):  n = fma(x, 1.44269504088896341, 1.5*2^23) - 1.5*2^23
//	         r = fma(n, 2.12194440e-4, fma(n, -0.693359375, x))
//	         p = 1.9875691500e-4; p = fma(p, r, c) for c in
//	             1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2,
//	             1.6666665459e-1, 5.0000001201e-1
//	         p = fma(p, r*r, r) + 1
//	         the float with the bits of p plus n * 2^23
//	log(x):  x = max(min(x, largest finite), 2^-126)
//	         e = (bits(x) - 0x3f3504f3) >> 23, arithmetic, 32 bits
//	         f = float(bits(x) - (e << 23)) - 1
//	         p = 7.0376836292e-2; p = fma(p, f, c) for c in
//	             -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1,
//	             1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1,
//	             -2.4999993993e-1, 3.3333331174e-1
//	         q = f*f; p = (p*f)*q
//	         p = fma(e, -2.12194440e-4, p); p = fma(q, -0.5, p)
//	         fma(e, 0.693359375, f + p)
//	sigmoid(x): x = max(min(x, 80), -80); 1 / (1 + exp(-x))
//
// Decimal constants stand for the nearest binary32. [Exp] clamps as sigmoid
// does; [Log], [Sigmoid] and Exp are also what calibration uses.
//
// # 2. Inputs
//
// For each input i of the model in order, from column x of the row:
//
//	missing = x is NaN
//	t = x;  if Log: t = log(|x| + 1) with the sign bit of x
//	z = (t - Mean) * Inv
//	z = max(min(z, Hi), Lo)
//
// A linear input has u = missing ? Missing : z. A table has n segments that
// begin at Edges[0..n-1]:
//
//	b = how many j in 1..n-1 have Edges[j] <= z
//	u = z - Edges[b]
//	where missing: b = n, u = +0
//
// # 3. Encoding
//
// For each output j of Width, from acc = +0, for each input i in order:
//
//	linear:  acc = fma(u, Slope[j], acc)
//	table:   acc = fma(u, Slope[b][j], acc + Prefix[b][j])
//
// This replaces the first matrix product: Prefix[b] is what the bins below b
// add up to, so that a table of 17 columns costs one row. A model with linear
// inputs only is a dense first layer, whose sums are plain fma in ascending
// order, as a matrix kernel computes them. All members share the encoding.
//
// # 4. Members and hidden layers
//
// For each member m, with that member's rows of S, B, R and Out:
//
//	first hidden layer:  h[j] = max(fma(acc[j], S[j], B[j]), +0)
//	each further one:    in[i] = h[i] * R[i]
//	                     acc[j] = fma(in[i], W[i][j], acc[j]) from +0, i ascending
//	                     h[j] = max(fma(acc[j], S[j], B[j]), +0)
//
// A kernel may not split the sum over i, but may hold as many j at once as it
// likes, and may leave out terms whose in[i] is a zero.
//
// # 5. Output
//
// Without a hidden layer Width is 1 and dot = acc[0]. Otherwise the last h is
// summed in 32 lanes, lane l taking j = l, l+32, ... in ascending order, and
// the lanes in a butterfly:
//
//	lane[l] = fma(h[j], Out[j], lane[l]) from +0
//	for d in 16, 8, 4, 2, 1:  lane[l] = lane[l] + lane[l+d] for l < d
//	dot = lane[0]
//
// Then, over members in order,
//
//	sum = sum + sigmoid(dot + Bias[m]) from +0
//	score = sum / Members
//
// Columns of zeros behind the last (h, Out, S, B all +0) may be added, as terms
// of a zero may be left out: either can only change the sign of a zero sum, and
// that never reaches the score, since max gives +0 for both, a bias other than
// zero hides it, and sigmoid(-0) and sigmoid(+0) are the same bits.
// [Model.Validate] refuses a model in which any sum could pass 1e30 for any row, so neither
// infinities nor NaN arise behind section 2, and their rules need no agreement.
//
// # float16
//
// Where it is asked for, a GPU's tensor cores take the matrices of section 4, and the
// inputs to them, rounded to half precision, and sum in an order of their own. Such
// scores are no bits to agree on: a scorer says which of its scores they are ([Halved]),
// and [HalfBound] how far they can be off.
package scoring
