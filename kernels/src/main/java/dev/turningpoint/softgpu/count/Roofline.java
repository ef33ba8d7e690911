package dev.turningpoint.softgpu.count;

import java.util.EnumMap;
import java.util.Map;

/**
 * An estimate of how long a launch takes on a GPU: as long as the part of it that it keeps busy longest would take at its peak. Nothing is said of latency, of a
 * cold start or of caches, so a launch of little work takes longer; a launch far from any peak is bound by latency.
 *
 * <p>Parts of a multiprocessor work for the blocks that it gets, and it may get one more than others: their work is counted as if all blocks were alike.
 *
 * @param seconds per part, at its peak
 */
public record Roofline(Map<Part, Double> seconds) {
    public enum Part {
        /** Distinct bytes over the bandwidth of the memory. */
        DRAM,
        /** One warp instruction a clock and scheduler; moves and parameters left out, divisions and roots counted once. */
        ISSUE,
        /** f32 arithmetic, at a warp a clock over its lanes. */
        FP32,
        FP64,
        /** Reciprocals, roots, exponentials. */
        SPECIAL,
        /** Matrix products over their peak. */
        MATRIX,
        /** One pass over the banks a clock, for shared memory, and one for each request of global memory and each four sectors of it: both go through the same cache. */
        L1
    }

    /** The estimate for one launch. */
    public static Roofline of(Gpu gpu, LaunchCounts c) {
        if (c.launches() != 1) throw new IllegalArgumentException("an estimate is of one launch, these are " + c.launches());
        double perSecond = gpu.clock * c.blocks() / Math.ceilDiv(c.blocks(), (long) gpu.multiprocessors);   // clocks of all multiprocessors that have work
        var s = new EnumMap<Part, Double>(Part.class);
        s.put(Part.DRAM, c.dramBytes() / gpu.memoryBandwidth);
        s.put(Part.ISSUE, (c.issued() - c.issued(InstructionClass.MOVE)) / (Gpu.SCHEDULERS * perSecond));
        s.put(Part.FP32, c.issued(InstructionClass.FP32) * 32. / (gpu.fp32Lanes * perSecond));
        s.put(Part.FP64, c.issued(InstructionClass.FP64) * 32. / (gpu.fp64Lanes * perSecond));
        s.put(Part.SPECIAL, c.issued(InstructionClass.SPECIAL) * 32. / (Gpu.SPECIAL_LANES * perSecond));
        double ofPeak = perSecond / (gpu.clock * gpu.multiprocessors);
        s.put(Part.MATRIX, (c.bf16MatrixFlops() + c.f16MatrixFlops() + 2. * c.tf32MatrixFlops()) / (gpu.matrixPeak * ofPeak));
        s.put(Part.L1, (c.wavefronts() + c.sites().stream().mapToDouble(x -> Math.max(x.globalRequests, x.sectors / 4.)).sum()) / perSecond);
        return new Roofline(s);
    }

    public Part bound() { return seconds.entrySet().stream().max(Map.Entry.comparingByValue()).orElseThrow().getKey(); }

    public double time() { return seconds.get(bound()); }
}
