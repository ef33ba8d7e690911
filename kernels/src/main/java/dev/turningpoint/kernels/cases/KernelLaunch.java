package dev.turningpoint.kernels.cases;

import java.util.List;

/**
 * One launch of a case.
 *
 * @param entry  the kernel's name in the PTX
 * @param reads  the arrays it reads
 * @param writes the arrays it writes; one that it updates is in both
 */
public record KernelLaunch(String entry, List<Buffer> reads, List<Buffer> writes) {
    /** The least that memory has to move: each input read once, each output written once. */
    public long compulsoryBytes() {
        return reads.stream().mapToLong(Buffer::compulsoryBytes).sum() + writes.stream().mapToLong(Buffer::compulsoryBytes).sum();
    }
}
