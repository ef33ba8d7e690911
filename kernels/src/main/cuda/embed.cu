// The ways in and out of the network: patches, positions, timesteps, tokens. Tables are f32; gradients of tables are sums in an order fixed by the shape.
#include "columns.cuh"
#include "storage.cuh"

namespace {

// Images to tokens and back: token (y, x) holds the patch at (y, x), as (channel, row, column) or, with channelsLast, as (row, column, channel).
//
//   images [batch, channels, height, width] Image;  tokens [batch, height / p * width / p, channels * p * p] Token
//
// Traffic: reads and writes every value once, rows of pixels and whole tokens alike in their order; between them lies a tile in shared memory.
// Shared by blocks, patchify, unpatchify: where a row of pixels or a block's tokens do not begin with a sector, two blocks ask for the same one.
// Bank conflicts, patchify, unpatchify: where the channels are no power of two, some lanes' places in the tile are in one bank. With 16 channels of 2 x 2 they are not.
// Launch:  grid (ceil(width / p / across), height / p, batch), 4 warps: a block does `across` neighbouring tokens, of which the tile holds all channels' pixels,
//          [p, channels, across * p + padding] f32. The host chooses across for a tile of about 2048 values, and the padding.
struct Patches {
    int channels, height, width, patch, across, stride;  // stride: from one row of the tile to the next
    unsigned perPatch, perChannels;                      // ceil(2^32 / divisor) of patch and of channels, for dividing by multiplication
    int channelsLast;
};

__device__ __forceinline__ int divide(int n, unsigned reciprocal) { return reciprocal ? __umulhi(n, reciprocal) : n; }  // 2^32 / 1 wraps to 0

// Where the value at place f of a block's first token is in the tile.
__device__ __forceinline__ int place_in_tile(const Patches& s, int f) {
    const int a = divide(f, s.channelsLast ? s.perChannels : s.perPatch);             // (row, column) or (channel, row)
    const int inner = f - a * (s.channelsLast ? s.channels : s.patch);                // channel or column
    const int b = divide(a, s.perPatch), middle = a - b * s.patch;                  // row or channel; column or row
    const int row = s.channelsLast ? b : middle, column = s.channelsLast ? middle : inner, channel = s.channelsLast ? inner : b;
    return (row * s.channels + channel) * s.stride + column;
}

template <bool FORWARD, typename Image, typename Token>
__device__ __forceinline__ void patches(Image* __restrict__ images, Token* __restrict__ tokens, Patches s) {
    extern __shared__ float tile[];
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, features = s.channels * s.patch * s.patch, tokensAcross = s.width / s.patch;
    const int first = blockIdx.x * s.across, across = min(s.across, tokensAcross - first), y = blockIdx.y * s.patch;
    images += ((long)blockIdx.z * s.channels * s.height + y) * s.width + first * s.patch;
    tokens += (((long)blockIdx.z * gridDim.y + blockIdx.y) * tokensAcross + first) * features;
    if (s.patch == 4 && s.channels == 1) {  // known when it is compiled, each lane's place in a token is a constant: no tile
        Image* pixels = images + (long)warp * s.width;
        const int place = warp * 4 + lane / 4 * 16 + lane % 4;
        for_columns(across * 4, [&](int x) {
            const int at = (x - lane) * 4 + place;
            if constexpr (FORWARD) store1(tokens, at, load1(pixels, x));
            else store1(pixels, x, load1(tokens, at));
        });
        return;
    }
    const auto each_row = [&](auto f) {
        #pragma unroll 1
        for (int r = 0; r < s.patch; r++)
            #pragma unroll 1
            for (int c = warp; c < s.channels; c += 4) {
                Image* pixels = images + ((long)c * s.height + r) * s.width;
                float* row = tile + (r * s.channels + c) * s.stride;
                for_columns(across * s.patch, [&](int x) { f(pixels, row, x); });
            }
    };
    const auto each_token = [&](auto f) {
        const auto places = [&](int i) {
            float* at = tile + place_in_tile(s, i);
            #pragma unroll 2
            for (int t = warp; t < across; t += 4) f(at + t * s.patch, t * features + i);
        };
        const int whole = features & ~31;
        #pragma unroll 1
        for (int i = 0; i < whole; i += 32) places(i + lane);
        if (whole + lane < features) places(whole + lane);
    };
    if constexpr (FORWARD) {
        each_row([&](Image* pixels, float* row, int x) { row[x] = load1(pixels, x); });
        __syncthreads();
        each_token([&](const float* at, int i) { store1(tokens, i, *at); });
    } else {
        each_token([&](float* at, int i) { *at = load1(tokens, i); });
        __syncthreads();
        each_row([&](Image* pixels, const float* row, int x) { store1(pixels, x, row[x]); });
    }
}

// 2^x for -126 < x < 126 to about one unit in the last place: the nearest integer goes to the exponent, the rest through the Taylor series.
__device__ __forceinline__ float exp2_accurate(float x) {
    const float n = rintf(x), f = (x - n) * 0.693147181f;  // |f| < 0.347: the first term left out is below 2e-8
    float y = 1.f / 5040.f;
    y = fmaf(y, f, 1.f / 720.f);
    y = fmaf(y, f, 1.f / 120.f);
    y = fmaf(y, f, 1.f / 24.f);
    y = fmaf(y, f, 1.f / 6.f);
    y = fmaf(y, f, 0.5f);
    y = fmaf(y, f, 1.f);
    y = fmaf(y, f, 1.f);
    return y * __int_as_float(((int)n + 127) << 23);
}

// cos and sin of x, |x| < 2^15, error below 2e-7: x - n pi/2 with pi/2 in two parts (Cody and Waite), then the Taylor series on |r| <= pi/4.
__device__ __forceinline__ void cos_sin(float x, float* c, float* s) {
    const float n = rintf(x * 0.636619772f);
    float r = fmaf(n, -1.57079637050628662109375f, x);
    r = fmaf(n, 4.37113883e-8f, r);
    const float q = r * r;
    float u = 1.f / 362880.f;
    u = fmaf(u, q, -1.f / 5040.f);
    u = fmaf(u, q, 1.f / 120.f);
    u = fmaf(u, q, -1.f / 6.f);
    u = fmaf(u * q, r, r);
    float w = 1.f / 40320.f;
    w = fmaf(w, q, -1.f / 720.f);
    w = fmaf(w, q, 1.f / 24.f);
    w = fmaf(w, q, -0.5f);
    w = fmaf(w, q, 1.f);
    const int quadrant = (int)n & 3;  // r lies in the quadrant-th quarter turn
    const float a = (quadrant & 1) ? u : w, b = (quadrant & 1) ? w : u;
    *c = (quadrant == 1 || quadrant == 2) ? -a : a;
    *s = (quadrant & 2) ? -b : b;
}

// Sinusoid of the timestep t = 1000 sigma: out = [cos(t f_i), sin(t f_i)], f_i = 10000^(-i / half), half = width / 2.    [diffusers, flip_sin_to_cos]
//
//   sigma [batch] f32;  out [batch, width] T
//
// Traffic: writes sizeof(T) width bytes a sample.
// Shared by blocks, timestep_embedding: sigma, a sector that every block reads.
// Launch:  grid (ceil(half / 32), ceil(batch / 4)), 4 warps: a warp does 32 frequencies of one sample.
template <typename T>
__device__ __forceinline__ void timestep_embedding(const float* __restrict__ sigma, T* __restrict__ out, int batch, int width) {
    const int sample = blockIdx.y * 4 + (threadIdx.x >> 5), i = blockIdx.x * 32 + (threadIdx.x & 31), half = width >> 1;
    if (sample >= batch) return;
    const float frequency = exp2_accurate(-13.2877123795494494f * (float)i / (float)half);
    float c, s;
    cos_sin(1000.f * sigma[sample] * frequency, &c, &s);
    if (i < half) {
        store1(out + (long)sample * width, i, c);
        store1(out + (long)sample * width + half, i, s);
    }
}

// out = x + position, the table the same for every sample.
//
//   x [batch, n] T;  position [n] f32;  out [batch, n] f32, may be x
//
// Traffic: reads sizeof(T) n, writes 4 n bytes a sample; the table stays in the cache.
// Shared by blocks, add_position: the table, once a sample.
// Launch:  grid (ceil(n / 1024), batch), 8 warps of 128 consecutive elements.
template <typename T>
__device__ __forceinline__ void add_position(const T* x, const float* __restrict__ position, float* out, int n) {
    const int first = blockIdx.x * 1024 + (threadIdx.x >> 5) * 128;
    if (first >= n) return;
    const long at = (long)blockIdx.y * n + first;
    x += at;
    out += at;
    for_columns(min(128, n - first), [&](int c) { out[c] = load1(x, c) + position[first + c]; });
}

}  // namespace

