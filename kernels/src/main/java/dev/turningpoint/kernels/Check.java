package dev.turningpoint.kernels;

/** Launch arguments that no kernel could serve, told before the launch. */
final class Check {
    private Check() {
    }

    static void that(boolean condition, String message) {
        if (!condition) {
            throw new IllegalArgumentException(message);
        }
    }

    static void positive(String what, int value) {
        if (value <= 0) {
            throw new IllegalArgumentException(what + " must be positive, not " + value);
        }
    }

    static void address(String what, long address) {
        if (address == 0) {
            throw new IllegalArgumentException(what + " has no address");
        }
    }

    /** Grid dimension: how many pieces of {@code size} cover {@code count}. */
    static int blocks(long count, int size) {
        return Math.toIntExact((count + size - 1) / size);
    }
}
