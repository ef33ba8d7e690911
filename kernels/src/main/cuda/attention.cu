// Flash attention over the joint sequence, forward and backward, on bf16 tensor cores (mma.sync m16n8k16) with f32 sums. T is f32 or bf16.
//
//   q, k, v   [batch, heads, tokens, D] T                D = 32, 64, 128; any number of tokens
//   outA      [batch, tokensA, heads * D] T              the first tokensA tokens (image stream), heads side by side
//   outB      [batch, tokens - tokensA, heads * D] T     the others (text stream); null: they have no output and no gradient
//   lse       [batch, heads, tokens] f32                 logarithm of each softmax' denominator
//
// A warp owns 16 rows (queries, or keys in the key gradients) and walks the other side in shared memory, 16 columns a fragment. Tiles hold zeros beyond the
// last token, and no fragment lies wholly beyond it: 101 tokens are 7 x 7 fragments. Every branch is the same for all lanes of a warp, rows are read and
// written whole. In f32 storage each operand is two bf16 (tensorcore.cuh); in bf16 storage probabilities and their gradients are rounded to bf16 before the
// second product, as bf16 frameworks do. There are no atomics: key and query gradients are separate kernels that compute the probabilities again
// (7 products instead of 5), so that the same inputs give the same bits, and a sample's bits do not depend on the batch.
#include "reduce.cuh"
#include "storage.cuh"
#include "tensorcore.cuh"

