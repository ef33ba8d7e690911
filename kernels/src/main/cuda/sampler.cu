// One denoising step of a flow-matching sampler, fused: guidance combine, noise, next latents, log-probability. `sde`, `cps` and ODE steps are one
// family told apart by coefficients (flow.cuh); a row chooses its own, so that SDE trajectories and ODE completions share a launch.
//
//   x, x_next  [batch, n] f32     latents at sigma and at sigma_next (x_next may be x); n = channels * height * width, a multiple of 4
//   v, u       [batch, n] T       prediction eps - x_0 and, with classifier-free guidance, the unconditional one
//   steps      [*]                coefficients; row_step [batch] i32 names each row's
//   noise      [batch, n] f32     given; null: drawn by Philox, keyed by seed, row_trajectory [batch] i32, row_step and element
//   partial    [batch, chunks]    per-chunk sums of (x_next - mean)^2; chunks = ceil(n / 512); log_prob adds them up
//
//   v      = u + guidance (v - u)                                                              [Ho, Salimans: Classifier-free diffusion guidance]
//   mean   = keep x + drift v
//   x_next = mean + spread noise
//   log p  = log_scale mean_n((x_next - mean)^2) + log_offset                                   [Flow-GRPO, arXiv 2505.05470; Flow-CPS, arXiv 2509.05952]
//
// Traffic: reads (4 + sizeof(T)) n, writes 4 n bytes a row, each byte once; noise is computed, not loaded.
// Launch:  grid (ceil(chunks / 4), batch), 128 threads; a warp owns a chunk of 512 elements, 4 independent 16-byte loads in flight a lane, no barrier.
//          Chunks follow the element index, so the order of summation, and with it every bit of the log-probability, is free of the batch.

#include "flow.cuh"
#include "philox.cuh"

constexpr int WARPS = 4;

template <typename T>
__device__ __forceinline__ void flow_step(const float* x, const T* v, const T* u, float guidance, float* x_next, float* mean_out, float* partial,
                                          const FlowStep* steps, const int* row_step, const float* noise, const int* row_trajectory,
                                          long seed, int n4, int chunks) {
    const int chunk = blockIdx.x * WARPS + (threadIdx.x >> 5);
    if (chunk >= chunks) return;
    const long row = (long)blockIdx.y * n4;
    const FlowStep c = load_step(steps, row_step[blockIdx.y]);
    const bool drawn = noise == nullptr && c.spread != 0.f;
    const NoiseKey key = noise_key(seed, drawn ? row_trajectory[blockIdx.y] : 0, drawn ? (unsigned)row_step[blockIdx.y] : 0u, PURPOSE_SAMPLER);
    const int first = chunk * CHUNK4 + (threadIdx.x & 31);
    float squares = 0.f;
    #pragma unroll
    for (int j = 0; j < 4; j++) {
        const int k = first + j * 32;
        if (k < n4) {
            const float4 mean = step_mean(c, load4(x, row + k), load_velocity(v, u, guidance, row + k));
            float4 next = mean;
            if (c.spread != 0.f) {
                const float4 z = noise ? load4(noise, row + k) : normal4(key, k);
                next = make_float4(__fmaf_rn(c.spread, z.x, mean.x), __fmaf_rn(c.spread, z.y, mean.y),
                                   __fmaf_rn(c.spread, z.z, mean.z), __fmaf_rn(c.spread, z.w, mean.w));
            }
            store4(x_next, row + k, next);
            if (mean_out) store4(mean_out, row + k, mean);
            squares = add_squares(squares, subtract(next, mean));
        }
    }
    if (partial) {
        squares = warp_sum(squares);
        if ((threadIdx.x & 31) == 0) partial[(long)blockIdx.y * chunks + chunk] = squares;
    }
}

// The log-probability of given next latents: what flow_step computed if x_next is what it stored, bit for bit. Reads (8 + sizeof(T)) n bytes a row.
template <typename T>
__device__ __forceinline__ void replay(const float* x, const T* v, const T* u, float guidance, const float* x_next, float* mean_out, float* partial,
                                       const FlowStep* steps, const int* row_step, int n4, int chunks) {
    const int chunk = blockIdx.x * WARPS + (threadIdx.x >> 5);
    if (chunk >= chunks) return;
    const long row = (long)blockIdx.y * n4;
    const FlowStep c = load_step(steps, row_step[blockIdx.y]);
    const int first = chunk * CHUNK4 + (threadIdx.x & 31);
    float squares = 0.f;
    #pragma unroll
    for (int j = 0; j < 4; j++) {
        const int k = first + j * 32;
        if (k < n4) {
            const float4 mean = step_mean(c, load4(x, row + k), load_velocity(v, u, guidance, row + k));
            if (mean_out) store4(mean_out, row + k, mean);
            squares = add_squares(squares, subtract(load4(x_next, row + k), mean));
        }
    }
    squares = warp_sum(squares);
    if ((threadIdx.x & 31) == 0) partial[(long)blockIdx.y * chunks + chunk] = squares;
}

