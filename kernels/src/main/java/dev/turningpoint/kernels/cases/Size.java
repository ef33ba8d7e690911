package dev.turningpoint.kernels.cases;

/** How large the arrays of a case are. */
public enum Size {
    /** A few blocks, ragged everywhere: cheap enough for the interpreter. */
    SMALL,
    /** What the glyph model launches in training: its shipped shape with a micro-batch of 48. */
    GLYPH,
    /** What SD3.5-medium would launch for two samples of 512 x 512 pixels and 205 text tokens; the heaviest kernels only. */
    SD35,
    /** 100 MB and more, beyond the caches of a processor: for measuring the bandwidth of kernels that do little else than move data. */
    DRAM
}
