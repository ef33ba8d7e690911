// Flash attention over the joint sequence in f32, forward and backward: f32 products and sums by fused multiply-adds, so that f32 storage keeps f32 accuracy.
//
//   q, k, v   [batch, heads, tokens, D] f32              D = 32, 64, 128; any number of tokens
//   outA      [batch, tokensA, heads * D] f32            the first tokensA tokens (image stream), heads side by side
//   outB      [batch, tokens - tokensA, heads * D] f32   the others (text stream); null: they have no output and no gradient
//   lse       [batch, heads, tokens] f32                 logarithm of each softmax' denominator
//
// A lane owns a row (a query, or a key in the key gradients): its operands lie in shared memory column after column, 32 lanes side by side, its sums in
// registers. The rows of the other side pass by in shared memory and are read by all lanes at once. So nothing is exchanged between lanes. Tiles hold zeros
// beyond the last token. There are no atomics: key and query gradients are separate kernels that compute the probabilities again (7 products instead of 5), so
// that the same inputs give the same bits, and a sample's bits do not depend on the batch.
#include "attention.cuh"

namespace {

constexpr int STEP = 8;  // rows of the other side at a time

// Warps of a block, by how many operands a lane owns, and rows of the other side in shared memory (of two matrices): together 48 KB, what every GPU has.
template <int D, int OPERANDS> struct Block {
    static constexpr int WARPS = D * OPERANDS <= 64 ? 4 : D * OPERANDS <= 128 ? 2 : 1;
    static constexpr int ROWS = 32 * WARPS;
    static constexpr int OWN = 32 * D;  // floats of an operand of a warp
    static constexpr int TILE = (12288 - WARPS * OPERANDS * OWN) / (2 * D);
};

// Element (row, column) of 32 x 32: groups of four columns change places from row to row, so that rows and columns alike fall into different banks.
__device__ __forceinline__ int swizzled(int row, int column) { return row * 32 + (((column >> 2) ^ (row & 7)) << 2) + (column & 3); }

// The same where the row is known when it is compiled: nothing changes places in row 0, which nvcc would find by other arithmetic.
__device__ __forceinline__ int in_row(int row, int column) { return row == 0 ? column : swizzled(row, column); }

// This warp's 32 rows of a matrix, times factor, column after column. Rows that do not exist become zeros.
template <int D>
__device__ __forceinline__ void load_own(float* own, const Rows<const float>& src, int matrixRow, float factor) {
    const int lane = threadIdx.x & 31;
    #pragma unroll 1
    for (int column = 0; column < D; column += 32, own += 1024) {
        #pragma unroll 1
        for (int r = 0; r < 32; r += 8) {
            #pragma unroll
            for (int i = 0; i < 8; i++) own[r * 32 + in_row(i, lane)] = matrixRow + r + i < src.count ? src[matrixRow + r + i][column + lane] : 0.f;
        }
        __syncwarp();
        float4 x[8];
        #pragma unroll
        for (int g = 0; g < 8; g++) x[g] = *reinterpret_cast<const float4*>(own + swizzled(lane, 4 * g));
        __syncwarp();
        #pragma unroll
        for (int g = 0; g < 8; g++) {
            own[128 * g + lane] = x[g].x * factor;
            own[128 * g + 32 + lane] = x[g].y * factor;
            own[128 * g + 64 + lane] = x[g].z * factor;
            own[128 * g + 96 + lane] = x[g].w * factor;
        }
        __syncwarp();
    }
}

// This warp's 32 rows of results to a matrix, through shared memory so that rows are written whole.
template <int D>
__device__ __forceinline__ void store_own(const Rows<float>& out, int matrixRow, float* shared, const float (&c)[D], float factor) {
    const int lane = threadIdx.x & 31;
    #pragma unroll
    for (int column = 0; column < D; column += 32) {
        __syncwarp();
        #pragma unroll
        for (int g = 0; g < 32; g += 4) {
            store4(shared, swizzled(lane, g) / 4, make_float4(c[column + g] * factor, c[column + g + 1] * factor, c[column + g + 2] * factor, c[column + g + 3] * factor));
        }
        __syncwarp();
        #pragma unroll 1
        for (int r = 0; r < 32; r += 8) {
            #pragma unroll
            for (int i = 0; i < 8; i++) {
                if (matrixRow + r + i < out.count) out[matrixRow + r + i][column + lane] = shared[r * 32 + in_row(i, lane)];
            }
        }
    }
}

// Rows first, first + 1, ... of a matrix into a tile, as many as fit, up to a whole step; those that do not exist become zeros.
template <int D, typename B>
__device__ __forceinline__ void load_tile(float* tile, const Rows<const float>& src, int first) {
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, end = min(B::TILE, (src.count - first + STEP - 1) / STEP * STEP);
    #pragma unroll 4
    for (int r = warp; r < end; r += B::WARPS) {
        const bool exists = first + r < src.count;
        #pragma unroll
        for (int column = 0; column < D; column += 32) tile[r * D + column + lane] = exists ? src[first + r][column + lane] : 0.f;
    }
}

// Four neighbours of a tile, the same for all lanes. As one instruction: what nvcc makes of float4 here, one load or several, is not the same for every checkout.
__device__ __forceinline__ float4 load_tile4(const float* p) {
    float4 v;
    asm volatile("ld.shared.v4.f32 {%0,%1,%2,%3}, [%4];" : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "r"((unsigned)__cvta_generic_to_shared(p)) : "memory");
    return v;
}

// c[j] = own row times row j of a tile
template <int D>
__device__ __forceinline__ void dots(float (&c)[STEP], const float* own, const float* tile) {
    const int lane = threadIdx.x & 31;
    #pragma unroll
    for (int j = 0; j < STEP; j++) c[j] = 0.f;
    #pragma unroll 4
    for (int d = 0; d < D; d += 4) {  // not unrolled whole: what was read of the tile would be kept for accumulate, in more registers than there are
        float4 x[STEP];
        #pragma unroll
        for (int j = 0; j < STEP; j++) x[j] = load_tile4(tile + j * D + d);
        float a = own[32 * d + lane];
        #pragma unroll
        for (int j = 0; j < STEP; j++) c[j] = fmaf(a, x[j].x, c[j]);
        a = own[32 * d + 32 + lane];
        #pragma unroll
        for (int j = 0; j < STEP; j++) c[j] = fmaf(a, x[j].y, c[j]);
        a = own[32 * d + 64 + lane];
        #pragma unroll
        for (int j = 0; j < STEP; j++) c[j] = fmaf(a, x[j].z, c[j]);
        a = own[32 * d + 96 + lane];
        #pragma unroll
        for (int j = 0; j < STEP; j++) c[j] = fmaf(a, x[j].w, c[j]);
    }
}

// sum[d] += sum over j of p[j] times element d of row j of a tile
template <int D>
__device__ __forceinline__ void accumulate(float (&sum)[D], const float (&p)[STEP], const float* tile) {
    #pragma unroll
    for (int d = 0; d < D; d += 4) {
        #pragma unroll
        for (int j = 0; j < STEP; j++) {
            const float4 x = load_tile4(tile + j * D + d);
            sum[d] = fmaf(p[j], x.x, sum[d]);
            sum[d + 1] = fmaf(p[j], x.y, sum[d + 1]);
            sum[d + 2] = fmaf(p[j], x.z, sum[d + 2]);
            sum[d + 3] = fmaf(p[j], x.w, sum[d + 3]);
        }
    }
}

// out = softmax(scale q k^T) v.
//
// Traffic: reads q once, k and v once for every block of queries, writes out and lse once.
// Launch:  grid (ceil(queries / (32 warps)), heads, batch), warps of 32 queries: 4, 4 and 2 of them at D = 32, 64 and 128; 8 keys a step.
template <int D>
__device__ __forceinline__ void attention(const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v, float* __restrict__ outA,
                                          float* __restrict__ outB, float* __restrict__ lse, int tokens, int tokensA, float scale) {
    using B = Block<D, 1>;
    __shared__ __align__(16) float own[B::WARPS * B::OWN], tileK[B::TILE * D], tileV[B::TILE * D];
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, query = blockIdx.x * B::ROWS + 32 * warp, heads = gridDim.y;
    const Rows<const float> rowsK = head_rows(k, heads, tokens, D), rowsV = head_rows(v, heads, tokens, D);
    const Rows<float> out = joint_rows(outA, outB, heads, tokens, tokensA, D);
    const bool active = query < out.count;
    float* mine = own + warp * B::OWN;

    load_own<D>(mine, first_rows(head_rows(q, heads, tokens, D), out.count), query, scale * LOG2_E);
    float largest = -NEVER, denominator = 0.f, sum[D];
    #pragma unroll
    for (int d = 0; d < D; d++) sum[d] = 0.f;
    for (int first = 0; first < tokens; first += B::TILE) {
        const int keys = min(B::TILE, tokens - first);
        __syncthreads();
        load_tile<D, B>(tileK, rowsK, first);
        load_tile<D, B>(tileV, rowsV, first);
        __syncthreads();
        if (active) {
            #pragma unroll 1
            for (int row = 0; row < keys; row += STEP) {
                float s[STEP], top = largest;
                dots<D>(s, mine, tileK + row * D);
                #pragma unroll
                for (int j = 0; j < STEP; j++) {
                    s[j] = row + j < keys ? s[j] : -NEVER;
                    top = fmaxf(top, s[j]);
                }
                const float fade = exp2_approx(largest - top);
                largest = top;
                denominator *= fade;
                #pragma unroll
                for (int j = 0; j < STEP; j++) {
                    s[j] = exp2_approx(s[j] - top);
                    denominator += s[j];
                }
                #pragma unroll
                for (int d = 0; d < D; d++) sum[d] *= fade;
                accumulate<D>(sum, s, tileV + row * D);
            }
        }
    }
    if (!active) return;
    if (lse != nullptr && query + lane < tokens) lse[((long)blockIdx.z * heads + blockIdx.y) * tokens + query + lane] = largest * LN_2 + __logf(denominator);
    store_own<D>(out, query, mine, sum, 1.f / denominator);
}

// Which sums a pass over the queries makes: at D = 128 registers hold one of the two.
enum Pass { VALUES = 1, KEYS = 2 };

template <int D, int PASS, typename B>
__device__ __forceinline__ void key_gradients(float* ownK, const float* ownV, float* tileQ, float* tileD, const Rows<const float>& rowsQ,
                                              const Rows<const float>& rowsD, const float* lse, const float* delta, const Rows<float>& dk, const Rows<float>& dv, int key,
                                              float scale) {
    constexpr bool DV = (PASS & VALUES) != 0, DK = (PASS & KEYS) != 0;
    const int queries = rowsD.count;  // those without an output have no gradient
    const bool active = key < dk.count;
    float sumK[DK ? D : 1], sumV[DV ? D : 1];
    #pragma unroll
    for (int d = 0; d < D; d++) {
        if (DK) sumK[d] = 0.f;
        if (DV) sumV[d] = 0.f;
    }
    for (int first = 0; first < queries; first += B::TILE) {
        __syncthreads();
        load_tile<D, B>(tileQ, first_rows(rowsQ, queries), first);
        load_tile<D, B>(tileD, rowsD, first);
        __syncthreads();
        if (active) {
            const int rows = min(B::TILE, queries - first);
            #pragma unroll 1
            for (int row = 0; row < rows; row += STEP) {
                float p[STEP];
                dots<D>(p, ownK, tileQ + row * D);
                #pragma unroll
                for (int j = 0; j < STEP; j++) p[j] = exp2_approx(p[j] - (row + j < rows ? lse[first + row + j] * LOG2_E : NEVER));
                if constexpr (DV) accumulate<D>(sumV, p, tileD + row * D);
                if constexpr (DK) {
                    float ds[STEP];
                    dots<D>(ds, ownV, tileD + row * D);
                    #pragma unroll
                    for (int j = 0; j < STEP; j++) ds[j] = p[j] * (ds[j] - (row + j < rows ? delta[first + row + j] : 0.f));
                    accumulate<D>(sumK, ds, tileQ + row * D);
                }
            }
        }
    }
    if (!active) return;
    float* free = PASS == VALUES ? tileQ : ownK;
    if constexpr (DV) store_own<D>(dv, key, free, sumV, 1.f);
    if constexpr (DK) store_own<D>(dk, key, free, sumK, scale);
}

// dv = P^T dOut, dk = scale dS^T q.
//
// Traffic: reads k and v once, q and dOut once for every block of keys (twice at D = 128), writes dk and dv once.
// Launch:  grid (ceil(tokens / (32 warps)), heads, batch), warps of 32 keys: 4, 2 and 1 of them at D = 32, 64 and 128; 8 queries a step.
template <int D>
__device__ __forceinline__ void attention_backward_keys(const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v,
                                                        const float* __restrict__ dOutA, const float* __restrict__ dOutB, const float* __restrict__ lse,
                                                        const float* __restrict__ delta, float* __restrict__ dk, float* __restrict__ dv, int tokens, int tokensA,
                                                        float scale) {
    using B = Block<D, 2>;
    __shared__ __align__(16) float own[2 * B::WARPS * B::OWN], tileQ[B::TILE * D], tileD[B::TILE * D];
    const int warp = threadIdx.x >> 5, key = blockIdx.x * B::ROWS + 32 * warp, heads = gridDim.y;
    const long stats = ((long)blockIdx.z * heads + blockIdx.y) * tokens;
    const Rows<const float> rowsQ = head_rows(q, heads, tokens, D), rowsD = joint_rows(dOutA, dOutB, heads, tokens, tokensA, D);
    const Rows<float> rowsDk = head_rows(dk, heads, tokens, D), rowsDv = head_rows(dv, heads, tokens, D);
    float *ownK = own + 2 * warp * B::OWN, *ownV = ownK + B::OWN;
    load_own<D>(ownK, head_rows(k, heads, tokens, D), key, scale * LOG2_E);
    load_own<D>(ownV, head_rows(v, heads, tokens, D), key, 1.f);
    if constexpr (D == 128) {
        key_gradients<D, VALUES, B>(ownK, ownV, tileQ, tileD, rowsQ, rowsD, lse + stats, delta + stats, rowsDk, rowsDv, key, scale);
        key_gradients<D, KEYS, B>(ownK, ownV, tileQ, tileD, rowsQ, rowsD, lse + stats, delta + stats, rowsDk, rowsDv, key, scale);
    } else {
        key_gradients<D, VALUES | KEYS, B>(ownK, ownV, tileQ, tileD, rowsQ, rowsD, lse + stats, delta + stats, rowsDk, rowsDv, key, scale);
    }
}

// dq = scale dS k; 0 for queries without an output.
//
// Traffic: reads q and dOut once, k and v once for every block of queries, writes dq once.
// Launch:  grid (ceil(tokens / (32 warps)), heads, batch), warps of 32 queries: 4, 2 and 1 of them at D = 32, 64 and 128; 8 keys a step.
template <int D>
__device__ __forceinline__ void attention_backward_queries(const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v,
                                                           const float* __restrict__ dOutA, const float* __restrict__ dOutB, const float* __restrict__ lse,
                                                           const float* __restrict__ delta, float* __restrict__ dq, int tokens, int tokensA, float scale) {
    using B = Block<D, 2>;
    __shared__ __align__(16) float own[2 * B::WARPS * B::OWN], tileK[B::TILE * D], tileV[B::TILE * D];
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, query = blockIdx.x * B::ROWS + 32 * warp, heads = gridDim.y;
    const Rows<const float> rowsK = head_rows(k, heads, tokens, D), rowsV = head_rows(v, heads, tokens, D);
    const Rows<const float> rowsD = joint_rows(dOutA, dOutB, heads, tokens, tokensA, D);
    const long stats = ((long)blockIdx.z * heads + blockIdx.y) * tokens;
    const bool active = query < rowsD.count;
    float *ownQ = own + 2 * warp * B::OWN, *ownD = ownQ + B::OWN;

    load_own<D>(ownQ, first_rows(head_rows(q, heads, tokens, D), rowsD.count), query, scale * LOG2_E);
    load_own<D>(ownD, rowsD, query, 1.f);
    const bool exists = query + lane < rowsD.count;
    const float log2Denominator = exists ? lse[stats + query + lane] * LOG2_E : NEVER, mean = exists ? delta[stats + query + lane] : 0.f;
    float sum[D];
    #pragma unroll
    for (int d = 0; d < D; d++) sum[d] = 0.f;
    for (int first = 0; first < tokens; first += B::TILE) {
        const int keys = min(B::TILE, tokens - first);
        __syncthreads();
        load_tile<D, B>(tileK, rowsK, first);
        load_tile<D, B>(tileV, rowsV, first);
        __syncthreads();
        if (active) {
            #pragma unroll 1
            for (int row = 0; row < keys; row += STEP) {
                float p[STEP], ds[STEP];
                dots<D>(p, ownQ, tileK + row * D);
                dots<D>(ds, ownD, tileV + row * D);
                #pragma unroll
                for (int j = 0; j < STEP; j++)  // keys that do not exist: k is 0, but 0 times an overflowed probability would not be
                    ds[j] = row + j < keys ? exp2_approx(p[j] - log2Denominator) * (ds[j] - mean) : 0.f;
                accumulate<D>(sum, ds, tileK + row * D);
            }
        }
    }
    if (query >= tokens) return;
    store_own<D>(head_rows(dq, heads, tokens, D), query, ownQ, sum, scale);
}

}  // namespace

