// The low-rank branch of a linear layer, forward and backward: products in which one side is at most 64 wide. T is f32 or bf16, sums are f32.
// They are bound by memory (2 rank operations a value of x), so plain FMAs from shared memory do: no tensor cores, f32 exact to rounding.
#include "storage.cuh"

namespace {

constexpr int TILE = 32;
constexpr int PANEL = 128;          // of the summed dimension, kept in shared memory
constexpr int ROWS_PER_BLOCK = 128;
constexpr int ROWS_PER_PARTIAL = 512;

// Loads a 32 x 32 tile of src (rows first.., columns column.., ld apart) as f32, 0 beyond rows x columns; warp w does rows w, w + 4, ...
// The guards are the same for a whole warp but in the last ragged tile of columns. With TRANSPOSED rows become columns.
template <bool TRANSPOSED = false, typename T>
__device__ __forceinline__ void load_tile(float (*tile)[TILE + 1], const T* __restrict__ src, long ld, int first, int rows, int column, int columns) {
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    #pragma unroll
    for (int i = 0; i < TILE / 4; i++) {
        const int r = 4 * i + warp;
        float v = 0.f;
        if (first + r < rows) {
            if (column + TILE <= columns) v = load1(src + (first + r) * ld + column, lane);
            else if (column + lane < columns) v = load1(src + (first + r) * ld + column, lane);
        }
        if (TRANSPOSED) tile[lane][r] = v;
        else tile[r][lane] = v;
    }
}

// c[row, n] = scale sum_k x[row, k] w(k, n), or added to c.
//
//   x [rows, k] T, rows ldX apart;  w [n, k] T (TRANSPOSED) or [k, n] T;  c [rows, n] T, rows ldC apart
//
// Traffic: reads x once for every 32 columns of c, w once for every 128 rows (k <= 128; else 32); c once. With rank <= 32 x is read once.
// Shared by blocks, lora_times, lora_times_transposed: x and w, as just said, from the second-level cache.
// Launch:  grid (ceil(n / 32), ceil(rows / 128)), 4 warps: 32 columns of w stay in shared memory for 4 tiles of 32 rows; a warp does 8 rows x 32 columns
//          of each, 8 sums a lane, k in order: a row's bits are its own.
template <typename T, bool TRANSPOSED>
__device__ __forceinline__ void product(const T* __restrict__ x, const T* __restrict__ w, T* __restrict__ c, int rows, int k, int n, int ldX, int ldC, float scale,
                                        int accumulate) {
    __shared__ float tileX[TILE][TILE + 1], panel[PANEL][TILE + 1];
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, firstColumn = blockIdx.x * TILE, end = min(rows, (int)(blockIdx.y + 1) * ROWS_PER_BLOCK);
    for (int firstRow = blockIdx.y * ROWS_PER_BLOCK; firstRow < end; firstRow += TILE) {
        float sum[8];
        #pragma unroll
        for (int j = 0; j < 8; j++) sum[j] = 0.f;
        for (int base = 0; base < k; base += PANEL) {
            const int depth = min(PANEL, k - base);
            if (k > PANEL || firstRow == blockIdx.y * ROWS_PER_BLOCK) {
                for (int at = 0; at < depth; at += TILE) {
                    if (TRANSPOSED) load_tile<true>(panel + at, w, k, firstColumn, n, base + at, k);
                    else load_tile(panel + at, w, n, base + at, k, firstColumn, n);
                }
            }
            for (int at = 0; at < depth; at += TILE) {
                load_tile(tileX, x, ldX, firstRow, end, base + at, k);
                __syncthreads();
                for (int first = 0; first < min(TILE, depth - at); first += 8) {  // beyond k both hold zeros
                    #pragma unroll
                    for (int i = first; i < first + 8; i++) {
                        const float b = panel[at + i][lane];
                        #pragma unroll
                        for (int j = 0; j < 8; j++) sum[j] = fmaf(tileX[8 * warp + j][i], b, sum[j]);
                    }
                }
                __syncthreads();
            }
        }
        if (firstColumn + lane < n) {
            #pragma unroll
            for (int j = 0; j < 8; j++) {
                const int row = firstRow + 8 * warp + j;
                if (row < rows) {
                    const long to = (long)row * ldC + firstColumn + lane;
                    store1(c, to, accumulate ? load1(c, to) + scale * sum[j] : scale * sum[j]);
                }
            }
        }
    }
}

// partials[chunk, m, n] = sum over 512 rows of p[row, m] q[row, n].
//
//   p [rows, m] T, rows ldP apart;  q [rows, n] T;  partials [ceil(rows / 512), m, n] f32
//
// Traffic: reads p once for every 32 columns of q and q once for every 32 of p; with rank <= 32 the wide one is read once.
// Shared by blocks, lora_outer: p and q, as just said, from the second-level cache.
// Launch:  grid (ceil(n / 32), ceil(m / 32), chunks), 4 warps: a warp does 8 x 32 values, 8 sums a lane, rows in order.
template <typename T>
__device__ __forceinline__ void outer(const T* __restrict__ p, const T* __restrict__ q, float* __restrict__ partials, int rows, int m, int n, int ldP) {
    __shared__ float tileP[TILE][TILE + 1], tileQ[TILE][TILE + 1];
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, firstM = blockIdx.y * TILE, firstN = blockIdx.x * TILE;
    const int end = min(rows, (int)(blockIdx.z + 1) * ROWS_PER_PARTIAL);
    float sum[8];
    #pragma unroll
    for (int j = 0; j < 8; j++) sum[j] = 0.f;
    for (int row = blockIdx.z * ROWS_PER_PARTIAL; row < end; row += TILE) {
        load_tile(tileP, p, ldP, row, end, firstM, m);
        load_tile(tileQ, q, n, row, end, firstN, n);
        __syncthreads();
        #pragma unroll 8
        for (int i = 0; i < TILE; i++) {
            const float b = tileQ[i][lane];
            #pragma unroll
            for (int j = 0; j < 8; j++) sum[j] = fmaf(tileP[i][8 * warp + j], b, sum[j]);
        }
        __syncthreads();
    }
    if (firstN + lane < n) {
        #pragma unroll
        for (int j = 0; j < 8; j++) {
            const int i = firstM + 8 * warp + j;
            if (i < m) partials[((long)blockIdx.z * m + i) * n + firstN + lane] = sum[j];
        }
    }
}

}  // namespace

