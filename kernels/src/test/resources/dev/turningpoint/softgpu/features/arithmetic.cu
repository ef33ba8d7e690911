// Arithmetic that needs carries, and conversions and comparisons of short floats.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

typedef unsigned __int128 wide;

extern "C" __global__ void wide_integers(wide* out, const wide* a, const wide* b) {
    const int i = threadIdx.x;
    const wide x = a[i], y = b[i];
    out[6 * i] = x + y;
    out[6 * i + 1] = x - y;
    out[6 * i + 2] = x * y;
    out[6 * i + 3] = x >> (i & 127);
    out[6 * i + 4] = x / (y | 1);
    out[6 * i + 5] = (__int128)x < (__int128)y;
}

extern "C" __global__ void large_angles(float* out, const float* a) { out[threadIdx.x] = sinf(a[threadIdx.x]); }   // reduced with carries

extern "C" __global__ void from_integers(short* out, const long long* a) {
    const int i = threadIdx.x;
    const long long x = a[i];
    short* o = out + 12 * i;
    o[0] = __half_as_short(__ll2half_rn(x));
    o[1] = __half_as_short(__int2half_rz((int)x));
    o[2] = __half_as_short(__int2half_ru((int)x));
    o[3] = __half_as_short(__int2half_rd((int)x));
    o[4] = __bfloat16_as_short(__ll2bfloat16_rn(x));
    o[5] = __bfloat16_as_short(__ull2bfloat16_rn((unsigned long long)x));
    o[6] = __bfloat16_as_short(__float2bfloat16_rz(__int_as_float((int)x)));
    o[7] = __bfloat16_as_short(__float2bfloat16_ru(__int_as_float((int)x)));
    o[8] = __bfloat16_as_short(__float2bfloat16_rd(__int_as_float((int)x)));
    o[9] = __half_as_short(__float2half_rz(__int_as_float((int)x)));
    o[10] = __half_as_short(__float2half_ru(__int_as_float((int)x)));
    o[11] = __half_as_short(__float2half_rd(__int_as_float((int)x)));
}

extern "C" __global__ void pairs(unsigned* out, const __half2* a, const __half2* b) {
    const int i = threadIdx.x;
    out[4 * i] = __hlt2_mask(a[i], b[i]);
    out[4 * i + 1] = __hgeu2_mask(a[i], b[i]);
    const __half2 e = __heq2(a[i], b[i]);
    out[4 * i + 2] = *(const unsigned*)&e;
    out[4 * i + 3] = __hbne2(a[i], b[i]) + 2 * __hbgt2(a[i], b[i]);
}

extern "C" __global__ void nth_bit(unsigned* out, const unsigned* a) {
    const unsigned i = threadIdx.x;
    for (int n = -4; n <= 4; n++) out[9 * i + n + 4] = __fns(a[i], i & 31, n);
}
