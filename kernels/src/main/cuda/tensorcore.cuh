// bf16 tensor-core fragments: loading 16 x 16 tiles of shared memory, and the m16n8k16 product with f32 sums.
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

// Four bytes a lane on their way into shared memory; there once the thread waits. Lanes next to each other move neighbours: a row in one request.
__device__ __forceinline__ void copy_async(void* shared, const void* global) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"((uint32_t)__cvta_generic_to_shared(shared)), "l"(__cvta_generic_to_global(global)) : "memory");
}
__device__ __forceinline__ void wait_for_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

// c[16, 8] += a[16, 16] b[16, 8]; lane l holds c[l / 4 + 8 (i / 2), 2 (l % 4) + i % 2].
__device__ __forceinline__ void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// The left operand of a product, 16 x 16, and two neighbouring right operands, 16 x 16 together.
struct Left { uint32_t r[4]; };
struct Right { uint32_t r[4]; };

// tile[row.., column..] as left operand: rows are rows. LD is the tile's padded row.
template <int LD>
__device__ __forceinline__ void load_left(Left& a, const __nv_bfloat16* tile, int row, int column) {
    const int lane = threadIdx.x & 31;
    ldmatrix(a.r, tile + (row + (lane & 15)) * LD + column + (lane >> 4) * 8);
}

// The transpose of tile[row.., column..] as right operand: its rows are the columns of the product.
template <int LD>
__device__ __forceinline__ void load_right_transposed(Right& b, const __nv_bfloat16* tile, int row, int column) {
    const int lane = threadIdx.x & 31;
    ldmatrix(b.r, tile + (row + (lane & 7) + (lane >> 4) * 8) * LD + column + ((lane >> 3) & 1) * 8);
}

// tile[row.., column..] as right operand: its rows are what the product sums over.
template <int LD>
__device__ __forceinline__ void load_right(Right& b, const __nv_bfloat16* tile, int row, int column) {
    const int lane = threadIdx.x & 31;
    ldmatrix_transposed(b.r, tile + (row + (lane & 15)) * LD + column + (lane >> 4) * 8);
}

// (c0 | c1)[16, 16] += a b
__device__ __forceinline__ void multiply(float (&c0)[4], float (&c1)[4], const Left& a, const Right& b) {
    mma(c0, a.r, b.r[0], b.r[1]);
    mma(c1, a.r, b.r[2], b.r[3]);
}

__device__ __forceinline__ uint32_t pack(float low, float high) {
    const __nv_bfloat162 v = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&v);
}

// A [16, 16] result (c0 | c1) as left operand of the next product.
__device__ __forceinline__ void as_left(Left& a, const float (&c0)[4], const float (&c1)[4]) {
    a.r[0] = pack(c0[0], c0[1]);
    a.r[1] = pack(c0[2], c0[3]);
    a.r[2] = pack(c1[0], c1[1]);
    a.r[3] = pack(c1[2], c1[3]);
}
