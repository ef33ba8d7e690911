// Calls that nvcc leaves as calls: values, structures, results in memory, calls within calls and in divergent code, a barrier in the callee;
// recursion and calls through pointers, which are not served.

struct Pair { int a; float b; };
struct Big { long long x[3]; char c; };
struct Bytes { unsigned char b[8]; };

#define CALLED __noinline__ __device__

CALLED int twice(int x) { return 2 * x; }

CALLED int collatz(int n) {   // steps to 1: a loop and three returns
    if (n < 1) return -2;
    int steps = 0;
    while (n != 1) {
        if (steps > 100) return -1;
        n = n % 2 ? 3 * n + 1 : n / 2;
        steps++;
    }
    return steps;
}

CALLED Pair make(int a, float b) { return {twice(a) + 1, b * .5f}; }

CALLED long long sum(Big b) { return b.x[0] + b.x[1] + b.x[2] + b.c; }

CALLED void fill(int* to, const int* from, int n) {
    for (int i = 0; i < n; i++) to[i] = 3 * from[n - 1 - i];
}

CALLED bool odd(short s, unsigned char c) { return (s + c) & 1; }

CALLED double half(double x) { return x / 2; }

CALLED Bytes reversed(Bytes b) {   // stored by bytes, loaded in words
    Bytes r;
    for (int i = 0; i < 8; i++) r.b[i] = b.b[7 - i];
    return r;
}

CALLED int pick(Big b, int i) { return (int)b.x[i]; }   // a parameter in memory

CALLED void neighbour(int* values) {
    __syncthreads();
    int v = values[(threadIdx.x + 1) % blockDim.x];
    __syncthreads();
    values[threadIdx.x] = v;
}

extern "C" __global__ void values(int* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int* o = out + 10 * i;
    o[0] = twice(i);
    Pair p = make(i, (float)i);
    o[1] = p.a;
    o[2] = (int)(p.b * 4);
    Big b = {{i, 10 * i, -100 * i}, (char)(i & 7)};
    o[3] = (int)sum(b);
    o[4] = odd((short)i, (unsigned char)(i * 3));
    o[5] = (int)half((double)i * 3);
    Bytes w;
    for (int k = 0; k < 8; k++) w.b[k] = (unsigned char)(i + k);
    w = reversed(w);
    o[6] = *(int*)w.b;
    o[7] = pick(b, i % 3);
    int from[5], to[5];
    for (int k = 0; k < 5; k++) from[k] = i * k;
    fill(to, from, 5);
    o[8] = to[i % 5];
    o[9] = i % 3 == 0 ? collatz(i) : twice(collatz(i + 1));   // lanes call different functions
}

extern "C" __global__ void shifted(int* out) {
    __shared__ int values[256];
    values[threadIdx.x] = threadIdx.x * threadIdx.x;
    neighbour(values);
    neighbour(values);
    out[blockIdx.x * blockDim.x + threadIdx.x] = values[threadIdx.x];
}


__device__ int even(int n);
__noinline__ __device__ int uneven(int n) { return n == 0 ? 0 : even(n - 1); }
__noinline__ __device__ int even(int n) { return n == 0 ? 1 : uneven(n - 1); }

extern "C" __global__ void recursive(int* out) { out[threadIdx.x] = even(threadIdx.x); }

__device__ int add1(int x) { return x + 1; }
__device__ int add2(int x) { return x + 2; }
__device__ int (*table[2])(int) = {add1, add2};

extern "C" __global__ void through_pointers(int* out, int which) { out[threadIdx.x] = table[which](threadIdx.x); }
