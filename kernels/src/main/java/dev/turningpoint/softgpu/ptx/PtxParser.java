package dev.turningpoint.softgpu.ptx;

/** Reads PTX text. */
public final class PtxParser {
    private PtxParser() {}

    /**
     * @param name module name used in messages, without ".ptx"
     * @throws PtxException naming the line if the text is not PTX we can read
     */
    public static PtxModule parse(String name, String text) { throw new UnsupportedOperationException(); }
}