namespace {

constexpr int WARPS = 4;
constexpr float LOG2_E = 1.44269504f, LN_2 = 0.693147181f;
constexpr float NEVER = 1e30f;  // as log of a denominator: every probability is 0

__device__ __forceinline__ float exp2_approx(float x) { float y; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }

// Sizes that follow from the storage type and the head dimension.
template <typename T, int D> struct Shape {
    static constexpr int PARTS = sizeof(T) == 4 ? 2 : 1;
    static constexpr int LD = D + 8;                                          // 16 bytes of padding: the 8 rows of an ldmatrix fall into different banks
    static constexpr int TILE = D == 32 ? 128 : D == 64 || PARTS == 1 ? 64 : 32;  // rows of k and v in shared memory: 35 to 41 KB
    static constexpr int TILES = 2 * PARTS * TILE * LD;                       // bf16 elements of two such tiles
};

// Rows of a matrix that may lie in two buffers: row i at a + i * stride for i < split, else at b + i * stride; rows from count on do not exist.
template <typename T> struct Rows {
    T* a;
    T* b;
    long stride;
    int split, count;
    __device__ __forceinline__ T* operator[](int i) const { return (i < split ? a : b) + i * stride; }
};

template <typename T>
__device__ __forceinline__ Rows<T> head_rows(T* p, int heads, int tokens, int d) {  // of this block's sample and head in [batch, heads, tokens, d]
    p += ((long)blockIdx.z * heads + blockIdx.y) * tokens * d;
    return {p, p, d, tokens, tokens};
}

// The first rows alone.
template <typename T> __device__ __forceinline__ Rows<T> first_rows(Rows<T> rows, int count) { return {rows.a, rows.b, rows.stride, count, count}; }

template <typename T>
__device__ __forceinline__ Rows<T> joint_rows(T* a, T* b, int heads, int tokens, int tokensA, int d) {
    const long stride = (long)heads * d;
    const int tokensB = tokens - tokensA;
    return {a + blockIdx.z * (tokensA * stride) + blockIdx.y * d, b + ((long)blockIdx.z * tokensB - tokensA) * stride + blockIdx.y * d, stride,
            tokensA, b == nullptr ? tokensA : tokens};
}

// One row into shared memory as bf16, in one or two parts; lane l moves elements l, l + 32, ... (pairs of them in bf16 storage).
template <int D>
__device__ __forceinline__ void load_row(__nv_bfloat16* tile, int part, const float* src, bool exists) {
    const int lane = threadIdx.x & 31;
    #pragma unroll
    for (int j = 0; j < D; j += 32) {
        const float x = exists ? src[j + lane] : 0.f;
        const __nv_bfloat16 hi = __float2bfloat16_rn(x);
        tile[j + lane] = hi;
        tile[part + j + lane] = __float2bfloat16_rn(x - __bfloat162float(hi));
    }
}

template <int D>
__device__ __forceinline__ void load_row(__nv_bfloat16* tile, int, const __nv_bfloat16* src, bool exists) {
    const int lane = threadIdx.x & 31;
    if (D == 32) {
        reinterpret_cast<unsigned short*>(tile)[lane] = exists ? reinterpret_cast<const unsigned short*>(src)[lane] : (unsigned short)0;
    } else {
        #pragma unroll
        for (int j = 0; j < D / 2; j += 32) reinterpret_cast<uint32_t*>(tile)[j + lane] = exists ? reinterpret_cast<const uint32_t*>(src)[j + lane] : 0u;
    }
}

// Rows of a matrix from matrixRow on into rows 4 first, 4 (first + step), ... of the tile and the three after each, below end (a multiple of 4). Rows that do
// not exist become zeros. Four rows at a time: one look at where they lie, four loads in flight.
template <typename T, int D, int ROWS>
__device__ __forceinline__ void load_rows(__nv_bfloat16* tile, const Rows<const T>& src, int matrixRow, int first, int end, int step) {
    constexpr int LD = Shape<T, D>::LD;
    #pragma unroll 1
    for (int r = 4 * first; r < end; r += 4 * step) {
        const int row = matrixRow + r;
        if (row + 3 < src.split || (row >= src.split && row + 3 < src.count)) {
            const T* from = src[row];
            #pragma unroll
            for (int i = 0; i < 4; i++) load_row<D>(tile + (r + i) * LD, ROWS * LD, from + i * src.stride, true);
        } else {
            #pragma unroll 1
            for (int i = 0; i < 4; i++) load_row<D>(tile + (r + i) * LD, ROWS * LD, src[row + i], row + i < src.count);
        }
    }
}

// This warp's 16 rows of a matrix as left operands. The tile is used by this warp alone from row 16 * warp on.
template <typename T, int D, int ROWS>
__device__ __forceinline__ void load_own(Left<Shape<T, D>::PARTS> (&a)[D / 16], __nv_bfloat16* tile, const Rows<const T>& src, int matrixRow, int warp) {
    load_rows<T, D, ROWS>(tile, src, matrixRow - 16 * warp, 4 * warp, 16 * warp + 16, 1);
    __syncwarp();
    #pragma unroll
    for (int k = 0; k < D / 16; k++) load_left<Shape<T, D>::PARTS, Shape<T, D>::LD, ROWS>(a[k], tile, 16 * warp, 16 * k);
    __syncwarp();
}

// This warp's 16 x D results to the rows of a matrix, through shared memory so that rows are written whole.
template <int D>
__device__ __forceinline__ void store_own(const Rows<float>& out, int matrixRow, void* shared, int warp, const float (&c)[D / 8][4], float factor0, float factor1) {
    constexpr int LD = D + 8;  // a half warp's float2 of four rows fall into different banks
    const int lane = threadIdx.x & 31;
    float* tile = reinterpret_cast<float*>(shared) + 16 * warp * LD;
    float2* to = reinterpret_cast<float2*>(tile + (lane >> 2) * LD) + (lane & 3);
    #pragma unroll
    for (int n = 0; n < D / 8; n++) {
        to[4 * n] = make_float2(c[n][0] * factor0, c[n][1] * factor0);
        to[4 * n + 4 * LD] = make_float2(c[n][2] * factor1, c[n][3] * factor1);
    }
    __syncwarp();
    #pragma unroll(D < 128 ? 4 : 1)
    for (int r = 0; r < 16; r++) {
        if (matrixRow + r < out.count) {
            float* to = out[matrixRow + r];
            #pragma unroll
            for (int j = 0; j < D; j += 32) to[j + lane] = tile[r * LD + j + lane];
        }
    }
}

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
template <typename T, int D, int GROUPS, int ROWS>
__device__ __forceinline__ void scores(float (&c)[2 * GROUPS][4], const Left<Shape<T, D>::PARTS> (&a)[D / 16], const __nv_bfloat16* tile, int row) {
    constexpr int PARTS = Shape<T, D>::PARTS;
    #pragma unroll
    for (int g = 0; g < GROUPS; g++) {
        #pragma unroll
        for (int i = 0; i < 4; i++) c[2 * g][i] = c[2 * g + 1][i] = 0.f;
        #pragma unroll
        for (int k = 0; k < D / 16; k++) {
            Right<PARTS> b;
            load_right_transposed<PARTS, Shape<T, D>::LD, ROWS>(b, tile, row + 16 * g, 16 * k);
            multiply<PARTS>(c[2 * g], c[2 * g + 1], a[k], b);
        }
    }
}

// c[16, D] += a x, x being 16 GROUPS rows of a tile.
template <typename T, int D, int GROUPS, int ROWS>
__device__ __forceinline__ void accumulate(float (&c)[D / 8][4], const Left<Shape<T, D>::PARTS> (&a)[GROUPS], const __nv_bfloat16* tile, int row) {
    constexpr int PARTS = Shape<T, D>::PARTS;
    #pragma unroll
    for (int n = 0; n < D / 16; n++) {
        #pragma unroll
        for (int g = 0; g < GROUPS; g++) {
            Right<PARTS> b;
            load_right<PARTS, Shape<T, D>::LD, ROWS>(b, tile, row + 16 * g, 16 * n);
            multiply<PARTS>(c[2 * n], c[2 * n + 1], a[g], b);
        }
    }
}

// What a warp carries along the keys: for its rows l / 4 and l / 4 + 8 the largest score so far (times log2 e), this lane's part of the denominator, the output.
template <int D> struct Softmax {
    float largest[2], denominator[2], out[D / 8][4];
};

// 16 GROUPS keys more. With MASKED, keys from `keys` on (counted from this tile's row) do not exist.
template <typename T, int D, int GROUPS, bool MASKED>
__device__ __forceinline__ void softmax_step(Softmax<D>& state, const Left<Shape<T, D>::PARTS> (&q)[D / 16], const __nv_bfloat16* tileK, const __nv_bfloat16* tileV,
                                             int row, int keys, float scale) {
    constexpr int ROWS = Shape<T, D>::TILE;
    const int lane = threadIdx.x & 31;
    float s[2 * GROUPS][4], top[2] = {-NEVER, -NEVER};
    scores<T, D, GROUPS, ROWS>(s, q, tileK, row);
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
    Left<Shape<T, D>::PARTS> p[GROUPS];
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
    accumulate<T, D, GROUPS, ROWS>(state.out, p, tileV, row);
}

// out = softmax(scale q k^T) v.
//
// Traffic: reads q once, k and v once for every 64 queries (once in all for up to 64), writes out and lse once.
// Shared by blocks, attention: k and v, as just said: those of a head, some hundred kilobytes, stay in the second-level cache while its queries pass.
// Launch:  grid (ceil(queries / 64), heads, batch), 4 warps of 16 queries; 64 keys a step, the last ones 16 a step.
template <typename T, int D>
__device__ __forceinline__ void attention(const T* __restrict__ q, const T* __restrict__ k, const T* __restrict__ v, T* __restrict__ outA, T* __restrict__ outB,
                                          float* __restrict__ lse, int tokens, int tokensA, float scale) {
    using S = Shape<T, D>;
    constexpr int PARTS = S::PARTS, TILE = S::TILE;
    __shared__ __align__(16) __nv_bfloat16 tiles[S::TILES];
    __nv_bfloat16 *tileK = tiles, *tileV = tiles + PARTS * TILE * S::LD;
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, query = blockIdx.x * 64 + 16 * warp, heads = gridDim.y;
    const Rows<const T> rowsK = head_rows(k, heads, tokens, D), rowsV = head_rows(v, heads, tokens, D);
    const Rows<T> out = joint_rows(outA, outB, heads, tokens, tokensA, D);
    const bool active = query < out.count;

    Left<PARTS> left[D / 16];
    load_own<T, D, 64>(left, tiles, first_rows(head_rows(q, heads, tokens, D), out.count), query, warp);
    Softmax<D> state;
    #pragma unroll
    for (int i = 0; i < 2; i++) { state.largest[i] = -NEVER; state.denominator[i] = 0.f; }
    #pragma unroll
    for (int n = 0; n < D / 8; n++) state.out[n][0] = state.out[n][1] = state.out[n][2] = state.out[n][3] = 0.f;

    for (int first = 0; first < tokens; first += TILE) {
        const int keys = min(TILE, tokens - first), padded = (keys + 15) & ~15;
        __syncthreads();
        load_rows<T, D, TILE>(tileK, rowsK, first, warp, padded, WARPS);
        load_rows<T, D, TILE>(tileV, rowsV, first, warp, padded, WARPS);
        __syncthreads();
        if (active) {
            int row = 0;
            if (TILE >= 64) {
                for (; row + 64 <= keys; row += 64) softmax_step<T, D, 4, false>(state, left, tileK, tileV, row, 64, scale * LOG2_E);
            } else {
                for (; row + 32 <= keys; row += 32) softmax_step<T, D, 2, false>(state, left, tileK, tileV, row, 32, scale * LOG2_E);
            }
            for (; row < keys; row += 16) softmax_step<T, D, 1, true>(state, left, tileK, tileV, row, keys - row, scale * LOG2_E);
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
    store_own<D>(out, query, tiles, warp, state.out, inverse[0], inverse[1]);
}

// delta[b, h, t] = sum over the head of dOut out; 0 where there is no output.
//
// Traffic: reads 2 sizeof(T) heads D bytes a token, each once.
// Shared by blocks, attention_delta: a sector of delta holds 8 tokens, a block has 4.
// Launch:  grid ceil(batch * tokens / 4), 4 warps: a warp does a token, head after head.
template <typename T>
__device__ __forceinline__ void attention_delta(const T* __restrict__ outA, const T* __restrict__ outB, const T* __restrict__ dOutA, const T* __restrict__ dOutB,
                                                float* __restrict__ delta, int batch, int heads, int tokens, int headDim, int tokensA) {
    const int row = blockIdx.x * 4 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
    if (row >= batch * tokens) return;
    const int sample = row / tokens, token = row - sample * tokens;
    const bool first = token < tokensA, exists = first || outB != nullptr;
    const long at = (first ? (long)sample * tokensA + token : (long)sample * (tokens - tokensA) + token - tokensA) * heads * headDim;
    const T *o = (first ? outA : outB) + at, *g = (first ? dOutA : dOutB) + at;
    for (int h = 0; h < heads; h++) {
        float sum = 0.f;
        if (exists) {
            for (int j = 0; j < headDim; j += 32) sum += load1(o + h * headDim + j, lane) * load1(g + h * headDim + j, lane);
        }
        delta[((long)sample * heads + h) * tokens + token] = warp_sum(sum);  // every lane stores the same: no branch inside the warp
    }
}

// dS = P (dP - delta) and P as left operands, from scores s and dP of 16 rows x 16 columns. What belongs to a fragment's element: log2 of the denominator and delta.
template <int PARTS>
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
template <typename T, int D> struct KeyShape {
    static constexpr int PARTS = Shape<T, D>::PARTS;
    static constexpr bool IN_REGISTERS = D < 128;
    static constexpr int WARPS = IN_REGISTERS || PARTS == 1 ? 4 : 1;
    static constexpr int TILE = D == 32 ? 128 : D == 64 ? 64 : 16;  // queries in shared memory
};

// dv = P^T dOut, dk = scale dS^T q.
//
// Traffic: reads k and v once, q and dOut once for every 64 keys, writes dk and dv once.
// Shared by blocks, attention_backward_keys: q, dOut and their statistics, from the second-level cache.
// Launch:  grid (ceil(tokens / 64), heads, batch), 4 warps of 16 keys (f32 at D = 128: 1 warp), 16 queries a step.
template <typename T, int D>
__device__ __forceinline__ void attention_backward_keys(const T* __restrict__ q, const T* __restrict__ k, const T* __restrict__ v,
                                                        const T* __restrict__ dOutA, const T* __restrict__ dOutB, const float* __restrict__ lse,
                                                        const float* __restrict__ delta, T* __restrict__ dk, T* __restrict__ dv, int tokens, int tokensA, float scale) {
    using S = Shape<T, D>;
    using K = KeyShape<T, D>;
    constexpr int PARTS = S::PARTS, TILE = K::TILE, LD = S::LD, OWN = 16 * K::WARPS;
    __shared__ __align__(16) __nv_bfloat16 tiles[2 * PARTS * TILE * LD + (K::IN_REGISTERS ? 0 : 2 * PARTS * OWN * LD)];
    __shared__ float tileLse[TILE], tileDelta[TILE];
    __nv_bfloat16 *tileQ = tiles, *tileD = tiles + PARTS * TILE * LD, *ownK = tiles + 2 * PARTS * TILE * LD, *ownV = ownK + PARTS * OWN * LD;
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, key = blockIdx.x * OWN + 16 * warp, heads = gridDim.y;
    const Rows<const T> rowsQ = head_rows(q, heads, tokens, D), rowsD = joint_rows(dOutA, dOutB, heads, tokens, tokensA, D);
    const Rows<const T> rowsK = head_rows(k, heads, tokens, D), rowsV = head_rows(v, heads, tokens, D);
    const long rowStats = ((long)blockIdx.z * heads + blockIdx.y) * tokens;
    const int queries = rowsD.count;  // those without an output have no gradient
    const bool active = key < tokens;

    Left<PARTS> leftK[K::IN_REGISTERS ? D / 16 : 1], leftV[K::IN_REGISTERS ? D / 16 : 1];
    if constexpr (K::IN_REGISTERS) {
        load_own<T, D, OWN>(leftK, tiles, rowsK, key, warp);
        load_own<T, D, OWN>(leftV, tiles, rowsV, key, warp);
    } else {
        load_rows<T, D, OWN>(ownK, rowsK, key - 16 * warp, 4 * warp, 16 * warp + 16, 1);
        load_rows<T, D, OWN>(ownV, rowsV, key - 16 * warp, 4 * warp, 16 * warp + 16, 1);
    }
    float sumK[D / 8][4], sumV[D / 8][4];
    #pragma unroll
    for (int n = 0; n < D / 8; n++) {
        #pragma unroll
        for (int i = 0; i < 4; i++) sumK[n][i] = sumV[n][i] = 0.f;
    }
    for (int first = 0; first < queries; first += TILE) {
        const int padded = (min(TILE, queries - first) + 15) & ~15;
        __syncthreads();
        load_rows<T, D, TILE>(tileQ, rowsQ, first, warp, padded, K::WARPS);
        load_rows<T, D, TILE>(tileD, rowsD, first, warp, padded, K::WARPS);
        for (int r = 32 * warp; r < padded; r += 32 * K::WARPS) {
            const int t = r + lane;
            if (TILE % 32 == 0 || t < TILE) {
                tileLse[t] = first + t < queries ? lse[rowStats + first + t] * LOG2_E : NEVER;
                tileDelta[t] = first + t < queries ? delta[rowStats + first + t] : 0.f;
            }
        }
        __syncthreads();
        if (active) {
            for (int row = 0; row < padded; row += 16) {
                float s[2][4], dp[2][4], logs[2][4], deltas[2][4];
                if constexpr (K::IN_REGISTERS) {
                    scores<T, D, 1, TILE>(s, leftK, tileQ, row);
                    scores<T, D, 1, TILE>(dp, leftV, tileD, row);
                } else {
                    #pragma unroll
                    for (int i = 0; i < 4; i++) s[0][i] = s[1][i] = dp[0][i] = dp[1][i] = 0.f;
                    #pragma unroll
                    for (int j = 0; j < D / 16; j++) {
                        Left<PARTS> a;
                        Right<PARTS> b;
                        load_left<PARTS, LD, OWN>(a, ownK, 16 * warp, 16 * j);
                        load_right_transposed<PARTS, LD, TILE>(b, tileQ, row, 16 * j);
                        multiply<PARTS>(s[0], s[1], a, b);
                        load_left<PARTS, LD, OWN>(a, ownV, 16 * warp, 16 * j);
                        load_right_transposed<PARTS, LD, TILE>(b, tileD, row, 16 * j);
                        multiply<PARTS>(dp[0], dp[1], a, b);
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
                probability_gradients<PARTS>(s, dp, logs, deltas, scale * LOG2_E);
                Left<PARTS> a[1];
                as_left(a[0], s[0], s[1]);
                accumulate<T, D, 1, TILE>(sumV, a, tileD, row);
                as_left(a[0], dp[0], dp[1]);
                accumulate<T, D, 1, TILE>(sumK, a, tileQ, row);
            }
        }
    }
    __syncthreads();
    if (!active) return;
    store_own<D>(head_rows(dv, heads, tokens, D), key, tiles, warp, sumV, 1.f, 1.f);
    __syncwarp();
    store_own<D>(head_rows(dk, heads, tokens, D), key, tiles, warp, sumK, scale, scale);
}

// Sizes of the query gradients: in f32 at D = 128 dOut's left operands stay in shared memory, for want of registers.
template <typename T, int D> struct QueryShape {
    static constexpr bool IN_REGISTERS = D < 128 || sizeof(T) == 2;
    static constexpr int WARPS = IN_REGISTERS ? 4 : 2;
    static constexpr int TILE = IN_REGISTERS ? Shape<T, D>::TILE : 16;  // keys in shared memory
};

// dq = scale dS k; 0 for queries without an output.
//
// Traffic: reads q and dOut once, k and v once for every 64 queries, writes dq once.
// Shared by blocks, attention_backward_queries: k and v, from the second-level cache.
// Launch:  grid (ceil(tokens / 64), heads, batch), 4 warps of 16 queries (f32 at D = 128: 2 warps), 16 keys a step.
template <typename T, int D>
__device__ __forceinline__ void attention_backward_queries(const T* __restrict__ q, const T* __restrict__ k, const T* __restrict__ v,
                                                           const T* __restrict__ dOutA, const T* __restrict__ dOutB, const float* __restrict__ lse,
                                                           const float* __restrict__ delta, T* __restrict__ dq, int tokens, int tokensA, float scale) {
    using S = Shape<T, D>;
    using Q = QueryShape<T, D>;
    constexpr int PARTS = S::PARTS, TILE = Q::TILE, LD = S::LD, OWN = 16 * Q::WARPS;
    __shared__ __align__(16) __nv_bfloat16 tiles[2 * PARTS * TILE * LD + (Q::IN_REGISTERS ? 0 : PARTS * OWN * LD)];
    __shared__ float tileLse[OWN], tileDelta[OWN];
    __nv_bfloat16 *tileK = tiles, *tileV = tiles + PARTS * TILE * LD, *ownD = tiles + 2 * PARTS * TILE * LD;
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, query = blockIdx.x * OWN + 16 * warp, heads = gridDim.y;
    const Rows<const T> rowsK = head_rows(k, heads, tokens, D), rowsV = head_rows(v, heads, tokens, D);
    const Rows<const T> rowsD = joint_rows(dOutA, dOutB, heads, tokens, tokensA, D);
    const long rowStats = ((long)blockIdx.z * heads + blockIdx.y) * tokens;
    const bool active = query < rowsD.count;

    if (warp < OWN / 32) {
        const int t = threadIdx.x;
        const bool exists = blockIdx.x * OWN + t < rowsD.count;
        tileLse[t] = exists ? lse[rowStats + blockIdx.x * OWN + t] * LOG2_E : NEVER;
        tileDelta[t] = exists ? delta[rowStats + blockIdx.x * OWN + t] : 0.f;
    }
    Left<PARTS> leftQ[D / 16], leftD[Q::IN_REGISTERS ? D / 16 : 1];
    load_own<T, D, OWN>(leftQ, tiles, first_rows(head_rows(q, heads, tokens, D), rowsD.count), query, warp);
    if constexpr (Q::IN_REGISTERS) load_own<T, D, OWN>(leftD, tiles, rowsD, query, warp);
    else load_rows<T, D, OWN>(ownD, rowsD, query - 16 * warp, 4 * warp, 16 * warp + 16, 1);
    float sum[D / 8][4];
    #pragma unroll
    for (int n = 0; n < D / 8; n++) sum[n][0] = sum[n][1] = sum[n][2] = sum[n][3] = 0.f;

    for (int first = 0; first < tokens; first += TILE) {
        const int keys = min(TILE, tokens - first), padded = (keys + 15) & ~15;
        __syncthreads();
        load_rows<T, D, TILE>(tileK, rowsK, first, warp, padded, Q::WARPS);
        load_rows<T, D, TILE>(tileV, rowsV, first, warp, padded, Q::WARPS);
        __syncthreads();
        if (active) {
            #pragma unroll 1
            for (int row = 0; row < padded; row += 16) {
                float s[2][4], dp[2][4], logs[2][4], deltas[2][4];
                scores<T, D, 1, TILE>(s, leftQ, tileK, row);
                if constexpr (Q::IN_REGISTERS) {
                    scores<T, D, 1, TILE>(dp, leftD, tileV, row);
                } else {
                    #pragma unroll
                    for (int i = 0; i < 4; i++) dp[0][i] = dp[1][i] = 0.f;
                    #pragma unroll
                    for (int j = 0; j < D / 16; j++) {
                        Right<PARTS> b;
                        load_left<PARTS, LD, OWN>(leftD[0], ownD, 16 * warp, 16 * j);
                        load_right_transposed<PARTS, LD, TILE>(b, tileV, row, 16 * j);
                        multiply<PARTS>(dp[0], dp[1], leftD[0], b);
                    }
                }
                #pragma unroll
                for (int i = 0; i < 4; i++) {
                    logs[0][i] = logs[1][i] = tileLse[16 * warp + (lane >> 2) + 8 * (i >> 1)];
                    deltas[0][i] = deltas[1][i] = tileDelta[16 * warp + (lane >> 2) + 8 * (i >> 1)];
                }
                probability_gradients<PARTS>(s, dp, logs, deltas, scale * LOG2_E);
                if (row + 16 > keys) {  // keys that do not exist: k is 0, but 0 times an overflowed probability would not be
                    #pragma unroll
                    for (int n = 0; n < 2; n++) {
                        #pragma unroll
                        for (int i = 0; i < 4; i++) dp[n][i] = row + 8 * n + 2 * (lane & 3) + (i & 1) < keys ? dp[n][i] : 0.f;
                    }
                }
                Left<PARTS> a[1];
                as_left(a[0], dp[0], dp[1]);
                accumulate<T, D, 1, TILE>(sum, a, tileK, row);
            }
        }
    }
    __syncthreads();
    if (query >= tokens) return;
    store_own<D>(head_rows(dq, heads, tokens, D), query, tiles, warp, sum, scale, scale);
}

}  // namespace

#define ATTENTION(T, D, suffix)                                                                                                                    \
    extern "C" __global__ void __launch_bounds__(128, 2) attention_##suffix(const T* __restrict__ q, const T* __restrict__ k, const T* __restrict__ v,      \
                                                                         T* __restrict__ outA, T* __restrict__ outB, float* __restrict__ lse, int tokens,   \
                                                                         int tokensA, float scale) {                                                        \
        attention<T, D>(q, k, v, outA, outB, lse, tokens, tokensA, scale);                                                                                  \
    }                                                                                                                                                       \
    extern "C" __global__ void __launch_bounds__(32 * KeyShape<T, D>::WARPS, D == 32 ? 3 : D == 64 ? 2 : 1) attention_backward_keys_##suffix(                            \
        const T* __restrict__ q, const T* __restrict__ k, const T* __restrict__ v, const T* __restrict__ dOutA, const T* __restrict__ dOutB,                \
        const float* __restrict__ lse, const float* __restrict__ delta, T* __restrict__ dk, T* __restrict__ dv, int tokens, int tokensA, float scale) {     \
        attention_backward_keys<T, D>(q, k, v, dOutA, dOutB, lse, delta, dk, dv, tokens, tokensA, scale);                                                   \
    }                                                                                                                                                       \
    extern "C" __global__ void __launch_bounds__(32 * QueryShape<T, D>::WARPS, 128 / D) attention_backward_queries_##suffix(                                                         \
        const T* __restrict__ q, const T* __restrict__ k, const T* __restrict__ v, const T* __restrict__ dOutA, const T* __restrict__ dOutB,                \
        const float* __restrict__ lse, const float* __restrict__ delta, T* __restrict__ dq, int tokens, int tokensA, float scale) {                         \
        attention_backward_queries<T, D>(q, k, v, dOutA, dOutB, lse, delta, dq, tokens, tokensA, scale);                                                    \
    }

ATTENTION(float, 32, 32_f32)
ATTENTION(float, 64, 64_f32)
ATTENTION(float, 128, 128_f32)
ATTENTION(__nv_bfloat16, 32, 32_bf16)
ATTENTION(__nv_bfloat16, 64, 64_bf16)
ATTENTION(__nv_bfloat16, 128, 128_bf16)

#define ENTRIES(T, suffix)                                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(128) attention_delta_##suffix(const T* __restrict__ outA, const T* __restrict__ outB,                      \
                                                                               const T* __restrict__ dOutA, const T* __restrict__ dOutB,                    \
                                                                               float* __restrict__ delta, int batch, int heads, int tokens, int headDim,    \
                                                                               int tokensA) {                                                               \
        attention_delta<T>(outA, outB, dOutA, dOutB, delta, batch, heads, tokens, headDim, tokensA);                                                        \
    }

ENTRIES(float, f32)
ENTRIES(__nv_bfloat16, bf16)
