package dev.turningpoint.softgpu.driver;

/** The functions of cuBLASLt that are served; each returns a cublasStatus_t. */
public final class CublasLtFunctions {
    static final int INTERNAL_ERROR = 14;

    private CublasLtFunctions() {}
}
