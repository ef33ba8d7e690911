// Conversions to and from the two 8-bit floating formats, as cuda_fp8.h makes them: by instructions on sm_90, by integer code on sm_80.
#include <cuda_fp8.h>

// Two floats to a pair in each format, saturated, and to single numbers, the second not saturated: six pairs a thread, from floats and by way of halves.
extern "C" __global__ void narrowed(unsigned short* out, const float2* a) {
    const int i = threadIdx.x;
    const float2 v = a[i];
    const __half2_raw h = static_cast<__half2_raw>(__floats2half2_rn(v.x, v.y));
    out[6 * i] = __nv_cvt_float2_to_fp8x2(v, __NV_SATFINITE, __NV_E4M3);
    out[6 * i + 1] = __nv_cvt_float2_to_fp8x2(v, __NV_SATFINITE, __NV_E5M2);
    out[6 * i + 2] = __nv_cvt_halfraw2_to_fp8x2(h, __NV_SATFINITE, __NV_E4M3);
    out[6 * i + 3] = __nv_cvt_halfraw2_to_fp8x2(h, __NV_SATFINITE, __NV_E5M2);
    out[6 * i + 4] = __nv_fp8_e4m3(v.x).__x | __nv_cvt_float_to_fp8(v.y, __NV_NOSAT, __NV_E4M3) << 8;
    out[6 * i + 5] = __nv_fp8_e5m2(v.x).__x | __nv_cvt_float_to_fp8(v.y, __NV_NOSAT, __NV_E5M2) << 8;
}

// Every code of both formats, two at a time.
extern "C" __global__ void widened(float4* out) {
    const int i = threadIdx.x;
    __nv_fp8x2_e4m3 a;
    __nv_fp8x2_e5m2 b;
    a.__x = b.__x = (255 - i) << 8 | i;
    const float2 x = static_cast<float2>(a), y = static_cast<float2>(b);
    out[i] = make_float4(x.x, x.y, y.x, y.y);
}
