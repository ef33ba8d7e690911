// The arithmetic of one denoising step that sampler, replay and GRPO loss share. It is written with explicitly rounded operations: whichever kernel
// computes a mean or a log-probability gets the same bits, and the importance ratio before the first update is exactly 1.
//
// Three rules carry that:
//   1. the log-probability is always computed from the x_next that was stored, never from the noise that made it;
//   2. a row is cut into chunks of 512 elements, one warp each, by element index alone: neither batch nor grid changes an order of summation;
//   3. the per-chunk sums of a row are added by one warp in one order (sum_chunks).
#pragma once
#include "reduce.cuh"
#include "storage.cuh"

// mean = keep x + drift v,  x_next = mean + spread noise,  log p = log_scale mean_n((x_next - mean)^2) + log_offset,  KL = kl_scale mean_n((mean - mean_ref)^2).
// `sde`, `cps` and ODE steps differ in these numbers only; the host computes them in double, once per schedule (dev.turningpoint.schedule).
struct __align__(32) FlowStep {
    float keep, drift, spread, log_scale, log_offset, kl_scale, ratio_scale, policy_weight;  // the last two: grpo.cu, normalized ratios
};

constexpr int CHUNK4 = 128;  // float4 groups in a chunk: 32 lanes x 4

__device__ __forceinline__ FlowStep load_step(const FlowStep* steps, int index) {
    const float4 a = reinterpret_cast<const float4*>(steps + index)[0], b = reinterpret_cast<const float4*>(steps + index)[1];
    return {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
}

__device__ __forceinline__ float guide(float v, float u, float guidance) { return __fmaf_rn(guidance, __fsub_rn(v, u), u); }

// Velocity of group i; with classifier-free guidance u + guidance (v - u), u the unconditional velocity (null: none).
template <typename T>
__device__ __forceinline__ float4 load_velocity(const T* v, const T* u, float guidance, long i) {
    float4 a = load4(v, i);
    if (u) {
        const float4 b = load4(u, i);
        a = make_float4(guide(a.x, b.x, guidance), guide(a.y, b.y, guidance), guide(a.z, b.z, guidance), guide(a.w, b.w, guidance));
    }
    return a;
}

__device__ __forceinline__ float4 step_mean(FlowStep c, float4 x, float4 v) {
    return make_float4(__fmaf_rn(c.drift, v.x, __fmul_rn(c.keep, x.x)), __fmaf_rn(c.drift, v.y, __fmul_rn(c.keep, x.y)),
                       __fmaf_rn(c.drift, v.z, __fmul_rn(c.keep, x.z)), __fmaf_rn(c.drift, v.w, __fmul_rn(c.keep, x.w)));
}

__device__ __forceinline__ float4 subtract(float4 a, float4 b) {
    return make_float4(__fsub_rn(a.x, b.x), __fsub_rn(a.y, b.y), __fsub_rn(a.z, b.z), __fsub_rn(a.w, b.w));
}

__device__ __forceinline__ float add_squares(float sum, float4 e) {
    return __fmaf_rn(e.w, e.w, __fmaf_rn(e.z, e.z, __fmaf_rn(e.y, e.y, __fmaf_rn(e.x, e.x, sum))));
}

// Sum of a row's per-chunk sums, the same in every lane of the calling warp.
__device__ __forceinline__ float sum_chunks(const float* partial, int chunks) {
    float sum = 0.f;
    for (int i = threadIdx.x & 31; i < chunks; i += 32) sum = __fadd_rn(sum, partial[i]);
    return warp_sum(sum);
}

__device__ __forceinline__ float log_prob(FlowStep c, float squares, int n) {
    return __fmaf_rn(c.log_scale, __fdiv_rn(squares, (float)n), c.log_offset);
}

// e^x within 2 ulp by correctly rounded operations; exactly 1 at 0. For ratios: |x| is clamped to 87.
__device__ __forceinline__ float exp_exact_at_zero(float x) {
    if (!(x == x)) return x;
    x = fminf(fmaxf(x, -87.f), 87.f);
    const float shifted = __fmaf_rn(x, 1.44269504f, 12582912.f);  // 1.5 2^23: its low bits are the nearest integer
    const int k = __float_as_int(shifted) - 0x4b400000;
    const float fk = __fsub_rn(shifted, 12582912.f);
    const float r = __fmaf_rn(fk, 2.12194440e-4f, __fmaf_rn(fk, -0.693359375f, x));
    float p = 1.9875691500e-4f;
    p = __fmaf_rn(p, r, 1.3981999507e-3f);
    p = __fmaf_rn(p, r, 8.3334519073e-3f);
    p = __fmaf_rn(p, r, 4.1665795894e-2f);
    p = __fmaf_rn(p, r, 1.6666665459e-1f);
    p = __fmaf_rn(p, r, 5.0000001201e-1f);
    p = __fadd_rn(__fmaf_rn(p, __fmul_rn(r, r), r), 1.f);
    return __int_as_float(__float_as_int(p) + (k << 23));
}
