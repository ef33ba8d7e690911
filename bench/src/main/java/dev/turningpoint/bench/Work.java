package dev.turningpoint.bench;

import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Stream;

/** A piece of work larger than a kernel that both sides do, arranged and compared before it is timed. */
interface Work extends AutoCloseable {

    /** Arranges both sides on the same inputs and compares what they make once. */
    interface Arranged {
        Work on(Device device, Stream stream);
    }

    /**
     * One that a report may have.
     *
     * @param subject what it is
     * @param work    arranges it
     */
    record Offer(Subject subject, Arranged work) {}

    /** Ours; the stream is waited for by whoever times it. */
    void ours();

    /** The peer's. */
    void peer();

    /** The largest difference of the results relative to the largest value. */
    double error();

    @Override
    void close();
}
