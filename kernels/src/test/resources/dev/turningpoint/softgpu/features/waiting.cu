// Threads that wait for others otherwise than all at __syncthreads: named and counted barriers, reductions at barriers, barrier objects, pipelines, locks, the whole grid.
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cuda/barrier>
#include <cuda/pipeline>
namespace cg = cooperative_groups;

extern "C" __global__ void reductions(int* out, const int* in) {
    const int v = in[threadIdx.x];
    const int odd = __syncthreads_count(v & 1), all = __syncthreads_and(v < 90), any = __syncthreads_or(v == 17);
    out[threadIdx.x] = odd + 1000 * (all != 0) + 2000 * (any != 0);
}

extern "C" __global__ void producers_and_consumers(int* out, int rounds) {   // the first half of the block fills, the second reads
    __shared__ int slot[2][64];
    const int half = blockDim.x / 2, i = threadIdx.x % half;
    if (threadIdx.x < half) {
        for (int r = 0; r < rounds; r++) {
            if (r >= 2) asm volatile("bar.sync %0, %1;" :: "r"(3 + (r & 1)), "r"(blockDim.x) : "memory");   // the slot is empty
            slot[r & 1][i] = 100 * r + i;
            asm volatile("bar.arrive %0, %1;" :: "r"(1 + (r & 1)), "r"(blockDim.x) : "memory");             // the slot is full
        }
    } else {
        int sum = 0;
        for (int r = 0; r < rounds; r++) {
            asm volatile("bar.sync %0, %1;" :: "r"(1 + (r & 1)), "r"(blockDim.x) : "memory");
            sum += slot[r & 1][half - 1 - i];
            if (r + 2 < rounds) asm volatile("bar.arrive %0, %1;" :: "r"(3 + (r & 1)), "r"(blockDim.x) : "memory");
        }
        out[i] = sum;
    }
}

extern "C" __global__ void objects(int* out) {
    __shared__ cuda::barrier<cuda::thread_scope_block> bar;
    __shared__ int s[256];
    if (threadIdx.x == 0) init(&bar, blockDim.x);
    __syncthreads();
    int sum = 0;
    for (int r = 0; r < 3; r++) {
        s[threadIdx.x] = threadIdx.x + r;
        auto token = bar.arrive();
        sum += r;                       // work between arrival and wait
        bar.wait(std::move(token));
        sum += s[blockDim.x - 1 - threadIdx.x];
        bar.arrive_and_wait();
    }
    out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

extern "C" __global__ void copied(int* out, const int* in) {
    __shared__ alignas(16) int s[256];
    __shared__ cuda::barrier<cuda::thread_scope_block> bar;
    auto block = cg::this_thread_block();
    if (block.thread_rank() == 0) init(&bar, block.size());
    block.sync();
    cuda::memcpy_async(block, s, in, sizeof(int) * blockDim.x, bar);
    bar.arrive_and_wait();
    out[threadIdx.x] = s[blockDim.x - 1 - threadIdx.x];
}

extern "C" __global__ void piped(int* out, const int* in, int n) {
    __shared__ int s[2][256];
    __shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, 2> state;
    auto block = cg::this_thread_block();
    auto pipe = cuda::make_pipeline(block, &state);
    const int m = blockDim.x;
    pipe.producer_acquire();
    cuda::memcpy_async(block, s[0], in, 4 * m, pipe);
    pipe.producer_commit();
    int sum = 0;
    for (int k = 1; k <= n; k++) {
        if (k < n) {
            pipe.producer_acquire();
            cuda::memcpy_async(block, s[k & 1], in + m * k, 4 * m, pipe);
            pipe.producer_commit();
        }
        pipe.consumer_wait();
        sum += s[(k - 1) & 1][m - 1 - threadIdx.x];
        pipe.consumer_release();
    }
    out[threadIdx.x] = sum;
}

extern "C" __global__ void locked(int* mutex, int* out) {   // one thread of each warp holds the lock for an unprotected sum
    if (threadIdx.x % 32 == 0) {
        while (atomicCAS(mutex, 0, 1) != 0) __nanosleep(20);
        __threadfence();
        *(volatile int*)out = *(volatile int*)out + threadIdx.x / 32 + 1;
        __threadfence();
        atomicExch(mutex, 0);
    }
}

extern "C" __global__ void signalled(volatile int* flag, int* out) {   // the first warp waits for the last
    if (threadIdx.x == 0) {
        while (*flag == 0) { }
        out[0] = *flag;
    }
    if (threadIdx.x == blockDim.x - 1) *flag = 42;
}

extern "C" __global__ void grid_sums(int* data, int* out, int rounds) {
    auto grid = cg::this_grid();
    const int i = (int)grid.thread_rank(), n = (int)grid.size();
    for (int r = 0; r < rounds; r++) {
        data[i] += i % 7 + r;
        grid.sync();
        if (i == 0) {
            int sum = 0;
            for (int k = 0; k < n; k++) sum += data[k];
            out[r] = sum;
        }
        grid.sync();
    }
}

extern "C" __global__ void waits_divided(volatile int* flags, const volatile int* in, int* out) {   // half the lanes wait while the others stand elsewhere with numbers of their own
    const int i = threadIdx.x, x = in[i], y = in[96 + i];
    if (i < 64) {
        if (i % 2 == 0) {
            while (flags[0] == 0) { }
            out[i] = x + flags[0];
        } else {
            out[i] = y * 5;
        }
        const int z = in[i], w = in[96 + i];
        if (i % 2 == 0) {
            out[i] += z * 3;
        } else {
            while (flags[1] == 0) { }
            out[i] += w - flags[1];
        }
    } else {
        if (i == 70) flags[0] = 42;
        if (i == 80) flags[1] = 43;
        out[i] = x - y;
    }
}
