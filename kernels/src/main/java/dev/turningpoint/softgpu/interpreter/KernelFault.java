package dev.turningpoint.softgpu.interpreter;

/** A kernel did what ends a launch on a GPU: the kind of fault, and in words what, where and by whom. */
public final class KernelFault extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** By the driver's error codes; the driver names them. */
    public enum Kind { ILLEGAL_ADDRESS, MISALIGNED_ADDRESS, ILLEGAL_INSTRUCTION, LAUNCH_FAILED, ASSERT }

    private final Kind kind;

    public KernelFault(Kind kind, String message) {
        super(message);
        this.kind = kind;
    }

    public Kind kind() { return kind; }
}
