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
// Rewards are f32 as the reward models give them, and so are differences. Traffic and time are nothing beside a denoising step; but for credit_scan, which serves
// whoever has millions of trajectories too, the kernels are written for plainness: a thread a trajectory, a warp a sampling batch, a warp a prompt.
//
// Traffic: each array above that a kernel names is read or written once: 4 (n + 1) bytes of rewards, 4 n of each f32 array, 8 n of advantages a trajectory.
// Over compulsory, step_rewards: with PROPAGATE the pass from the end leaves its bonus in bonus_out, where the pass from the beginning reads it again, from the cache.
// Shared by blocks, advantages: each prompt looks through all prompts' labels; a trajectory's rewards begin and end amid sectors.
// Uncoalesced, turning_points, step_rewards: lanes are trajectories, n or n + 1 values apart. The rest of a sector is the same lane's next steps,
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

__device__ __forceinline__ bool alike(float a, float b) { return ((a > 0.f) & (b > 0.f)) | ((a < 0.f) & (b < 0.f)); }   // sign(a) sign(b) > 0

// Bonus of the step from reward `before` to `now`, before eta and indicator.
__device__ __forceinline__ float bonus_of(float before, float now, float last, float D, int flags) {
    return flags & MAIN_IS_TREND ? __fsub_rn(now, before) : flags & SUFFIX ? __fsub_rn(last, before) : flags & TREND ? D : last;
}

__device__ __forceinline__ float main_of(float d, float last, float D, int flags) { return flags & OUTCOME ? last : flags & MAIN_IS_TREND ? (flags & TREND ? D : last) : d; }

// Whether step t (from 0) is a turning point. Conditions on flags are & and | too, rather than ?: and if: lanes stay together, and nothing leaves the predicates.
__device__ __forceinline__ bool turns(int t, float d_before, float d, float D, float left, int flags) {  // left = R_n - R_t of the text above
    const bool consistent = alike(d, left), along = alike(d, D), first_consistent = flags & FIRST_CONSISTENT, local = flags & LOCAL_FLIP;
    const bool at_first = ((first_consistent & consistent) | (!first_consistent & along)) & ((flags & FIRST) != 0);
    const bool flips = (local & (d_before * d < 0.f)) | (!local & alike(-d_before, D) & along);
    const bool inner = flips & (!(flags & POSITIVE_ONLY) | (D > 0.f)) & (!(flags & INNER_CONSISTENT) | consistent);
    return (((t == 0) & at_first) | ((t != 0) & inner)) & ((flags & (BONUS | OUTCOME)) == BONUS);
}

// Turning points and step rewards in one pass, where nothing is balanced or spread. A lane is a step: of as many trajectories as fit into a warp with their n + 1 rewards, which
// lanes give to each other, or, of 32 steps and more, of one trajectory at a time. Outputs at 0 are left out. FLAGS: the flags if they are known here, else -1.
constexpr int SCAN_PASSES = 8;  // of a warp

