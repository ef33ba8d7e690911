package dev.turningpoint.credit;

/** Trajectories that teach nothing: where all rewards of a prompt are equal, all its advantages are exactly 0, and so is their part of the gradient. */
public final class ZeroAdvantages {
    private ZeroAdvantages() {
    }

    /**
     * The trajectories that are worth a forward and a backward, in the given order. So that an iteration can be cut into equal parts, the first few of the others stay
     * until their number is a multiple of {@code parts}, at least {@code parts}. Flow-GRPO's published code does the same.
     *
     * @param advantages [trajectories * n]
     * @param order      of all trajectories, whose number is a multiple of {@code parts}
     * @return [a multiple of parts]
     */
    public static int[] drop(double[] advantages, int n, int[] order, int parts) {
        int teaching = 0;
        for (int trajectory : order) {
            teaching += teaches(advantages, n, trajectory) ? 1 : 0;
        }
        int kept = Math.max(1, (teaching + parts - 1) / parts) * parts, spare = kept - teaching, at = 0;
        var out = new int[kept];
        for (int trajectory : order) {
            if (teaches(advantages, n, trajectory) || spare-- > 0) {
                out[at++] = trajectory;
            }
        }
        return out;
    }

    private static boolean teaches(double[] advantages, int n, int trajectory) {
        for (int t = 0; t < n; t++) {
            if (advantages[trajectory * n + t] != 0) {
                return true;
            }
        }
        return false;
    }
}