#define ENTRIES(T, storage)                                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(32 * WARPS) flow_step_##storage(const float* x, const T* v, const T* u, float guidance, float* x_next,      \
            float* mean, float* partial, const FlowStep* steps, const int* row_step, const float* noise, const int* row_trajectory, \
            long seed, int n4, int chunks) {                                                                                                                 \
        flow_step(x, v, u, guidance, x_next, mean, partial, steps, row_step, noise, row_trajectory, seed, n4, chunks);                       \
    }                                                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(32 * WARPS) replay_log_prob_##storage(const float* x, const T* v, const T* u, float guidance,               \
            const float* x_next, float* mean, float* partial, const FlowStep* steps, const int* row_step, int n4, int chunks) {                              \
        replay(x, v, u, guidance, x_next, mean, partial, steps, row_step, n4, chunks);                                                                       \
    }
ENTRIES(float, f32)
ENTRIES(__nv_bfloat16, bf16)

// log_prob[b] from the per-chunk sums. Reads 4 chunks + 36 bytes (sums, row_step, its step), writes 4 bytes a row. A warp a row, 8 rows a block.
extern "C" __global__ void __launch_bounds__(256) log_prob_f32(const float* partial, float* out, const FlowStep* steps, const int* row_step, int batch, int n, int chunks) {
    const int row = blockIdx.x * 8 + (threadIdx.x >> 5);
    if (row >= batch) return;
    const float squares = sum_chunks(partial + (long)row * chunks, chunks);
    if ((threadIdx.x & 31) == 0) out[row] = log_prob(load_step(steps, row_step[row]), squares, n);
}

// mean[b] = sum of the row's per-chunk sums / n. Reads 4 chunks, writes 4 bytes a row. A warp a row, 8 rows a block.
extern "C" __global__ void __launch_bounds__(256) row_mean_f32(const float* partial, float* out, int batch, int n, int chunks) {
    const int row = blockIdx.x * 8 + (threadIdx.x >> 5);
    if (row >= batch) return;
    const float sum = sum_chunks(partial + (long)row * chunks, chunks);
    if ((threadIdx.x & 31) == 0) out[row] = __fdiv_rn(sum, (float)n);
}

// x[b] = x_T of the row's trajectory, standard normal. Writes 4 n bytes a row.
extern "C" __global__ void __launch_bounds__(32 * WARPS) initial_noise_f32(float* x, const int* row_trajectory, long seed, int n4, int chunks) {
    const int chunk = blockIdx.x * WARPS + (threadIdx.x >> 5);
    if (chunk >= chunks) return;
    const NoiseKey key = noise_key(seed, row_trajectory[blockIdx.y], INITIAL_NOISE, PURPOSE_SAMPLER);
    const int first = chunk * CHUNK4 + (threadIdx.x & 31);
    #pragma unroll
    for (int j = 0; j < 4; j++) {
        const int k = first + j * 32;
        if (k < n4) store4(x, (long)blockIdx.y * n4 + k, normal4(key, k));
    }
}

// out[b] = in[row[b]]: collects the latents of a micro-batch. Reads and writes 4 n bytes a row.
extern "C" __global__ void __launch_bounds__(32 * WARPS) gather_rows_f32(const float* in, const int* row, float* out, int n4, int chunks) {
    const int chunk = blockIdx.x * WARPS + (threadIdx.x >> 5);
    if (chunk >= chunks) return;
    const long from = (long)row[blockIdx.y] * n4, to = (long)blockIdx.y * n4;
    const int first = chunk * CHUNK4 + (threadIdx.x & 31);
    #pragma unroll
    for (int j = 0; j < 4; j++) {
        const int k = first + j * 32;
        if (k < n4) store4(out, to + k, load4(in, from + k));
    }
}

