package dev.turningpoint.softgpu.interpreter;

/** An operand of one instruction: its raw bits in the 32 lanes of a warp. */
interface Values {
    /** The lanes' values; to be read at once, not written and not kept: it may be the register itself or be used again for the next warp. */
    long[] of(Warp warp);
}
