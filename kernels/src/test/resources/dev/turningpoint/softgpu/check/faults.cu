// Kernels that are wrong, one for each kind of fault that checking mode finds. FAULT marks the line that CheckerTest wants reported, OTHER that of the other party.
// Each is launched with 128 threads a block. faults.ptx beside this file is made by build.sh.

// What follows is written in place rather than by the functions of CUDA's headers, so that it has a line of this file.
#define SHARED(p) (unsigned)__cvta_generic_to_shared(p)
#define COPY(to, from) asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" :: "r"(SHARED(to)), "l"(from) : "memory")
#define COMMIT() asm volatile("cp.async.commit_group;" ::: "memory")
#define WAIT(pending) asm volatile("cp.async.wait_group " #pending ";" ::: "memory")
#define ADD(counter, by) asm volatile("red.shared.add.u32 [%0], %1;" :: "r"(SHARED(counter)), "r"(by) : "memory")

// ---- addresses

extern "C" __global__ void past_the_end(float* x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i <= n) x[i] = i;                                   // FAULT
}

extern "C" __global__ void before_the_start(const float* x, float* y, int n) {
    int i = threadIdx.x;
    if (i < n) y[i] = x[i - 1];                             // FAULT
}

extern "C" __global__ void wild(float* const* table, float* y) {
    y[threadIdx.x] = *table[threadIdx.x];                   // FAULT
}

extern "C" __global__ void misaligned(char* x) {
    *(float*)(x + 6 * threadIdx.x) = 1;                     // FAULT
}

extern "C" __global__ void misaligned_vector(float* x) {
    float* from = x + 3 * threadIdx.x;
    float4 v = *(float4*)from;                              // FAULT
    *from = v.x + v.y + v.z + v.w;
}

extern "C" __global__ void past_shared(int* x) {
    extern __shared__ int tile[];
    tile[threadIdx.x + 1] = x[threadIdx.x];                 // FAULT
    __syncthreads();
    x[threadIdx.x] = tile[threadIdx.x];
}

extern "C" __global__ void past_local(int* x, int n) {
    int histogram[8];
    for (int i = 0; i < 8; i++) histogram[i] = 0;
    for (int i = 0; i < n; i++) histogram[x[i]]++;          // FAULT
    for (int i = 0; i < 8; i++) x[i] = histogram[i];
}

__constant__ float coefficients[4] = {1, 2, 3, 4};
__constant__ float others[4] = {5, 6, 7, 8};

extern "C" __global__ void past_a_variable(float* x, int which) {
    const float* c = which ? others : coefficients;
    x[threadIdx.x] = c[threadIdx.x];                        // FAULT
}

struct Weights { float w[4]; };

extern "C" __global__ void past_the_parameters(float* x, const __grid_constant__ Weights weights) {
    x[threadIdx.x] = weights.w[threadIdx.x];                // FAULT
}

// ---- what nobody wrote

extern "C" __global__ void uninitialised_global(const float* x, float* y) {
    y[threadIdx.x] = 2 * x[threadIdx.x];                    // FAULT
}

extern "C" __global__ void uninitialised_vector(const float4* x, float* y) {
    float4 v = x[threadIdx.x];                              // FAULT
    y[threadIdx.x] = v.x + v.y + v.z + v.w;
}

extern "C" __global__ void uninitialised_shared(int* x) {
    __shared__ int tile[129];
    tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = tile[threadIdx.x + 1];                 // FAULT
}

// ---- races

extern "C" __global__ void read_without_barrier(int* x) {
    __shared__ int tile[128];
    tile[threadIdx.x] = x[threadIdx.x];                     // OTHER
    x[threadIdx.x] = tile[threadIdx.x ^ 32];                // FAULT
}

extern "C" __global__ void write_without_barrier(int* x) {
    __shared__ int tile[128];
    for (int round = 0; round < 2; round++) {
        tile[threadIdx.x] = x[threadIdx.x] + round;         // OTHER
        __syncthreads();
        x[threadIdx.x] = tile[127 - threadIdx.x];           // FAULT
    }
}

extern "C" __global__ void two_writers(int* x) {
    __shared__ int last;
    if (threadIdx.x % 32 == 0) last = threadIdx.x;          // FAULT OTHER
    __syncthreads();
    x[threadIdx.x] = last;
}

