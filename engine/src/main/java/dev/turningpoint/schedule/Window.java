package dev.turningpoint.schedule;

import java.util.SplittableRandom;

/**
 * Where the stochastic, trained steps of a trajectory lie: {@code size} of the steps {@code first .. end - 1}.
 *
 * @param first     first step of the range, 0-based
 * @param end       one past its last step
 * @param size      steps of a window, n
 * @param move      how the window moves within the range
 * @param every     iterations that a sliding window stays
 * @param seed      of random windows
 * @param groupSize trajectories of a prompt, which share a window; keys of trajectories count through the groups
 * @param groups    prompts of an iteration
 */
public record Window(int first, int end, int size, Move move, int every, long seed, int groupSize, int groups) {

    /** How windows move. */
    public enum Move {
        /** The window is the range. */
        NONE,
        /** Each group draws where its window starts: Flow-GRPO-Fast of <a href="https://github.com/yifan123/flow_grpo">flow_grpo</a>. */
        RANDOM,
        /**
         * After every few iterations a step later, from the end back to the beginning: <a href="https://arxiv.org/abs/2507.21802">MixGRPO</a>, progressive with
         * stride 1. There the window shrinks at the end of its range; here it turns back before.
         */
        SLIDING
    }

    public Window {
        if (first < 0 || size < 0 || end - first < size || move == Move.NONE && end - first != size || every < 1 || groupSize < 1 || groups < 1) {
            throw new IllegalArgumentException("a window of " + size + " steps does not lie within steps " + first + " to " + end + ", or moves every " + every + " iterations of "
                    + groups + " groups of " + groupSize);
        }
    }

    /** The steps {@code first .. end - 1} for every trajectory. */
    public static Window fixed(int first, int end) {
        return new Window(first, end, end - first, Move.NONE, 1, 0, 1, 1);
    }

    /** First stochastic step of a trajectory. */
    public int start(int trajectory) {
        int group = trajectory / groupSize, iteration = group / groups, positions = end - first - size + 1;
        return first + switch (move) {
            case NONE -> 0;
            case RANDOM -> new SplittableRandom(seed * 0x9E3779B97F4A7C15L + group).nextInt(positions);
            case SLIDING -> iteration / every % positions;
        };
    }
}
