package dev.turningpoint.selftest;

import dev.turningpoint.kernels.cases.Buffer;
import dev.turningpoint.kernels.cases.KernelCase;
import dev.turningpoint.kernels.cases.Tolerance.Difference;

/**
 * What became of one case.
 *
 * @param kernels    the case
 * @param worst      the result that came closest to its tolerance, or went furthest beyond it; null where nothing was compared
 * @param difference of that result; null where nothing was compared
 * @param failure    why there is no result, in a line; null if there is one
 * @param micros     time of one run; 0 where it was not measured
 */
record Row(KernelCase kernels, Buffer worst, Difference difference, String failure, double micros) {
    static Row failed(KernelCase kernels, String failure) { return new Row(kernels, null, null, failure, 0); }

    boolean compared() { return difference != null; }

    boolean ok() { return failure == null && (!compared() || difference.ulps() <= worst.tolerance().ulps()); }

    /** Bytes that it has to move at least, over its time. */
    double gigabytes() { return kernels.compulsoryBytes() / micros / 1e3; }

    Row in(double micros) { return new Row(kernels, worst, difference, failure, micros); }

    /** The difference in units of what is allowed; at most 1 where all is well. */
    double excess() { return difference.ulps() == 0 ? 0 : difference.ulps() / worst.tolerance().ulps(); }
}
