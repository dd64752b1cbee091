// The float32 kernel: the network of scoring/doc.go, operation by operation, so
// that a score has the bits that the CPU gives it.
//
// A block takes tiles of rows, and computes a tile for all members at once. The
// rows of member 0, then those of member 1 and so on, are a stack of up to
// STACK rows in shared memory: members share each matrix, so that a layer is one
// product of the stack with it. A thread holds the sums of ROWS rows by COLS
// columns in registers, and takes in the inner dimension in ascending order,
// undivided, as the arithmetic wants it. Matrices are read through the
// first-level cache, which the block's warps share, a few steps ahead.
//
// A tile is the larger, the fewer times a matrix is read; but where a batch is
// small, tiles of fewer rows keep all processors busy. So there are three kinds
// of tiles, of 8, 4 and 2 columns a thread, and the batch decides.

#include "common.cuh"

#define THREADS 128
#define ROWS 8     // of the stack, a thread's
#define STACK 128  // rows of the stack at most
#define TILES 96   // enough of them to keep a GPU of 100 processors or so busy

// Where the stack lies: 128 rows of 68, 64 of 132, ... 8 of 1028. A row is 4 words
// longer than it is wide, so that neighbouring rows begin in other banks.
#define STACK_WORDS 8704
// How many inputs of how many rows are made ready at once.
#define TERMS 1536

struct Shared {
    float stack[STACK_WORDS];
    Term term[TERMS];
    float dot[STACK];
};

struct StackTile : Tile {
    u32 groups;  // of ROWS rows of the stack
    u32 threadColumns;
};

// stackRows is how many rows the stack has: as many as the threads have sums for.
static __device__ __forceinline__ u32 stackRows(const u32* model, u32 columns) {
    return min(THREADS * columns / head(model, WIDEST) * ROWS, STACK);
}

// ---- section 3: encoding -----------------------------------------------------

// terms adds the terms that are ready to four of a row's sums.
static __device__ __forceinline__ float4 terms(const Term* term, u32 rows, u32 inputs, const char* table, u32 width, float4 acc) {
#pragma unroll 4
    for (u32 i = 0; i < inputs; i++) {
        Term t = term[i * rows];
        const float* row = (const float*)(table + t.row);
        acc = add(acc, t.u, load4(row), load4(row + width));
    }
    return acc;
}

// spread turns four of a row's sums into the first layer's outputs for each
// member; into themselves where there is no layer.
static __device__ __forceinline__ void spread(Shared& s, const u32* model, const StackTile& t, u32 row, u32 column, float4 acc) {
    u32 width = head(model, WIDTH);
    bool layers = head(model, LAYERS) > 0;
    const float* adapters = part(model, LAYER + 2) + 3 * (u64)width * t.member + column;
    for (u32 m = 0; m < t.members; m++, adapters += 3 * width) {
        float4 v = acc;
        if (layers) v = adapt4(acc, adapters, width);
        *(float4*)&s.stack[(m * t.rows + row) * t.stride + column] = v;
    }
}

// encode fills the stack with the outputs of the first layer. Where the inputs
// are taken in several portions, the sums wait in the stack's first rows, each
// of which only its own thread reads and overwrites.
static __device__ __forceinline__ void encode(Shared& s, const u32* model, const StackTile& t) {
    const char* table = (const char*)part(model, TABLE_AT);
    u32 inputs = head(model, INPUTS), width = head(model, WIDTH), quads = width / 4;
    u32 portion = TERMS / t.rows;
    for (u32 first = 0; first < inputs; first += portion) {
        u32 n = min(portion, inputs - first);
        __syncthreads();  // nobody reads stack or terms any more
        prepare<THREADS>(s.term, model, t, first, n);
        __syncthreads();
        for (u32 i = threadIdx.x; i < t.rows * quads; i += THREADS) {
            u32 row = i / quads, column = i % quads * 4;
            float4* sum = (float4*)&s.stack[row * t.stride + column];
            float4 acc = make_float4(0, 0, 0, 0);
            if (first > 0) acc = *sum;
            acc = terms(s.term + row, t.rows, n, table + 4 * column, width, acc);
            if (first + n < inputs)
                *sum = acc;
            else
                spread(s, model, t, row, column, acc);
        }
    }
    __syncthreads();
}

// ---- section 4: members and hidden layers ------------------------------------

