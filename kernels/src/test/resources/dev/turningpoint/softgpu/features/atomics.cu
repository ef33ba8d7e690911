// Atomic sums of short floats and pairs, of vectors (sm_90), 16-bit compare and swap; matrices moved between lanes and shared memory.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

extern "C" __global__ void sums(__half* h, __half2* h2, __nv_bfloat16* b, __nv_bfloat162* b2, unsigned short* s) {
    const float v = threadIdx.x % 4;
    atomicAdd(h, __float2half(v));
    atomicAdd(h2, __floats2half2_rn(1.f, v));
    atomicAdd(b, __float2bfloat16(v));
    atomicAdd(b2, __floats2bfloat162_rn(1.f, v));
    __shared__ __half2 inside;
    if (threadIdx.x == 0) inside = __float2half2_rn(0.f);
    __syncthreads();
    atomicAdd(&inside, __floats2half2_rn(v, 1.f));
    __syncthreads();
    if (threadIdx.x == 0) h2[1] = inside;
    unsigned short seen = *s, expected;   // a sum by compare and swap
    do { expected = seen; seen = atomicCAS(s, expected, (unsigned short)(expected + 3)); } while (seen != expected);
}

extern "C" __global__ void moved(unsigned* out) {
    unsigned d;
    asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(d) : "r"(threadIdx.x * 2 | (threadIdx.x * 2 + 1) << 16));
    out[threadIdx.x] = d;
}

#if __CUDA_ARCH__ >= 900
extern "C" __global__ void vectors(float4* q, float2* p, float2* before) {
    const float v = threadIdx.x;
    before[threadIdx.x] = atomicAdd(p, make_float2(1.f, 2.f));
    atomicAdd(q, make_float4(v, 1.f, 2.f * v, 3.f));
}

extern "C" __global__ void stored(unsigned* out) {   // two matrices, the second block of the output transposed
    __shared__ __align__(16) unsigned s[128];
    const unsigned at = (unsigned)__cvta_generic_to_shared(s) + (threadIdx.x & 15) * 16, a = threadIdx.x * 2 | (threadIdx.x * 2 + 1) << 16, b = a + 0x00400040;
    asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1,%2};" :: "r"(at), "r"(a), "r"(b) : "memory");
    asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1,%2};" :: "r"(at + 256), "r"(a), "r"(b) : "memory");
    __syncthreads();
    for (int k = 0; k < 4; k++) out[32 * k + threadIdx.x] = s[32 * k + threadIdx.x];
}
#endif
