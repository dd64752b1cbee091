/* The arithmetic of scoring/doc.go over the image that scoring/cuda/kernels packs.
 * Compile without contraction of products and sums: fmaf is where the text says fma. */
#include "score.h"

#include <math.h>
#include <string.h>

enum { WIDTH_MAX = 4096 };

static float from_bits(uint32_t b) { float f; memcpy(&f, &b, 4); return f; }
static uint32_t to_bits(float f) { uint32_t b; memcpy(&b, &f, 4); return b; }
static float lower(float a, float b) { return a < b ? a : b; }
static float higher(float a, float b) { return a > b ? a : b; }

static float weir_exp(float x) {
    float n = fmaf(x, 1.44269504088896341f, 0x1.8p23f) - 0x1.8p23f;
    float r = fmaf(n, 2.12194440e-4f, fmaf(n, -0.693359375f, x));
    float p = 1.9875691500e-4f;
    p = fmaf(p, r, 1.3981999507e-3f);
    p = fmaf(p, r, 8.3334519073e-3f);
    p = fmaf(p, r, 4.1665795894e-2f);
    p = fmaf(p, r, 1.6666665459e-1f);
    p = fmaf(p, r, 5.0000001201e-1f);
    float q = r * r;
    p = fmaf(p, q, r) + 1.0f;
    return from_bits(to_bits(p) + ((uint32_t)(int32_t)n << 23));
}

static float weir_log(float x) {
    x = higher(lower(x, 0x1.fffffep127f), 0x1p-126f);
    uint32_t b = to_bits(x);
    int32_t e = (int32_t)(b - 0x3f3504f3) >> 23;
    float f = from_bits(b - ((uint32_t)e << 23)) - 1.0f, n = (float)e;
    float p = 7.0376836292e-2f;
    p = fmaf(p, f, -1.1514610310e-1f);
    p = fmaf(p, f, 1.1676998740e-1f);
    p = fmaf(p, f, -1.2420140846e-1f);
    p = fmaf(p, f, 1.4249322787e-1f);
    p = fmaf(p, f, -1.6668057665e-1f);
    p = fmaf(p, f, 2.0000714765e-1f);
    p = fmaf(p, f, -2.4999993993e-1f);
    p = fmaf(p, f, 3.3333331174e-1f);
    float q = f * f;
    p = p * f;
    p = p * q;
    p = fmaf(n, -2.12194440e-4f, p);
    p = fmaf(q, -0.5f, p);
    float s = f + p;
    return fmaf(n, 0.693359375f, s);
}

static float sigmoid(float x) {
    x = higher(lower(x, 80.0f), -80.0f);
    return 1.0f / (1.0f + weir_exp(-x));
}

static const float *part(const uint32_t *model, uint32_t offset) { return (const float *)((const char *)model + offset); }

/* encode adds the terms of every input to code. */
static void encode(const uint32_t *m, const float *row, float *code) {
    const uint32_t *in = (const uint32_t *)part(m, m[10]);
    const float *edges = part(m, m[11]), *table = part(m, m[12]);
    uint32_t width = m[5];
    memset(code, 0, 4 * width);
    for (uint32_t i = 0; i < m[4]; i++, in += 12) {
        float f[12], x = row[in[0]], u = from_bits(in[6]);
        memcpy(f, in, sizeof f);
        uint32_t b = in[5];
        if (x == x) {
            if (in[1]) x = from_bits(to_bits(weir_log(from_bits(to_bits(x) & 0x7fffffff) + 1.0f)) | (to_bits(x) & 0x80000000));
            float z = x - f[7];
            z = z * f[8];
            z = higher(lower(z, f[10]), f[9]);
            const float *e = edges + in[2];
            b = 0;
            for (uint32_t j = 1; j < in[3]; j++) b += e[j] <= z;
            u = z - e[b];
        }
        const float *prefix = table + (size_t)(in[4] + b) * 2 * width, *slope = prefix + width;
        for (uint32_t j = 0; j < width; j++) {
            float s = code[j] + prefix[j];
            code[j] = fmaf(u, slope[j], s);
        }
    }
}

/* multiply adds to acc the product of h, rounded to half precision, and a matrix of that
 * in the order in which tensor cores take it. */
static void multiply(const uint16_t *w, uint32_t before, uint32_t width, const float *h, float *acc) {
    static __thread float in[WIDTH_MAX], row[16][16];
    for (uint32_t i = 0; i < before; i++) in[i] = (float)(_Float16)h[i];
    for (uint32_t i = 0; i < before; i += 16)
        for (uint32_t j = 0; j < width; j += 16) {
            for (uint32_t lane = 0; lane < 32; lane++)
                for (uint32_t q = 0; q < 4; q++)
                    for (uint32_t n = 0; n < 2; n++) {
                        _Float16 b;
                        memcpy(&b, w++, 2);
                        row[q % 2 * 8 + lane % 4 * 2 + n][q / 2 * 8 + lane / 4] = (float)b;
                    }
            for (uint32_t r = 0; r < 16; r++)
                for (uint32_t c = 0; c < 16; c++) acc[j + c] += in[i + r] * row[r][c];
        }
}

/* member returns the dot product of one member. */
static float member(int half, const uint32_t *m, uint32_t k, const float *code) {
    static __thread float acc[WIDTH_MAX], h[WIDTH_MAX];
    uint32_t before = 0;
    if (!m[7]) return code[0];
    for (uint32_t l = 0; l < m[7]; l++) {
        uint32_t width = m[16 + 4 * l];
        const float *w = part(m, m[17 + 4 * l]), *s = part(m, m[18 + 4 * l]) + (size_t)3 * width * k;
        if (!l) memcpy(acc, code, 4 * width);
        else memset(acc, 0, 4 * width);
        if (half && l) multiply((const uint16_t *)w, before, width, h, acc);
        for (uint32_t i = 0; i < before && !half; i++)
            for (uint32_t j = 0; j < width; j++) acc[j] = fmaf(h[i], w[i * width + j], acc[j]);
        for (uint32_t j = 0; j < width; j++) {
            float v = higher(fmaf(acc[j], s[j], s[width + j]), 0.0f);
            h[j] = v * s[2 * width + j];
        }
        before = width;
    }
    const float *out = part(m, m[13]) + (size_t)k * m[15];
    float lane[32] = {0};
    for (uint32_t j = 0; j < m[15]; j++) lane[j % 32] = fmaf(h[j], out[j], lane[j % 32]);
    for (int d = 16; d; d /= 2)
        for (int l = 0; l < d; l++) lane[l] = lane[l] + lane[l + d];
    return lane[0];
}

int score(int half, const uint32_t *m, const float *x, uint32_t rows, uint32_t columns, float *out) {
    static __thread float code[WIDTH_MAX];
    if (m[0] != 0x72696577 || m[1] != (half ? 2 : 1) || m[3] != columns || m[9] > WIDTH_MAX) return 0;
    const float *bias = part(m, m[14]);
    for (uint32_t i = 0; i < rows; i++) {
        encode(m, x + (size_t)i * columns, code);
        float sum = 0;
        for (uint32_t k = 0; k < m[6]; k++) sum = sum + sigmoid(member(half, m, k, code) + bias[k]);
        out[i] = sum / (float)m[6];
    }
    return 1;
}
