// Four consecutive elements at a time, whatever the storage type: f32 as one 16-byte access, bf16 as one 8-byte access, arithmetic in f32.
// Indices count groups of four; addresses must be aligned to the group.
#pragma once
#include <cuda_bf16.h>

__device__ __forceinline__ float4 load4(const float* p, long i) { return reinterpret_cast<const float4*>(p)[i]; }

__device__ __forceinline__ float4 load4(const __nv_bfloat16* p, long i) {
    const uint2 u = reinterpret_cast<const uint2*>(p)[i];  // bf16 is the upper half of an f32
    return make_float4(__uint_as_float(u.x << 16), __uint_as_float(u.x & 0xffff0000u), __uint_as_float(u.y << 16), __uint_as_float(u.y & 0xffff0000u));
}

__device__ __forceinline__ void store4(float* p, long i, float4 v) { reinterpret_cast<float4*>(p)[i] = v; }

__device__ __forceinline__ void store4(__nv_bfloat16* p, long i, float4 v) {
    const __nv_bfloat162 a = __floats2bfloat162_rn(v.x, v.y), b = __floats2bfloat162_rn(v.z, v.w);
    uint2 u;
    u.x = *reinterpret_cast<const unsigned*>(&a);
    u.y = *reinterpret_cast<const unsigned*>(&b);
    reinterpret_cast<uint2*>(p)[i] = u;
}

__device__ __forceinline__ float load1(const float* p, long i) { return p[i]; }
__device__ __forceinline__ float load1(const __nv_bfloat16* p, long i) { return __bfloat162float(p[i]); }
__device__ __forceinline__ void store1(float* p, long i, float v) { p[i] = v; }
__device__ __forceinline__ void store1(__nv_bfloat16* p, long i, float v) { p[i] = __float2bfloat16_rn(v); }

// One element where the condition holds, else 0; as one instruction with a predicate, so that lanes stay together.
__device__ __forceinline__ float load_where(bool here, const float* p) {
    float v;
    asm volatile("{ .reg .pred q; setp.ne.s32 q, %1, 0; mov.f32 %0, 0f00000000; @q ld.global.f32 %0, [%2]; }" : "=f"(v) : "r"((int)here), "l"(p) : "memory");
    return v;
}

__device__ __forceinline__ double load_where(bool here, const double* p) {
    double v;
    asm volatile("{ .reg .pred q; setp.ne.s32 q, %1, 0; mov.f64 %0, 0d0000000000000000; @q ld.global.f64 %0, [%2]; }" : "=d"(v) : "r"((int)here), "l"(p) : "memory");
    return v;
}

__device__ __forceinline__ void store_where(bool here, float* p, float v) {
    asm volatile("{ .reg .pred q; setp.ne.s32 q, %0, 0; @q st.global.f32 [%1], %2; }" : : "r"((int)here), "l"(p), "f"(v) : "memory");
}

__device__ __forceinline__ void store_where(bool here, double* p, double v) {
    asm volatile("{ .reg .pred q; setp.ne.s32 q, %0, 0; @q st.global.f64 [%1], %2; }" : : "r"((int)here), "l"(p), "d"(v) : "memory");
}

// Asks for the line at p, to be in the second cache when it is read.
template <typename T>
__device__ __forceinline__ void prefetch(const T* p) { asm volatile("prefetch.global.L2 [%0];" : : "l"(p)); }
