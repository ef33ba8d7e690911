package dev.turningpoint.weights;

/** Who wants to know how far a long operation is. */
@FunctionalInterface
public interface Progress {
    Progress NONE = (done, total) -> {};

    /** Called now and then, by one thread. */
    void at(long doneBytes, long totalBytes);
}
