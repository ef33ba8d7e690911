// Credit assignment of TP-GRPO (arXiv 2602.06422): from the rewards along a trajectory to an advantage for each of its steps.
//
//   R         [batch, n + 1] f32   R_k: reward of the image reached by k SDE steps, then ODE steps to the end; R_0 pure ODE, R_n the trajectory itself
//   indicator [batch, n] f32       1 at turning points
//   key       [batch, n] f32       what balancing ranks turning points by, with its sign; 0 elsewhere
//   reward    [batch, n] f32       step rewards;  main, bonus their two parts
//   advantage [batch, n] f64
//
//   d_t = R_t - R_{t-1},  D = R_n - R_0
//   turning point (def. 4.1): t > 1: sign(d_{t-1}) sign(D) < 0 and sign(d_t) sign(D) > 0;  first step: sign(d_1) sign(D) > 0
//   consistent    (def. 5.1): besides sign(d_t) sign(R_n - R_t) > 0, at the first step in place of the condition above
//   step reward: d_t; at a turning point R_n - R_{t-1} (or another bonus, by flags)
//   balancing (app. D): in a sampling batch as many positive as negative turning points stay, those of largest magnitude
//   advantage = clip((r - mean) / (std + 1e-4)) over the trajectories of a prompt at that step; population std; sums in f64, so equal rewards give exactly 0
//
// Rewards are f32 as the reward models give them, and so are differences. Traffic and time are nothing beside a denoising step; the kernels are
// written for plainness: a thread a trajectory, a warp a sampling batch, a warp a prompt.
//
// Traffic: each array above that a kernel names is read or written once: 4 (n + 1) bytes of rewards, 4 n of each f32 array, 8 n of advantages a trajectory.
// Over compulsory, step_rewards: with PROPAGATE the pass from the end leaves its bonus in bonus_out, where the pass from the beginning reads it again, from the cache.
// Shared by blocks, advantages: each prompt looks through all prompts' labels; a trajectory's rewards begin and end amid sectors.
// Uncoalesced, credit_scan, turning_points, step_rewards: lanes are trajectories, n or n + 1 values apart. The rest of a sector is the same lane's next steps,
//          which find it in the first-level cache.

#include "reduce.cuh"
#include "storage.cuh"

enum Flags {
    OUTCOME = 1,               // R_n at every step (Flow-GRPO)
    BONUS = 2,                 // turning points count at all; without: d_t alone
    FIRST = 4,                 // the first step can be a turning point
    FIRST_CONSISTENT = 8,      // ... by definition 5.1
    INNER_CONSISTENT = 16,     // the other steps by definition 5.1
    LOCAL_FLIP = 32,           // inner turning points from d_{t-1} d_t < 0 alone
    POSITIVE_ONLY = 64,        // inner turning points only where R_n > R_0
    MAIN_IS_TREND = 128,       // main part D (or R_n) at every step, bonus d_t
    TREND = 256,               // D rather than R_n where a flag above or the bonus means either
    SUFFIX = 512,              // bonus R_n - R_{t-1}
    DROP_MAIN = 1024,          // the bonus replaces the main part
    PROPAGATE = 2048,          // the bonus spreads: gains to later steps, losses to earlier ones
    RANK_BY_TREND = 4096,      // balancing ranks by D as the reference code does, not by the assigned bonus
    ZERO_KEEPS_MAIN = 8192,    // a bonus of exactly 0 does not replace the main part, as in the reference code
};

__device__ __forceinline__ int sign(float a) { return (a > 0.f) - (a < 0.f); }

__device__ __forceinline__ float bonus_of(const float* R, int t, int n, int flags) {  // before eta and indicator; t counts from 0
    const float D = __fsub_rn(R[n], R[0]);
    if (flags & MAIN_IS_TREND) return __fsub_rn(R[t + 1], R[t]);
    if (flags & SUFFIX) return __fsub_rn(R[n], R[t]);
    return flags & TREND ? D : R[n];
}

