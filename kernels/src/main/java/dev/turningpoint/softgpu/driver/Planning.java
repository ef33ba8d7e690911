package dev.turningpoint.softgpu.driver;

/**
 * {@code -Dturningpoint.software.plan=true}: a device that counts what is allocated and does nothing. Memory has addresses and no bytes behind them, so that a program's
 * allocations on an 80 GB GPU can be counted on any machine: kernels, products, copies and fills are dropped, and what is read back is whatever was there. No allocation is
 * refused for want of memory. A product asks for the workspace that cuBLASLt may ask for.
 */
final class Planning {
    static final boolean ON = Boolean.getBoolean("turningpoint.software.plan");
    static final long GEMM_WORKSPACE = 32L << 20;

    private static final long FIRST = 1L << 44;
    private static long next = FIRST;

    private Planning() {}

    /** Addresses that nobody else has. */
    static synchronized long addresses(long bytes) {
        long address = next;
        next += (bytes + (4 << 20)) >> 21 << 21;
        return address;
    }

    /** Whether the command would touch memory. */
    static boolean drops(Command.Kind kind) {
        return ON && (kind == Command.Kind.KERNEL || kind == Command.Kind.COPY || kind == Command.Kind.FILL || kind == Command.Kind.MATMUL);
    }
}
