// Matrix products other than those into f32: mma.sync as inline assembly, and nvcuda::wmma. One warp; A[m, k] by rows, B[k, n] by columns (mma) as bytes of
// 32-bit words of packed elements, C and D[m, n] by rows.
#include <mma.h>

using namespace nvcuda::wmma;

// Where a lane's registers lie in A and B: word r of the row (column) l / 4, and l % 4 words on in it.
__device__ unsigned left(const unsigned* a, int r, int tiles, int words) { return a[(threadIdx.x / 4 + 8 * (r % tiles)) * words + 4 * (r / tiles) + threadIdx.x % 4]; }
__device__ unsigned right(const unsigned* b, int r, int words) { return b[threadIdx.x / 4 * words + 4 * r + threadIdx.x % 4]; }

extern "C" __global__ void halves8(unsigned* d, const unsigned* a, const unsigned* b, const unsigned* c) {
    const int at = threadIdx.x / 4 * 4 + threadIdx.x % 4;
    unsigned x, y;
    asm("mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {%0,%1}, {%2,%3}, {%4}, {%5,%6};" : "=r"(x), "=r"(y)
        : "r"(left(a, 0, 2, 4)), "r"(left(a, 1, 2, 4)), "r"(right(b, 0, 4)), "r"(c[at]), "r"(c[at + 32]));
    d[at] = x;
    d[at + 32] = y;
}

extern "C" __global__ void halves16(unsigned* d, const unsigned* a, const unsigned* b, const unsigned* c) {
    const int at = threadIdx.x / 4 * 4 + threadIdx.x % 4;
    unsigned x = c[at], y = c[at + 32];
    for (int i = 0; i < 2; i++)   // the second time onto the first's sums, which must still be there
        asm("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0,%1}, {%2,%3,%4,%5}, {%6,%7}, {%0,%1};" : "+r"(x), "+r"(y)
            : "r"(left(a, 0, 2, 8)), "r"(left(a, 1, 2, 8)), "r"(left(a, 2, 2, 8)), "r"(left(a, 3, 2, 8)), "r"(right(b, 0, 8)), "r"(right(b, 1, 8)));
    d[at] = x;
    d[at + 32] = y;
}

extern "C" __global__ void bytes16(int2* d, const unsigned* a, const unsigned* b, const int2* c) {
    const int at = threadIdx.x / 4 * 4 + threadIdx.x % 4;
    int2 x = c[at], y = c[at + 32];
    asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.u8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};" : "+r"(x.x), "+r"(x.y), "+r"(y.x), "+r"(y.y)
        : "r"(left(a, 0, 2, 4)), "r"(left(a, 1, 2, 4)), "r"(right(b, 0, 4)));
    d[at] = x;
    d[at + 32] = y;
}

extern "C" __global__ void bytes32(int2* d, const unsigned* a, const unsigned* b, const int2* c) {   // D wraps around, behind it D that does not
    const int at = threadIdx.x / 4 * 4 + threadIdx.x % 4;
    int2 x = c[at], y = c[at + 32], u = x, v = y;
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" : "+r"(x.x), "+r"(x.y), "+r"(y.x), "+r"(y.y)
        : "r"(left(a, 0, 2, 8)), "r"(left(a, 1, 2, 8)), "r"(left(a, 2, 2, 8)), "r"(left(a, 3, 2, 8)), "r"(right(b, 0, 8)), "r"(right(b, 1, 8)));
    asm("mma.sync.aligned.m16n8k32.row.col.satfinite.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" : "+r"(u.x), "+r"(u.y), "+r"(v.x), "+r"(v.y)
        : "r"(left(a, 0, 2, 8)), "r"(left(a, 1, 2, 8)), "r"(left(a, 2, 2, 8)), "r"(left(a, 3, 2, 8)), "r"(right(b, 0, 8)), "r"(right(b, 1, 8)));
    d[at] = x;
    d[at + 32] = y;
    d[at + 64] = u;
    d[at + 96] = v;
}

extern "C" __global__ void doubles(double2* d, const double* a, const double* b, const double2* c) {
    double2 x = c[threadIdx.x];
    asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0,%1}, {%2}, {%3}, {%0,%1};" : "+d"(x.x), "+d"(x.y) : "d"(a[threadIdx.x]), "d"(b[threadIdx.x]));
    d[threadIdx.x] = x;
}

// D = 2 (A B + C), the doubling element by element; C lies column by column, in shared memory.
template <int M, int N, int K, typename T, typename Rows, typename Columns, typename Sum>
__device__ void warp_product(Sum* d, const T* a, int row, const T* b, int column, const Sum* c) {
    __shared__ __align__(32) Sum inside[M * N];
    for (int i = threadIdx.x; i < M * N; i += 32) inside[i] = c[i];
    __syncthreads();
    fragment<matrix_a, M, N, K, T, Rows> x;
    fragment<matrix_b, M, N, K, T, Columns> y;
    fragment<accumulator, M, N, K, Sum> z;
    load_matrix_sync(x, a, row);
    load_matrix_sync(y, b, column);
    load_matrix_sync(z, inside, M, mem_col_major);
    mma_sync(z, x, y, z);
    for (int i = 0; i < z.num_elements; i++) z.x[i] = z.x[i] + z.x[i];
    store_matrix_sync(d, z, N, mem_row_major);
}

extern "C" __global__ void warp_square(float* d, const half* a, const half* b, const float* c) { warp_product<16, 16, 16, half, row_major, row_major>(d, a, 24, b, 16, c); }
extern "C" __global__ void warp_tall(half* d, const half* a, const half* b, const half* c) { warp_product<32, 8, 16, half, row_major, col_major>(d, a, 16, b, 16, c); }
extern "C" __global__ void warp_wide(float* d, const __nv_bfloat16* a, const __nv_bfloat16* b, const float* c) {
    warp_product<8, 32, 16, __nv_bfloat16, col_major, row_major>(d, a, 8, b, 32, c);
}
extern "C" __global__ void warp_bytes(int* d, const signed char* a, const signed char* b, const int* c) {
    warp_product<16, 16, 16, signed char, row_major, col_major>(d, a, 16, b, 32, c);
}
extern "C" __global__ void warp_doubles(double* d, const double* a, const double* b, const double* c) { warp_product<8, 8, 4, double, row_major, col_major>(d, a, 4, b, 4, c); }

extern "C" __global__ void warp_tf32(float* d, const float* a, const float* b) {
    fragment<matrix_a, 16, 16, 8, precision::tf32, row_major> x;
    fragment<matrix_b, 16, 16, 8, precision::tf32, row_major> y;
    fragment<accumulator, 16, 16, 8, float> z;
    fill_fragment(z, 1.f);
    load_matrix_sync(x, a, 8);
    load_matrix_sync(y, b, 16);
    for (int i = 0; i < x.num_elements; i++) x.x[i] = __float_to_tf32(x.x[i]);
    for (int i = 0; i < y.num_elements; i++) y.x[i] = __float_to_tf32(y.x[i]);
    mma_sync(z, x, y, z);
    store_matrix_sync(d, z, 16, mem_row_major);
}
