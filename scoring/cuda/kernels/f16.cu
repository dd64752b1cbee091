// The tensor-core kernel, for backtests and large ensembles: the same network,
// with the inputs of each matrix, and the matrix, rounded to half precision. The
// encoding, sums, scales, biases and output stay in float32, so that a score
// differs from the float32 kernel's by little, and not in bits alone.
//
// A block of 8 warps multiplies its stack by a matrix at once. A warp takes 64
// rows by 32 columns, or where a layer is wider than 256 and 512, fewer rows and
// more columns, so that sums always fill the same registers and the stack
// the same memory. The stack is read by ldmatrix; the matrix lies in memory as mma
// wants it, so that a warp reads its part straight into registers, once for all
// its rows.

#include "common.cuh"

#define THREADS 256
#define STACK 256         // rows of the stack at most
#define STACK_WORDS 9216  // words of 2 halves: 256 rows of 72, 64 of 264, ... 16 of 1032
#define TERMS 1024
#define SUMS 4  // groups of four sums of the encoding, of a thread

struct Shared {
    u32 stack[STACK_WORDS];
    Term term[TERMS];
    float part[512];
    float dot[STACK];
};

struct StackTile : Tile {
    u32 down;  // warps below each other
};

// warpColumns is how many columns a warp takes; it takes 2048 sums.
static __device__ __forceinline__ u32 warpColumns(u32 widest) { return widest <= 256 ? 32 : widest <= 512 ? 64 : 128; }

// halves rounds two numbers, which PackF16 has seen to fit.
static __device__ __forceinline__ u32 halves(float low, float high) {
    u32 d;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(d) : "f"(high), "f"(low));
    return d;
}

static __device__ __forceinline__ void mma(float* c, const u32* a, u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

static __device__ __forceinline__ void ldmatrix(u32* a, u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
                 : "r"(address)
                 : "memory");
}

static __device__ __forceinline__ float2 load2(const float* p) { return __ldg((const float2*)p); }

// encode fills the stack with the inputs of the second layer's matrix. A
// thread keeps its sums in registers until all inputs are in.
static __device__ __forceinline__ void encode(Shared& s, const u32* model, const StackTile& t) {
    u32 inputs = head(model, INPUTS), width = head(model, WIDTH), quads = width / 4, all = t.rows * quads;
    u32 portion = TERMS / t.rows;
    u32 row[SUMS], column[SUMS];
    const char* table[SUMS];
    float4 acc[SUMS];
#pragma unroll
    for (int q = 0; q < SUMS; q++) {
        u32 at = threadIdx.x + q * THREADS;
        row[q] = at / quads;
        column[q] = at % quads * 4;
        table[q] = (const char*)(part(model, TABLE_AT) + column[q]);
        acc[q] = make_float4(0, 0, 0, 0);
    }
    for (u32 first = 0; first < inputs; first += portion) {
        u32 n = min(portion, inputs - first);
        __syncthreads();  // nobody reads stack or terms any more
        prepare<THREADS>(s.term, model, t, first, n);
        __syncthreads();
#pragma unroll 1
        for (u32 i = 0; i < n; i++)
#pragma unroll
            for (int q = 0; q < SUMS; q++) {
                if (threadIdx.x + q * THREADS >= all) break;
                Term term = s.term[i * t.rows + row[q]];
                const float* p = (const float*)(table[q] + term.row);
                acc[q] = add(acc[q], term.u, load4(p), load4(p + width));
            }
    }
#pragma unroll
    for (int q = 0; q < SUMS; q++) {
        if (threadIdx.x + q * THREADS >= all) break;
        const float* adapters = part(model, LAYER + 2) + 3 * (u64)width * t.member + column[q];
        for (u32 m = 0; m < t.members; m++, adapters += 3 * width) {
            float4 h = adapt4(acc[q], adapters, width);
            *(uint2*)&s.stack[((m * t.rows + row[q]) * t.stride + column[q]) / 2] = make_uint2(halves(h.x, h.y), halves(h.z, h.w));
        }
    }
    __syncthreads();
}

