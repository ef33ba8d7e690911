package dev.turningpoint.reward;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.function.IntFunction;

/**
 * Several rewards and the weighted sum of them that is trained on. Scores batches on threads of its own: rewards that compute share one set of threads, each
 * that waits for a server has its own, so that a slow server holds up nobody else. A reward that is held out is scored and shown, never trained on: when it
 * falls while the trained ones rise, they are being hacked.
 */
public final class RewardMix implements AutoCloseable {
    /** Beside NaN, what a partial reward may give to say that it does not apply: flow_grpo's sign for it. */
    public static final float DOES_NOT_APPLY = -10;

    private static final double EPSILON = 1e-4;   // as in an advantage

    /**
     * What a term is divided by, after its mean is taken off, before the sum: nothing, or its standard deviation over all images of the rollout, or over those of
     * a prompt. Rewards of different scale then weigh what their weights say. A reward that is the same for all images contributes 0.
     *
     * @see <a href="https://arxiv.org/abs/2601.05242">GDPO, which normalises each reward within the group</a>
     */
    public enum Normalize { NONE, ROLLOUT, GROUP }

    /**
     * One reward of the mix.
     *
     * @param name    as in the metric {@code reward_<name>}
     * @param reward  closed with the mix
     * @param trained false: held out
     * @param weight  in the sum
     * @param low     scores below are raised to this; negative infinity for none
     * @param high    scores above are lowered to this; infinity for none
     * @param partial NaN and {@link #DOES_NOT_APPLY} say that it does not apply to the prompt; the term is then left out of the sum. Without, NaN is an error
     */
    public record Term(String name, Reward reward, boolean trained, double weight, Normalize normalize, double low, double high, boolean partial) {
        /** A term that is trained on as it is. */
        public Term(String name, Reward reward) {
            this(name, reward, true, 1, Normalize.NONE, Double.NEGATIVE_INFINITY, Double.POSITIVE_INFINITY, false);
        }
    }

    private final List<Term> terms;
    private final List<ScoringThreads> threads = new ArrayList<>();   // of each term
    private final Thread beforeExit = new Thread(this::stop, "rewards-drain");
    private boolean closed;

    /**
     * @param computing   threads that compute scores at the same time; 0 takes one per core
     * @param drainAtExit when the process is asked to end, finish the images at hand, cancel the queue and only then let it go; false where the caller sees to it
     *                    that {@link #close} comes before the end
     */
    public RewardMix(List<Term> terms, int computing, boolean drainAtExit) {
        if (computing < 0) throw new IllegalArgumentException("reward.threads must not be negative, is " + computing);
        if (terms.stream().noneMatch(Term::trained)) throw new IllegalArgumentException("a mix without a reward to train on");
        if (new HashSet<>(terms.stream().map(Term::name).toList()).size() < terms.size()) throw new IllegalArgumentException("two rewards of one name");
        this.terms = List.copyOf(terms);
        ScoringThreads shared = null;
        for (Term term : terms) {
            int waiting = term.reward.waitingCalls();
            if (waiting > 0) {
                threads.add(new ScoringThreads("reward-" + term.name, waiting, true));
            } else {
                if (shared == null) shared = new ScoringThreads("reward", computing == 0 ? Runtime.getRuntime().availableProcessors() : computing, false);
                threads.add(shared);
            }
        }
        // A process that exits while ONNX Runtime computes crashes in its destructors: the shutdown waits for the images at hand.
        if (drainAtExit) Runtime.getRuntime().addShutdownHook(beforeExit);
    }

    /** A mix of one reward, which is trained on as it is. */
    public static RewardMix of(String name, Reward reward, int computing) {
        return new RewardMix(List.of(new Term(name, reward)), computing, false);
    }

    public List<Term> terms() {
        return terms;
    }

    /**
     * Queues a batch for one term. Blocks only while the queue is full.
     *
     * @param term  index into {@link #terms}
     * @param batch its images unchanged and allocated until the future is complete
     * @return one score an image, clipped, NaN where the term does not apply; completes with {@link RewardException} if an image cannot be scored, with
     *         {@link CancellationException} if it was cancelled or the mix closed first. Complete means that nobody reads the images any more
     */
    public CompletableFuture<float[]> scoreAsync(int term, RewardBatch batch) {
        return threads.get(term).score(terms.get(term), batch);
    }

    /** Scores a batch by one term and waits for it. */
    public float[] score(int term, RewardBatch batch) {
        return await(scoreAsync(term, batch));
    }

    /** The result of a queued batch; what went wrong is thrown as it was. */
    public static float[] await(CompletableFuture<float[]> scores) {
        try {
            return scores.join();
        } catch (java.util.concurrent.CompletionException e) {
            if (e.getCause() instanceof RuntimeException cause) throw cause;
            throw e;
        }
    }