// Whether step t (from 0) is a turning point. & rather than &&: nothing to branch over.
__device__ __forceinline__ bool turns(int t, float d_before, float d, float D, float left, int flags) {  // left = R_n - R_t of the text above
    const bool consistent = sign(d) * sign(left) > 0;
    bool turn;
    if (t == 0) {
        turn = flags & FIRST_CONSISTENT ? consistent : sign(d) * sign(D) > 0;
        return turn & ((flags & (FIRST | BONUS | OUTCOME)) == (FIRST | BONUS));
    }
    turn = flags & LOCAL_FLIP ? d_before * d < 0.f : (sign(d_before) * sign(D) < 0) & (sign(d) * sign(D) > 0);
    turn &= !(flags & POSITIVE_ONLY) | (D > 0.f);
    turn &= !(flags & INNER_CONSISTENT) | consistent;
    return turn & ((flags & (BONUS | OUTCOME)) == BONUS);
}

// Turning points and step rewards in one pass, where nothing is balanced or spread: a thread a trajectory, every reward read once. Outputs at 0 are left out.
extern "C" __global__ void __launch_bounds__(128) credit_scan(const float* __restrict__ rewards, float* __restrict__ indicator, float* __restrict__ reward,
                                                              float* __restrict__ main_out, float* __restrict__ bonus_out, int batch, int n, int flags, float eta) {
    const int b = blockIdx.x * 128 + threadIdx.x;
    if (b >= batch) return;
    const float* R = rewards + (long)b * (n + 1);
    const float last = R[n], first = R[0], D = __fsub_rn(last, first), whole = flags & TREND ? D : last;
    float before = first, d_before = 0.f;
    for (int t = 0; t < n; t++) {
        const long i = (long)b * n + t;
        const float now = R[t + 1], d = __fsub_rn(now, before);
        const bool turn = turns(t, d_before, d, D, __fsub_rn(last, now), flags);
        const float weight = __fmul_rn(eta, turn ? 1.f : 0.f);
        const float bonus = __fmul_rn(weight, flags & MAIN_IS_TREND ? d : flags & SUFFIX ? __fsub_rn(last, before) : whole);
        float main_part = flags & OUTCOME ? last : flags & MAIN_IS_TREND ? whole : d;
        const bool drop = flags & ZERO_KEEPS_MAIN ? bonus != 0.f : turn;
        if ((flags & DROP_MAIN) && drop) main_part = 0.f;
        reward[i] = __fadd_rn(main_part, bonus);
        if (indicator) indicator[i] = turn ? 1.f : 0.f;
        if (main_out) main_out[i] = main_part;
        if (bonus_out) bonus_out[i] = bonus;
        before = now;
        d_before = d;
    }
}

// Turning points and what balancing ranks them by. indicator and key are [n, batch] here: lanes are trajectories, in every pass over them.
extern "C" __global__ void __launch_bounds__(128) turning_points(const float* rewards, float* indicator, float* key, int batch, int n, int flags) {
    const int b = blockIdx.x * 128 + threadIdx.x;
    if (b >= batch) return;
    const float* R = rewards + (long)b * (n + 1);
    const float last = R[n], D = __fsub_rn(last, R[0]);
    float before = R[0], d_before = 0.f;
    for (int t = 0; t < n; t++) {
        const int i = t * batch + b;
        const float now = R[t + 1], d = __fsub_rn(now, before);
        const bool turn = turns(t, d_before, d, D, __fsub_rn(last, now), flags);
        indicator[i] = turn ? 1.f : 0.f;
        key[i] = !turn ? 0.f : flags & RANK_BY_TREND ? (flags & MAIN_IS_TREND ? d : flags & TREND ? D : last) : bonus_of(R, t, n, flags);
        before = now;
        d_before = d;
    }
}

// Which turning points of a sampling batch stay: those of a sign whose magnitude, as the bits of a float, exceeds `least`, and of those that equal it the entries
// (trajectory times n plus step) up to `last`.
struct __align__(16) Kept {
    int least_positive, last_positive, least_negative, last_negative;
};

constexpr int SIGN_BIT = 0x80000000;

