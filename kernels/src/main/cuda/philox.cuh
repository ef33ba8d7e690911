// Counter-based Gaussian noise: four normals per (seed, trajectory, step, element block), the same bits on every device, in any batch and order.
//
// Philox4x32-10 [Salmon et al., Parallel random numbers: as easy as 1, 2, 3; SC 2011] followed by Box-Muller. Logarithm, sine and cosine are
// polynomials in correctly rounded f32 operations (fma, mul, add, sqrt), not the approximate units of a GPU, so that the software GPU, an H100
// and the Java reference agree bit for bit. Absolute error of a normal against float64 from the same 32-bit words: below 2e-6.
#pragma once

struct NoiseKey {  // who draws
    unsigned seedLow, seedHigh;  // the run
    unsigned trajectory;         // which trajectory (or training image) of the run
    unsigned step;               // which step of it; INITIAL_NOISE for x_T
    unsigned purpose;            // separates users of one seed: sampler, flow-matching
};

constexpr unsigned INITIAL_NOISE = 0xffffffffu;
constexpr unsigned PURPOSE_SAMPLER = 0, PURPOSE_FLOW_MATCHING = 1;

__device__ __forceinline__ NoiseKey noise_key(long seed, int trajectory, unsigned step, unsigned purpose) {
    return {(unsigned)seed, (unsigned)((unsigned long)seed >> 32), (unsigned)trajectory, step, purpose};
}

__device__ __forceinline__ uint4 philox4x32(uint4 c, unsigned k0, unsigned k1) {
    #pragma unroll
    for (int round = 0; round < 10; round++) {
        const unsigned h0 = __umulhi(0xD2511F53u, c.x), l0 = 0xD2511F53u * c.x;
        const unsigned h1 = __umulhi(0xCD9E8D57u, c.z), l1 = 0xCD9E8D57u * c.z;
        c = make_uint4(h1 ^ c.y ^ k0, l1, h0 ^ c.w ^ k1, l0);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c;
}

// -ln(u) for u = (2 bits + 1) / 2^25, bits the upper 24 of the word: u in (0, 1], at most one rounding. Polynomial of the Cephes library's logf.
__device__ __forceinline__ float negative_log(unsigned word) {
    const float u = __fmaf_rn((float)(word >> 8), 5.9604644775390625e-08f, 2.98023223876953125e-08f);
    const int bits = __float_as_int(u);
    const int e = (bits - 0x3f3504f3) >> 23;                         // mantissa in [sqrt(1/2), sqrt(2))
    const float f = __fadd_rn(__int_as_float(bits - (e << 23)), -1.f), z = __fmul_rn(f, f), fe = (float)e;
    float p = 7.0376836292e-2f;
    p = __fmaf_rn(p, f, -1.1514610310e-1f);
    p = __fmaf_rn(p, f, 1.1676998740e-1f);
    p = __fmaf_rn(p, f, -1.2420140846e-1f);
    p = __fmaf_rn(p, f, 1.4249322787e-1f);
    p = __fmaf_rn(p, f, -1.6668057665e-1f);
    p = __fmaf_rn(p, f, 2.0000714765e-1f);
    p = __fmaf_rn(p, f, -2.4999993993e-1f);
    p = __fmaf_rn(p, f, 3.3333331174e-1f);
    p = __fmul_rn(__fmul_rn(p, f), z);
    p = __fmaf_rn(fe, -2.12194440e-4f, p);
    p = __fmaf_rn(z, -0.5f, p);
    return -__fmaf_rn(fe, 0.693359375f, __fadd_rn(f, p));
}

// (cos, sin) of 2 pi word / 2^32: the word is reduced to an octant in integers, so the angle is as exact as f32 allows.
__device__ __forceinline__ float2 unit_circle(unsigned word) {
    const unsigned quadrant = (word + 0x20000000u) >> 30;
    const float t = __fmul_rn((float)(int)(word - (quadrant << 30)), 1.46291807926715968e-09f), z = __fmul_rn(t, t);  // 2 pi / 2^32; |t| <= pi/4
    float s = -1.9515295891e-4f;
    s = __fmaf_rn(s, z, 8.3321608736e-3f);
    s = __fmaf_rn(s, z, -1.6666654611e-1f);
    s = __fmaf_rn(__fmul_rn(s, z), t, t);
    float c = 2.443315711809948e-5f;
    c = __fmaf_rn(c, z, -1.388731625493765e-3f);
    c = __fmaf_rn(c, z, 4.166664568298827e-2f);
    c = __fmaf_rn(__fmul_rn(c, z), z, __fmaf_rn(z, -0.5f, 1.f));
    const float a = quadrant & 1u ? s : c, b = quadrant & 1u ? c : s;
    return make_float2((quadrant + 1u) & 2u ? -a : a, quadrant & 2u ? -b : b);
}

// Four independent standard normals for elements 4 block .. 4 block + 3.
__device__ __forceinline__ float4 normal4(NoiseKey key, unsigned block) {
    const uint4 r = philox4x32(make_uint4(block, key.step, key.trajectory, key.purpose), key.seedLow, key.seedHigh);
    const float a = __fsqrt_rn(__fmul_rn(2.f, negative_log(r.x))), b = __fsqrt_rn(__fmul_rn(2.f, negative_log(r.z)));
    const float2 p = unit_circle(r.y), q = unit_circle(r.w);
    return make_float4(__fmul_rn(a, p.x), __fmul_rn(a, p.y), __fmul_rn(b, q.x), __fmul_rn(b, q.y));
}