// weights reads a thread's columns of a row, from its first one on: up to four
// that lie together, and as many in the second half of the row.
template <int COLS>
static __device__ __forceinline__ void weights(float* w, const float* row, u32 width) {
    if (COLS == 2) {
        float2 v = __ldg((const float2*)row);
        w[0] = v.x, w[1] = v.y;
    } else {
#pragma unroll
        for (int c = 0; c < COLS; c += 4) {
            float4 v = load4(row + c / 4 * (width / 2));
            w[c] = v.x, w[c + 1] = v.y, w[c + 2] = v.z, w[c + 3] = v.w;
        }
    }
}

// outputs writes them.
template <int COLS>
static __device__ __forceinline__ void outputs(float* row, const float* v, u32 width) {
    if (COLS == 2) {
        *(float2*)row = make_float2(v[0], v[1]);
    } else {
#pragma unroll
        for (int c = 0; c < COLS; c += 4)
            *(float4*)(row + c / 4 * (width / 2)) = make_float4(v[c], v[c + 1], v[c + 2], v[c + 3]);
    }
}

template <int STEP>
static __device__ __forceinline__ void inputs(float* x, const float* row) {
    if (STEP == 2) {
        float2 v = *(const float2*)row;
        x[0] = v.x, x[1] = v.y;
    } else {
        float4 v = *(const float4*)row;
        x[0] = v.x, x[1] = v.y, x[2] = v.z, x[3] = v.w;
    }
}

// sums is the inner loop: the sums of a thread's rows and columns, over the
// inputs in ascending order. Weights are read AHEAD times STEP inputs ahead.
template <int COLS>
static __device__ __forceinline__ void sums(float (*acc)[COLS], const float* stack, u32 rowStep, const float* w, u32 inner, u32 width) {
    const int STEP = COLS == 8 ? 2 : 4, AHEAD = COLS == 2 ? 4 : 2;
    float v[AHEAD][STEP][COLS];
#pragma unroll
    for (int a = 0; a < AHEAD; a++)
#pragma unroll
        for (int e = 0; e < STEP; e++) weights<COLS>(v[a][e], w + (a * STEP + e) * width, width);
    w += AHEAD * STEP * width;
#pragma unroll 1
    for (u32 k = 0; k < inner; k += AHEAD * STEP)
#pragma unroll
        for (int a = 0; a < AHEAD; a++) {
#pragma unroll
            for (int i = 0; i < ROWS; i++) {
                float x[STEP];
                inputs<STEP>(x, stack + i * rowStep + k + a * STEP);
#pragma unroll
                for (int e = 0; e < STEP; e++)
#pragma unroll
                    for (int c = 0; c < COLS; c++) acc[i][c] = __fmaf_rn(x[e], v[a][e][c], acc[i][c]);
            }
            if (k + (a + AHEAD) * STEP < inner) {
#pragma unroll
                for (int e = 0; e < STEP; e++) weights<COLS>(v[a][e], w + e * width, width);
            }
            w += STEP * width;
        }
}

// product replaces the stack by the next layer's outputs. Thread rows lie
// t.groups apart, so that the rows that a warp reads at once are neighbours.
template <int COLS>
static __device__ __forceinline__ void product(Shared& s, const u32* model, const StackTile& t, u32 layer) {
    u32 word = LAYER + 4 * layer, width = head(model, word), inner = head(model, word - 4);
    u32 across = width / COLS, row = threadIdx.x / across, column = threadIdx.x % across * (COLS == 2 ? 2 : 4);
    bool busy = row < t.groups;
    float acc[ROWS][COLS];
#pragma unroll
    for (int i = 0; i < ROWS; i++)
#pragma unroll
        for (int c = 0; c < COLS; c++) acc[i][c] = 0.0f;
    if (busy) sums<COLS>(acc, s.stack + row * t.stride, t.groups * t.stride, part(model, word + 1) + column, inner, width);
    __syncthreads();  // the inputs have been read: outputs take their place
    if (busy) {
        const float* adapters = part(model, word + 2) + column;
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            u32 at = row + i * t.groups;
            if (at >= t.rows * t.members) break;
            const float* p = adapters + 3 * (u64)width * (t.member + over(at, t));
            float a[COLS], b[COLS], r[COLS];
            weights<COLS>(a, p, width);
            weights<COLS>(b, p + width, width);
            weights<COLS>(r, p + 2 * width, width);
#pragma unroll
            for (int c = 0; c < COLS; c++) acc[i][c] = adapt(acc[i][c], a[c], b[c], r[c]);
            outputs<COLS>(s.stack + at * t.stride + column, acc[i], width);
        }
    }
    __syncthreads();
}