// dPosition += sum over samples of dOut.
//
//   dOut [batch, n] f32;  dPosition [n] f32
//
// Traffic: reads 4 n bytes a sample once, reads and writes the table once.
// Launch:  grid ceil(n / 512), 4 warps: a warp adds 128 columns, four sums a lane, sample after sample.
extern "C" __global__ void __launch_bounds__(128) position_gradient(const float* __restrict__ dOut, float* __restrict__ dPosition, int batch, int n) {
    const int first = blockIdx.x * 512 + (threadIdx.x >> 5) * 128, lane = threadIdx.x & 31;
    if (first >= n) return;
    dPosition += first;
    dOut += first;
    if (first + 128 <= n) {
        float sum[4] = {0.f, 0.f, 0.f, 0.f};
        for (int b = 0; b < batch; b++) {
            const float* row = dOut + (long)b * n;
            #pragma unroll
            for (int j = 0; j < 4; j++) sum[j] += row[32 * j + lane];
        }
        #pragma unroll
        for (int j = 0; j < 4; j++) dPosition[32 * j + lane] += sum[j];
    } else {
        const int columns = n - first;
        float sum[4] = {0.f, 0.f, 0.f, 0.f};
        for (int b = 0; b < batch; b++) {
            const float* row = dOut + (long)b * n;
            #pragma unroll
            for (int j = 0; j < 4; j++) if (32 * j + lane < columns) sum[j] += row[32 * j + lane];
        }
        #pragma unroll
        for (int j = 0; j < 4; j++) if (32 * j + lane < columns) dPosition[32 * j + lane] += sum[j];
    }
}