// c[i] += scale sum over chunks of partials[chunk, i], in the order of the chunks.
//
// Traffic: reads 4 n bytes a chunk once, reads and writes c once.
// Launch:  grid ceil(n / 256), 8 warps.
extern "C" __global__ void __launch_bounds__(256) lora_sum_partials(const float* __restrict__ partials, float* __restrict__ c, int chunks, int n, float scale) {
    const int i = blockIdx.x * 256 + threadIdx.x;
    if (i >= n) return;
    float sum = 0.f;
    for (int chunk = 0; chunk < chunks; chunk++) sum += partials[(long)chunk * n + i];
    c[i] += scale * sum;
}

#define ENTRIES(T, suffix)                                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(128) lora_times_transposed_##suffix(const T* __restrict__ x, const T* __restrict__ w, T* __restrict__ c,   \
                                                                                     int rows, int k, int n, int ldX, int ldC, float scale, int accumulate) { \
        product<T, true>(x, w, c, rows, k, n, ldX, ldC, scale, accumulate);                                                                                 \
    }                                                                                                                                                       \
    extern "C" __global__ void __launch_bounds__(128) lora_times_##suffix(const T* __restrict__ x, const T* __restrict__ w, T* __restrict__ c,              \
                                                                          int rows, int k, int n, int ldX, int ldC, float scale, int accumulate) {          \
        product<T, false>(x, w, c, rows, k, n, ldX, ldC, scale, accumulate);                                                                                \
    }                                                                                                                                                       \
    extern "C" __global__ void __launch_bounds__(128) lora_outer_##suffix(const T* __restrict__ p, const T* __restrict__ q, float* __restrict__ partials,   \
                                                                          int rows, int m, int n, int ldP) {                                                \
        outer<T>(p, q, partials, rows, m, n, ldP);                                                                                                          \
    }

ENTRIES(float, f32)
ENTRIES(__nv_bfloat16, bf16)
