// The ways in and out of the network: patches, positions, timesteps, tokens. Tables are f32; gradients of tables are sums in an order fixed by the shape.
#include "columns.cuh"
#include "storage.cuh"

namespace {

// Images to tokens and back: token (y, x) holds the patch at (y, x), as (channel, row, column) or, with channelsLast, as (row, column, channel).
//
//   images [batch, channels, height, width] Image;  tokens [batch, height / p * width / p, channels * p * p] Token
//
// Traffic: reads and writes every value once.
// Patches of 2 x 2 of 16 channels, those of the published models, go four values at a time: a lane loads 4 x 4 and stores them turned round; two or four neighbours fill a sector on both sides.
// Other patches go pixel by pixel: images in their order, tokens in pieces of a patch's row.
// Uncoalesced, patchify, unpatchify: patches of other sizes, as just said. No model of this project has them but 4 x 4 of one channel, which fill sectors.
// Shared by blocks, patchify, unpatchify: where a row of pixels or a block's tokens do not begin with a sector, two blocks ask for the same one.
// Launch:  grid (ceil(width / 64), height / p, batch), 4 warps: a block does 64 columns of the rows of one token.
struct Patches {
    int channels, height, width, patch, channelsLast;
};

// 4 x 4 values from four places to four others, turned round, or in pairs.
template <typename From, typename To>
__device__ __forceinline__ void move4x4(const From* from, const int* at, To* to, const int* places, bool turned) {
    float4 v[4];
    #pragma unroll
    for (int i = 0; i < 4; i++) v[i] = load4(from + at[i], 0);
    float4 w[4];
    if (turned) {
        w[0] = make_float4(v[0].x, v[1].x, v[2].x, v[3].x);
        w[1] = make_float4(v[0].y, v[1].y, v[2].y, v[3].y);
        w[2] = make_float4(v[0].z, v[1].z, v[2].z, v[3].z);
        w[3] = make_float4(v[0].w, v[1].w, v[2].w, v[3].w);
    } else {  // two rows of two tokens, of two channels
        #pragma unroll
        for (int i = 0; i < 4; i += 2) {
            w[i] = make_float4(v[i].x, v[i].y, v[i + 1].x, v[i + 1].y);
            w[i + 1] = make_float4(v[i].z, v[i].w, v[i + 1].z, v[i + 1].w);
        }
    }
    #pragma unroll
    for (int i = 0; i < 4; i++) store4(to + places[i], 0, w[i]);
}

// 32 columns of 2 x 2 patches, by a warp: lane l has columns l / 4 * 4 to + 3, of every 16 channels those of l % 4.
// With channelsLast it is row `part`, four neighbouring channels, and a token's values are neighbours in channels; else two channels of half `part` in both rows.
template <bool FORWARD, typename Image, typename Token>
__device__ __forceinline__ void patches_of_2(Image* images, Token* tokens, const Patches& s, int part) {
    const int lane = threadIdx.x & 31, x = lane / 4 * 4;
    const int plane = s.height * s.width;
    int pixels[4], places[4];
    const auto every_16_channels = [&](int per_channel, bool turned) {
        #pragma unroll 1
        for (int k = 0; k < s.channels; k += 16) {
            // All that the warp reads at once: 16 planes, or tokens, have their lines far apart, where the caches foresee nothing.
            Image* image = images + (long)k * plane;
            Token* token = tokens + k * per_channel;
            if constexpr (FORWARD) {
                prefetch(image + lane / 2 * plane + part * s.width + lane % 2 * 16);
                move4x4(image, pixels, token, places, turned);
            } else {
                prefetch(token + lane / 2 * 4 * s.channels + part * (s.channelsLast ? 2 * s.channels : 32) + lane % 2 * 16);
                move4x4(token, places, image, pixels, turned);
            }
        }
    };
    if (s.channelsLast) {
        const int c = lane % 4 * 4;
        #pragma unroll
        for (int i = 0; i < 4; i++) {
            pixels[i] = (c + i) * plane + part * s.width + x;
            places[i] = (x / 2 + i / 2) * 4 * s.channels + (part * 2 + i % 2) * s.channels + c;
        }
        every_16_channels(1, true);
    } else {
        const int c = lane % 4 + 8 * part;
        #pragma unroll
        for (int i = 0; i < 4; i++) {
            pixels[i] = (c + i / 2 * 4) * plane + i % 2 * s.width + x;
            places[i] = (x / 2 + i % 2) * 4 * s.channels + (c + i / 2 * 4) * 4;
        }
        every_16_channels(4, false);
    }
}

// Of 4 x 4 patches of one channel, row `r` of `columns` columns, by a warp: each lane's place in a token is known when this is compiled.
template <bool FORWARD, typename Image, typename Token>
__device__ __forceinline__ void patches_of_4(Image* images, Token* tokens, const Patches& s, int columns, int r) {
    const int lane = threadIdx.x & 31, place = r * 4 + lane / 4 * 16 + lane % 4;
    images += r * s.width;
    for_columns(columns, [&](int x) {
        const int at = (x - lane) * 4 + place;
        if constexpr (FORWARD) store1(tokens, at, load1(images, x));
        else store1(images, x, load1(tokens, at));
    });
}

// Columns from x0 on of the rows of a token, by a block.
template <bool FORWARD, typename Image, typename Token>
__device__ __forceinline__ void pixel_by_pixel(Image* images, Token* tokens, const Patches& s, int x0) {
    const int p = s.patch, end = min(x0 + 64, s.width);
    #pragma unroll 1
    for (int row = threadIdx.x >> 5; row < s.channels * p; row += 4) {
        const int c = row / p, r = row - c * p;
        Image* pixels = images + ((long)c * s.height + r) * s.width;
        #pragma unroll 1
        for (int x = x0 + (threadIdx.x & 31); x < end; x += 32) {
            const int token = x / p, column = x - token * p;
            const int place = token * s.channels * p * p + (s.channelsLast ? (r * p + column) * s.channels + c : (c * p + r) * p + column);
            if constexpr (FORWARD) store1(tokens, place, load1(pixels, x));
            else store1(pixels, x, load1(tokens, place));
        }
    }
}

template <bool FORWARD, typename Image, typename Token>
__device__ __forceinline__ void patches(Image* __restrict__ images, Token* __restrict__ tokens, Patches s) {
    const int x0 = blockIdx.x * 64, columns = min(64, s.width - x0), warp = threadIdx.x >> 5;
    images += ((long)blockIdx.z * s.channels * s.height + blockIdx.y * s.patch) * s.width;
    tokens += ((long)blockIdx.z * gridDim.y + blockIdx.y) * s.patch * s.width * s.channels;
    if (s.patch == 2 && s.channels % 16 == 0 && s.width % 4 == 0 && columns % 32 == 0) {
        const int x = x0 + warp / 2 * 32;
        if (x < s.width) patches_of_2<FORWARD>(images + x, tokens + (long)x * 2 * s.channels, s, warp % 2);
    } else if (s.patch == 4 && s.channels == 1) {
        patches_of_4<FORWARD>(images + x0, tokens + x0 * 4, s, columns, warp);
    } else {
        pixel_by_pixel<FORWARD>(images, tokens, s, x0);
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
            int height, int width, int patch, int channelsLast) {                                                                                           \
        patches<true>(images, tokens, {channels, height, width, patch, channelsLast});                                                                      \
    }                                                                                                                                                       \
    extern "C" __global__ void __launch_bounds__(128) unpatchify_##suffix(Image* __restrict__ images, const Token* __restrict__ tokens, int channels,       \
            int height, int width, int patch, int channelsLast) {                                                                                           \
        patches<false>(images, tokens, {channels, height, width, patch, channelsLast});                                                                     \
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