// sums multiplies a warp's rows of the stack by its columns of the matrix, of
// which it reads AHEAD steps of 16 inputs ahead.
template <int DOWN>
static __device__ __forceinline__ void sums(float (*acc)[16 / DOWN][4], u32 stack, u32 stride, const uint4* w, u32 steps, u32 pairs, u32 first) {
    const int PAIRS = 8 / DOWN, AHEAD = DOWN == 4 ? 2 : 1;
    uint4 b[AHEAD][PAIRS];
#pragma unroll
    for (int a = 0; a < AHEAD; a++)
#pragma unroll
        for (int p = 0; p < PAIRS; p++) {
            b[a][p] = make_uint4(0, 0, 0, 0);
            if (a < steps && first + p < pairs) b[a][p] = __ldg(w + (a * pairs + p) * 32);
        }
    w += AHEAD * pairs * 32;
#pragma unroll 1
    for (u32 k = 0; k < steps; k += AHEAD)
#pragma unroll
        for (int a = 0; a < AHEAD; a++, w += pairs * 32) {
            if (k + a >= steps) break;
#pragma unroll
            for (int i = 0; i < DOWN; i++) {
                u32 x[4];
                ldmatrix(x, stack + (i * 16 * stride + (k + a) * 16) * 2);
#pragma unroll
                for (int p = 0; p < PAIRS; p++) {
                    mma(acc[i][2 * p], x, b[a][p].x, b[a][p].y);
                    mma(acc[i][2 * p + 1], x, b[a][p].z, b[a][p].w);
                }
            }
            if (k + a + AHEAD < steps) {
#pragma unroll
                for (int p = 0; p < PAIRS; p++)
                    if (first + p < pairs) b[a][p] = __ldg(w + p * 32);
            }
        }
}

// outputs does with a layer's sums what comes behind them: they become the next
// inputs, or behind the last layer, each warp's part of the dot products.
template <int DOWN>
static __device__ __forceinline__ void outputs(Shared& s, const u32* model, const StackTile& t, float (*acc)[16 / DOWN][4], u32 layer, u32 down, u32 across) {
    const int TILES = 16 / DOWN;
    u32 word = LAYER + 4 * layer, width = head(model, word), lane = threadIdx.x % 32;
    u32 column = across * TILES * 8 + lane % 4 * 2;  // of the first tile; the next is 8 further
    bool last = layer + 1 == head(model, LAYERS);
    const float *adapters = part(model, word + 2) + column, *weights = part(model, OUT_AT) + column;
#pragma unroll
    for (int i = 0; i < DOWN; i++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            u32 row = (down * DOWN + i) * 16 + half * 8 + lane / 4, member = t.member + over(row, t);
            bool there = row < t.rows * t.members;
            const float *scale = adapters + 3 * width * member, *bias = scale + width, *next = bias + width;
            const float* weight = weights + width * member;
            u32* h = s.stack + (row * t.stride + column) / 2;
            float d = 0.0f;
#pragma unroll
            for (int j = 0; j < TILES; j++) {
                if (!there || column + 8 * j >= width) break;
                float2 a = load2(scale + 8 * j), b = load2(bias + 8 * j), r = load2(next + 8 * j);
                float x = adapt(acc[i][j][2 * half], a.x, b.x, r.x), y = adapt(acc[i][j][2 * half + 1], a.y, b.y, r.y);
                if (last) {
                    float2 w = load2(weight + 8 * j);
                    d = __fmaf_rn(y, w.y, __fmaf_rn(x, w.x, d));
                } else {
                    h[4 * j] = halves(x, y);
                }
            }
            if (!last) continue;
            d = __fadd_rn(d, __shfl_xor_sync(~0u, d, 1));
            d = __fadd_rn(d, __shfl_xor_sync(~0u, d, 2));
            if (there && lane % 4 == 0) s.part[across * (t.down * DOWN * 16) + row] = d;
        }
}

