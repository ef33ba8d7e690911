// The triad of STREAM [McCalpin, 1995]: a = b + s c over f32 arrays far larger than any cache, counted as 12 bytes an element.
//
// Traffic: reads 8 n, writes 4 n bytes.
// Launch:  grid ceil(n / 8192), 8 warps of 1024 consecutive elements each; n is a multiple of 8192. A warp reads in order.
extern "C" __global__ void __launch_bounds__(256) triad(float* __restrict__ a, const float* __restrict__ b, const float* __restrict__ c, float s) {
    const long first = (long)blockIdx.x * 8192 + (threadIdx.x >> 5) * 1024 + (threadIdx.x & 31);
    #pragma unroll
    for (int j = 0; j < 32; j++) a[first + 32 * j] = b[first + 32 * j] + s * c[first + 32 * j];
}
