// Kernels of LaunchTest. launch.ptx beside this file: nvcc -ptx -arch=sm_80 -O3 launch.cu
extern "C" __device__ int scale = 3;
extern "C" __constant__ float table[4] = {1.f, 2.f, 3.f, 4.f};
extern "C" __global__ void record(long long* out, char c, short s, int i, long long l, float f, double d) {
    if (blockIdx.x == 0 && threadIdx.x == 0) { out[0] = c; out[1] = s; out[2] = i; out[3] = l; out[4] = __float_as_int(f); out[5] = __double_as_longlong(d); }
}
extern "C" __global__ void increment(int* x, int n, int by) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] += by;
}
extern "C" __global__ void coordinates(int* out) {
    int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    out[block * (blockDim.x * blockDim.y * blockDim.z) + thread] = block * 10000 + thread;
}
extern "C" __global__ void trap_if(const int* x) { if (*x) __trap(); }
extern "C" __global__ void empty() {}
extern "C" __global__ void globals(float* out) { if (threadIdx.x < 4) out[threadIdx.x] = table[threadIdx.x] * scale; }
extern "C" __global__ void reverse(int* x, int n) {
    extern __shared__ int tile[];
    for (int i = threadIdx.x; i < n; i += blockDim.x) tile[i] = x[i];
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += blockDim.x) x[i] = tile[n - 1 - i];
}
extern "C" __global__ void __launch_bounds__(64) small(int* x) { x[threadIdx.x] = 1; }
