// bf16 tensor-core fragments: loading 16 x 16 tiles of shared memory, the m16n8k16 product with f32 sums, and splitting an f32 operand into two bf16.
//
// PARTS is the number of bf16 numbers that stand for one value: 1 in bf16 storage; 2 in f32 storage, x = hi + lo, with the product of two such sums taken
// as hi hi + hi lo + lo hi: about 16 bits of mantissa for three products instead of one.
#pragma once
#include <cuda_bf16.h>
#include <stdint.h>

__device__ __forceinline__ void ldmatrix(uint32_t (&r)[4], const __nv_bfloat16* p) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"((uint32_t)__cvta_generic_to_shared(p)) : "memory");
}

__device__ __forceinline__ void ldmatrix_transposed(uint32_t (&r)[4], const __nv_bfloat16* p) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"((uint32_t)__cvta_generic_to_shared(p)) : "memory");
}

// c[16, 8] += a[16, 16] b[16, 8]; lane l holds c[l / 4 + 8 (i / 2), 2 (l % 4) + i % 2].
__device__ __forceinline__ void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// The left operand of a product: 16 x 16, one or two parts.
template <int PARTS> struct Left { uint32_t part[PARTS][4]; };
// Two neighbouring right operands: 16 x 16, one or two parts.
template <int PARTS> struct Right { uint32_t part[PARTS][4]; };

// tile[row.., column..] as left operand: rows are rows. LD is the tile's padded row, ROWS its rows; part p starts at p * ROWS * LD.
template <int PARTS, int LD, int ROWS>
__device__ __forceinline__ void load_left(Left<PARTS>& a, const __nv_bfloat16* tile, int row, int column) {
    const int lane = threadIdx.x & 31;
    #pragma unroll
    for (int p = 0; p < PARTS; p++) ldmatrix(a.part[p], tile + p * ROWS * LD + (row + (lane & 15)) * LD + column + (lane >> 4) * 8);
}

// The transpose of tile[row.., column..] as right operand: its rows are the columns of the product.
template <int PARTS, int LD, int ROWS>
__device__ __forceinline__ void load_right_transposed(Right<PARTS>& b, const __nv_bfloat16* tile, int row, int column) {
    const int lane = threadIdx.x & 31;
    #pragma unroll
    for (int p = 0; p < PARTS; p++) ldmatrix(b.part[p], tile + p * ROWS * LD + (row + (lane & 7) + (lane >> 4) * 8) * LD + column + ((lane >> 3) & 1) * 8);
}

// tile[row.., column..] as right operand: its rows are what the product sums over.
template <int PARTS, int LD, int ROWS>
__device__ __forceinline__ void load_right(Right<PARTS>& b, const __nv_bfloat16* tile, int row, int column) {
    const int lane = threadIdx.x & 31;
    #pragma unroll
    for (int p = 0; p < PARTS; p++) ldmatrix_transposed(b.part[p], tile + p * ROWS * LD + (row + (lane & 15)) * LD + column + (lane >> 4) * 8);
}

// (c0 | c1)[16, 16] += a b
template <int PARTS>
__device__ __forceinline__ void multiply(float (&c0)[4], float (&c1)[4], const Left<PARTS>& a, const Right<PARTS>& b) {
    mma(c0, a.part[0], b.part[0][0], b.part[0][1]);
    if (PARTS == 2) {
        mma(c0, a.part[0], b.part[1][0], b.part[1][1]);
        mma(c0, a.part[1], b.part[0][0], b.part[0][1]);
    }
    mma(c1, a.part[0], b.part[0][2], b.part[0][3]);
    if (PARTS == 2) {
        mma(c1, a.part[0], b.part[1][2], b.part[1][3]);
        mma(c1, a.part[1], b.part[0][2], b.part[0][3]);
    }
}

__device__ __forceinline__ uint32_t pack(float low, float high) {
    const __nv_bfloat162 v = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&v);
}

// A [16, 16] result (c0 | c1) as left operand of the next product.
template <int PARTS>
__device__ __forceinline__ void as_left(Left<PARTS>& a, const float (&c0)[4], const float (&c1)[4]) {
    a.part[0][0] = pack(c0[0], c0[1]);
    a.part[0][1] = pack(c0[2], c0[3]);
    a.part[0][2] = pack(c1[0], c1[1]);
    a.part[0][3] = pack(c1[2], c1[3]);
    if (PARTS == 2) {
        #pragma unroll
        for (int i = 0; i < 4; i++) {
            const float* c = i < 2 ? c0 : c1;
            const uint32_t hi = a.part[0][i];
            a.part[PARTS - 1][i] = pack(c[2 * (i & 1)] - __uint_as_float(hi << 16), c[2 * (i & 1) + 1] - __uint_as_float(hi & 0xffff0000u));
        }
    }
}