#define ATTENTION(D)                                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(Block<D, 1>::ROWS) attention_##D##_f32(const float* __restrict__ q, const float* __restrict__ k,           \
        const float* __restrict__ v, float* __restrict__ outA, float* __restrict__ outB, float* __restrict__ lse, int tokens, int tokensA, float scale) {   \
        attention<D>(q, k, v, outA, outB, lse, tokens, tokensA, scale);                                                                                     \
    }                                                                                                                                                       \
    extern "C" __global__ void __launch_bounds__(Block<D, 2>::ROWS) attention_backward_keys_##D##_f32(                                                      \
        const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v, const float* __restrict__ dOutA,                             \
        const float* __restrict__ dOutB, const float* __restrict__ lse, const float* __restrict__ delta, float* __restrict__ dk, float* __restrict__ dv,    \
        int tokens, int tokensA, float scale) {                                                                                                             \
        attention_backward_keys<D>(q, k, v, dOutA, dOutB, lse, delta, dk, dv, tokens, tokensA, scale);                                                      \
    }                                                                                                                                                       \
    extern "C" __global__ void __launch_bounds__(Block<D, 2>::ROWS) attention_backward_queries_##D##_f32(                                                   \
        const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v, const float* __restrict__ dOutA,                             \
        const float* __restrict__ dOutB, const float* __restrict__ lse, const float* __restrict__ delta, float* __restrict__ dq, int tokens, int tokensA,   \
        float scale) {                                                                                                                                      \
        attention_backward_queries<D>(q, k, v, dOutA, dOutB, lse, delta, dq, tokens, tokensA, scale);                                                       \
    }

ATTENTION(32)
ATTENTION(64)
ATTENTION(128)

ATTENTION_DELTA(float, f32)
