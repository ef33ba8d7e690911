package dev.turningpoint.kernels;

import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Kernel;
import dev.turningpoint.gpu.Stream;

/**
 * Credit assignment of TP-GRPO ({@code credit.cu}): rewards along a trajectory to step rewards to advantages.
 *
 * @see <a href="https://arxiv.org/abs/2602.06422">TP-GRPO</a>
 */
public final class CreditKernels implements AutoCloseable {
    /** Flags of {@link #stepRewards}; what each means stands in {@code credit.cu}. */
    public static final int OUTCOME = 1, BONUS = 2, FIRST = 4, FIRST_CONSISTENT = 8, INNER_CONSISTENT = 16, LOCAL_FLIP = 32, POSITIVE_ONLY = 64,
            MAIN_IS_TREND = 128, TREND = 256, SUFFIX = 512, DROP_MAIN = 1024, PROPAGATE = 2048, RANK_BY_TREND = 4096, ZERO_KEEPS_MAIN = 8192;

    /** What balancing leaves of a sampling batch: {@code Kept} of {@code credit.cu}. */
    private static final int KEPT_BYTES = 16;
    /** Shared memory of a block, which has a bit for each trajectory. */
    private static final int MOST_SHARED = 48 << 10;

    /** Of the scan: trajectories of 32 rewards and less share a warp, which makes this many passes, in a block of so many warps. */
    private static final int SCAN_PASSES = 8, WARPS = 4;

    private final PtxModule module;
    private final Kernel creditScan;
    private final Kernel turningPoints;
    private final Kernel balance;
    private final Kernel stepRewards;
    private final Kernel stepDeviation;
    private final Kernel advantages;

    public CreditKernels(Device device) {
        module = new PtxModule(device, "credit");
        creditScan = module.kernel("credit_scan");
        turningPoints = module.kernel("turning_points");
        balance = module.kernel("balance");
        stepRewards = module.kernel("step_rewards");
        stepDeviation = module.kernel("step_deviation");
        advantages = module.kernel("advantages");
    }

    /** Bytes of scratch of {@link #stepRewards}, aligned to 16. */
    public static long scratch(int batch, int n) {
        return (long) batch * KEPT_BYTES + 2L * batch * n * Float.BYTES;
    }

    /**
     * Step rewards from the rewards along each trajectory. Without balancing and {@link #PROPAGATE} one pass does it all; then indicator, main, bonus and scratch
     * may be 0 where they are not wanted.
     *
     * @param rewards   f32 [batch, n + 1]: R_0 of the pure ODE image, R_k of the image after k SDE steps and then ODE steps, R_n of the trajectory itself
     * @param rowBatch  i32 [batch], the sampling batch 0 .. batches - 1 inside which turning points are balanced; 0: no balancing
     * @param batches   sampling batches, at most one for each trajectory
     * @param reward    receives f32 [batch, n]
     * @param indicator receives f32 [batch, n], 1 at turning points that count
     * @param main      receives f32 [batch, n], and
     * @param bonus     f32 [batch, n], the two parts whose sum the reward is
     * @param scratch   {@link #scratch} bytes
     * @param flags     of this class
     * @param eta       factor of the bonus
     */
    public void stepRewards(Stream stream, long rewards, long rowBatch, int batches, long reward, long indicator, long main, long bonus, long scratch, int batch,
                            int n, int flags, float eta) {
        shape(batch, n);
        if (rowBatch != 0 && (batches < 1 || batches > batch)) {
            throw new IllegalArgumentException(batches + " sampling batches of " + batch + " trajectories");
        }
        if (rowBatch == 0 && (flags & (PROPAGATE | BONUS)) != (PROPAGATE | BONUS)) {
            int together = n < 32 ? 32 / (n + 1) : 1;
            creditScan.grid(Check.blocks(batch, together * SCAN_PASSES * WARPS), 1, 1).block(128).shared(0).arg(rewards).arg(indicator).arg(reward).arg(main).arg(bonus)
                    .arg(batch).arg(n).arg(flags).arg(eta).launch(stream);
            return;
        }
        Check.address("indicator of step rewards", indicator);
        Check.address("main part of step rewards", main);
        Check.address("bonus of step rewards", bonus);
        Check.address("scratch of step rewards", scratch);
        long kept = rowBatch == 0 ? 0 : scratch, found = scratch + (long) batch * KEPT_BYTES, key = found + (long) batch * n * Float.BYTES;
        turningPoints.grid(Check.blocks(batch, 128), 1, 1).block(128).shared(0).arg(rewards).arg(found).arg(key).arg(batch).arg(n).arg(flags).launch(stream);
        if (rowBatch != 0) {
            balance.grid(batches, 1, 1).block(32).shared(0).arg(key).arg(rowBatch).arg(kept).arg(batch).arg(n).launch(stream);
        }
        stepRewards.grid(Check.blocks(batch, 128), 1, 1).block(128).shared(0).arg(rewards).arg(found).arg(key).arg(rowBatch).arg(kept).arg(indicator)
                .arg(reward).arg(main).arg(bonus).arg(batch).arg(n).arg(flags).arg(eta).launch(stream);
    }

    /**
     * {@code advantage = clip((reward - mean) / (std + 1e-4))}, mean over the trajectories of the same group at the same step, population std, all in double.
     *
     * @param reward    f32 [batch, n]
     * @param rowGroup  i32 [batch], the prompt group 0 .. groups - 1 of each trajectory, in any order
     * @param advantage receives f64 [batch, n]
     * @param deviation receives f64 [n], the std over all trajectories at each step, which is taken instead of the group's; 0: the group's
     * @param clip      limit of the absolute value; infinity for none
     */
    public void advantages(Stream stream, long reward, long rowGroup, long advantage, long deviation, int batch, int n, int groups, double clip) {
        shape(batch, n);
        Check.positive("groups", groups);
        if (!(clip > 0)) {
            throw new IllegalArgumentException("the advantage clip must be positive, not " + clip);
        }
        int rows = Check.blocks(batch, 32) * Integer.BYTES;
        if (rows > MOST_SHARED) {
            throw new IllegalArgumentException(batch + " trajectories are more than the " + 8 * MOST_SHARED + " that advantages are computed of at once");
        }
        if (deviation != 0) {
            stepDeviation.grid(Check.blocks(n, 32), 1, 1).block(32).shared(0).arg(reward).arg(deviation).arg(batch).arg(n).launch(stream);
        }
        advantages.grid(groups, 1, 1).block(32).shared(rows).arg(reward).arg(rowGroup).arg(deviation).arg(advantage).arg(batch).arg(n).arg(clip).launch(stream);
    }

    @Override
    public void close() {
        module.close();
    }

    private static void shape(int batch, int n) {
        Check.positive("batch", batch);
        Check.positive("steps", n);
        if (!((long) batch * n <= Integer.MAX_VALUE)) {
            throw new IllegalArgumentException(batch + " trajectories of " + n + " steps are too many for one launch");
        }
    }
}
