// How a warp walks one row, and how a block adds columns. Lane l of a warp owns columns l, l + 32, ...: every access of a warp is 32 neighbours.
#pragma once

// f(c) for each of this lane's columns c < d. Whole groups of 32 first, so that only a ragged end branches inside a warp.
template <typename F>
__device__ __forceinline__ void for_columns(int d, F f) {
    const int lane = threadIdx.x & 31, whole = d & ~31;
    #pragma unroll 4
    for (int c = 0; c < whole; c += 32) f(c + lane);
    if (whole < d) {
        if (whole + lane < d) f(whole + lane);
    }
}

// Sum of v over the WARPS warps of the block, lane by lane, in the order of the warps; the result is valid in warp 0. Every thread must call it.
template <int WARPS>
__device__ __forceinline__ float column_sum(float v) {
    __shared__ float part[WARPS][32];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    part[warp][lane] = v;
    __syncthreads();
    float sum = 0.f;
    if (warp == 0) {
        #pragma unroll
        for (int w = 0; w < WARPS; w++) sum += part[w][lane];
    }
    __syncthreads();
    return sum;
}
