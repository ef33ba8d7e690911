// Flash attention over the joint sequence in bf16, forward and backward, on bf16 tensor cores (mma.sync m16n8k16) with f32 sums.
//
//   q, k, v   [batch, heads, tokens, D] bf16             D = 32, 64, 128; any number of tokens
//   outA      [batch, tokensA, heads * D] bf16           the first tokensA tokens (image stream), heads side by side
//   outB      [batch, tokens - tokensA, heads * D] bf16  the others (text stream); null: they have no output and no gradient
//   lse       [batch, heads, tokens] f32                 logarithm of each softmax' denominator
//
// A warp owns 16 rows (queries, or keys in the key gradients) and walks the other side in shared memory, 16 columns a fragment. Tiles hold zeros beyond the
// last token, and no fragment lies wholly beyond it: 101 tokens are 7 x 7 fragments. Every branch is the same for all lanes of a warp, rows are read and
// written whole. Probabilities and their gradients are rounded to bf16 before the second product, as bf16 frameworks do. There are no atomics: key and query
// gradients are separate kernels that compute the probabilities again (7 products instead of 5), so that the same inputs give the same bits, and a sample's
// bits do not depend on the batch.
#include "attention.cuh"
#include "tensorcore.cuh"

namespace {

constexpr int WARPS = 4;

// Sizes that follow from the head dimension.
template <int D> struct Shape {
    static constexpr int LD = D + 8;                 // 16 bytes of padding: the 8 rows of an ldmatrix fall into different banks
    static constexpr int TILE = D == 32 ? 128 : 64;  // rows of k and v in shared memory
    static constexpr int STAGES = D < 128 ? 2 : 1;   // tiles there: with two the next rows come while these are used; 37 to 44 KB with the statistics
};

// One row on its way into shared memory; lane l moves elements l, l + 32, ... (pairs of them beyond D = 32).
template <int D>
__device__ __forceinline__ void fetch_row(__nv_bfloat16* tile, const __nv_bfloat16* src, bool exists) {
    const int lane = threadIdx.x & 31;
    if (D == 32) {  // 64 bytes are half a request: loaded and stored, not copied behind the products
        reinterpret_cast<unsigned short*>(tile)[lane] = exists ? reinterpret_cast<const unsigned short*>(src)[lane] : (unsigned short)0;
    } else {
        #pragma unroll
        for (int j = 0; j < D / 2; j += 32) {
            if (exists) copy_async(tile + 2 * (j + lane), src + 2 * (j + lane));
            else reinterpret_cast<uint32_t*>(tile)[j + lane] = 0u;
        }
    }
}

// Rows of a matrix from matrixRow on, to be waited for, into rows 4 first, 4 (first + step), ... of the tile and the three after each, below end (a multiple of 4). Rows that do
// not exist become zeros. Four rows at a time: one look at where they lie.
template <int D>
__device__ __forceinline__ void fetch_rows(__nv_bfloat16* tile, const Rows<const __nv_bfloat16>& src, int matrixRow, int first, int end, int step) {
    constexpr int LD = Shape<D>::LD;
    #pragma unroll 1
    for (int r = 4 * first; r < end; r += 4 * step) {
        const int row = matrixRow + r;
        if (row + 3 < src.split || (row >= src.split && row + 3 < src.count)) {
            const __nv_bfloat16* from = src[row];
            #pragma unroll
            for (int i = 0; i < 4; i++) fetch_row<D>(tile + (r + i) * LD, from + i * src.stride, true);
        } else {
            #pragma unroll 1
            for (int i = 0; i < 4; i++) fetch_row<D>(tile + (r + i) * LD, src[row + i], row + i < src.count);
        }
    }
}

// This warp's 16 rows of a matrix as left operands. The tile is used by this warp alone from row 16 * warp on.
template <int D>
__device__ __forceinline__ void load_own(Left (&a)[D / 16], __nv_bfloat16* tile, const Rows<const __nv_bfloat16>& src, int matrixRow, int warp) {
    fetch_rows<D>(tile, src, matrixRow - 16 * warp, 4 * warp, 16 * warp + 16, 1);
    wait_for_copies();
    __syncwarp();
    #pragma unroll
    for (int k = 0; k < D / 16; k++) load_left<Shape<D>::LD>(a[k], tile, 16 * warp, 16 * k);
    __syncwarp();
}

// This warp's 16 x D results to the rows of a matrix, through shared memory so that rows are written whole.
template <int D>
__device__ __forceinline__ void store_own(const Rows<__nv_bfloat16>& out, int matrixRow, void* shared, int warp, const float (&c)[D / 8][4], float factor0, float factor1) {
    constexpr int LD = D + 8;
    const int lane = threadIdx.x & 31;
    __nv_bfloat16* tile = reinterpret_cast<__nv_bfloat16*>(shared) + 16 * warp * LD;
    #pragma unroll
    for (int n = 0; n < D / 8; n++) {
        __nv_bfloat16* to = tile + (lane >> 2) * LD + 8 * n + 2 * (lane & 3);
        *reinterpret_cast<uint32_t*>(to) = pack(c[n][0] * factor0, c[n][1] * factor0);
        *reinterpret_cast<uint32_t*>(to + 8 * LD) = pack(c[n][2] * factor1, c[n][3] * factor1);
    }
    __syncwarp();
    #pragma unroll(D < 128 ? 4 : 1)
    for (int r = 0; r < 16; r++) {
        if (matrixRow + r < out.count) {
            __nv_bfloat16* to = out[matrixRow + r];
            const __nv_bfloat16* from = tile + r * LD;
            if (D == 32) {
                to[lane] = from[lane];
            } else {
                #pragma unroll
                for (int j = 0; j < D / 2; j += 32) reinterpret_cast<uint32_t*>(to)[j + lane] = reinterpret_cast<const uint32_t*>(from)[j + lane];
            }
        }
    }
}

// (c[2g] | c[2g+1])[16, 16 GROUPS] = a x^T, x being rows row.. of a tile.
template <int D, int GROUPS>
__device__ __forceinline__ void scores(float (&c)[2 * GROUPS][4], const Left (&a)[D / 16], const __nv_bfloat16* tile, int row) {
    #pragma unroll
    for (int g = 0; g < GROUPS; g++) {
        #pragma unroll
        for (int i = 0; i < 4; i++) c[2 * g][i] = c[2 * g + 1][i] = 0.f;
        #pragma unroll
        for (int k = 0; k < D / 16; k++) {
            Right b;
            load_right_transposed<Shape<D>::LD>(b, tile, row + 16 * g, 16 * k);
            multiply(c[2 * g], c[2 * g + 1], a[k], b);
        }
    }
}

// c[16, D] += a x, x being 16 GROUPS rows of a tile.
template <int D, int GROUPS>
__device__ __forceinline__ void accumulate(float (&c)[D / 8][4], const Left (&a)[GROUPS], const __nv_bfloat16* tile, int row) {
    #pragma unroll
    for (int n = 0; n < D / 16; n++) {
        #pragma unroll
        for (int g = 0; g < GROUPS; g++) {
            Right b;
            load_right<Shape<D>::LD>(b, tile, row + 16 * g, 16 * n);
            multiply(c[2 * n], c[2 * n + 1], a[g], b);
        }
    }
}

// What a warp carries along the keys: for its rows l / 4 and l / 4 + 8 the largest score so far (times log2 e), this lane's part of the denominator, the output.
template <int D> struct Softmax {
    float largest[2], denominator[2], out[D / 8][4];
};

// 16 GROUPS keys more. With MASKED, keys from `keys` on (counted from this tile's row) do not exist.
template <int D, int GROUPS, bool MASKED>
__device__ __forceinline__ void softmax_step(Softmax<D>& state, const Left (&q)[D / 16], const __nv_bfloat16* tileK, const __nv_bfloat16* tileV,
                                             int row, int keys, float scale) {
    const int lane = threadIdx.x & 31;
    float s[2 * GROUPS][4], top[2] = {-NEVER, -NEVER};
    scores<D, GROUPS>(s, q, tileK, row);
    #pragma unroll
    for (int n = 0; n < 2 * GROUPS; n++) {
        if (MASKED) {
            #pragma unroll
            for (int i = 0; i < 4; i++) s[n][i] = 8 * n + 2 * (lane & 3) + (i & 1) < keys ? s[n][i] : -NEVER;
        }
        top[0] = fmaxf(top[0], fmaxf(s[n][0], s[n][1]));
        top[1] = fmaxf(top[1], fmaxf(s[n][2], s[n][3]));
    }
    float fade[2];
    #pragma unroll
    for (int i = 0; i < 2; i++) {  // the four lanes of a row agree on its largest score
        top[i] = fmaxf(top[i], __shfl_xor_sync(0xffffffffu, top[i], 1));
        top[i] = fmaxf(top[i], __shfl_xor_sync(0xffffffffu, top[i], 2));
        top[i] = fmaxf(state.largest[i], top[i] * scale);
        fade[i] = exp2_approx(state.largest[i] - top[i]);
        state.largest[i] = top[i];
        state.denominator[i] *= fade[i];
    }
    Left p[GROUPS];
    #pragma unroll
    for (int n = 0; n < 2 * GROUPS; n++) {
        #pragma unroll
        for (int i = 0; i < 4; i++) s[n][i] = exp2_approx(fmaf(s[n][i], scale, -top[i >> 1]));
        state.denominator[0] += s[n][0] + s[n][1];
        state.denominator[1] += s[n][2] + s[n][3];
    }
    #pragma unroll
    for (int g = 0; g < GROUPS; g++) as_left(p[g], s[2 * g], s[2 * g + 1]);
    #pragma unroll
    for (int n = 0; n < D / 8; n++) {
        #pragma unroll
        for (int i = 0; i < 4; i++) state.out[n][i] *= fade[i >> 1];
    }
    accumulate<D, GROUPS>(state.out, p, tileV, row);
}

// out = softmax(scale q k^T) v.
//
// Traffic: reads q once, k and v once for every 64 queries (once in all for up to 64), writes out and lse once.
// Launch:  grid (ceil(queries / 64), heads, batch), 4 warps of 16 queries; 64 keys a step, the last ones 16 a step.
template <int D>
__device__ __forceinline__ void attention(const __nv_bfloat16* __restrict__ q, const __nv_bfloat16* __restrict__ k, const __nv_bfloat16* __restrict__ v, __nv_bfloat16* __restrict__ outA, __nv_bfloat16* __restrict__ outB,
                                          float* __restrict__ lse, int tokens, int tokensA, float scale) {
    constexpr int LD = Shape<D>::LD, TILE = Shape<D>::TILE, STAGES = Shape<D>::STAGES;
    __shared__ __align__(16) __nv_bfloat16 tiles[STAGES][2 * TILE * LD];
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, query = blockIdx.x * 64 + 16 * warp, heads = gridDim.y;
    const Rows<const __nv_bfloat16> rowsK = head_rows(k, heads, tokens, D), rowsV = head_rows(v, heads, tokens, D);
    const Rows<__nv_bfloat16> out = joint_rows(outA, outB, heads, tokens, tokensA, D);
    const bool active = query < out.count;

    Left left[D / 16];
    load_own<D>(left, tiles[0], first_rows(head_rows(q, heads, tokens, D), out.count), query, warp);
    Softmax<D> state;
    #pragma unroll
    for (int i = 0; i < 2; i++) { state.largest[i] = -NEVER; state.denominator[i] = 0.f; }
    #pragma unroll
    for (int n = 0; n < D / 8; n++) state.out[n][0] = state.out[n][1] = state.out[n][2] = state.out[n][3] = 0.f;

    const auto fetch = [&](int first, __nv_bfloat16* tile) {
        const int padded = (min(TILE, tokens - first) + 15) & ~15;
        fetch_rows<D>(tile, rowsK, first, warp, padded, WARPS);
        fetch_rows<D>(tile + TILE * LD, rowsV, first, warp, padded, WARPS);
    };
    __syncthreads();
    fetch(0, tiles[0]);
    for (int first = 0, stage = 0; first < tokens; first += TILE, stage ^= STAGES - 1) {
        const int keys = min(TILE, tokens - first);
        const __nv_bfloat16 *tileK = tiles[stage], *tileV = tileK + TILE * LD;
        if (STAGES == 1 && first > 0) {
            __syncthreads();
            fetch(first, tiles[0]);
        }
        wait_for_copies();
        __syncthreads();  // all have come, and nobody uses the other tiles any more
        if (STAGES == 2 && first + TILE < tokens) fetch(first + TILE, tiles[stage ^ 1]);
        if (active) {
            int row = 0;
            for (; row + 64 <= keys; row += 64) softmax_step<D, 4, false>(state, left, tileK, tileV, row, 64, scale * LOG2_E);
            for (; row < keys; row += 16) softmax_step<D, 1, true>(state, left, tileK, tileV, row, keys - row, scale * LOG2_E);
        }
    }
    __syncthreads();
    if (!active) return;
    float inverse[2];
    #pragma unroll
    for (int i = 0; i < 2; i++) {
        state.denominator[i] += __shfl_xor_sync(0xffffffffu, state.denominator[i], 1);
        state.denominator[i] += __shfl_xor_sync(0xffffffffu, state.denominator[i], 2);
        inverse[i] = 1.f / state.denominator[i];
    }
    if (lse != nullptr) {
        float* to = lse + ((long)blockIdx.z * heads + blockIdx.y) * tokens + query;
        #pragma unroll
        for (int i = 0; i < 2; i++) {
            const int row = (lane >> 2) + 8 * i;
            if (query + row < tokens) to[row] = state.largest[i] * LN_2 + __logf(state.denominator[i]);  // four lanes the same
        }
    }
    store_own<D>(out, query, tiles[0], warp, state.out, inverse[0], inverse[1]);
}

// dS = P (dP - delta) and P as left operands, from scores s and dP of 16 rows x 16 columns. What belongs to a fragment's element: log2 of the denominator and delta.
__device__ __forceinline__ void probability_gradients(float (&s)[2][4], float (&dp)[2][4], const float (&log2Denominator)[2][4], const float (&delta)[2][4], float scale) {
    #pragma unroll
    for (int n = 0; n < 2; n++) {
        #pragma unroll
        for (int i = 0; i < 4; i++) {
            s[n][i] = exp2_approx(fmaf(s[n][i], scale, -log2Denominator[n][i]));
            dp[n][i] = s[n][i] * (dp[n][i] - delta[n][i]);
        }
    }
}

// Sizes of the key gradients: at D = 128 the left operands stay in shared memory (registers hold the 16 x 256 sums), so tiles are smaller.
template <int D> struct KeyShape {
    static constexpr bool IN_REGISTERS = D < 128;
    static constexpr int TILE = D == 32 ? 128 : D == 64 ? 64 : 16, STAGES = D < 128 ? 2 : 1;  // queries in shared memory, and those that come meanwhile
};

// dv = P^T dOut, dk = scale dS^T q.
//
// Traffic: reads k and v once, q and dOut once for every 64 keys, writes dk and dv once.
// Launch:  grid (ceil(tokens / 64), heads, batch), 4 warps of 16 keys, 16 queries a step.
template <int D>
__device__ __forceinline__ void attention_backward_keys(const __nv_bfloat16* __restrict__ q, const __nv_bfloat16* __restrict__ k, const __nv_bfloat16* __restrict__ v,
                                                        const __nv_bfloat16* __restrict__ dOutA, const __nv_bfloat16* __restrict__ dOutB, const float* __restrict__ lse,
                                                        const float* __restrict__ delta, __nv_bfloat16* __restrict__ dk, __nv_bfloat16* __restrict__ dv, int tokens, int tokensA, float scale) {
    using K = KeyShape<D>;
    constexpr int TILE = K::TILE, STAGES = K::STAGES, LD = Shape<D>::LD, OWN = 16 * WARPS;
    __shared__ __align__(16) __nv_bfloat16 tiles[STAGES * 2 * TILE * LD + (K::IN_REGISTERS ? 0 : 2 * OWN * LD)];
    __shared__ float tileStats[STAGES][2 * TILE];
    __nv_bfloat16 *ownK = tiles + STAGES * 2 * TILE * LD, *ownV = ownK + OWN * LD;
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, key = blockIdx.x * OWN + 16 * warp, heads = gridDim.y;
    const Rows<const __nv_bfloat16> rowsQ = head_rows(q, heads, tokens, D), rowsD = joint_rows(dOutA, dOutB, heads, tokens, tokensA, D);
    const Rows<const __nv_bfloat16> rowsK = head_rows(k, heads, tokens, D), rowsV = head_rows(v, heads, tokens, D);
    const long rowStats = ((long)blockIdx.z * heads + blockIdx.y) * tokens;
    const int queries = rowsD.count;  // those without an output have no gradient
    const bool active = key < tokens;

    Left leftK[K::IN_REGISTERS ? D / 16 : 1], leftV[K::IN_REGISTERS ? D / 16 : 1];
    if constexpr (K::IN_REGISTERS) {
        load_own<D>(leftK, tiles, rowsK, key, warp);
        load_own<D>(leftV, tiles, rowsV, key, warp);
    } else {
        fetch_rows<D>(ownK, rowsK, key - 16 * warp, 4 * warp, 16 * warp + 16, 1);
        fetch_rows<D>(ownV, rowsV, key - 16 * warp, 4 * warp, 16 * warp + 16, 1);
    }
    float sumK[D / 8][4], sumV[D / 8][4];
    #pragma unroll
    for (int n = 0; n < D / 8; n++) {
        #pragma unroll
        for (int i = 0; i < 4; i++) sumK[n][i] = sumV[n][i] = 0.f;
    }
    static_assert(TILE <= 32 * WARPS, "a thread has one query's numbers");
    float nextLse, nextDelta;  // on their way to tileStats
    const auto fetch = [&](int first, int stage) {
        const int padded = (min(TILE, queries - first) + 15) & ~15;
        __nv_bfloat16* tile = tiles + stage * 2 * TILE * LD;
        fetch_rows<D>(tile, rowsQ, first, warp, padded, WARPS);
        fetch_rows<D>(tile + TILE * LD, rowsD, first, warp, padded, WARPS);
        if (threadIdx.x < TILE) {
            const bool exists = first + threadIdx.x < queries;
            nextLse = exists ? lse[rowStats + first + threadIdx.x] * LOG2_E : NEVER;
            nextDelta = exists ? delta[rowStats + first + threadIdx.x] : 0.f;
        }
    };
    __syncthreads();
    fetch(0, 0);
    for (int first = 0, stage = 0; first < queries; first += TILE, stage ^= STAGES - 1) {
        const int padded = (min(TILE, queries - first) + 15) & ~15;
        const __nv_bfloat16 *tileQ = tiles + stage * 2 * TILE * LD, *tileD = tileQ + TILE * LD;
        float *tileLse = tileStats[stage], *tileDelta = tileLse + TILE;
        if (STAGES == 1 && first > 0) {
            __syncthreads();
            fetch(first, 0);
        }
        if (threadIdx.x < TILE) {
            tileLse[threadIdx.x] = nextLse;
            tileDelta[threadIdx.x] = nextDelta;
        }
        wait_for_copies();
        __syncthreads();  // all have come, and nobody uses the other tiles any more
        if (STAGES == 2 && first + TILE < queries) fetch(first + TILE, stage ^ 1);
        if (active) {
            for (int row = 0; row < padded; row += 16) {
                float s[2][4], dp[2][4], logs[2][4], deltas[2][4];
                if constexpr (K::IN_REGISTERS) {
                    scores<D, 1>(s, leftK, tileQ, row);
                    scores<D, 1>(dp, leftV, tileD, row);
                } else {
                    #pragma unroll
                    for (int i = 0; i < 4; i++) s[0][i] = s[1][i] = dp[0][i] = dp[1][i] = 0.f;
                    #pragma unroll
                    for (int j = 0; j < D / 16; j++) {
                        Left a;
                        Right b;
                        load_left<LD>(a, ownK, 16 * warp, 16 * j);
                        load_right_transposed<LD>(b, tileQ, row, 16 * j);
                        multiply(s[0], s[1], a, b);
                        load_left<LD>(a, ownV, 16 * warp, 16 * j);
                        load_right_transposed<LD>(b, tileD, row, 16 * j);
                        multiply(dp[0], dp[1], a, b);
                    }
                }
                #pragma unroll
                for (int n = 0; n < 2; n++) {
                    #pragma unroll
                    for (int i = 0; i < 4; i++) {
                        logs[n][i] = tileLse[row + 8 * n + 2 * (lane & 3) + (i & 1)];
                        deltas[n][i] = tileDelta[row + 8 * n + 2 * (lane & 3) + (i & 1)];
                    }
                }
                probability_gradients(s, dp, logs, deltas, scale * LOG2_E);
                Left a[1];
                as_left(a[0], s[0], s[1]);
                accumulate<D, 1>(sumV, a, tileD, row);
                as_left(a[0], dp[0], dp[1]);
                accumulate<D, 1>(sumK, a, tileQ, row);
            }
        }
    }
    __syncthreads();
    if (!active) return;
    store_own<D>(head_rows(dv, heads, tokens, D), key, tiles, warp, sumV, 1.f, 1.f);
    __syncwarp();
    store_own<D>(head_rows(dk, heads, tokens, D), key, tiles, warp, sumK, scale, scale);
}

// dq = scale dS k; 0 for queries without an output.
//
// Traffic: reads q and dOut once, k and v once for every 64 queries, writes dq once.
// Launch:  grid (ceil(tokens / 64), heads, batch), 4 warps of 16 queries, 16 keys a step.
template <int D>
__device__ __forceinline__ void attention_backward_queries(const __nv_bfloat16* __restrict__ q, const __nv_bfloat16* __restrict__ k, const __nv_bfloat16* __restrict__ v,
                                                           const __nv_bfloat16* __restrict__ dOutA, const __nv_bfloat16* __restrict__ dOutB, const float* __restrict__ lse,
                                                           const float* __restrict__ delta, __nv_bfloat16* __restrict__ dq, int tokens, int tokensA, float scale) {
    constexpr int TILE = Shape<D>::TILE, LD = Shape<D>::LD, STAGES = Shape<D>::STAGES, OWN = 16 * WARPS;
    __shared__ __align__(16) __nv_bfloat16 tiles[STAGES][2 * TILE * LD];
    __shared__ float tileLse[OWN], tileDelta[OWN];
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, query = blockIdx.x * OWN + 16 * warp, heads = gridDim.y;
    const Rows<const __nv_bfloat16> rowsK = head_rows(k, heads, tokens, D), rowsV = head_rows(v, heads, tokens, D);
    const Rows<const __nv_bfloat16> rowsD = joint_rows(dOutA, dOutB, heads, tokens, tokensA, D);
    const long rowStats = ((long)blockIdx.z * heads + blockIdx.y) * tokens;
    const bool active = query < rowsD.count;

    if (warp < OWN / 32) {
        const int t = threadIdx.x;
        const bool exists = blockIdx.x * OWN + t < rowsD.count;
        tileLse[t] = exists ? lse[rowStats + blockIdx.x * OWN + t] * LOG2_E : NEVER;
        tileDelta[t] = exists ? delta[rowStats + blockIdx.x * OWN + t] : 0.f;
    }
    Left leftQ[D / 16], leftD[D / 16];
    load_own<D>(leftQ, tiles[0], first_rows(head_rows(q, heads, tokens, D), rowsD.count), query, warp);
    load_own<D>(leftD, tiles[0], rowsD, query, warp);
    float sum[D / 8][4];
    #pragma unroll
    for (int n = 0; n < D / 8; n++) sum[n][0] = sum[n][1] = sum[n][2] = sum[n][3] = 0.f;

    const auto fetch = [&](int first, __nv_bfloat16* tile) {
        const int padded = (min(TILE, tokens - first) + 15) & ~15;
        fetch_rows<D>(tile, rowsK, first, warp, padded, WARPS);
        fetch_rows<D>(tile + TILE * LD, rowsV, first, warp, padded, WARPS);
    };
    __syncthreads();
    fetch(0, tiles[0]);
    for (int first = 0, stage = 0; first < tokens; first += TILE, stage ^= STAGES - 1) {
        const int keys = min(TILE, tokens - first), padded = (keys + 15) & ~15;
        const __nv_bfloat16 *tileK = tiles[stage], *tileV = tileK + TILE * LD;
        if (STAGES == 1 && first > 0) {
            __syncthreads();
            fetch(first, tiles[0]);
        }
        wait_for_copies();
        __syncthreads();  // all have come, and nobody uses the other tiles any more
        if (STAGES == 2 && first + TILE < tokens) fetch(first + TILE, tiles[stage ^ 1]);
        if (active) {
            #pragma unroll 1
            for (int row = 0; row < padded; row += 16) {
                float s[2][4], dp[2][4], logs[2][4], deltas[2][4];
                scores<D, 1>(s, leftQ, tileK, row);
                scores<D, 1>(dp, leftD, tileV, row);
                #pragma unroll
                for (int i = 0; i < 4; i++) {
                    logs[0][i] = logs[1][i] = tileLse[16 * warp + (lane >> 2) + 8 * (i >> 1)];
                    deltas[0][i] = deltas[1][i] = tileDelta[16 * warp + (lane >> 2) + 8 * (i >> 1)];
                }
                probability_gradients(s, dp, logs, deltas, scale * LOG2_E);
                if (row + 16 > keys) {  // keys that do not exist: k is 0, but 0 times an overflowed probability would not be
                    #pragma unroll
                    for (int n = 0; n < 2; n++) {
                        #pragma unroll
                        for (int i = 0; i < 4; i++) dp[n][i] = row + 8 * n + 2 * (lane & 3) + (i & 1) < keys ? dp[n][i] : 0.f;
                    }
                }
                Left a[1];
                as_left(a[0], dp[0], dp[1]);
                accumulate<D, 1>(sum, a, tileK, row);
            }
        }
    }
    __syncthreads();
    if (query >= tokens) return;
    store_own<D>(head_rows(dq, heads, tokens, D), query, tiles[0], warp, sum, scale, scale);
}

}  // namespace

