// What both kinds of attention share: where rows lie, and delta of the backward.
//
// Shared by blocks, attention, attention_backward_keys, attention_backward_queries: a block reads all rows of the other side, some hundred kilobytes a head, which
// stay in the second-level cache while the head's blocks pass.
#pragma once
#include "reduce.cuh"
#include "storage.cuh"

namespace {

constexpr float LOG2_E = 1.44269504f, LN_2 = 0.693147181f;
constexpr float NEVER = 1e30f;  // as log of a denominator: every probability is 0

__device__ __forceinline__ float exp2_approx(float x) { float y; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }

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

}  // namespace

#define ATTENTION_DELTA(T, suffix)                                                                                                                          \
    extern "C" __global__ void __launch_bounds__(128) attention_delta_##suffix(const T* __restrict__ outA, const T* __restrict__ outB,                      \
                                                                               const T* __restrict__ dOutA, const T* __restrict__ dOutB,                    \
                                                                               float* __restrict__ delta, int batch, int heads, int tokens, int headDim,    \
                                                                               int tokensA) {                                                               \
        attention_delta<T>(outA, outB, dOutA, dOutB, delta, batch, heads, tokens, headDim, tokensA);                                                        \
    }
