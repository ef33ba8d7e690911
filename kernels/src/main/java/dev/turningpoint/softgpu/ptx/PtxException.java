package dev.turningpoint.softgpu.ptx;

/** PTX that cannot be read or is not served; the message names module, line and what stood there. */
@SuppressWarnings("serial")
public final class PtxException extends RuntimeException {
    public PtxException(String message) { super(message); }

    public PtxException(String module, int line, String problem) { super(module + ".ptx:" + line + ": " + problem); }
}