__device__ __forceinline__ bool stays(Kept kept, float key, int entry) {
    const int bits = __float_as_int(key), magnitude = bits & ~SIGN_BIT, least = bits < 0 ? kept.least_negative : kept.least_positive;
    return magnitude > least | (magnitude == least & entry <= (bits < 0 ? kept.last_negative : kept.last_positive));
}

// How many turning points of a sign (the bits that make it positive: 0 or SIGN_BIT) and a sampling batch are of a magnitude beyond `least`, or equal to it at an entry up to `last`.
__device__ __forceinline__ int count_beyond(const float* key, const int* row_batch, int of, int sign, int least, int last, int batch, int n) {
    int count = 0;
    for (int b = threadIdx.x; b < batch; b += 32) {
        const bool same = row_batch[b] == of;
        for (int t = 0; t < n; t++) {
            const int magnitude = __float_as_int(key[t * batch + b]) ^ sign;  // below 0 if it has the other sign
            count += same & (magnitude > least | (magnitude == least & b * n + t <= last));
        }
    }
    return warp_sum(count);
}

// Of each sampling batch as many turning points of either sign stay, those of the largest |key|, the earlier entry among equals; all of them where one sign is
// missing. So the rarer sign keeps all, and of the other the magnitude of the last to stay is found by halving, then, among its equals, the last entry.
// A warp a sampling batch; each of some twenty passes reads the keys, which stay in the cache.
extern "C" __global__ void __launch_bounds__(32) balance(const float* key, const int* row_batch, Kept* kept, int batch, int n) {
    const int of = blockIdx.x, positive = count_beyond(key, row_batch, of, 0, 0, -1, batch, n), negative = count_beyond(key, row_batch, of, SIGN_BIT, 0, -1, batch, n);
    const int keep = min(positive, negative);
    int least = keep == 0 ? -1 : 0, last = -1;                 // turning points with a key of 0 stay where all do
    const int sign = positive > negative ? 0 : SIGN_BIT;
    if (keep > 0 && positive != negative) {
        int above = 0x7fffffff;                                // fewer than `keep` are beyond it, at least as many beyond `least`
        while (above - least > 1) {
            const int middle = least + (above - least) / 2, count = count_beyond(key, row_batch, of, sign, middle, -1, batch, n);
            if (count >= keep) least = middle; else above = middle;
            if (count == keep) break;
        }
        if (above - least == 1) {                              // with all that equal `above` they would be too many
            int none = -1, enough = batch * n - 1;
            while (enough - none > 1) {
                const int middle = none + (enough - none) / 2;
                if (count_beyond(key, row_batch, of, sign, above, middle, batch, n) >= keep) enough = middle; else none = middle;
            }
            least = above;
            last = enough;
        }
    }
    if (threadIdx.x > 0) return;
    const int other = keep == 0 ? -1 : 0;
    kept[of] = positive > negative ? Kept{least, last, other, -1} : Kept{other, -1, least, last};
}