// out[b, t] = table[ids[b, t]] + position[t]; traps on an id outside the vocabulary.
//
//   ids [batch, tokens] i32;  table [vocabulary, width], position [tokens, width] (or null), out [batch, tokens, width] f32
//
// Traffic: reads and writes 4 width bytes a token; the table stays in the cache.
// Shared by blocks, token_embedding: rows of the table and positions that several tokens name.
// Launch:  grid ceil(batch * tokens / 4), 4 warps, a token a warp.
extern "C" __global__ void __launch_bounds__(128) token_embedding(const int* __restrict__ ids, const float* __restrict__ table, const float* __restrict__ position,
                                                                  float* __restrict__ out, int rows, int tokens, int width, int vocabulary) {
    const int row = blockIdx.x * 4 + (threadIdx.x >> 5);
    if (row >= rows) return;
    const int id = ids[row];
    if ((unsigned)id >= (unsigned)vocabulary) asm volatile("trap;");
    table += (long)id * width;
    out += (long)row * width;
    if (position != nullptr) {
        position += (long)(row % tokens) * width;
        for_columns(width, [&](int c) { out[c] = table[c] + position[c]; });
    } else {
        for_columns(width, [&](int c) { out[c] = table[c]; });
    }
}

// dTable[v] += sum of dOut over the tokens whose id is v, in their order.
//
//   ids [rows] i32, rows = batch * tokens;  dOut [rows, width] f32;  dTable [vocabulary, width] f32
//
// Traffic: reads dOut once, ids once a vocabulary row (they are few and cached).
// Shared by blocks, token_embedding_gradient: the ids, as just said; dOut's sectors at the seams of columns where width leaves rows that do not begin with one.
// Launch:  grid (ceil(width / 128), vocabulary), 4 warps of 32 columns, each scanning all ids: no atomics, one order.
extern "C" __global__ void __launch_bounds__(128) token_embedding_gradient(const int* __restrict__ ids, const float* __restrict__ dOut, float* __restrict__ dTable,
                                                                           int rows, int width) {
    const int c = blockIdx.x * 128 + threadIdx.x, id = blockIdx.y;
    if (c >= width) return;
    float sum = 0.f;
    for (int r = 0; r < rows; r++) {
        if (ids[r] == id) sum += dOut[(long)r * width + c];
    }
    dTable[(long)id * width + c] += sum;
}

#define PATCHES(Image, Token, suffix)                                                                                                                       \
    extern "C" __global__ void __launch_bounds__(128) patchify_##suffix(const Image* __restrict__ images, Token* __restrict__ tokens, int channels,         \
            int height, int width, int patch, int across, int stride, unsigned perPatch, unsigned perChannels, int channelsLast) {                          \
        patches<true>(images, tokens, {channels, height, width, patch, across, stride, perPatch, perChannels, channelsLast});                               \
    }                                                                                                                                                       \
    extern "C" __global__ void __launch_bounds__(128) unpatchify_##suffix(Image* __restrict__ images, const Token* __restrict__ tokens, int channels,       \
            int height, int width, int patch, int across, int stride, unsigned perPatch, unsigned perChannels, int channelsLast) {                          \
        patches<false>(images, tokens, {channels, height, width, patch, across, stride, perPatch, perChannels, channelsLast});                              \
    }

PATCHES(float, float, f32_f32)
PATCHES(float, __nv_bfloat16, f32_bf16)
PATCHES(__nv_bfloat16, float, bf16_f32)
PATCHES(__nv_bfloat16, __nv_bfloat16, bf16_bf16)

#define ENTRIES(T, suffix)                                                                                                                                 \
    extern "C" __global__ void __launch_bounds__(128) timestep_embedding_##suffix(const float* __restrict__ sigma, T* __restrict__ out, int batch, int width) { \
        timestep_embedding<T>(sigma, out, batch, width);                                                                                                   \
    }                                                                                                                                                      \
    extern "C" __global__ void __launch_bounds__(256) add_position_##suffix(const T* x, const float* __restrict__ position, float* out, int n) {           \
        add_position<T>(x, position, out, n);                                                                                                              \
    }

ENTRIES(float, f32)
ENTRIES(__nv_bfloat16, bf16)
