// The clipped policy loss of GRPO, its KL to the reference model, and the gradient of both with respect to the velocity, in one pass over a row that stays in cache.
//
//   x, x_next  [batch, n] f32     stored latents of a step; a row names its step's coefficients by row_step (flow.cuh)
//   v, u       [batch, n] T       velocity of the model in training, and the unconditional one (null: no guidance)
//   w, wu      [batch, n] T       velocity of the reference model and its unconditional one (null: no KL)
//   old_mean   [batch, n] f32     the step's mean under the rollout's policy: grpo_loss_normalized only
//   old        [batch] f32        log-probabilities recorded at sampling;  advantage [batch] f64
//   grad, gradu [batch, n] T      gradient of scale (policy + beta KL) to v and to u
//   stats      [batch, 8] f64     log p, ratio, policy loss, KL, |ratio - 1| > c, ratio - 1 > c, 1 - ratio > c, (log p - old)^2 / 2
//
//   ratio  = exp(log p - old),   A = clamp(advantage, -limit, limit)
//   policy = max(-A ratio, -A clamp(ratio, 1 - c, 1 + c)),   KL = kl_scale mean_n((mean - mean_ref)^2)           [Flow-GRPO, arXiv 2505.05470]
//   grad   = scale drift / n [ 2 A ratio log_scale (x_next - mean) (0 where the clipped term is the larger) + 2 beta kl_scale (mean - mean_ref) ],
//   through v = u + g (v_c - u) to g grad and (1 - g) grad.
//
//   Normalized, the ratio has its mean at 1 and the same spread at every step, and a step's loss is weighed by 1 / -dt:       [GRPO-Guard, arXiv 2510.22319]
//   log ratio = ratio_scale (log p - old + mean_n((mean - old_mean)^2) / (2 spread^2)),   policy = policy_weight max(...)
//             = mean_n(noise (mean - old_mean)) in exact arithmetic, so that its gradient has x_next - old_mean in place of x_next - mean.
//   ratio_scale is the spread; -log_scale is 1 / (2 spread^2).
//
// Traffic: reads (8 + sizeof(T)) n (+ sizeof(T) n with KL, + 4 n normalized), writes sizeof(T) n bytes a row; read twice, the second time from cache, because the gradient
//          needs the whole row's ratio.
// Launch:  one block of 8 warps a row; each warp has its run of chunks of 512 elements, one stream of addresses; per-chunk sums meet in shared memory (8 bytes a chunk, 12 normalized).
//          Inner loops stay rolled: blocks of other rows hide the latency, and code for every mixture of guidance and KL stays small.
//          The log-probability has the bits of sampler.cu's: the same code, chunks and order.

#include "flow.cuh"