// product is a layer: DOWN times 16 rows and 16 / DOWN times 8 columns a warp.
template <int DOWN>
static __device__ __forceinline__ void product(Shared& s, const u32* model, const StackTile& t, u32 layer) {
    u32 word = LAYER + 4 * layer, width = head(model, word), inner = head(model, word - 4), lane = threadIdx.x % 32;
    u32 columns = 128 / DOWN, wide = (width + columns - 1) / columns, warp = threadIdx.x / 32, down = warp / wide, across = warp % wide;
    u32 pairs = width / 16, first = across * (8 / DOWN);
    float acc[DOWN][16 / DOWN][4];
#pragma unroll
    for (int i = 0; i < DOWN; i++)
#pragma unroll
        for (int j = 0; j < 16 / DOWN; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) acc[i][j][e] = 0.0f;
    u32 stack = (u32)__cvta_generic_to_shared(s.stack) + ((down * DOWN * 16 + lane % 16) * t.stride + lane / 16 * 8) * 2;
    const uint4* w = (const uint4*)part(model, word + 1) + first * 32 + lane;
    if (down < t.down) sums<DOWN>(acc, stack, t.stride, w, inner / 16, pairs, first);
    __syncthreads();  // the inputs have been read: outputs take their place
    if (down < t.down) outputs<DOWN>(s, model, t, acc, layer, down, across);
    __syncthreads();
}

// output adds the parts of the dot products up.
static __device__ __forceinline__ void output(Shared& s, const u32* model, const StackTile& t, u32 columns) {
    u32 wide = (head(model, LAST) + columns - 1) / columns, rows = t.down * (2048 / columns), row = threadIdx.x;
    if (row >= t.rows * t.members) return;
    u32 member = t.member + over(row, t);
    float d = __ldg(part(model, BIAS_AT) + member);
    for (u32 i = 0; i < wide; i++) d = __fadd_rn(d, s.part[i * rows + row]);
    s.dot[t.member * t.rows + row] = sigmoid(d);
}

static __device__ __forceinline__ void score(Shared& s, const Batch* b, float* out) {
    const u32* model = b->model;
    u32 all = b->rows, ensemble = head(model, MEMBERS), layers = head(model, LAYERS), widest = head(model, WIDEST);
    u32 columns = warpColumns(widest), wide = (widest + columns - 1) / columns;
    StackTile t;
    t.columns = b->columns;
    t.stride = widest + 8;
    t.down = min(8 / wide, STACK * columns / 2048);
    u32 stack = t.down * (2048 / columns);
    u32 rows = max(min(stack / ensemble, SUMS * THREADS * 4 / head(model, WIDTH)), 1);
    if (blockIdx.x * rows >= all) return;
    for (u32 i = threadIdx.x; i < STACK_WORDS / 4; i += THREADS) ((uint4*)s.stack)[i] = make_uint4(0, 0, 0, 0);
    for (u32 first = blockIdx.x * rows; first < all; first += gridDim.x * rows) {
        begin(t, b, first, rows);
        for (t.member = 0; t.member < ensemble; t.member += stack) {
            t.members = min(stack, ensemble - t.member);
            encode(s, model, t);
            for (u32 l = 1; l < layers; l++) {
                if (columns == 32)
                    product<4>(s, model, t, l);
                else if (columns == 64)
                    product<2>(s, model, t, l);
                else
                    product<1>(s, model, t, l);
            }
            output(s, model, t, columns);
        }
        __syncthreads();
        if (threadIdx.x < t.rows) out[first + threadIdx.x] = mean(s.dot + threadIdx.x, t.rows, ensemble);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
weir_score_f16(const Batch* batch, u32* scratch, float* out, u64* done) {
    __shared__ __align__(16) Shared s;
    score(s, batch, out);
    finish(scratch, done, batch->seq);
}
