// What both kernels share: how memory lies (doc.go beside this file), the
// operations of scoring/doc.go, its inputs, and the end of a batch.

typedef unsigned u32;
typedef unsigned long long u64;

// Words of a model's head.
enum { INPUTS = 4, WIDTH, MEMBERS, LAYERS, STEPS, WIDEST, INPUT_AT, EDGE_AT, TABLE_AT, OUT_AT, BIAS_AT, LAST, LAYER };

struct Batch {
    const u32* model;
    u32 rows, columns;
    u64 seq;
    u32 zero[10];
    float x[1];
};

// Term is what an input adds to the encoding: u times the slope of a row of the
// table, and its prefix.
struct __align__(8) Term {
    float u;
    u32 row;  // its offset in the table, in bytes
};

// Tile is the part of a batch and of the members that a block is at. Its rows of
// one member after those of another are the stack, which lies in shared memory.
struct Tile {
    const float* x;  // of the first row
    u32 columns, rows;
    u32 inverse;          // of rows, see over
    u32 member, members;  // the first, and how many
    u32 stride;           // of a row of the stack
};

// begin sets a tile's rows.
static __device__ __forceinline__ void begin(Tile& t, const Batch* b, u32 first, u32 rows) {
    t.x = b->x + (u64)first * t.columns;
    t.rows = min(rows, b->rows - first);
    t.inverse = (1 << 20) / t.rows + 1;
}

// over is a divided by the tile's rows, for an a that times rows is less than 2^20.
static __device__ __forceinline__ u32 over(u32 a, const Tile& t) { return a * t.inverse >> 20; }

static __device__ __forceinline__ u32 head(const u32* model, u32 word) { return __ldg(model + word); }

static __device__ __forceinline__ const float* part(const u32* model, u32 word) {
    return (const float*)((const char*)model + __ldg(model + word));
}

static __device__ __forceinline__ float4 load4(const float* p) { return __ldg((const float4*)p); }

// ---- section 1: operations ---------------------------------------------------

// smaller and larger are the arithmetic's min and max, which differ from
// min.f32 and max.f32 in what they make of NaN and of zeros of both signs.
static __device__ __forceinline__ float smaller(float a, float b) { return a < b ? a : b; }
static __device__ __forceinline__ float larger(float a, float b) { return a > b ? a : b; }

static __device__ __forceinline__ float exponential(float x) {
    const float magic = 12582912.0f;  // adding it rounds to an integer
    float n = __fsub_rn(__fmaf_rn(x, 1.44269504088896341f, magic), magic);
    float r = __fmaf_rn(n, -0.693359375f, x);
    r = __fmaf_rn(n, 2.12194440e-4f, r);
    float p = 1.9875691500e-4f;
    p = __fmaf_rn(p, r, 1.3981999507e-3f);
    p = __fmaf_rn(p, r, 8.3334519073e-3f);
    p = __fmaf_rn(p, r, 4.1665795894e-2f);
    p = __fmaf_rn(p, r, 1.6666665459e-1f);
    p = __fmaf_rn(p, r, 5.0000001201e-1f);
    p = __fmaf_rn(p, __fmul_rn(r, r), r);
    p = __fadd_rn(p, 1.0f);
    return __int_as_float(__float_as_int(p) + (__float2int_rz(n) << 23));
}

static __device__ __forceinline__ float logarithm(float x) {
    x = larger(smaller(x, 3.402823466e38f), 1.175494351e-38f);
    int bits = __float_as_int(x);
    int e = (bits - 0x3f3504f3) >> 23;
    float f = __fsub_rn(__int_as_float(bits - (e << 23)), 1.0f);
    float n = __int2float_rn(e);
    float p = 7.0376836292e-2f;
    p = __fmaf_rn(p, f, -1.1514610310e-1f);
    p = __fmaf_rn(p, f, 1.1676998740e-1f);
    p = __fmaf_rn(p, f, -1.2420140846e-1f);
    p = __fmaf_rn(p, f, 1.4249322787e-1f);
    p = __fmaf_rn(p, f, -1.6668057665e-1f);
    p = __fmaf_rn(p, f, 2.0000714765e-1f);
    p = __fmaf_rn(p, f, -2.4999993993e-1f);
    p = __fmaf_rn(p, f, 3.3333331174e-1f);
    float q = __fmul_rn(f, f);
    p = __fmul_rn(__fmul_rn(p, f), q);
    p = __fmaf_rn(n, -2.12194440e-4f, p);
    p = __fmaf_rn(q, -0.5f, p);
    return __fmaf_rn(n, 0.693359375f, __fadd_rn(f, p));
}

static __device__ __forceinline__ float sigmoid(float x) {
    x = larger(smaller(x, 80.0f), -80.0f);
    return __fdiv_rn(1.0f, __fadd_rn(1.0f, exponential(-x)));
}

// ---- section 2: inputs -------------------------------------------------------

struct __align__(16) Input {
    u32 column, log, edges, segments;
    u32 row, missingSegment;
    float missing, mean;
    float inv, lo, hi, zero;
};