// ---- section 5: output -------------------------------------------------------

// output leaves the sigmoids of the tile's members in dot, a warp for each row
// of the stack.
static __device__ __forceinline__ void output(Shared& s, const u32* model, const StackTile& t) {
    u32 lane = threadIdx.x % 32, last = head(model, LAST);
    const float* weights = part(model, OUT_AT);
    for (u32 at = threadIdx.x / 32; at < t.rows * t.members; at += THREADS / 32) {
        const float* h = s.stack + at * t.stride;
        const float* w = weights + (t.member + over(at, t)) * last;
        float d = 0.0f;
        for (u32 j = lane; j < last; j += 32) d = __fmaf_rn(h[j], __ldg(&w[j]), d);
#pragma unroll
        for (int x = 16; x > 0; x >>= 1) d = __fadd_rn(d, __shfl_xor_sync(~0u, d, x));
        if (lane == 0) s.dot[t.member * t.rows + at] = last > 0 ? d : h[0];
    }
    __syncthreads();
    if (threadIdx.x < t.rows * t.members) {
        u32 at = t.member * t.rows + threadIdx.x;
        s.dot[at] = sigmoid(__fadd_rn(s.dot[at], __ldg(part(model, BIAS_AT) + over(at, t))));
    }
}

// ---- the batch ---------------------------------------------------------------

// tileRows is how many rows a tile has, where a thread has so many columns.
static __device__ __forceinline__ u32 tileRows(const u32* model, u32 columns) {
    return max(stackRows(model, columns) / head(model, MEMBERS), 1);
}

// enough reports whether such tiles keep a GPU busy.
static __device__ __forceinline__ bool enough(const u32* model, u32 rows, u32 columns) {
    u32 tile = tileRows(model, columns);
    return (rows + tile - 1) / tile >= TILES;
}

// choose returns how many columns a thread has.
static __device__ __forceinline__ u32 choose(const u32* model, u32 rows) {
    u32 widest = head(model, WIDEST);
    if (widest > 4 * THREADS || enough(model, rows, 8)) return 8;
    if (widest > 2 * THREADS || enough(model, rows, 4)) return 4;
    return 2;
}

static __device__ __forceinline__ void members(Shared& s, const u32* model, const StackTile& t) {
    encode(s, model, t);
    u32 layers = head(model, LAYERS);
    for (u32 l = 1; l < layers; l++) {
        if (t.threadColumns == 8)
            product<8>(s, model, t, l);
        else if (t.threadColumns == 4)
            product<4>(s, model, t, l);
        else
            product<2>(s, model, t, l);
    }
    output(s, model, t);
}

static __device__ __forceinline__ void score(Shared& s, const Batch* b, float* out) {
    const u32* model = b->model;
    u32 all = b->rows, ensemble = head(model, MEMBERS);
    StackTile t;
    t.threadColumns = choose(model, all);
    t.columns = b->columns;
    t.stride = head(model, WIDEST) + 4;
    u32 stack = stackRows(model, t.threadColumns), rows = tileRows(model, t.threadColumns);
    t.groups = stack / ROWS;
    if (blockIdx.x * rows >= all) return;
    // Threads compute with rows that the stack does not fill, and nobody looks at
    // what comes of it; it only has to be something.
    for (u32 i = threadIdx.x; i < STACK_WORDS / 4; i += THREADS) ((float4*)s.stack)[i] = make_float4(0, 0, 0, 0);
    for (u32 first = blockIdx.x * rows; first < all; first += gridDim.x * rows) {
        begin(t, b, first, rows);
        for (t.member = 0; t.member < ensemble; t.member += stack) {
            t.members = min(stack, ensemble - t.member);
            members(s, model, t);
        }
        __syncthreads();
        if (threadIdx.x < t.rows) out[first + threadIdx.x] = mean(s.dot + threadIdx.x, t.rows, ensemble);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 4)
weir_score_f32(const Batch* batch, u32* scratch, float* out, u64* done) {
    __shared__ __align__(16) Shared s;
    score(s, batch, out);
    finish(scratch, done, batch->seq);
}
