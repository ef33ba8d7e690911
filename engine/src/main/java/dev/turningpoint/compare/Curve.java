package dev.turningpoint.compare;

import dev.turningpoint.report.RunFolder;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * What one run told: a point for each evaluation on held-out prompts, and how often each step of the window was a turning point.
 *
 * @param points            in order of updates
 * @param turningPointRates of step t of the window, the mean over all updates of the share of trajectories that turn there; empty where a mode has no turning points
 * @param trainingReward    at each update, the mean reward of its rollout
 */
public record Curve(List<Point> points, List<Double> turningPointRates, List<Double> trainingReward) {
    private static final JsonMapper JSON = new JsonMapper();

    /** What the axis of a plot can be. */
    public enum Axis {
        UPDATES("updates"), EVALUATIONS("network evaluations"), REWARD_CALLS("reward calls"), SECONDS("seconds of training");

        final String title;

        Axis(String title) { this.title = title; }
    }

    /**
     * @param iterations  so far
     * @param updates     optimizer steps so far
     * @param evaluations rows through the network in training, a backward counted as two
     * @param rewardCalls images scored in training
     * @param seconds     of training on the machine that ran it, without evaluations; NaN if nobody measured
     * @param reward      mean over the held-out prompts
     */
    public record Point(int iterations, long updates, double evaluations, double rewardCalls, double seconds, double reward) {
        double at(Axis axis) {
            return switch (axis) { case UPDATES -> updates; case EVALUATIONS -> evaluations; case REWARD_CALLS -> rewardCalls; case SECONDS -> seconds; };
        }
    }

    public Curve {
        points = List.copyOf(points);
        turningPointRates = List.copyOf(turningPointRates);
        trainingReward = List.copyOf(trainingReward);
    }

    public Point last() { return points.getLast(); }

    /** The reward where the axis is {@code x}, on the line between the two evaluations around it; NaN outside the run. */
    public double reward(Axis axis, double x) {
        for (int i = 0; i < points.size(); i++) {
            double here = points.get(i).at(axis);
            if (here == x) return points.get(i).reward;
            if (here > x && i > 0) {
                double before = points.get(i - 1).at(axis), share = (x - before) / (here - before);
                return (1 - share) * points.get(i - 1).reward + share * points.get(i).reward;
            }
        }
        return Double.NaN;
    }

    /**
     * Reads a run folder.
     *
     * @param timing {@link Timing} of the run
     * @throws UncheckedIOException if it cannot be read, or a line is not one that training writes
     */
    static Curve read(RunFolder folder, Timing timing) {
        var points = new ArrayList<Point>();
        var rates = new TreeMap<Integer, double[]>();
        var training = new ArrayList<Double>();
        Path file = folder.metrics();
        int number = 0;
        try {
            for (String line : Files.readAllLines(file)) {
                number++;
                JsonNode m = JSON.readTree(line);
                if (m.has("eval/reward_avg"))
                    points.add(new Point(m.get("epoch").asInt(), m.get("step").asLong(), m.get("network_evaluations").asDouble(), m.get("reward_calls").asDouble(),
                            timing.upTo(m.get("epoch").asInt()), m.get("eval/reward_avg").asDouble(Double.NaN)));
                if (m.has("reward_avg")) training.add(m.get("reward_avg").asDouble(Double.NaN));
                for (int t = 0; m.has("process_reward/bonus_trigger_" + t + "_ratio"); t++) {
                    double[] sum = rates.computeIfAbsent(t, k -> new double[2]);
                    sum[0] += m.get("process_reward/bonus_trigger_" + t + "_ratio").asDouble();
                    sum[1]++;
                }
            }
        } catch (JacksonException | NullPointerException e) {
            throw new UncheckedIOException(new IOException(file + ":" + number + ": not a line of metrics with counts: " + e.getMessage()));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return new Curve(points, rates.values().stream().map(s -> s[0] / s[1]).toList(), training);
    }
}
