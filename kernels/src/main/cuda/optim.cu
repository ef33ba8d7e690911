// The optimizer over flat parameter buffers, whatever the number of tensors: gradient norm, AdamW with clipping, moving average and bf16 copy.
//
//   p, g, m, v, ema  [n] f32      parameters, gradients, moments, moving average (null: none);  copy [n] bf16 (null: none)
//
// grad_norm_partial + grad_norm:  norm = sqrt(sum g^2), a double; a block sums 8192 elements, one block adds the blocks: the order is fixed by n alone.
//   Traffic: reads 4 n bytes.      Launch: ceil(n / 8192) blocks of 256 threads, then one.
// adamw:                           g *= min(1, max_norm / (norm + 1e-6));  p *= 1 - lr wd;  m += (1 - b1)(g - m);  v = b2 v + (1 - b2) g^2;
//                                  p -= lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps);  ema += (1 - decay)(p - ema)         [Loshchilov, Hutter, ICLR 2019; torch.optim.AdamW]
//   Traffic: reads 16 n, writes 12 n bytes (+ 8 n with ema, + 2 n with copy), each byte once.   Launch: 1024 elements a block of 256 threads, 16 bytes a lane and buffer.

#include "reduce.cuh"
#include "storage.cuh"

extern "C" __global__ void __launch_bounds__(256) grad_norm_partial(const float* g, double* partial, long n) {
    const long first = (long)blockIdx.x * 2048 + (threadIdx.x >> 5) * 256 + (threadIdx.x & 31);  // in groups of 4: a warp reads 4 KB in order
    double sum = 0.;
    if ((blockIdx.x + 1L) * 8192 <= n) {  // the same for a whole block: no guard at each group
        #pragma unroll
        for (int j = 0; j < 8; j++) {
            const float4 a = load4(g, first + j * 32);
            sum += (double)(a.x * a.x + a.y * a.y + a.z * a.z + a.w * a.w);
        }
    } else {
        #pragma unroll 1
        for (int j = 0; j < 8; j++) {
            const long k = first + j * 32;
            if (4 * k + 3 < n) {
                const float4 a = load4(g, k);
                sum += (double)(a.x * a.x + a.y * a.y + a.z * a.z + a.w * a.w);
            } else {
                for (long i = 4 * k; i < n; i++) sum += (double)(g[i] * g[i]);
            }
        }
    }
    sum = block_sum<256>(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

extern "C" __global__ void __launch_bounds__(256) grad_norm(const double* partial, double* norm, int count) {
    double sum = 0.;
    for (int i = threadIdx.x; i < count; i += 256) sum += partial[i];
    sum = block_sum<256>(sum);
    if (threadIdx.x == 0) *norm = sqrt(sum);
}

struct AdamW {  // computed in double on the host, once per step
    float keep;          // 1 - lr wd
    float step;          // lr / (1 - b1^t)
    float one_minus_b1, b2, one_minus_b2;
    float inv_sqrt_bc2;  // 1 / sqrt(1 - b2^t)
    float eps;
    float one_minus_decay;
};

__device__ __forceinline__ void adamw_element(float& p, float g, float& m, float& v, float& ema, float clip, const AdamW& c) {
    g *= clip;
    m += c.one_minus_b1 * (g - m);
    v = c.b2 * v + c.one_minus_b2 * g * g;
    p = p * c.keep - c.step * (m / (__fsqrt_rn(v) * c.inv_sqrt_bc2 + c.eps));
    ema += c.one_minus_decay * (p - ema);
}

extern "C" __global__ void __launch_bounds__(256) adamw_f32(float* p, const float* g, float* m, float* v, float* ema, __nv_bfloat16* copy, const double* norm,
                                                            float max_norm, float keep, float step, float one_minus_b1, float b2, float one_minus_b2,
                                                            float inv_sqrt_bc2, float eps, float one_minus_decay, long n) {
    const AdamW c = {keep, step, one_minus_b1, b2, one_minus_b2, inv_sqrt_bc2, eps, one_minus_decay};
    const float factor = max_norm > 0.f ? (float)(max_norm / (*norm + 1e-6)) : 1.f, clip = factor < 1.f ? factor : 1.f;
    const long k = (long)blockIdx.x * 256 + threadIdx.x;
    if (4 * k + 3 < n) {
        const float4 gg = load4(g, k);
        float4 pp = load4(p, k), mm = load4(m, k), vv = load4(v, k), ee = make_float4(0.f, 0.f, 0.f, 0.f);
        if (ema) ee = load4(ema, k);
        adamw_element(pp.x, gg.x, mm.x, vv.x, ee.x, clip, c);
        adamw_element(pp.y, gg.y, mm.y, vv.y, ee.y, clip, c);
        adamw_element(pp.z, gg.z, mm.z, vv.z, ee.z, clip, c);
        adamw_element(pp.w, gg.w, mm.w, vv.w, ee.w, clip, c);
        store4(p, k, pp);
        store4(m, k, mm);
        store4(v, k, vv);
        if (ema) store4(ema, k, ee);
        if (copy) store4(copy, k, pp);
    } else {
        for (long i = 4 * k; i < n; i++) {
            float pp = p[i], mm = m[i], vv = v[i], ee = ema ? ema[i] : 0.f;
            adamw_element(pp, g[i], mm, vv, ee, clip, c);
            p[i] = pp;
            m[i] = mm;
            v[i] = vv;
            if (ema) ema[i] = ee;
            if (copy) copy[i] = __float2bfloat16_rn(pp);
        }
    }
}

// ema += one_minus_decay (p - ema). Reads 8 n, writes 4 n bytes. Launch as adamw.
extern "C" __global__ void __launch_bounds__(256) ema_f32(float* ema, const float* p, float one_minus_decay, long n) {
    const long k = (long)blockIdx.x * 256 + threadIdx.x;
    if (4 * k + 3 < n) {
        float4 e = load4(ema, k);
        const float4 a = load4(p, k);
        e = make_float4(e.x + one_minus_decay * (a.x - e.x), e.y + one_minus_decay * (a.y - e.y), e.z + one_minus_decay * (a.z - e.z), e.w + one_minus_decay * (a.w - e.w));
        store4(ema, k, e);
    } else {
        for (long i = 4 * k; i < n; i++) ema[i] += one_minus_decay * (p[i] - ema[i]);
    }
}
