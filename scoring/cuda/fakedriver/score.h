/* The kernel of the fake driver. */
#include <stdint.h>

/* The header of a batch, as scoring/cuda/kernels says it. */
struct batch_header { uint64_t model; uint32_t rows, columns; uint64_t seq, zero[5]; };

/* score scores rows with a packed model, to the bits of scoring/doc.go, or where half is
 * set, with a model that is packed for the tensor cores, near them. It returns 0 where the
 * model is none, packed otherwise, or of other columns. */
int score(int half, const uint32_t *model, const float *x, uint32_t rows, uint32_t columns, float *out);
