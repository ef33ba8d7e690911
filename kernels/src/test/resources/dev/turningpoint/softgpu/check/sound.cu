// Kernels that look like those of faults.cu and are right: CheckerTest wants no report. 128 threads a block. sound.ptx beside this file is made by build.sh.

// What follows is written in place rather than by the functions of CUDA's headers, so that it has a line of this file.
#define SHARED(p) (unsigned)__cvta_generic_to_shared(p)
#define COPY(to, from) asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" :: "r"(SHARED(to)), "l"(from) : "memory")
#define COMMIT() asm volatile("cp.async.commit_group;" ::: "memory")
#define WAIT(pending) asm volatile("cp.async.wait_group " #pending ";" ::: "memory")
#define ADD(counter, by) asm volatile("red.shared.add.u32 [%0], %1;" :: "r"(SHARED(counter)), "r"(by) : "memory")

extern "C" __global__ void to_the_end(float* x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] = i;
}

// Of each float4 three elements are data and one is padding that nobody wrote: what is loaded and not used is no fault.
extern "C" __global__ void padded_vector(const float4* x, float* y) {
    float4 v = x[threadIdx.x];
    y[threadIdx.x] = v.x + v.y + v.z;
}

extern "C" __global__ void barriers_between(int* x) {
    __shared__ int tile[128];
    for (int round = 0; round < 3; round++) {
        tile[threadIdx.x] = x[threadIdx.x] + round;
        __syncthreads();
        x[threadIdx.x] = tile[127 - threadIdx.x];
        __syncthreads();
    }
}

// Writers of the same value, of one warp and of several.
extern "C" __global__ void writers_agree(int* x) {
    __shared__ int any;
    any = 0;
    __syncthreads();
    if (x[threadIdx.x] & 1) any = 1;
    __syncthreads();
    x[threadIdx.x] = any;
}

extern "C" __global__ void warp_with_sync(int* x) {
    __shared__ int tile[128];
    int base = threadIdx.x & ~31, lane = threadIdx.x & 31;
    tile[threadIdx.x] = x[threadIdx.x];
    __syncwarp();
    for (int step = 16; step > 0; step >>= 1) {
        int v = tile[base + (lane ^ step)];
        __syncwarp();
        tile[threadIdx.x] += v;
        __syncwarp();
    }
    x[threadIdx.x] = tile[base];
}

extern "C" __global__ void histogram(int* x) {
    __shared__ int bins[16];
    if (threadIdx.x < 16) bins[threadIdx.x] = 0;
    __syncthreads();
    ADD(&bins[x[threadIdx.x] & 15], 1);
    __syncthreads();
    x[threadIdx.x] = bins[threadIdx.x & 15];
}

// The atomic passes on what was stored before the fence.
extern "C" __global__ void fence_and_flag(int* x) {
    __shared__ int tile[128];
    __shared__ int turn;
    if (threadIdx.x == 0) turn = 0;
    __syncthreads();
    if (threadIdx.x < 32) {
        tile[threadIdx.x] = x[threadIdx.x];
        __syncwarp();
        __threadfence_block();
        if (threadIdx.x == 0) atomicExch(&turn, 1);
    } else if (threadIdx.x < 64) {
        while (atomicAdd(&turn, 0) == 0) { }
        __threadfence_block();
        x[threadIdx.x] = tile[threadIdx.x - 32];
    }
}

// One warp fills, the others take: each pair of barriers is for all, by name and number.
extern "C" __global__ void producer_and_consumers(int* x) {
    __shared__ int tile[32];
    for (int round = 0; round < 4; round++) {
        if (threadIdx.x < 32) {
            tile[threadIdx.x] = round + threadIdx.x;
            asm volatile("bar.arrive 1, 128;" ::: "memory");
            asm volatile("bar.sync 2, 128;" ::: "memory");
        } else {
            asm volatile("bar.sync 1, 128;" ::: "memory");
            x[threadIdx.x] += tile[threadIdx.x & 31];
            asm volatile("bar.arrive 2, 128;" ::: "memory");
        }
    }
}

// Two stages: one is read while the next is on its way.
extern "C" __global__ void pipeline(const int* x, int* y) {
    __shared__ int tile[2][128];
    int sum = 0;
    COPY(&tile[0][threadIdx.x], x + threadIdx.x);
    COMMIT();
    for (int i = 0; i < 4; i++) {
        if (i < 3) COPY(&tile[(i + 1) & 1][threadIdx.x], x + 128 * (i + 1) + threadIdx.x);
        COMMIT();
        WAIT(1);
        __syncthreads();
        sum += tile[i & 1][127 - threadIdx.x];
        __syncthreads();
    }
    y[threadIdx.x] = sum;
}

// A thread may read what it has copied itself as soon as it has waited.
extern "C" __global__ void copy_of_ones_own(const int* x, int* y) {
    __shared__ int tile[128];
    COPY(tile + threadIdx.x, x + threadIdx.x);
    COMMIT();
    WAIT(0);
    y[threadIdx.x] = tile[threadIdx.x];
}

// Warps that have ended are not awaited (sm_70 and later). Lanes of one warp may not part before a barrier that is .aligned.
extern "C" __global__ void barrier_after_some_warps_ended(int* x, int n) {
    __shared__ int tile[128];
    if (threadIdx.x >= n) return;
    tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = tile[n - 1 - threadIdx.x];
}

// Blocks side by side in one word, and all with the same to say.
extern "C" __global__ void blocks_side_by_side(short* x, int* any) {
    x[threadIdx.x * gridDim.x + blockIdx.x] = blockIdx.x;
    *any = 1;
}

// The last block to come adds up what all have left.
extern "C" __global__ void last_block(const int* x, int* partial, int* counter, int* sum) {
    __shared__ int is_last;
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = x[blockIdx.x];
        __threadfence();
        is_last = atomicAdd(counter, 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (!is_last || threadIdx.x != 0) return;
    __threadfence();
    int all = 0;
    for (int b = 0; b < gridDim.x; b++) all += partial[b];
    *sum = all;
}
