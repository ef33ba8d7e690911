package dev.turningpoint.bench;

import dev.turningpoint.kernels.cases.KernelCase;
import dev.turningpoint.kernels.cases.KernelCases;
import dev.turningpoint.kernels.cases.KernelLaunch;
import dev.turningpoint.kernels.cases.Size;
import java.util.stream.Collectors;

/**
 * One piece of work that both sides do.
 *
 * @param title   what it is
 * @param kernels ours
 * @param kind    what sets the goal of its ratio
 * @param peer    the other side's
 * @param reason  why the goal is out of reach, for the report where it is missed; empty if nothing is known to be in its way
 */
record Case(String title, KernelCase kernels, Kind kind, Peer peer, String reason) {

    /** Arranges the inputs, untimed, and says what is to be timed. */
    interface Peer {
        Eager on(Inputs in);
    }

    /** What a kernel is, and how many times as fast as the peer it is to be. */
    enum Kind {
        ELEMENTWISE(3), NORMALISATION(3), SCAN(3), ATTENTION_FORWARD(1.5), ATTENTION_BACKWARD(1), PRODUCT(1),
        /** Shown, but no goal. */
        NOTE(0);

        final double goal;

        Kind(double goal) {
            this.goal = goal;
        }
    }

    /** Reasons that several cases have. */
    static final String ONE_PASS = "one pass over the same bytes on both sides", FIVE_TO_THREE = "the peer moves five arrays in two passes, ours three in one";

    /** The share of the triad's bandwidth that a case with arrays beyond the caches is to reach. */
    static final double BANDWIDTH_GOAL = 0.8;

    static Case of(String title, String kernels, Kind kind, Peer peer) {
        return new Case(title, KernelCases.get(kernels), kind, peer, "");
    }

    /** The same with what is known to stand in the way of the goal. */
    Case because(String reason) {
        return new Case(title, kernels, kind, peer, reason);
    }

    /** Whether its bandwidth is held against the triad's. */
    boolean boundByBandwidth() {
        return kernels.size() == Size.DRAM;
    }

    Subject subject() {
        return new Subject(title, kernels.name(), shape(), kernels.launches().stream().mapToLong(KernelLaunch::compulsoryBytes).sum(), flops(), flops() == 0 ? null : kernels.buffers().getFirst().type(), kind.goal, boundByBandwidth(), reason);
    }

    /** Of attention: two products forward, five backward. */
    private double flops() {
        boolean backward = kind == Kind.ATTENTION_BACKWARD;
        if (kind != Kind.ATTENTION_FORWARD && !backward) return 0;
        var d = kernels.dimensions();
        double queries = kernels.name().contains("image_only") ? d.get("tokensA") : d.get("tokens");
        return (backward ? 10. : 4.) * d.get("batch") * d.get("heads") * queries * d.get("tokens") * d.get("headDim");
    }

    String shape() {
        return kernels.dimensions().entrySet().stream().map(d -> d.getKey() + " " + d.getValue()).collect(Collectors.joining(", "));
    }
}
