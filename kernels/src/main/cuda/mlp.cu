// What stands between the matrix products: activations, gated residuals, bias gradients, casts, sums. T is f32 or bf16, arithmetic is f32.
#include "columns.cuh"
#include "storage.cuh"

namespace {

constexpr int WARPS = 8;              // of a block of an elementwise kernel
constexpr int WARP_ELEMENTS = 256;    // consecutive elements a warp does there
constexpr int ROWS_PER_PARTIAL = 128;

// What one lane loads at once: one f32, or two neighbouring bf16 in a 32-bit word. Either way a warp touches 128 consecutive bytes.
template <typename T> struct PerLane { static constexpr int count = 4 / sizeof(T); };
__device__ __forceinline__ void load_lane(const float* p, float* v) { v[0] = *p; }
__device__ __forceinline__ void load_lane(const __nv_bfloat16* p, float* v) {
    const unsigned u = *reinterpret_cast<const unsigned*>(p);
    v[0] = __uint_as_float(u << 16);
    v[1] = __uint_as_float(u & 0xffff0000u);
}
__device__ __forceinline__ void store_lane(float* p, const float* v) { *p = v[0]; }
__device__ __forceinline__ void store_lane(__nv_bfloat16* p, const float* v) { *reinterpret_cast<__nv_bfloat162*>(p) = __floats2bfloat162_rn(v[0], v[1]); }

// y[i] = f(a[i], b[i]) for i < n; b may be a.
// Traffic: reads sizeof(T) n bytes of each operand, writes as many, each once.
// Launch:  grid ceil(n / 2048), 8 warps of 256 consecutive elements each: several independent 128-byte accesses in flight a warp, and a warp reads in order.
template <typename T, typename F>
__device__ __forceinline__ void elementwise(const T* a, const T* b, T* y, long n, F f) {
    constexpr int N = PerLane<T>::count, STEPS = WARP_ELEMENTS / (32 * N);
    const int lane = threadIdx.x & 31;
    const long first = (long)blockIdx.x * (WARPS * WARP_ELEMENTS) + (threadIdx.x >> 5) * WARP_ELEMENTS;
    if (first + WARP_ELEMENTS <= n) {
        float u[STEPS][N], w[STEPS][N];
        #pragma unroll
        for (int j = 0; j < STEPS; j++) {
            load_lane(a + first + (j * 32 + lane) * N, u[j]);
            load_lane(b + first + (j * 32 + lane) * N, w[j]);
        }
        #pragma unroll
        for (int j = 0; j < STEPS; j++) {
            #pragma unroll
            for (int k = 0; k < N; k++) u[j][k] = f(u[j][k], w[j][k]);
            store_lane(y + first + (j * 32 + lane) * N, u[j]);
        }
    } else {
        for (long i = first + lane; i < n && i < first + WARP_ELEMENTS; i += 32) store1(y, i, f(load1(a, i), load1(b, i)));
    }
}

__device__ __forceinline__ float exp2_approx(float x) { float y; asm("ex2.approx.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
__device__ __forceinline__ float reciprocal(float x) { float y; asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }

constexpr float LOG2_E = 1.44269504f;

// 1 / (1 + exp(-x)); relative error below 5e-7; 0 and 1 at the ends, never NaN for a number.
__device__ __forceinline__ float sigmoid(float x) { return reciprocal(1.f + exp2_approx(-LOG2_E * x)); }

// GELU in its tanh form is x sigmoid(2 u): no tanh is needed, and the error stays relative where tanh.approx would cancel (1 + tanh u near -1).
constexpr float GELU_SLOPE = 2.f * 0.7978845608f, GELU_CUBIC = 0.044715f;

// exp(-2 u), the factors of 2 u gathered
__device__ __forceinline__ float gelu_exp(float x) { return exp2_approx(x * __fmaf_rn(x * x, -LOG2_E * GELU_SLOPE * GELU_CUBIC, -LOG2_E * GELU_SLOPE)); }

// y = x / 2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
__device__ __forceinline__ float gelu(float x) { return x * reciprocal(1.f + gelu_exp(x)); }

// d gelu / dx = s + x s (1 - s) du,   s = sigmoid(2 u) = 1 / (1 + e),  1 - s = e s,  du = d(2 u)/dx
// 1 - s itself would lose its digits where s is near 1, and x du makes up to 30 of them. The bound on e keeps e s from inf * 0; s is 0 where it binds.
__device__ __forceinline__ float gelu_slope(float x) {
    const float e = gelu_exp(x), s = reciprocal(1.f + e), du = GELU_SLOPE * (1.f + 3.f * GELU_CUBIC * x * x);
    return s + x * du * (fminf(e, 0x1p127f) * s * s);
}

// d silu / dx = s (1 + x (1 - s)),   s = sigmoid(x);  x (1 - s) is small where 1 - s loses digits
__device__ __forceinline__ float silu_slope(float x) { const float s = sigmoid(x); return s * (1.f + x * (1.f - s)); }

// Gated residual: out = x + gate y.
//
//   x, out [rows, d] f32 (out may be x);  y [rows, d] T;  gate [batch, d] f32, samples gateStride apart
//
// Traffic: reads (4 + sizeof(T)) d, writes 4 d bytes a row, each once.
// Shared by blocks, gate_residual: the gate of a sample, 4 d bytes that each 4 of its rows read again, from the second-level cache.
// Launch:  grid ceil(rows / 4), 4 warps, a row a warp: the sample, hence the gate, is found once a row.
template <typename T>
__device__ __forceinline__ void gate_residual(const float* x, const float* __restrict__ gate, const T* __restrict__ y, float* out,
                                              int gateStride, int rows, int d, int rowsPerSample) {
    const int row = blockIdx.x * 4 + (threadIdx.x >> 5);
    if (row >= rows) return;
    const long at = (long)row * d;
    gate += (long)(row / rowsPerSample) * gateStride;
    for_columns(d, [&](int c) { out[at + c] = x[at + c] + gate[c] * load1(y + at, c); });
}

// dy = gate dOut, the gradient of the gated residual with respect to y.
//
// Traffic: reads 4 d, writes sizeof(T) d bytes a row, each once.
// Shared by blocks, gate_residual_backward: the gate, likewise.
// Launch:  as gate_residual.
template <typename T>
__device__ __forceinline__ void gate_residual_backward(const float* __restrict__ dOut, const float* __restrict__ gate, T* __restrict__ dy,
                                                       int gateStride, int rows, int d, int rowsPerSample) {
    const int row = blockIdx.x * 4 + (threadIdx.x >> 5);
    if (row >= rows) return;
    const long at = (long)row * d;
    gate += (long)(row / rowsPerSample) * gateStride;
    for_columns(d, [&](int c) { store1(dy + at, c, gate[c] * dOut[at + c]); });
}

// dGate[b, c] = sum over the sample's tokens of dOut y.
//
// Traffic: reads (4 + sizeof(T)) rows d bytes, each once.
// Shared by blocks, gate_gradient: where d leaves rows that do not begin with a sector, the sectors at the seams of columns. A d that is a multiple of 16 does not.
// Launch:  grid (ceil(d / 32), batch), 8 warps: warp w adds tokens w, w + 8, ... of 32 columns, then the warps are added in order.
template <typename T>
__device__ __forceinline__ void gate_gradient(const float* __restrict__ dOut, const T* __restrict__ y, float* __restrict__ dGate,
                                              int gateStride, int d, int rowsPerSample) {
    const int warp = threadIdx.x >> 5, c = blockIdx.x * 32 + (threadIdx.x & 31);
    const long first = (long)blockIdx.y * rowsPerSample * d;
    float sum = 0.f;
    if (c < d) {
        #pragma unroll 4
        for (int t = warp; t < rowsPerSample; t += 8) sum += dOut[first + (long)t * d + c] * load1(y + first + (long)t * d, c);
    }
    sum = column_sum<8>(sum);
    if (warp == 0) {
        if (c < d) dGate[(long)blockIdx.y * gateStride + c] = sum;
    }
}

// First stage of a bias gradient: partials[chunk, c] = sum over 128 rows of dY[row, c].
//
//   dY [rows, n] T;  partials [ceil(rows / 128), n] f32
//
// Traffic: reads sizeof(T) n bytes a row once, writes 4 n bytes every 128 rows.
// Shared by blocks, column_sums: the seams of columns, as in gate_gradient.
// Launch:  grid (ceil(n / 128), ceil(chunks / 4)), 4 warps: a warp adds the rows of one chunk in 128 columns, four sums a lane, reading them row by row.
template <typename T, int GROUPS>
__device__ __forceinline__ void add_rows(const T* __restrict__ dY, float* __restrict__ partials, int count, int n, int columns) {
    const int lane = threadIdx.x & 31;
    float sum[GROUPS];
    #pragma unroll
    for (int g = 0; g < GROUPS; g++) sum[g] = 0.f;
    if ((GROUPS - 1) * 32 + 32 <= columns) {
        #pragma unroll 2
        for (int r = 0; r < count; r++) {
            #pragma unroll
            for (int g = 0; g < GROUPS; g++) sum[g] += load1(dY + (long)r * n, g * 32 + lane);
        }
        #pragma unroll
        for (int g = 0; g < GROUPS; g++) partials[g * 32 + lane] = sum[g];
    } else {
        for (int r = 0; r < count; r++) {
            #pragma unroll
            for (int g = 0; g < GROUPS; g++) if (g * 32 + lane < columns) sum[g] += load1(dY + (long)r * n, g * 32 + lane);
        }
        #pragma unroll
        for (int g = 0; g < GROUPS; g++) if (g * 32 + lane < columns) partials[g * 32 + lane] = sum[g];
    }
}

template <typename T>
__device__ __forceinline__ void column_sums(const T* __restrict__ dY, float* __restrict__ partials, int rows, int n) {
    const int first = blockIdx.x * 128, columns = min(128, n - first);
    const int chunk = blockIdx.y * 4 + (threadIdx.x >> 5), row = chunk * ROWS_PER_PARTIAL, count = min(ROWS_PER_PARTIAL, rows - row);
    if (count <= 0) return;
    dY += (long)row * n + first;
    partials += (long)chunk * n + first;
    if (columns > 96) add_rows<T, 4>(dY, partials, count, n, columns);
    else if (columns > 64) add_rows<T, 3>(dY, partials, count, n, columns);
    else if (columns > 32) add_rows<T, 2>(dY, partials, count, n, columns);
    else add_rows<T, 1>(dY, partials, count, n, columns);
}

// target[i] = source[i], rounded to nearest even where it narrows.
// Traffic: reads sizeof(From) n, writes sizeof(To) n bytes, each once.
// Launch:  as elementwise.
template <typename From, typename To>
__device__ __forceinline__ void cast(const From* __restrict__ source, To* __restrict__ target, long n) {
    const int lane = threadIdx.x & 31;
    const long first = (long)blockIdx.x * (WARPS * WARP_ELEMENTS) + (threadIdx.x >> 5) * WARP_ELEMENTS;
    if (first + WARP_ELEMENTS <= n) {
        float v[WARP_ELEMENTS / 32];
        #pragma unroll
        for (int j = 0; j < WARP_ELEMENTS / 32; j++) v[j] = load1(source + first, j * 32 + lane);
        #pragma unroll
        for (int j = 0; j < WARP_ELEMENTS / 32; j++) store1(target + first, j * 32 + lane, v[j]);
    } else {
        for (long i = first + lane; i < n && i < first + WARP_ELEMENTS; i += 32) store1(target, i, load1(source, i));
    }
}

}  // namespace

// Second stage of a column sum: out[c] (+)= sum over chunks of partials[chunk, c].
//
// Traffic: reads 4 n bytes a chunk once.
// Shared by blocks, sum_partials: the seams of columns, as in gate_gradient.
// Launch:  grid ceil(n / 32), 8 warps: warp w adds chunks w, w + 8, ... of 32 columns, then the warps are added in order.
extern "C" __global__ void __launch_bounds__(256) sum_partials(const float* __restrict__ partials, float* __restrict__ out, int chunks, long n, int accumulate) {
    const int warp = threadIdx.x >> 5;
    const long c = (long)blockIdx.x * 32 + (threadIdx.x & 31);
    float sum = 0.f;
    if (c < n) {
        for (int i = warp; i < chunks; i += 8) sum += partials[i * n + c];
    }
    sum = column_sum<8>(sum);
    if (warp == 0) {
        if (c < n) out[c] = accumulate ? out[c] + sum : sum;
    }
}

extern "C" __global__ void __launch_bounds__(256) cast_f32_bf16(const float* __restrict__ source, __nv_bfloat16* __restrict__ target, long n) { cast(source, target, n); }
extern "C" __global__ void __launch_bounds__(256) cast_bf16_f32(const __nv_bfloat16* __restrict__ source, float* __restrict__ target, long n) { cast(source, target, n); }

#define ENTRIES(T, suffix)                                                                                                                                    \
    extern "C" __global__ void __launch_bounds__(256) gelu_##suffix(const T* x, T* y, long n) {                                                               \
        elementwise(x, x, y, n, [](float a, float) { return gelu(a); });                                                                                      \
    }                                                                                                                                                         \
    extern "C" __global__ void __launch_bounds__(256) gelu_backward_##suffix(const T* x, const T* dy, T* dx, long n) {                                        \
        elementwise(x, dy, dx, n, [](float a, float g) { return g * gelu_slope(a); });                                                                        \
    }                                                                                                                                                         \
    extern "C" __global__ void __launch_bounds__(256) silu_##suffix(const T* x, T* y, long n) {                                                               \
        elementwise(x, x, y, n, [](float a, float) { return a * sigmoid(a); });                                                                               \
    }                                                                                                                                                         \
    extern "C" __global__ void __launch_bounds__(256) silu_backward_##suffix(const T* x, const T* dy, T* dx, long n) {                                        \
        elementwise(x, dy, dx, n, [](float a, float g) { return g * silu_slope(a); });                                                                        \
    }                                                                                                                                                         \
    extern "C" __global__ void __launch_bounds__(256) add_##suffix(const T* a, const T* b, T* out, long n) {                                                  \
        elementwise(a, b, out, n, [](float u, float w) { return u + w; });                                                                                    \
    }                                                                                                                                                         \
    extern "C" __global__ void __launch_bounds__(128) gate_residual_##suffix(const float* x, const float* __restrict__ gate, const T* __restrict__ y,         \
                                                                             float* out, int gateStride, int rows, int d, int rowsPerSample) {                \
        gate_residual<T>(x, gate, y, out, gateStride, rows, d, rowsPerSample);                                                                                \
    }                                                                                                                                                         \
    extern "C" __global__ void __launch_bounds__(128) gate_residual_backward_##suffix(                                                                        \
        const float* __restrict__ dOut, const float* __restrict__ gate, T* __restrict__ dy, int gateStride, int rows, int d, int rowsPerSample) {             \
        gate_residual_backward<T>(dOut, gate, dy, gateStride, rows, d, rowsPerSample);                                                                        \
    }                                                                                                                                                         \
    extern "C" __global__ void __launch_bounds__(256) gate_gradient_##suffix(const float* __restrict__ dOut, const T* __restrict__ y,                         \
                                                                             float* __restrict__ dGate, int gateStride, int d, int rowsPerSample) {           \
        gate_gradient<T>(dOut, y, dGate, gateStride, d, rowsPerSample);                                                                                       \
    }                                                                                                                                                         \
    extern "C" __global__ void __launch_bounds__(128) column_sums_##suffix(const T* __restrict__ dY, float* __restrict__ partials, int rows, int n) {         \
        column_sums<T>(dY, partials, rows, n);                                                                                                                \
    }

ENTRIES(float, f32)
ENTRIES(__nv_bfloat16, bf16)
