package dev.turningpoint.bench;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Stream;
import java.util.Locale;
import org.bytedeco.javacpp.PointerScope;

/**
 * GFLOP/s of a large matrix product, [1024, 3072] by [3072, 3072], the better of ours and libtorch's: what these threads' multiply-add units give in f32, and their dot-product
 * units in bf16. Measured in the run that uses it.
 */
record Peak(double f32, double bf16) {
    private static final int ROWS = 1024, SIDE = 3072;

    static Peak measure(Device device, Stream stream, Clock clock, int rounds) {
        return new Peak(of(device, stream, clock, rounds, DType.F32), of(device, stream, clock, rounds, DType.BF16));
    }

    private static double of(Device device, Stream stream, Clock clock, int rounds, DType type) {
        try (var scope = new PointerScope(); var product = ProductWork.offer(type, ROWS, SIDE, SIDE).on(device, stream)) {
            double least = Double.POSITIVE_INFINITY;
            for (int i = 0; i < rounds; i++) {
                least = Math.min(least, clock.each(product.ours, 2, stream::synchronize));
                least = Math.min(least, clock.each(() -> Torch.scoped(product.peer), 2, () -> {}));
            }
            return 2. * ROWS * SIDE * SIDE / least;
        }
    }

    double of(DType type) {
        return type == DType.BF16 ? bf16 : f32;
    }

    @Override
    public String toString() {
        return String.format(Locale.ROOT, "%.0f GFLOP/s in f32, %.0f in bf16", f32, bf16);
    }
}
