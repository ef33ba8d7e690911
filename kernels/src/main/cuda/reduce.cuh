// Deterministic sums: the order of addition depends on the element index alone, never on the batch, the grid or time.
#pragma once

template <typename A>
__device__ __forceinline__ A warp_sum(A v) {  // every lane gets the sum; butterfly order
    #pragma unroll
    for (int offset = 16; offset > 0; offset >>= 1) v += __shfl_xor_sync(0xffffffffu, v, offset);
    return v;
}

template <typename A>
__device__ __forceinline__ A warp_max(A v) {
    #pragma unroll
    for (int offset = 16; offset > 0; offset >>= 1) { const A o = __shfl_xor_sync(0xffffffffu, v, offset); v = o > v ? o : v; }
    return v;
}

// Sum over a block of THREADS threads; the result is valid in warp 0. Every thread of the block must call it, full warps only.
// One barrier before and none after: a block that calls it twice puts a __syncthreads() between.
template <int THREADS, typename A>
__device__ __forceinline__ A block_sum(A v) {
    if (THREADS == 32) return warp_sum(v);
    __shared__ A part[THREADS / 32];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    v = warp_sum(v);
    if (lane == 0) part[warp] = v;
    __syncthreads();
    v = A(0);
    if (warp == 0) v = warp_sum(lane < THREADS / 32 ? part[lane] : A(0));
    return v;
}
