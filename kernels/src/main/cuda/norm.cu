// Normalisations of the joint-attention blocks: adaptive LayerNorm with modulation, RMSNorm of queries and keys with head split; forward and backward.
// T is f32 or bf16, sums are f32. One warp does one row wherever a row is a token: its sums are shuffles, no barrier, and rows of the residual stream
// (96 to 3072 wide) pass through the first-level cache between the passes over them.
#include "columns.cuh"
#include "reduce.cuh"
#include "storage.cuh"

namespace {

constexpr int WARPS = 4;             // rows a block does where a warp does a row
constexpr int MODULATION_WARPS = 8;  // warps that share the tokens of one sample
constexpr int TOKENS_PER_PARTIAL = 16, HEADS_PER_PARTIAL = 4;

// Adaptive LayerNorm with modulation.
//
//   out = (x - mean) rstd (1 + scale) + shift,   rstd = 1 / sqrt(mean((x - mean)^2) + eps)
//
//   x      [rows, d] f32     residual stream; rows = batch * rowsPerSample
//   shift  [batch, d] f32    of this sample, samples modStride apart; scale likewise
//   out    [rows, d] T
//   stats  [rows, 2] f32     mean, rstd for the backward; may be null
//
// Traffic: reads 4 d, writes sizeof(T) d bytes a row, which is the least possible; the second and third pass over the row hit the cache.
// Shared by blocks, adaptive_layer_norm: shift and scale of a sample, 8 d bytes that each 4 of its rows read again, from the second-level cache.
// Launch:  grid ceil(rows / 4), 4 warps, a row a warp: the order of a row's sums depends on d alone.
template <typename T>
__device__ __forceinline__ void adaptive_layer_norm(const float* __restrict__ x, const float* __restrict__ shift, const float* __restrict__ scale,
                                                    T* __restrict__ out, float* __restrict__ stats,
                                                    int modStride, int rows, int d, int rowsPerSample, float eps) {
    const int row = blockIdx.x * WARPS + (threadIdx.x >> 5);
    if (row >= rows) return;
    const long sample = (long)(row / rowsPerSample) * modStride;
    x += (long)row * d;
    out += (long)row * d;
    shift += sample;
    scale += sample;
    const float inverse = 1.f / (float)d;
    float sum = 0.f, squares = 0.f;
    for_columns(d, [&](int c) { sum += x[c]; });
    const float mean = warp_sum(sum) * inverse;
    for_columns(d, [&](int c) { const float e = x[c] - mean; squares += e * e; });
    const float rstd = rsqrtf(warp_sum(squares) * inverse + eps);
    for_columns(d, [&](int c) { store1(out, c, (x[c] - mean) * rstd * (1.f + scale[c]) + shift[c]); });
    if (stats != nullptr) {  // every lane stores the same: no branch inside the warp
        stats[2L * row] = mean;
        stats[2L * row + 1] = rstd;
    }
}

// Gradient of adaptive LayerNorm with respect to x, added to the gradient of the residual stream.
//
//   dx += rstd (g - mean(g) - h mean(g h)),   g = dOut (1 + scale),  h = (x - mean) rstd
//
// Traffic: reads (8 + sizeof(T)) d, writes 4 d bytes a row (x, dx, dOut; dx), each once.
// Shared by blocks, adaptive_layer_norm_backward: scale of a sample, 4 d bytes that each 4 of its rows read again, from the second-level cache.
// Launch:  grid ceil(rows / 4), 4 warps, a row a warp.
template <typename T>
__device__ __forceinline__ void adaptive_layer_norm_backward(const float* __restrict__ x, const float* __restrict__ scale, const float* __restrict__ stats,
                                                             const T* __restrict__ dOut, float* __restrict__ dx,
                                                             int modStride, int rows, int d, int rowsPerSample) {
    const int row = blockIdx.x * WARPS + (threadIdx.x >> 5);
    if (row >= rows) return;
    x += (long)row * d;
    dOut += (long)row * d;
    dx += (long)row * d;
    scale += (long)(row / rowsPerSample) * modStride;
    const float mean = stats[2L * row], rstd = stats[2L * row + 1], inverse = 1.f / (float)d;
    float sumG = 0.f, sumGh = 0.f;
    for_columns(d, [&](int c) {
        const float g = load1(dOut, c) * (1.f + scale[c]);
        sumG += g;
        sumGh += g * ((x[c] - mean) * rstd);
    });
    const float meanG = warp_sum(sumG) * inverse, meanGh = warp_sum(sumGh) * inverse;
    for_columns(d, [&](int c) {
        const float g = load1(dOut, c) * (1.f + scale[c]), h = (x[c] - mean) * rstd;
        dx[c] += rstd * (g - meanG - h * meanGh);
    });
}

// Gradient of adaptive LayerNorm with respect to the modulation of a sample.
//
//   dShift[b, c] = sum over tokens of dOut,   dScale[b, c] = sum over tokens of dOut h
//
// Traffic: reads (4 + sizeof(T)) rows d bytes, each once.
// Shared by blocks, modulation_gradient: the statistics, 8 bytes a row that each 32 columns read again; and where d leaves rows that do not begin with a sector, the sectors at
//          the seams of columns.
// Launch:  grid (ceil(d / 32), batch), 8 warps: warp w adds tokens w, w + 8, ... of 32 columns, then the warps are added in order.
template <typename T>
__device__ __forceinline__ void modulation_gradient(const float* __restrict__ x, const float* __restrict__ stats, const T* __restrict__ dOut,
                                                    float* __restrict__ dShift, float* __restrict__ dScale, int modStride, int d, int rowsPerSample) {
    const int warp = threadIdx.x >> 5, c = blockIdx.x * 32 + (threadIdx.x & 31);
    const long first = (long)blockIdx.y * rowsPerSample;
    float shiftSum = 0.f, scaleSum = 0.f;
    if (c < d) {
        #pragma unroll 2
        for (int t = warp; t < rowsPerSample; t += MODULATION_WARPS) {
            const long row = first + t;
            const float mean = stats[2 * row], rstd = stats[2 * row + 1], g = load1(dOut + row * d, c);
            shiftSum += g;
            scaleSum += g * ((x[row * d + c] - mean) * rstd);
        }
    }
    shiftSum = column_sum<MODULATION_WARPS>(shiftSum);
    scaleSum = column_sum<MODULATION_WARPS>(scaleSum);
    if (warp == 0) {
        if (c < d) {
            dShift[(long)blockIdx.y * modStride + c] = shiftSum;
            dScale[(long)blockIdx.y * modStride + c] = scaleSum;
        }
    }
}

// RMSNorm of queries and keys, their rotary embedding, split into heads.
//
//   q = rotated(x weight / sqrt(mean(x^2) + eps)) over each head; v = x        without weights q = rotated(x), without a rope nothing is rotated
//   rotated: (a, b) of each pair of neighbours becomes (a cos - b sin, b cos + a sin)
//
//   qkv      [batch, streamTokens, 3, heads, D] T   one stream's fused projection
//   q, k, v  [batch, heads, tokens, D] T            joint sequence; this stream's tokens start at tokenOffset
//   rope     [tokens, D / 2] (cos, sin)             of each pair at each place of the joint sequence, or null
//   meanOf   numbers of a head that count in its mean: D, or fewer where a head is padded with zeros
//
// Traffic: reads and writes 3 heads D values a token, each once, and 4 D bytes of the rope.
// Shared by blocks, qk_norm_split: the weights, 8 D bytes that each 4 tokens read again, from the second-level cache.
// Launch:  grid ceil(batch * streamTokens / 4), 4 warps: a warp does a token, head after head (D / 32 values a lane), and reads its row in order.
// This lane's number of a pair after the rotation, or with BACK after the one back; the other one is the neighbour's.
template <bool BACK>
__device__ __forceinline__ float rotated(float x, float2 turn) {
    const float other = __shfl_xor_sync(0xffffffffu, x, 1);
    return x * turn.x + ((threadIdx.x & 1) != BACK ? other : -other) * turn.y;
}

template <typename T, int D>
__device__ __forceinline__ void qk_norm_heads(const T* __restrict__ qkv, const float* __restrict__ qWeight, const float* __restrict__ kWeight,
                                              const float2* __restrict__ rope, T* __restrict__ q, T* __restrict__ k, T* __restrict__ v, int heads, long headStride,
                                              float inverse, float eps) {
    constexpr int N = D / 32;
    const int lane = threadIdx.x & 31;
    float weightQ[N], weightK[N];
    float2 turn[N];
    #pragma unroll
    for (int j = 0; j < N; j++) {
        weightQ[j] = qWeight ? qWeight[32 * j + lane] : 1.f;
        weightK[j] = kWeight ? kWeight[32 * j + lane] : 1.f;
        turn[j] = rope ? rope[16 * j + lane / 2] : make_float2(1.f, 0.f);
    }
    for (int h = 0; h < heads; h++) {
        float a[N], b[N], squaresA = 0.f, squaresB = 0.f;
        const T* in = qkv + h * D;
        const long out = h * headStride;
        #pragma unroll
        for (int j = 0; j < N; j++) {
            a[j] = load1(in, 32 * j + lane);
            b[j] = load1(in + heads * D, 32 * j + lane);
            v[out + 32 * j + lane] = in[2 * heads * D + 32 * j + lane];
            squaresA += a[j] * a[j];
            squaresB += b[j] * b[j];
        }
        float rootA = rsqrtf(warp_sum(squaresA) * inverse + eps), rootB = rsqrtf(warp_sum(squaresB) * inverse + eps);
        if (!qWeight) rootA = rootB = 1.f;
        #pragma unroll
        for (int j = 0; j < N; j++) {
            a[j] *= rootA * weightQ[j];
            b[j] *= rootB * weightK[j];
            if (rope) { a[j] = rotated<false>(a[j], turn[j]); b[j] = rotated<false>(b[j], turn[j]); }
            store1(q + out, 32 * j + lane, a[j]);
            store1(k + out, 32 * j + lane, b[j]);
        }
    }
}

template <typename T>
__device__ __forceinline__ void qk_norm_split(const T* __restrict__ qkv, const float* __restrict__ qWeight, const float* __restrict__ kWeight,
                                              const float2* __restrict__ rope, T* __restrict__ q, T* __restrict__ k, T* __restrict__ v,
                                              int batch, int streamTokens, int heads, int headDim, int tokenOffset, int tokens, int meanOf, float eps) {
    const int row = blockIdx.x * WARPS + (threadIdx.x >> 5);
    if (row >= batch * streamTokens) return;
    const int sample = row / streamTokens, token = row - sample * streamTokens + tokenOffset;
    const long head = (long)tokens * headDim, out = sample * heads * head + (long)token * headDim;
    const float inverse = 1.f / meanOf;
    qkv += (long)row * 3 * heads * headDim;
    if (rope) rope += (long)token * (headDim / 2);
    if (headDim == 32) qk_norm_heads<T, 32>(qkv, qWeight, kWeight, rope, q + out, k + out, v + out, heads, head, inverse, eps);
    else if (headDim == 64) qk_norm_heads<T, 64>(qkv, qWeight, kWeight, rope, q + out, k + out, v + out, heads, head, inverse, eps);
    else qk_norm_heads<T, 128>(qkv, qWeight, kWeight, rope, q + out, k + out, v + out, heads, head, inverse, eps);
}

// Backward of the head split. With r = 1 / sqrt(mean(x^2) + eps), computed again, dq rotated back, and g = dq weight (without weights r is 1 and dx = g):
//
//   dx = r (g - x r^2 mean(g x)),   dWeight = sum over samples, tokens and heads of dq x r
//
//   dqkv      [batch, streamTokens, 3, heads, D] T    may be qkv: a warp has read a head before it writes it
//   partials  [chunks, 2, D] f32                      sums of 16 tokens and 4 heads: first the query weight's, then the key weight's
//
// Traffic: reads 5 heads D values a token (q and k again, three gradients), writes 3 heads D, each once.
// Launch:  grid (batch ceil(streamTokens / 16), ceil(heads / 4)), 4 warps: a warp does 4 tokens and 4 heads of one sample, so that a chunk's sum depends on that sample alone. Enough
//          warps for a large GPU: with 16 tokens and all heads each, an H100 was at a tenth of its bandwidth.
template <typename T, int D>
__device__ __forceinline__ void qk_norm_backward_chunk(const T* qkv, const float* __restrict__ qWeight, const float* __restrict__ kWeight,
                                                       const float2* __restrict__ rope, const T* __restrict__ dq, const T* __restrict__ dk, const T* __restrict__ dv,
                                                       T* dqkv, float* __restrict__ partials, int count, int group, int heads, long headStride, float inverse, float eps) {
    constexpr int N = D / 32;
    const int lane = threadIdx.x & 31;
    float weightQ[N], weightK[N], sumQ[N], sumK[N];
    #pragma unroll
    for (int j = 0; j < N; j++) {
        weightQ[j] = qWeight ? qWeight[32 * j + lane] : 1.f;
        weightK[j] = kWeight ? kWeight[32 * j + lane] : 1.f;
        sumQ[j] = sumK[j] = 0.f;
    }
    #pragma unroll 1
    for (int t = 0; t < count; t++) {
        #pragma unroll 1
        for (int h = 0; h < group; h++) {
            const int in = (t * 3 * heads + h) * D + lane;  // a warp has 4 tokens: offsets within them are small
            const long out = h * headStride + t * D + lane;
            float a[N], b[N], ga[N], gb[N], squaresA = 0.f, squaresB = 0.f, dotA = 0.f, dotB = 0.f;
            #pragma unroll
            for (int j = 0; j < N; j++) {
                a[j] = load1(qkv, in + 32 * j);
                b[j] = load1(qkv, in + heads * D + 32 * j);
                ga[j] = load1(dq, out + 32 * j);
                gb[j] = load1(dk, out + 32 * j);
                if (rope) {
                    const float2 turn = rope[t * (D / 2) + 16 * j + lane / 2];
                    ga[j] = rotated<true>(ga[j], turn);
                    gb[j] = rotated<true>(gb[j], turn);
                }
                squaresA += a[j] * a[j];
                squaresB += b[j] * b[j];
                dotA += ga[j] * weightQ[j] * a[j];
                dotB += gb[j] * weightK[j] * b[j];
            }
            float rootA = rsqrtf(warp_sum(squaresA) * inverse + eps), rootB = rsqrtf(warp_sum(squaresB) * inverse + eps);
            float pullA = rootA * rootA * warp_sum(dotA) * inverse, pullB = rootB * rootB * warp_sum(dotB) * inverse;
            if (!qWeight) { rootA = rootB = 1.f; pullA = pullB = 0.f; }
            #pragma unroll
            for (int j = 0; j < N; j++) {
                sumQ[j] += ga[j] * a[j] * rootA;
                sumK[j] += gb[j] * b[j] * rootB;
                store1(dqkv, in + 32 * j, rootA * (ga[j] * weightQ[j] - a[j] * pullA));
                store1(dqkv, in + heads * D + 32 * j, rootB * (gb[j] * weightK[j] - b[j] * pullB));
                dqkv[in + 2 * heads * D + 32 * j] = dv[out + 32 * j];
            }
        }
    }
    #pragma unroll
    for (int j = 0; j < N; j++) {
        const float q = column_sum<WARPS>(sumQ[j]), k = column_sum<WARPS>(sumK[j]);
        if (threadIdx.x < 32) { partials[32 * j + lane] = q; partials[D + 32 * j + lane] = k; }
    }
}

template <typename T>
__device__ __forceinline__ void qk_norm_split_backward(const T* qkv, const float* __restrict__ qWeight, const float* __restrict__ kWeight,
                                                       const float2* __restrict__ rope, const T* __restrict__ dq, const T* __restrict__ dk, const T* __restrict__ dv,
                                                       T* dqkv, float* __restrict__ partials, int streamTokens, int heads, int headDim, int tokenOffset,
                                                       int tokens, int meanOf, float eps) {
    constexpr int TOKENS = TOKENS_PER_PARTIAL / WARPS;
    const int perSample = (streamTokens + TOKENS_PER_PARTIAL - 1) / TOKENS_PER_PARTIAL, chunk = blockIdx.x, sample = chunk / perSample, h = blockIdx.y * HEADS_PER_PARTIAL;
    const int first = (chunk - sample * perSample) * TOKENS_PER_PARTIAL + (threadIdx.x >> 5) * TOKENS;
    const int count = min(TOKENS, streamTokens - first), group = min(HEADS_PER_PARTIAL, heads - h);
    const long head = (long)tokens * headDim, out = ((long)sample * heads + h) * head + (long)(tokenOffset + first) * headDim;
    const long in = (((long)sample * streamTokens + first) * 3 * heads + h) * headDim;
    const float inverse = 1.f / meanOf;
    partials += 2L * (chunk * gridDim.y + blockIdx.y) * headDim;
    if (rope) rope += (long)(tokenOffset + first) * (headDim / 2);
    qkv += in; dqkv += in; dq += out; dk += out; dv += out;
    if (headDim == 32) qk_norm_backward_chunk<T, 32>(qkv, qWeight, kWeight, rope, dq, dk, dv, dqkv, partials, count, group, heads, head, inverse, eps);
    else if (headDim == 64) qk_norm_backward_chunk<T, 64>(qkv, qWeight, kWeight, rope, dq, dk, dv, dqkv, partials, count, group, heads, head, inverse, eps);
    else qk_norm_backward_chunk<T, 128>(qkv, qWeight, kWeight, rope, dq, dk, dv, dqkv, partials, count, group, heads, head, inverse, eps);
}

}  // namespace

