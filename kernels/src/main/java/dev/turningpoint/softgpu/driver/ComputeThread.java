package dev.turningpoint.softgpu.driver;

import java.util.BitSet;

/** A thread that runs kernels and matrix products: a worker of the pool, or a stream's own. Holds what native code needs per thread. */
class ComputeThread extends Thread {
    private static final BitSet TAKEN = new BitSet();

    /** Small and unique among living compute threads: an index for things kept per thread. */
    final int slot;
    /** True while a host function runs: it may not call the driver. */
    boolean inHostFunction;
    private long scratch, scratchBytes;
    private long staging, stagingBytes;
    private boolean withoutOpenMp;
    private float[] sums = {}, addends = {};

    ComputeThread(String name) {
        super(null, null, name, 1 << 22, false);
        setDaemon(true);
        synchronized (TAKEN) {
            slot = TAKEN.nextClearBit(0);
            TAKEN.set(slot);
        }
    }

    /** 64-byte aligned memory of at least that size for a kernel's shared and local memory; contents do not matter and do not last. */
    long scratch(long bytes) {
        if (bytes > scratchBytes) {
            if (scratch != 0) Memory.free0(scratch);
            scratchBytes = Math.max(bytes, 64 << 10) * 3 / 2;
            scratch = Memory.alignedAlloc(4096, scratchBytes);
            if (scratch == 0) {
                scratchBytes = 0;
                throw Code.OUT_OF_MEMORY.error("no " + bytes + " bytes of scratch for a kernel");
            }
        }
        return scratch;
    }

    /** A second such area, for what a matrix product stages. */
    long staging(long bytes) {
        if (bytes > stagingBytes) {
            if (staging != 0) Memory.free0(staging);
            stagingBytes = Math.max(bytes, 64 << 10) * 3 / 2;
            staging = Memory.alignedAlloc(4096, stagingBytes);
            if (staging == 0) {
                stagingBytes = 0;
                throw Code.OUT_OF_MEMORY.error("no " + bytes + " bytes of staging for a matrix product");
            }
        }
        return staging;
    }

    /** oneDNN runs in this thread alone from now on. */
    void withoutOpenMp() {
        if (withoutOpenMp) return;
        dev.turningpoint.bindings.OpenMp.setThreads(1);
        withoutOpenMp = true;
    }

    float[] sums(int n) {
        return sums.length >= n ? sums : (sums = new float[n]);
    }

    float[] addends(int n) {
        return addends.length >= n ? addends : (addends = new float[n]);
    }

    /** To be called last by the thread itself. */
    void release() {
        if (scratch != 0) Memory.free0(scratch);
        if (staging != 0) Memory.free0(staging);
        scratch = staging = scratchBytes = stagingBytes = 0;
        synchronized (TAKEN) {
            TAKEN.clear(slot);
        }
    }
}