template <typename T, bool NORMALIZED>
__device__ __forceinline__ void grpo_loss(const float* x, const float* x_next, const T* v, const T* u, float guidance, const T* w, const T* wu,
                                          const float* old_mean, const FlowStep* steps, const int* row_step, const float* old, const double* advantage, float limit, float clip,
                                          float beta, float scale, T* grad, T* gradu, double* stats, int n, int chunks) {
    extern __shared__ float partial[];  // [2 or 3, chunks]: (x_next - mean)^2, (mean - mean_ref)^2, (mean - old_mean)^2
    const int b = blockIdx.x, warp = threadIdx.x >> 5, lane = threadIdx.x & 31, n4 = n >> 2;
    const long row = (long)b * n4;
    const FlowStep c = load_step(steps, row_step[b]);
    const int each = (chunks + 7) / 8, begin = warp * each, end = min(begin + each, chunks);

    for (int chunk = begin; chunk < end; chunk++) {
        float squares = 0.f, kl_squares = 0.f, moved_squares = 0.f;
        #pragma unroll 1
        for (int j = 0; j < 4; j++) {
            const int k = chunk * CHUNK4 + j * 32 + lane;
            if (k < n4) {
                const float4 a = load4(x, row + k), mean = step_mean(c, a, load_velocity(v, u, guidance, row + k));
                squares = add_squares(squares, subtract(load4(x_next, row + k), mean));
                if (w) kl_squares = add_squares(kl_squares, subtract(mean, step_mean(c, a, load_velocity(w, wu, guidance, row + k))));
                if (NORMALIZED) moved_squares = add_squares(moved_squares, subtract(mean, load4(old_mean, row + k)));
            }
        }
        squares = warp_sum(squares);
        kl_squares = warp_sum(kl_squares);
        if (NORMALIZED) moved_squares = warp_sum(moved_squares);
        if (lane == 0) {
            partial[chunk] = squares;
            partial[chunks + chunk] = kl_squares;
            if (NORMALIZED) partial[2 * chunks + chunk] = moved_squares;
        }
    }
    __syncthreads();

    const float logp = log_prob(c, sum_chunks(partial, chunks), n);
    float difference = __fsub_rn(logp, old[b]), sharpness = c.log_scale, weight = 1.f;  // sharpness: d log ratio / d (x_next - mean)^2, times n
    if (NORMALIZED) {
        const float moved = __fdiv_rn(sum_chunks(partial + 2 * chunks, chunks), (float)n);
        difference = __fmul_rn(c.ratio_scale, __fsub_rn(difference, __fmul_rn(c.log_scale, moved)));
        sharpness *= c.ratio_scale;
        weight = c.policy_weight;
    }
    const float ratio = exp_exact_at_zero(difference), deviation = __fsub_rn(ratio, 1.f);
    const float kl = w ? __fmul_rn(c.kl_scale, __fdiv_rn(sum_chunks(partial + chunks, chunks), (float)n)) : 0.f;
    double A = advantage[b];
    A = A > limit ? limit : A < -limit ? -limit : A;
    const double unclipped = -A * ratio, clipped = -A * (double)fminf(fmaxf(ratio, 1.f - clip), 1.f + clip);
    const bool active = !(clipped > unclipped);
    const float of_n = scale * c.drift / (float)n;
    const float policy_factor = active ? (float)(2. * A * ratio) * sharpness * weight * of_n : 0.f, kl_factor = w && beta != 0.f ? 2.f * beta * c.kl_scale * of_n : 0.f;
    if (threadIdx.x == 0) {
        double* s = stats + (long)b * 8;
        s[0] = logp;
        s[1] = ratio;
        s[2] = weight * (active ? unclipped : clipped);
        s[3] = kl;
        s[4] = fabsf(deviation) > clip ? 1. : 0.;
        s[5] = deviation > clip ? 1. : 0.;
        s[6] = __fsub_rn(1.f, ratio) > clip ? 1. : 0.;
        s[7] = 0.5f * difference * difference;
    }

    for (int chunk = begin; chunk < end; chunk++) {
        #pragma unroll 1
        for (int j = 0; j < 4; j++) {
            const int k = chunk * CHUNK4 + j * 32 + lane;
            if (k < n4) {
                const float4 a = load4(x, row + k), mean = step_mean(c, a, load_velocity(v, u, guidance, row + k));
                const float4 e = subtract(load4(x_next, row + k), NORMALIZED ? load4(old_mean, row + k) : mean);
                float4 g = make_float4(policy_factor * e.x, policy_factor * e.y, policy_factor * e.z, policy_factor * e.w);
                if (kl_factor != 0.f) {
                    const float4 d = subtract(mean, step_mean(c, a, load_velocity(w, wu, guidance, row + k)));
                    g = make_float4(g.x + kl_factor * d.x, g.y + kl_factor * d.y, g.z + kl_factor * d.z, g.w + kl_factor * d.w);
                }
                if (u) {
                    const float h = 1.f - guidance;
                    if (gradu) store4(gradu, row + k, make_float4(h * g.x, h * g.y, h * g.z, h * g.w));
                    g = make_float4(guidance * g.x, guidance * g.y, guidance * g.z, guidance * g.w);
                }
                store4(grad, row + k, g);
            }
        }
    }
}

#define ENTRIES(T, storage)                                                                                                                                \
    extern "C" __global__ void __launch_bounds__(256, 2) grpo_loss_##storage(const float* x, const float* x_next, const T* v, const T* u, float guidance,  \
            const T* w, const T* wu, const FlowStep* steps, const int* row_step, const float* old, const double* advantage, float limit, float clip,       \
            float beta, float scale, T* grad, T* gradu, double* stats, int n, int chunks) {                                                                \
        grpo_loss<T, false>(x, x_next, v, u, guidance, w, wu, nullptr, steps, row_step, old, advantage, limit, clip, beta, scale, grad, gradu, stats, n,   \
                            chunks);                                                                                                                       \
    }                                                                                                                                                      \
    extern "C" __global__ void __launch_bounds__(256, 2) grpo_loss_normalized_##storage(const float* x, const float* x_next, const T* v, const T* u,       \
            float guidance, const T* w, const T* wu, const float* old_mean, const FlowStep* steps, const int* row_step, const float* old,                  \
            const double* advantage, float limit, float clip, float beta, float scale, T* grad, T* gradu, double* stats, int n, int chunks) {              \
        grpo_loss<T, true>(x, x_next, v, u, guidance, w, wu, old_mean, steps, row_step, old, advantage, limit, clip, beta, scale, grad, gradu, stats, n,   \
                           chunks);                                                                                                                        \
    }
ENTRIES(float, f32)
ENTRIES(__nv_bfloat16, bf16)