#define ATTENTION(D)                                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(32 * WARPS, 2) attention_##D##_bf16(                                                                       \
        const __nv_bfloat16* __restrict__ q, const __nv_bfloat16* __restrict__ k, const __nv_bfloat16* __restrict__ v, __nv_bfloat16* __restrict__ outA,    \
        __nv_bfloat16* __restrict__ outB, float* __restrict__ lse, int tokens, int tokensA, float scale) {                                                  \
        attention<D>(q, k, v, outA, outB, lse, tokens, tokensA, scale);                                                                                     \
    }                                                                                                                                                       \
    extern "C" __global__ void __launch_bounds__(32 * WARPS, D == 32 ? 3 : D == 64 ? 2 : 1) attention_backward_keys_##D##_bf16(                             \
        const __nv_bfloat16* __restrict__ q, const __nv_bfloat16* __restrict__ k, const __nv_bfloat16* __restrict__ v,                                      \
        const __nv_bfloat16* __restrict__ dOutA, const __nv_bfloat16* __restrict__ dOutB, const float* __restrict__ lse, const float* __restrict__ delta,   \
        __nv_bfloat16* __restrict__ dk, __nv_bfloat16* __restrict__ dv, int tokens, int tokensA, float scale) {                                             \
        attention_backward_keys<D>(q, k, v, dOutA, dOutB, lse, delta, dk, dv, tokens, tokensA, scale);                                                      \
    }                                                                                                                                                       \
    extern "C" __global__ void __launch_bounds__(32 * WARPS, 128 / D) attention_backward_queries_##D##_bf16(                                                \
        const __nv_bfloat16* __restrict__ q, const __nv_bfloat16* __restrict__ k, const __nv_bfloat16* __restrict__ v,                                      \
        const __nv_bfloat16* __restrict__ dOutA, const __nv_bfloat16* __restrict__ dOutB, const float* __restrict__ lse, const float* __restrict__ delta,   \
        __nv_bfloat16* __restrict__ dq, int tokens, int tokensA, float scale) {                                                                             \
        attention_backward_queries<D>(q, k, v, dOutA, dOutB, lse, delta, dq, tokens, tokensA, scale);                                                       \
    }

ATTENTION(32)
ATTENTION(64)
ATTENTION(128)

ATTENTION_DELTA(__nv_bfloat16, bf16)