// Second stage of the q/k weight gradients: dqWeight += sum over chunks of partials[:, 0], dkWeight += ... [:, 1].
//
// Traffic: reads 8 D bytes a chunk, each once.
// Launch:  grid 2 D / 32, 8 warps: warp w adds chunks w, w + 8, ... of 32 columns, then the warps are added in order.
extern "C" __global__ void __launch_bounds__(256) qk_weight_gradient(const float* __restrict__ partials, float* __restrict__ dqWeight,
                                                                     float* __restrict__ dkWeight, int chunks, int headDim) {
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, column = blockIdx.x * 32;
    float sum = 0.f;
    #pragma unroll 8
    for (int i = warp; i < chunks; i += 8) sum += partials[2L * i * headDim + column + lane];
    sum = column_sum<8>(sum);
    if (warp == 0) {
        float* target = column < headDim ? dqWeight + column : dkWeight + column - headDim;
        target[lane] += sum;
    }
}

#define ENTRIES(T, suffix)                                                                                                                             \
    extern "C" __global__ void __launch_bounds__(128) adaptive_layer_norm_##suffix(                                                                    \
        const float* __restrict__ x, const float* __restrict__ shift, const float* __restrict__ scale, T* __restrict__ out, float* __restrict__ stats, \
        int modStride, int rows, int d, int rowsPerSample, float eps) {                                                                                \
        adaptive_layer_norm<T>(x, shift, scale, out, stats, modStride, rows, d, rowsPerSample, eps);                                                   \
    }                                                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(128) adaptive_layer_norm_backward_##suffix(                                                           \
        const float* __restrict__ x, const float* __restrict__ scale, const float* __restrict__ stats, const T* __restrict__ dOut,                     \
        float* __restrict__ dx, int modStride, int rows, int d, int rowsPerSample) {                                                                   \
        adaptive_layer_norm_backward<T>(x, scale, stats, dOut, dx, modStride, rows, d, rowsPerSample);                                                 \
    }                                                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256) modulation_gradient_##suffix(                                                                    \
        const float* __restrict__ x, const float* __restrict__ stats, const T* __restrict__ dOut, float* __restrict__ dShift,                          \
        float* __restrict__ dScale, int modStride, int d, int rowsPerSample) {                                                                         \
        modulation_gradient<T>(x, stats, dOut, dShift, dScale, modStride, d, rowsPerSample);                                                           \
    }                                                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(128) qk_norm_split_##suffix(                                                                          \
        const T* __restrict__ qkv, const float* __restrict__ qWeight, const float* __restrict__ kWeight, const float2* __restrict__ rope,              \
        T* __restrict__ q, T* __restrict__ k, T* __restrict__ v, int batch, int streamTokens, int heads, int headDim, int tokenOffset, int tokens,     \
        int meanOf, float eps) {                                                                                                                       \
        qk_norm_split<T>(qkv, qWeight, kWeight, rope, q, k, v, batch, streamTokens, heads, headDim, tokenOffset, tokens, meanOf, eps);                 \
    }                                                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(128, 4) qk_norm_split_backward_##suffix(                                                              \
        const T* qkv, const float* __restrict__ qWeight, const float* __restrict__ kWeight, const float2* __restrict__ rope,                           \
        const T* __restrict__ dq, const T* __restrict__ dk, const T* __restrict__ dv, T* dqkv, float* __restrict__ partials, int streamTokens,         \
        int heads, int headDim, int tokenOffset, int tokens, int meanOf, float eps) {                                                                  \
        qk_norm_split_backward<T>(qkv, qWeight, kWeight, rope, dq, dk, dv, dqkv, partials, streamTokens, heads, headDim, tokenOffset, tokens, meanOf,  \
                                  eps);                                                                                                                \
    }

ENTRIES(float, f32)
ENTRIES(__nv_bfloat16, bf16)
