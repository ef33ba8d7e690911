package dev.turningpoint.softgpu.driver;

/** Work of independent pieces that several threads may run at once. */
interface Task {
    /** Runs the pieces {@code [first, end)}; 0, or a fault code that ends the task. */
    int run(ComputeThread thread, long first, long end);

    /** What a piece took when last measured, in nanoseconds; 0 if never. */
    float nanosPerPiece();

    void nanosPerPiece(float nanos);
}
