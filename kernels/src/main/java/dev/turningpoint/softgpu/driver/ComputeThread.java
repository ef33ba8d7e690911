package dev.turningpoint.softgpu.driver;

import java.util.BitSet;

/** A thread that runs kernels and matrix products: a worker of the pool, or a stream's own. Holds what native code needs per thread. */
class ComputeThread extends Thread {
    private static final BitSet TAKEN = new BitSet();

    /** Small and unique among living compute threads: an index for things kept per thread. */
    final int slot;
    /** True while a host function runs: it may not call the driver. */
    boolean inHostFunction;
    private final Area scratch = new Area(), staging = new Area(), widened = new Area();
    private boolean withoutOpenMp;
    private float[] sums = {}, addends = {};
    private short[] halves = {};

    ComputeThread(String name) {
        super(null, null, name, 1 << 22, false);
        setDaemon(true);
        synchronized (TAKEN) {
            slot = TAKEN.nextClearBit(0);
            TAKEN.set(slot);
        }
    }

    /** 64-byte aligned memory of at least that size for a kernel's shared and local memory; contents do not matter and do not last. */
    long scratch(long bytes) { return scratch.ofAtLeast(bytes, "scratch for a kernel"); }

    /** A second such area, for what a matrix product stages. */
    long staging(long bytes) { return staging.ofAtLeast(bytes, "staging for a matrix product"); }

    /** A third, for the operands of a matrix product that is computed in a wider type. */
    long widened(long bytes) { return widened.ofAtLeast(bytes, "the widened operands of a matrix product"); }

    /** Memory that grows with what is asked. */
    private static final class Area {
        private long address, size;

        long ofAtLeast(long bytes, String what) {
            if (bytes <= size) return address;
            free();
            long larger = Math.max(bytes, 64 << 10) * 3 / 2;
            address = Memory.alignedAlloc(4096, larger);
            if (address == 0) throw Code.OUT_OF_MEMORY.error("no " + bytes + " bytes of " + what);
            size = larger;
            return address;
        }

        void free() {
            if (address != 0) Memory.free0(address);
            address = size = 0;
        }
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

    short[] halves(int n) {
        return halves.length >= n ? halves : (halves = new short[n]);
    }

    float[] addends(int n) {
        return addends.length >= n ? addends : (addends = new float[n]);
    }

    /** To be called last by the thread itself. */
    void release() {
        scratch.free();
        staging.free();
        widened.free();
        synchronized (TAKEN) {
            TAKEN.clear(slot);
        }
    }
}
