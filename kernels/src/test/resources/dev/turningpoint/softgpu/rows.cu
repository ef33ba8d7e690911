// Row kernels: shuffles, barriers, shared memory, vector accesses, ragged tails.
#include <cuda_bf16.h>

__device__ float block_sum(float s, float* part) {
    for (int o = 16; o; o >>= 1) s += __shfl_xor_sync(~0u, s, o);
    if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5] = s;
    __syncthreads();
    float t = 0.f;
    for (int w = 0; w < blockDim.x / 32; w++) t += part[w];
    __syncthreads();
    return t;
}

extern "C" __global__ void layer_norm(const float* x, const float* gain, __nv_bfloat16* y, int n, float eps) {
    __shared__ float part[32];
    const float* row = x + (long)blockIdx.x * n;
    float s = 0.f, q = 0.f;
    for (int i = threadIdx.x; i < n; i += blockDim.x) { float v = row[i]; s += v; q += v * v; }
    float mean = block_sum(s, part) / n;
    float var = block_sum(q, part) / n - mean * mean;
    float rstd = rsqrtf(var + eps);
    for (int i = threadIdx.x; i < n; i += blockDim.x) y[(long)blockIdx.x * n + i] = __float2bfloat16((row[i] - mean) * rstd * gain[i]);
}

extern "C" __global__ void sde_step(const float4* x, const __nv_bfloat16* v, const float4* noise, float4* next, float* logp, int n4, float keep, float drift, float spread) {
    __shared__ float part[32];
    long row = (long)blockIdx.x * n4;
    float sum = 0.f;
    for (int i = threadIdx.x; i < n4; i += blockDim.x) {
        float4 a = x[row + i], z = noise[row + i], r;
        const __nv_bfloat162* vp = (const __nv_bfloat162*)(v + 4 * (row + i));
        float2 v0 = __bfloat1622float2(vp[0]), v1 = __bfloat1622float2(vp[1]);
        float m, e;
        m = __fmaf_rn(drift, v0.x, keep * a.x); e = spread * z.x; r.x = m + e; sum -= e * e;
        m = __fmaf_rn(drift, v0.y, keep * a.y); e = spread * z.y; r.y = m + e; sum -= e * e;
        m = __fmaf_rn(drift, v1.x, keep * a.z); e = spread * z.z; r.z = m + e; sum -= e * e;
        m = __fmaf_rn(drift, v1.y, keep * a.w); e = spread * z.w; r.w = m + e; sum -= e * e;
        next[row + i] = r;
    }
    sum = block_sum(sum, part);
    if (threadIdx.x == 0) logp[blockIdx.x] = sum / (4 * n4);
}

// Transpose through dynamic shared memory with a 2-D block.
extern "C" __global__ void transpose(const float* a, float* b, int w, int h) {
    extern __shared__ float tile[];
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x < w && y < h) tile[threadIdx.y * (blockDim.x + 1) + threadIdx.x] = a[y * w + x];
    __syncthreads();
    int tx = blockIdx.x * blockDim.x + threadIdx.y, ty = blockIdx.y * blockDim.y + threadIdx.x;
    if (blockDim.x == blockDim.y && tx < w && ty < h) b[tx * h + ty] = tile[threadIdx.x * (blockDim.x + 1) + threadIdx.y];
    if (blockDim.x != blockDim.y && x < w && y < h) b[x * h + y] = tile[threadIdx.y * (blockDim.x + 1) + threadIdx.x];
}

// Thread indices of every axis, warps that are not full, grid of three axes.
extern "C" __global__ void indices(int4* out) {
    int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    int t = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    int lane;
    asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
    out[block * blockDim.x * blockDim.y * blockDim.z + t] = make_int4(threadIdx.x | threadIdx.y << 8 | threadIdx.z << 16, lane, block, blockDim.x * 1000 + blockDim.y * 10 + blockDim.z);
}

// Prefix sums by shfl.up, a dynamic shuffle, votes.
extern "C" __global__ void warp_ops(const int* in, int* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x & 31;
    int v = i < n ? in[i] : 0, s = v;
    for (int o = 1; o < 32; o <<= 1) { int t = __shfl_up_sync(~0u, s, o); if (lane >= o) s += t; }
    int d = __shfl_sync(~0u, v, v & 31), e = __shfl_down_sync(~0u, v, 3, 8), f = __shfl_sync(~0u, v, 5), g = __shfl_xor_sync(~0u, v, lane & 7);
    unsigned b = __ballot_sync(~0u, v & 1);
    int any = __any_sync(~0u, v == 77), all = __all_sync(~0u, v >= 0), r = __reduce_add_sync(~0u, v);
    unsigned m = __match_any_sync(~0u, v & 3);
    if (v & 4) { unsigned act = __activemask(); s += __popc(act); }
    if (i < n) {
        out[i * 8] = s; out[i * 8 + 1] = d; out[i * 8 + 2] = e; out[i * 8 + 3] = f; out[i * 8 + 4] = g; out[i * 8 + 5] = b; out[i * 8 + 6] = r + any * 2 + all; out[i * 8 + 7] = m;
    }
}

// Local memory indexed dynamically.
extern "C" __global__ void local_sort(const int* in, int* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int a[12];
    for (int k = 0; k < 12; k++) a[k] = in[i * 12 + k];
    for (int k = 1; k < 12; k++) { int v = a[k], j = k - 1; while (j >= 0 && a[j] > v) { a[j + 1] = a[j]; j--; } a[j + 1] = v; }
    int q = 0;
    for (int k = 0; k < 12; k++) { q = q * 31 + a[(a[k] & 7) + 2]; out[i * 12 + k] = a[k]; }
    out[i * 12 + 11] ^= q;
}

// Atomics on global and shared memory, with and without results.
__device__ int counter = 5;
extern "C" __global__ void histogram(const int* in, int* bins, float* fsum, unsigned long long* big, int* order, int n) {
    __shared__ int mine[16];
    if (threadIdx.x < 16) mine[threadIdx.x] = 0;
    __syncthreads();
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        atomicAdd(&mine[in[i] & 15], 1);
        atomicAdd(fsum, (float)(in[i] & 3));
        atomicMax(&bins[16], in[i]);
        atomicMin(&bins[17], in[i]);
        atomicAdd(big, (unsigned long long)in[i]);
        order[i] = atomicAdd(&counter, 2);
        atomicXor(&bins[18], in[i]);
        if ((in[i] & 15) == 3) atomicCAS(&bins[19], 0, in[i]);
    }
    __syncthreads();
    if (threadIdx.x < 16) atomicAdd(&bins[threadIdx.x], mine[threadIdx.x]);
}

struct Shape { int n; float scale; const float* x; };
__constant__ float table[4] = {1.f, 2.f, 4.f, 8.f};
// Struct by value, constant memory, grid-stride loop.
extern "C" __global__ void structs(Shape s, float* y) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < s.n; i += gridDim.x * blockDim.x) y[i] = s.x[i] * s.scale + table[i & 3];
}

extern "C" __global__ void traps(int* out, int at) { if ((int)threadIdx.x == at) __trap(); out[threadIdx.x] = 1; }
