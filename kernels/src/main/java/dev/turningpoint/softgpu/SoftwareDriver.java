package dev.turningpoint.softgpu;

import dev.turningpoint.bindings.NativeLibrary;
import dev.turningpoint.bindings.SoftwareGpu;
import dev.turningpoint.softgpu.driver.CublasLtFunctions;
import dev.turningpoint.softgpu.driver.DriverFunctions;
import dev.turningpoint.softgpu.driver.Stubs;
import java.lang.foreign.SymbolLookup;

/** Serves libcuda and libcublasLt from Java; found by the service loader. */
public final class SoftwareDriver implements SoftwareGpu {
    private static final Stubs DRIVER = new Stubs(DriverFunctions.class, "cu");
    private static final Stubs CUBLASLT = new Stubs(CublasLtFunctions.class, "cublasLt");

    @Override
    public SymbolLookup symbols(NativeLibrary library) {
        return switch (library) {
            case CUDA -> DRIVER;
            case CUBLASLT -> CUBLASLT;
            default -> throw new IllegalArgumentException(library + " is not served by the software GPU");
        };
    }
}
