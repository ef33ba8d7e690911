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
// written for plainness: a thread a trajectory, a thread a turning point, a warp a (prompt, step).
//
// Traffic: each array above that a kernel names is read or written once: 4 (n + 1) bytes of rewards, 4 n of each f32 array, 8 n of advantages a trajectory.
// Over compulsory, step_rewards: with PROPAGATE the pass from the end leaves its bonus in bonus_out, where the pass from the beginning reads it again, from the cache.
// Shared by blocks, balance, advantages: all keys, which every 128 entries read, and all rewards, which every (prompt, step) reads.
// Uncoalesced, credit_scan, turning_points, step_rewards, advantages: lanes are trajectories, n or n + 1 values apart. The rest of a sector is the same lane's next steps,
//          which find it in the first-level cache; in advantages it is other blocks' steps, which find it in the second: all rewards of a rollout are a few kilobytes.

#include "reduce.cuh"

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

extern "C" __global__ void __launch_bounds__(128) turning_points(const float* rewards, float* indicator, float* key, int batch, int n, int flags) {
    const int b = blockIdx.x * 128 + threadIdx.x;
    if (b >= batch) return;
    const float* R = rewards + (long)b * (n + 1);
    const float last = R[n], D = __fsub_rn(last, R[0]);
    float before = R[0], d_before = 0.f;
    for (int t = 0; t < n; t++) {
        const float now = R[t + 1], d = __fsub_rn(now, before);
        const bool turn = turns(t, d_before, d, D, __fsub_rn(last, now), flags);
        indicator[(long)b * n + t] = turn ? 1.f : 0.f;
        key[(long)b * n + t] = !turn ? 0.f : flags & RANK_BY_TREND ? (flags & MAIN_IS_TREND ? d : flags & TREND ? D : last) : bonus_of(R, t, n, flags);
        before = now;
        d_before = d;
    }
}

// kept = indicator thinned so that a sampling batch keeps equally many turning points of either sign, the largest |key|, the earlier entry among equals.
// A batch with turning points of one sign only keeps them all. A thread an entry; all entries pass by every thread.
extern "C" __global__ void __launch_bounds__(128) balance(const float* indicator, const float* key, const int* row_batch, float* kept, int batch, int n) {
    const int i = blockIdx.x * 128 + threadIdx.x, count = batch * n;
    const bool inside = i < count;
    const int mine = inside ? row_batch[i / n] : 0;
    const float my_key = inside ? key[i] : 0.f, magnitude = fabsf(my_key);
    int positive = 0, negative = 0, rank = 0;
    for (int row = 0; row < batch; row++) {
        const bool same = row_batch[row] == mine;
        for (int t = 0; t < n; t++) {
            const int j = row * n + t;
            const float other = key[j];
            if (other == 0.f) continue;                    // most entries are no turning points; the same for every lane
            positive += same && other > 0.f;
            negative += same && other < 0.f;
            rank += same && sign(other) == sign(my_key) && (fabsf(other) > magnitude || (fabsf(other) == magnitude && j < i));
        }
    }
    if (!inside) return;
    const int keep = min(positive, negative);
    kept[i] = keep == 0 ? indicator[i] : my_key != 0.f && rank < keep ? 1.f : 0.f;
}

// Step rewards from the turning points that stayed. `indicator` is read and, with PROPAGATE, widened in `widened` (which is written in any case).
extern "C" __global__ void __launch_bounds__(128) step_rewards(const float* rewards, const float* indicator, float* widened, float* reward, float* main_out, float* bonus_out,
                                                               int batch, int n, int flags, float eta) {
    const int b = blockIdx.x * 128 + threadIdx.x;
    if (b >= batch) return;
    const float* R = rewards + (long)b * (n + 1);
    const float* at = indicator + (long)b * n;
    const float last = R[n], D = __fsub_rn(last, R[0]);
    const bool spread = (flags & PROPAGATE) && (flags & BONUS);
    if (spread) {                                          // losses spread backwards, each further loss weighs them once more
        float losses = 0.f;
        for (int t = n - 1; t >= 0; t--) {
            const float gain = __fsub_rn(last, R[t]);
            const bool here = at[t] > 0.f && gain < 0.f;
            if (here) losses += 1.f;
            bonus_out[(long)b * n + t] = losses > 0.f ? __fmul_rn(losses, gain) : 0.f;
        }
    }
    float gains = 0.f;
    for (int t = 0; t < n; t++) {
        const long i = (long)b * n + t;
        float turn = at[t], bonus, main_part;
        if (spread) {                                      // gains spread forwards
            const float gain = __fsub_rn(last, R[t]), backward = bonus_out[i];
            if (turn > 0.f && gain > 0.f) gains += 1.f;
            bonus = gains > 0.f ? __fadd_rn(backward, __fmul_rn(gains, gain)) : backward;
            bool later_loss = false;
            for (int k = t; k < n; k++) later_loss = later_loss || (at[k] > 0.f && __fsub_rn(last, R[k]) < 0.f);
            if (later_loss || gains > 0.f) turn = 1.f;
            bonus = __fmul_rn(eta, bonus);
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

// Advantages of one (prompt, step) by one warp; rows of a prompt may lie anywhere. With global_std the std is that of all rows at the step.
extern "C" __global__ void __launch_bounds__(32) advantages(const float* reward, const int* row_group, double* advantage, int batch, int n, int global_std, double limit) {
    const int group = blockIdx.x, t = blockIdx.y, lane = threadIdx.x;
    double sum = 0., count = 0., sum_all = 0.;
    for (int b = lane; b < batch; b += 32) {
        const double r = reward[(long)b * n + t];
        const bool member = row_group[b] == group;
        sum += member ? r : 0.;
        count += member ? 1. : 0.;
        sum_all += r;
    }
    const double members = warp_sum(count);
    if (members == 0.) return;
    const double mean = warp_sum(sum) / members, mean_all = warp_sum(sum_all) / batch;
    double squares = 0.;
    for (int b = lane; b < batch; b += 32) {
        const double d = reward[(long)b * n + t] - (global_std ? mean_all : mean);
        squares += global_std || row_group[b] == group ? d * d : 0.;
    }
    const double std = sqrt(warp_sum(squares) / (global_std ? (double)batch : members)) + 1e-4;
    for (int b = lane; b < batch; b += 32) {
        if (row_group[b] != group) continue;
        double a = (reward[(long)b * n + t] - mean) / std;
        a = a > limit ? limit : a < -limit ? -limit : a;
        advantage[(long)b * n + t] = a;
    }
}