// Step rewards from the turning points that stay (kept 0: all), indicator and key as turning_points leaves them. `widened` receives the indicator, with PROPAGATE of the steps that
// a bonus has spread to.
extern "C" __global__ void __launch_bounds__(128) step_rewards(const float* rewards, const float* indicator, const float* key, const int* row_batch, const Kept* kept, float* widened,
                                                               float* reward, float* main_out, float* bonus_out, int batch, int n, int flags, float eta) {
    const int b = blockIdx.x * 128 + threadIdx.x;
    if (b >= batch) return;
    const float* R = rewards + (long)b * (n + 1);
    const float last = R[n], D = __fsub_rn(last, R[0]);
    const Kept mine = kept ? kept[row_batch[b]] : Kept{-1, -1, -1, -1};
    const bool spread = (flags & PROPAGATE) && (flags & BONUS);
    if (spread) {                                          // losses spread backwards, each further loss weighs them once more
        float losses = 0.f;
        for (int t = n - 1; t >= 0; t--) {
            const float gain = __fsub_rn(last, R[t]);
            const bool here = indicator[t * batch + b] > 0.f & stays(mine, key[t * batch + b], b * n + t) & gain < 0.f;
            losses += here ? 1.f : 0.f;
            widened[(long)b * n + t] = losses > 0.f ? 1.f : 0.f;
            bonus_out[(long)b * n + t] = losses > 0.f ? __fmul_rn(losses, gain) : 0.f;
        }
    }
    float gains = 0.f;
    for (int t = 0; t < n; t++) {
        const long i = (long)b * n + t;
        float turn = indicator[t * batch + b] > 0.f & stays(mine, key[t * batch + b], b * n + t) ? 1.f : 0.f, bonus, main_part;
        if (spread) {                                      // gains spread forwards
            const float gain = __fsub_rn(last, R[t]), backward = bonus_out[i];
            gains += turn > 0.f & gain > 0.f ? 1.f : 0.f;
            bonus = __fmul_rn(eta, gains > 0.f ? __fadd_rn(backward, __fmul_rn(gains, gain)) : backward);
            turn = widened[i] > 0.f | gains > 0.f ? 1.f : turn;
        } else {
            bonus = __fmul_rn(__fmul_rn(eta, turn), bonus_of(R, t, n, flags));
        }
        main_part = flags & MAIN_IS_TREND ? (flags & TREND ? D : last) : __fsub_rn(R[t + 1], R[t]);
        if (flags & OUTCOME) main_part = last;
        if ((flags & DROP_MAIN) && (flags & ZERO_KEEPS_MAIN ? bonus != 0.f : turn > 0.f)) main_part = 0.f;
        widened[i] = turn;
        main_out[i] = main_part;
        bonus_out[i] = bonus;
        reward[i] = __fadd_rn(main_part, bonus);
    }
}

// Population std of all rewards at a step, [n] f64: a thread a step, which reads the trajectories one after the other.
extern "C" __global__ void __launch_bounds__(32) step_deviation(const float* reward, double* deviation, int batch, int n) {
    const int t = blockIdx.x * 32 + threadIdx.x;
    double sum = 0., squares = 0.;
    for (int b = 0; b < batch; b++) sum += load_where(t < n, reward + (long)b * n + t);
    const double mean = sum / batch;
    for (int b = 0; b < batch; b++) {
        const double d = load_where(t < n, reward + (long)b * n + t) - mean;
        squares += d * d;
    }
    if (t < n) deviation[t] = sqrt(squares / batch);
}

template <typename F>
__device__ __forceinline__ void each_row(const unsigned* rows, int words, F visit) {  // in ascending order
    for (int w = 0; w < words; w++)
        for (unsigned left = rows[w]; left; left &= left - 1) visit(32 * w + __ffs(left) - 1);
}

// Advantages of one prompt by one warp, a lane a step; rows of a prompt may lie anywhere. `deviation` [n]: the std to divide by; 0: the prompt's own.
extern "C" __global__ void __launch_bounds__(32) advantages(const float* reward, const int* row_group, const double* deviation, double* advantage, int batch, int n, double limit) {
    extern __shared__ unsigned rows[];                     // a bit for each trajectory: whether it is of this prompt
    const int words = (batch + 31) / 32;
    int members = 0;
    for (int w = 0; w < words; w++) {
        const int b = 32 * w + threadIdx.x;
        const unsigned word = __ballot_sync(0xffffffffu, b < batch && row_group[b] == blockIdx.x);
        rows[w] = word;
        members += __popc(word);
    }
    __syncwarp();
    for (int first = 0; first < n; first += 32) {
        const int t = first + threadIdx.x;
        const bool here = t < n;
        double sum = 0., squares = 0.;
        each_row(rows, words, [&](int b) { sum += load_where(here, reward + (long)b * n + t); });
        const double mean = sum / members;
        if (!deviation) {
            each_row(rows, words, [&](int b) {
                const double d = load_where(here, reward + (long)b * n + t) - mean;
                squares += d * d;
            });
        }
        const double std = deviation ? load_where(here, deviation + t) : sqrt(squares / members), scale = 1. / (std + 1e-4);
        each_row(rows, words, [&](int b) {
            const double a = (load_where(here, reward + (long)b * n + t) - mean) * scale;
            store_where(here, advantage + (long)b * n + t, a > limit ? limit : a < -limit ? -limit : a);
        });
    }
}
