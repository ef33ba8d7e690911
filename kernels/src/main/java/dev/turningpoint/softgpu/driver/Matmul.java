package dev.turningpoint.softgpu.driver;

/** A matrix product as planned for one shape family. */
final class Matmul {
    static final class Arguments {
        long a, b, c, d, bias, m;
    }

    static final class Phase {
    }

    void execute(StreamQueue.Executor self, Arguments arguments) {
        throw Code.NOT_SUPPORTED.error("matrix products");
    }
}