static __device__ __forceinline__ Input input(const float* inputs, u32 i) {
    const float4* p = (const float4*)inputs + 3 * i;
    Input in;
    ((float4*)&in)[0] = __ldg(p);
    ((float4*)&in)[1] = __ldg(p + 1);
    ((float4*)&in)[2] = __ldg(p + 2);
    return in;
}

static __device__ __forceinline__ float standardise(const Input& in, float x) {
    if (in.log) {
        const int sign = 0x80000000;
        float a = __int_as_float(__float_as_int(x) & ~sign);
        x = __int_as_float(__float_as_int(logarithm(__fadd_rn(a, 1.0f))) | (__float_as_int(x) & sign));
    }
    float z = __fmul_rn(__fsub_rn(x, in.mean), in.inv);
    return larger(smaller(z, in.hi), in.lo);
}

// prepare makes the terms of so many inputs from one on ready, for the tile's
// rows. A thread takes four at a time, so that their loads overlap.
template <int THREADS>
static __device__ __forceinline__ void prepare(Term* terms, const u32* model, const Tile& t, u32 first, u32 inputs) {
    const int AT_ONCE = 4;
    const float *edges = part(model, EDGE_AT), *list = part(model, INPUT_AT);
    u32 all = t.rows * inputs, bytes = 8 * head(model, WIDTH), half = (1u << head(model, STEPS)) >> 1;
    for (u32 at = threadIdx.x; at < all; at += AT_ONCE * THREADS) {
        Input in[AT_ONCE];
        float x[AT_ONCE], z[AT_ONCE];
        u32 b[AT_ONCE];
#pragma unroll
        for (int q = 0; q < AT_ONCE; q++) {
            u32 a = min(at + q * THREADS, all - 1);
            u32 i = over(a, t), row = a - i * t.rows;
            in[q] = input(list, first + i);
            x[q] = __ldg(&t.x[(u64)row * t.columns + in[q].column]);
        }
#pragma unroll
        for (int q = 0; q < AT_ONCE; q++) {
            z[q] = standardise(in[q], x[q]);
            b[q] = 0;
        }
        for (u32 step = half; step > 0; step >>= 1)
#pragma unroll
            for (int q = 0; q < AT_ONCE; q++) {
                u32 up = b[q] + step;
                if (up < in[q].segments && __ldg(&edges[in[q].edges + up]) <= z[q]) b[q] = up;
            }
#pragma unroll
        for (int q = 0; q < AT_ONCE; q++) {
            bool missing = x[q] != x[q];
            Term term;
            term.u = missing ? in[q].missing : __fsub_rn(z[q], __ldg(&edges[in[q].edges + b[q]]));
            term.row = (in[q].row + (missing ? in[q].missingSegment : b[q])) * bytes;
            if (at + q * THREADS < all) terms[at + q * THREADS] = term;
        }
    }
}

// ---- section 3: encoding -----------------------------------------------------

static __device__ __forceinline__ float4 add(float4 acc, float u, float4 prefix, float4 slope) {
    acc.x = __fmaf_rn(u, slope.x, __fadd_rn(acc.x, prefix.x));
    acc.y = __fmaf_rn(u, slope.y, __fadd_rn(acc.y, prefix.y));
    acc.z = __fmaf_rn(u, slope.z, __fadd_rn(acc.z, prefix.z));
    acc.w = __fmaf_rn(u, slope.w, __fadd_rn(acc.w, prefix.w));
    return acc;
}

// adapt is what becomes of a layer's sum: h, times the next layer's R.
static __device__ __forceinline__ float adapt(float acc, float s, float b, float r) {
    return __fmul_rn(fmaxf(__fmaf_rn(acc, s, b), 0.0f), r);
}

static __device__ __forceinline__ float4 adapt4(float4 acc, const float* adapters, u32 width) {
    float4 s = load4(adapters), b = load4(adapters + width), r = load4(adapters + 2 * width);
    return make_float4(adapt(acc.x, s.x, b.x, r.x), adapt(acc.y, s.y, b.y, r.y), adapt(acc.z, s.z, b.z, r.z),
                       adapt(acc.w, s.w, b.w, r.w));
}

// ---- section 5: output -------------------------------------------------------

// mean is section 5's, of the sigmoids of a tile's row.
static __device__ __forceinline__ float mean(const float* dot, u32 rows, u32 members) {
    float sum = 0.0f;
    for (u32 m = 0; m < members; m++) sum = __fadd_rn(sum, dot[m * rows]);
    return __fdiv_rn(sum, __uint2float_rn(members));
}

// finish has the last block that gets here tell the host that all scores are
// there. The ticket is 0 again behind it.
static __device__ __forceinline__ void finish(u32* ticket, u64* done, u64 seq) {
    __threadfence_system();
    __syncthreads();
    if (threadIdx.x > 0 || atomicInc(ticket, gridDim.x - 1) != gridDim.x - 1) return;
    __threadfence_system();
    *(volatile u64*)done = seq;
}