template <int FLAGS>
__device__ __forceinline__ void scan(const float* rewards, float* indicator, float* reward, float* main_out, float* bonus_out, int batch, int n, int given, float eta) {
    const int flags = FLAGS < 0 ? given : FLAGS, lane = threadIdx.x & 31, together = n < 32 ? 32 / (n + 1) : 1;
    int row = 0;
    for (int q = 1; q < together; q++) row += lane >= q * n;
    const auto step = [&](float before2, float before, float now, float first, float last, int t, long i, bool here) {
        const float d = __fsub_rn(now, before), D = __fsub_rn(last, first);
        const bool turn = turns(t, __fsub_rn(before, before2), d, D, __fsub_rn(last, now), flags);
        const float bonus = __fmul_rn(__fmul_rn(eta, turn ? 1.f : 0.f), bonus_of(before, now, last, D, flags));
        const float main_part = main_of(d, last, D, flags);
        const bool zero_keeps = flags & ZERO_KEEPS_MAIN, drop = ((flags & DROP_MAIN) != 0) & ((zero_keeps & (bonus != 0.f)) | (!zero_keeps & turn));
        const float kept = drop ? 0.f : main_part;
        store_where(here, reward + i, __fadd_rn(kept, bonus));
        if (indicator) store_where(here, indicator + i, turn ? 1.f : 0.f);
        if (main_out) store_where(here, main_out + i, kept);
        if (bonus_out) store_where(here, bonus_out + i, bonus);
    };
    const unsigned begin = (blockIdx.x * 4 + threadIdx.x / 32) * SCAN_PASSES * together, end = min((unsigned)batch, begin + SCAN_PASSES * together);
    for (unsigned b = begin; b < end; b += together) {
        const float* R = rewards + (long)b * (n + 1);
        const long i = (long)b * n;
        if (n < 32) {
            const int rows = min(together, (int)(end - b)), at = lane + row, first = row * (n + 1);
            const float r = load_where(lane < rows * (n + 1), R + lane);
            step(__shfl_sync(~0u, r, at - 1), __shfl_sync(~0u, r, at), __shfl_sync(~0u, r, at + 1), __shfl_sync(~0u, r, first), __shfl_sync(~0u, r, first + n), lane - row * n,
                 i + lane, lane < rows * n);
        } else {
            const float first = R[0], last = R[n];
            for (int from = 0; from < n; from += 32) {
                const int t = from + lane;
                const bool here = t < n;
                step(load_where(here & t > 0, R + t - 1), load_where(here, R + t), load_where(here, R + t + 1), first, last, t, i + t, here);
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(128) credit_scan(const float* __restrict__ rewards, float* __restrict__ indicator, float* __restrict__ reward,
                                                              float* __restrict__ main_out, float* __restrict__ bonus_out, int batch, int n, int flags, float eta) {
    constexpr int CONSISTENT = BONUS | FIRST | FIRST_CONSISTENT | INNER_CONSISTENT | SUFFIX | DROP_MAIN;  // what a run does unless it is told otherwise
    if (flags == CONSISTENT) scan<CONSISTENT>(rewards, indicator, reward, main_out, bonus_out, batch, n, flags, eta);
    else scan<-1>(rewards, indicator, reward, main_out, bonus_out, batch, n, flags, eta);
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
        key[i] = !turn ? 0.f : flags & RANK_BY_TREND ? (flags & MAIN_IS_TREND ? d : flags & TREND ? D : last) : bonus_of(before, now, last, D, flags);
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
    float gains = 0.f, before = R[0];
    for (int t = 0; t < n; t++) {
        const long i = (long)b * n + t;
        const float now = R[t + 1];
        float turn = indicator[t * batch + b] > 0.f & stays(mine, key[t * batch + b], b * n + t) ? 1.f : 0.f, bonus;
        if (spread) {                                      // gains spread forwards
            const float gain = __fsub_rn(last, before), backward = bonus_out[i];
            gains += turn > 0.f & gain > 0.f ? 1.f : 0.f;
            bonus = __fmul_rn(eta, gains > 0.f ? __fadd_rn(backward, __fmul_rn(gains, gain)) : backward);
            turn = widened[i] > 0.f | gains > 0.f ? 1.f : turn;
        } else {
            bonus = __fmul_rn(__fmul_rn(eta, turn), bonus_of(before, now, last, D, flags));
        }
        float main_part = main_of(__fsub_rn(now, before), last, D, flags);
        if ((flags & DROP_MAIN) && (flags & ZERO_KEEPS_MAIN ? bonus != 0.f : turn > 0.f)) main_part = 0.f;
        widened[i] = turn;
        main_out[i] = main_part;
        bonus_out[i] = bonus;
        reward[i] = __fadd_rn(main_part, bonus);
        before = now;
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

// Advantages of one prompt by one warp, a lane a step; rows of a prompt may lie anywhere. `deviation` [n]: the std to divide by; 0: the prompt's own. Moments are taken about the first
// trajectory's reward, so that one pass does for both and equal rewards still have none.
extern "C" __global__ void __launch_bounds__(32) advantages(const float* reward, const int* row_group, const double* deviation, double* advantage, int batch, int n, double limit) {
    extern __shared__ unsigned rows[];                     // a bit for each trajectory: whether it is of this prompt
    const int words = (batch + 31) / 32;
    for (int first = 0; first < n; first += 32) {
        const int t = first + threadIdx.x;
        const bool here = t < n;
        int members = 0;
        double pivot = 0., sum = 0., squares = 0.;
        for (int w = 0; w < words; w++) {
            const int b = 32 * w + threadIdx.x;
            const unsigned word = __ballot_sync(0xffffffffu, b < batch && row_group[b] == blockIdx.x);
            rows[w] = word;
            for (unsigned left = word; left; left &= left - 1) {  // in ascending order
                const double r = load_where(here, reward + (long)(32 * w + __ffs(left) - 1) * n + t);
                if (members++ == 0) pivot = r;
                const double d = r - pivot;
                sum += d;
                squares += d * d;
            }
        }
        __syncwarp();
        const double shift = sum / members, mean = pivot + shift, own = fma(-shift, shift, squares / members);
        const double std = deviation ? load_where(here, deviation + t) : sqrt(own > 0. ? own : 0.), scale = 1. / (std + 1e-4);
        for (int w = 0; w < words; w++)
            for (unsigned left = rows[w]; left; left &= left - 1) {
                const long i = (long)(32 * w + __ffs(left) - 1) * n + t;
                const double a = (load_where(here, reward + i) - mean) * scale;
                store_where(here, advantage + i, a > limit ? limit : a < -limit ? -limit : a);
            }
    }
}
