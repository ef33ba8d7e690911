package dev.turningpoint.grpo;

/**
 * The weight of the KL to the reference model: fixed, or led so that the KL comes to a target. After each update it grows by a tenth of how far the KL lies above its
 * target, as a share of the target, at most by 2 %, and shrinks likewise:
 * {@code beta <- beta (1 + clip(KL / target - 1, -0.2, 0.2) / 10)}.
 *
 * @see <a href="https://arxiv.org/abs/1909.08593">Ziegler et al., Fine-Tuning Language Models from Human Preferences</a>, section 2.2; a tenth is our share of its
 *      horizon that an update takes
 */
public final class KlWeight {
    private static final double MOST = 0.2, SHARE = 0.1;

    private final double target;
    private double value;

    /** @param target of the KL; 0 leaves the weight at {@code initial} */
    public KlWeight(double initial, double target) {
        this.target = target;
        value = initial;
    }

    /** The weight now. */
    public double value() {
        return value;
    }

    /** As a checkpoint left it. */
    public void resumeAt(double value) {
        this.value = value;
    }

    /** Takes notice of the KL of an update. */
    public void observe(double kl) {
        if (target > 0) {
            value *= 1 + SHARE * Math.clamp(kl / target - 1, -MOST, MOST);
        }
    }
}