extern "C" __global__ void two_lanes(int* x) {
    __shared__ int last;
    if (threadIdx.x < 2) last = x[threadIdx.x];             // FAULT OTHER
    __syncthreads();
    x[threadIdx.x] = last;
}

extern "C" __global__ void warp_without_sync(int* x) {
    __shared__ int tile[32];
    int lane = threadIdx.x;
    if (lane >= 32) return;
    tile[lane] = x[lane];                                   // OTHER
    x[lane] = tile[lane ^ 1];                               // FAULT
}

extern "C" __global__ void plain_beside_atomic(int* x) {
    __shared__ int count;
    if (threadIdx.x == 0) count = 0;
    __syncthreads();
    if (threadIdx.x < 64) ADD(&count, x[threadIdx.x]);      // FAULT
    else x[threadIdx.x] = count;                            // OTHER
}

extern "C" __global__ void atomic_without_fence(int* x) {
    __shared__ int tile[128];
    __shared__ int turn;
    if (threadIdx.x == 0) turn = 0;
    __syncthreads();
    if (threadIdx.x < 32) {
        tile[threadIdx.x] = x[threadIdx.x];                 // OTHER
        if (threadIdx.x == 0) atomicExch(&turn, 1);
    } else if (threadIdx.x < 64) {
        while (atomicAdd(&turn, 0) == 0) { }
        x[threadIdx.x] = tile[threadIdx.x - 32];            // FAULT
    }
}

extern "C" __global__ void copy_not_awaited(const int* x, int* y) {
    __shared__ int tile[128];
    COPY(tile + threadIdx.x, x + threadIdx.x);              // OTHER
    COMMIT();
    __syncthreads();
    y[threadIdx.x] = tile[threadIdx.x];                     // FAULT
}

extern "C" __global__ void copy_of_the_last_group(const int* x, int* y) {
    __shared__ int tile[256];
    COPY(tile + threadIdx.x, x + threadIdx.x);
    COMMIT();
    COPY(tile + 128 + threadIdx.x, x + threadIdx.x);        // OTHER
    COMMIT();
    WAIT(1);
    __syncthreads();
    y[threadIdx.x] = tile[threadIdx.x] + tile[255 - threadIdx.x];  // FAULT
}

extern "C" __global__ void copy_without_barrier(const int* x, int* y) {
    __shared__ int tile[128];
    COPY(tile + threadIdx.x, x + threadIdx.x);              // OTHER
    COMMIT();
    WAIT(0);
    y[threadIdx.x] = tile[threadIdx.x & 63];                // FAULT
}

extern "C" __global__ void copy_over_readers(const int* x, int* y) {
    __shared__ int tile[128];
    tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = tile[127 - threadIdx.x];               // FAULT
    COPY(tile + threadIdx.x, x + threadIdx.x);              // OTHER
    COMMIT();
    WAIT(0);
}

extern "C" __global__ void blocks_overlap(int* x) {
    x[blockIdx.x * 100 + threadIdx.x] = blockIdx.x;         // FAULT OTHER
}

extern "C" __global__ void blocks_read_each_other(int* x, int* y) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    x[i] = i;                                               // FAULT
    y[i] = x[gridDim.x * blockDim.x - 1 - i];               // OTHER
}

// ---- barriers

extern "C" __global__ void barrier_of_odd_lanes(int* x) {
    if (threadIdx.x & 1) {
        x[threadIdx.x] = 1;
        __syncthreads();                                    // FAULT
    }
    x[threadIdx.x]++;
}

extern "C" __global__ void barrier_of_some_warps(int* x) {
    if (threadIdx.x < 32) {
        x[threadIdx.x] = 1;
        __syncthreads();                                    // OTHER
        x[threadIdx.x] += x[threadIdx.x + 64];
    } else {
        x[threadIdx.x] = 2;
        __syncthreads();                                    // FAULT
        x[threadIdx.x] *= 3;
    }
}

extern "C" __global__ void barrier_after_some_lanes_ended(int* x) {
    if (threadIdx.x >= 100) return;
    x[threadIdx.x] = 1;
    __syncthreads();                                        // FAULT
    x[threadIdx.x] += x[99 - threadIdx.x];
}

extern "C" __global__ void barrier_nobody_fills(int* x) {
    if (threadIdx.x < 64) asm volatile("bar.sync 1, 128;" ::: "memory");  // FAULT
    x[threadIdx.x]++;
}