    /**
     * The rewards that are trained on: the weighted sum of the trained terms, each clipped and normalised first. In double precision, and whatever the order of
     * the rows to the same bits.
     *
     * @param scores   [terms][rows * columns], a trajectory a row, R_k in column k; what is held out may be null
     * @param columns  n + 1
     * @param group    number of each row's prompt; null leaves normalisation out, as an evaluation does
     * @param describe names a row in messages
     * @return [rows * columns]
     * @throws RewardException if no term applies to a prompt, or one does to only some of its images
     */
    public float[] sum(float[][] scores, int columns, int[] group, IntFunction<String> describe) {
        int values = -1;
        double[] sum = null;
        boolean[] applies = null;
        for (int t = 0; t < terms.size(); t++) {
            Term term = terms.get(t);
            if (!term.trained) continue;
            if (sum == null) {
                values = scores[t].length;
                sum = new double[values];
                applies = new boolean[values];
            }
            requireWholeGroups(term, scores[t], columns, group, describe);
            double[] normalised = normalised(term, scores[t], columns, group);
            for (int i = 0; i < values; i++) {
                if (Double.isNaN(normalised[i])) continue;
                sum[i] += term.weight * normalised[i];
                applies[i] = true;
            }
        }
        var result = new float[values];
        for (int i = 0; i < values; i++) {
            if (!applies[i]) throw new RewardException("no reward applies to " + describe.apply(i / columns) + "; reward.terms needs one that does for every prompt");
            result[i] = (float) sum[i];
        }
        return result;
    }

    /** A term that applied to some images of a prompt only would be a gain or a loss that nothing earned. */
    private static void requireWholeGroups(Term term, float[] scores, int columns, int[] group, IntFunction<String> describe) {
        var first = new java.util.HashMap<Integer, Boolean>();
        for (int i = 0; i < scores.length; i++) {
            int row = i / columns;
            boolean applies = !Float.isNaN(scores[i]), expected = applies;
            Boolean before = first.putIfAbsent(group == null ? row : group[row], applies);
            if (before != null) expected = before;
            if (applies != expected)
                throw new RewardException("reward " + term.name + " applies to some images of a prompt and not to others: " + describe.apply(row) + "; whether it applies must depend "
                        + "on the prompt alone");
        }
    }

    private static double[] normalised(Term term, float[] scores, int columns, int[] group) {
        var result = new double[scores.length];
        for (int i = 0; i < result.length; i++) result[i] = scores[i];
        if (group == null || term.normalize == Normalize.NONE) return result;
        int groups = term.normalize == Normalize.ROLLOUT ? 1 : Arrays.stream(group).max().orElse(0) + 1;
        for (int g = 0; g < groups; g++) {
            var of = new double[result.length];
            int count = 0;
            for (int i = 0; i < result.length; i++)
                if ((groups == 1 || group[i / columns] == g) && !Double.isNaN(result[i])) of[count++] = result[i];
            if (count == 0) continue;
            double[] sorted = Arrays.copyOf(of, count);
            Arrays.sort(sorted);   // so that the sum does not depend on the order of the rows
            double total = 0, squares = 0;
            for (double v : sorted) total += v;
            double mean = total / count;
            for (double v : sorted) squares += (v - mean) * (v - mean);
            boolean equal = sorted[0] == sorted[count - 1];
            double scale = Math.sqrt(squares / count) + EPSILON;
            for (int i = 0; i < result.length; i++)
                if (groups == 1 || group[i / columns] == g) result[i] = Double.isNaN(result[i]) ? Double.NaN : equal ? 0 : (result[i] - mean) / scale;
        }
        return result;
    }

    /** Mean over the images that a term applies to; NaN if there are none. */
    public static double mean(float[] scores) {
        double sum = 0;
        int count = 0;
        for (float s : scores) {
            if (Float.isNaN(s)) continue;
            sum += s;
            count++;
        }
        return sum / count;
    }

    /** Gives up all that is queued; who waits for a server is interrupted. What computes finishes the images at hand. */
    public void cancel() {
        threads.stream().distinct().forEach(ScoringThreads::cancel);
    }

    private void stop() {
        threads.stream().distinct().forEach(ScoringThreads::close);
    }

    /** Ends the threads after the images they are at, cancels what is queued, and frees the models. May be called twice. */
    @Override
    public synchronized void close() {
        if (closed) return;
        closed = true;
        stop();
        try {
            Runtime.getRuntime().removeShutdownHook(beforeExit);
        } catch (IllegalStateException e) {
            return;   // the process is ending; the models go with it
        }
        RuntimeException failure = null;
        for (Term term : terms) {
            try {
                term.reward.close();
            } catch (RuntimeException e) {
                if (failure == null) failure = e;
                else failure.addSuppressed(e);
            }
        }
        if (failure != null) throw failure;
    }
}