// x = bf16(x), nearest even: latents as a sampler keeps them that stores them in bf16. Reads and writes 4 n bytes a row.
extern "C" __global__ void __launch_bounds__(32 * WARPS) round_to_bf16_f32(float* x, int n4, int chunks) {
    const int chunk = blockIdx.x * WARPS + (threadIdx.x >> 5);
    if (chunk >= chunks) return;
    const long row = (long)blockIdx.y * n4;
    const int first = chunk * CHUNK4 + (threadIdx.x & 31);
    #pragma unroll
    for (int j = 0; j < 4; j++) {
        const int k = first + j * 32;
        if (k < n4) {
            const float4 a = load4(x, row + k);
            store4(x, row + k, make_float4(__bfloat162float(__float2bfloat16_rn(a.x)), __bfloat162float(__float2bfloat16_rn(a.y)),
                                           __bfloat162float(__float2bfloat16_rn(a.z)), __bfloat162float(__float2bfloat16_rn(a.w))));
        }
    }
}

// Noising of flow matching: x_sigma = (1 - sigma) x_0 + sigma eps, eps by the sample's key; the loss recomputes eps instead of loading it.
// Reads 4 n, writes 4 n bytes a row.
extern "C" __global__ void __launch_bounds__(32 * WARPS) flow_matching_noise_f32(const float* x0, const float* sigma, const int* row_sample, float* x, long seed,
                                                                                 int n4, int chunks) {
    const int chunk = blockIdx.x * WARPS + (threadIdx.x >> 5);
    if (chunk >= chunks) return;
    const NoiseKey key = noise_key(seed, row_sample[blockIdx.y], 0u, PURPOSE_FLOW_MATCHING);
    const float s = sigma[blockIdx.y], t = __fsub_rn(1.f, s);
    const long row = (long)blockIdx.y * n4;
    const int first = chunk * CHUNK4 + (threadIdx.x & 31);
    #pragma unroll
    for (int j = 0; j < 4; j++) {
        const int k = first + j * 32;
        if (k < n4) {
            const float4 a = load4(x0, row + k), z = normal4(key, k);
            store4(x, row + k, make_float4(__fmaf_rn(s, z.x, __fmul_rn(t, a.x)), __fmaf_rn(s, z.y, __fmul_rn(t, a.y)),
                                           __fmaf_rn(s, z.z, __fmul_rn(t, a.z)), __fmaf_rn(s, z.w, __fmul_rn(t, a.w))));
        }
    }
}

// Flow-matching loss mean_n((v - (eps - x_0))^2) and its gradient grad = scale (v - (eps - x_0)), scale = 2 weight / n. Reads (4 + sizeof(T)) n, writes sizeof(T) n bytes a row.
template <typename T>
__device__ __forceinline__ void flow_matching_loss(const T* v, const float* x0, const int* row_sample, T* grad, float* partial, long seed, float scale, int n4, int chunks) {
    const int chunk = blockIdx.x * WARPS + (threadIdx.x >> 5);
    if (chunk >= chunks) return;
    const NoiseKey key = noise_key(seed, row_sample[blockIdx.y], 0u, PURPOSE_FLOW_MATCHING);
    const long row = (long)blockIdx.y * n4;
    const int first = chunk * CHUNK4 + (threadIdx.x & 31);
    float squares = 0.f;
    #pragma unroll
    for (int j = 0; j < 4; j++) {
        const int k = first + j * 32;
        if (k < n4) {
            const float4 e = subtract(load4(v, row + k), subtract(normal4(key, k), load4(x0, row + k)));
            squares = add_squares(squares, e);
            if (grad) store4(grad, row + k, make_float4(__fmul_rn(scale, e.x), __fmul_rn(scale, e.y), __fmul_rn(scale, e.z), __fmul_rn(scale, e.w)));
        }
    }
    squares = warp_sum(squares);
    if ((threadIdx.x & 31) == 0) partial[(long)blockIdx.y * chunks + chunk] = squares;
}

#define LOSS_ENTRY(T, storage)                                                                                                                         \
    extern "C" __global__ void __launch_bounds__(32 * WARPS) flow_matching_loss_##storage(const T* v, const float* x0, const int* row_sample, T* grad, \
            float* partial, long seed, float scale, int n4, int chunks) {                                                                              \
        flow_matching_loss(v, x0, row_sample, grad, partial, seed, scale, n4, chunks);                                                                 \
    }
LOSS_ENTRY(float, f32)
LOSS_ENTRY(__nv_bfloat16, bf16)
