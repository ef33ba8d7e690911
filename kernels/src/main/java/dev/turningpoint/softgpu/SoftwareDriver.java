package dev.turningpoint.softgpu;

import dev.turningpoint.bindings.NativeLibrary;
import dev.turningpoint.bindings.NativeLibraryException;
import dev.turningpoint.bindings.SoftwareGpu;
import dev.turningpoint.softgpu.driver.CublasLtFunctions;
import dev.turningpoint.softgpu.driver.DriverFunctions;
import dev.turningpoint.softgpu.driver.PlannedFailures;
import dev.turningpoint.softgpu.driver.Stubs;
import java.lang.foreign.SymbolLookup;

/**
 * Serves libcuda and libcublasLt from Java; found by the service loader. System properties, all optional:
 *
 * <ul>
 * <li>{@code turningpoint.software.threads}: cores of the device, by default all</li>
 * <li>{@code turningpoint.software.memory}: its memory in bytes, or with k, m, g; by default three quarters of the machine's</li>
 * <li>{@code turningpoint.software.interpret=true}: kernels are interpreted lane by lane, every address looked up before it is touched; very slow</li>
 * <li>{@code turningpoint.software.check=true}: checking mode, the software GPU's compute-sanitizer: kernels are interpreted and everything they do to memory is looked at
 *     (out of bounds, use after free, misaligned, uninitialised, races, divergent barriers, leaks; see {@code softgpu.check.Checker}); very slow</li>
 * <li>{@code turningpoint.software.count=true}: launches are interpreted and counted as a profiler counts, see {@code softgpu.count}; very slow. Where it checks, it does not count</li>
 * <li>{@code turningpoint.software.seed}: where the device checks, the order of streams is drawn from it; by default another every time (see
 *     {@link dev.turningpoint.softgpu.driver.StreamOrder})</li>
 * <li>{@code turningpoint.software.profile=true}: a table of time by kernel and product at the end</li>
 * <li>{@code turningpoint.software.log}: {@code all} prints why any call failed, {@code none} nothing; by default what a caller cannot foresee</li>
 * <li>{@code turningpoint.software.fail=FUNCTION:USE:CODE,...}: calls that fail at a certain use, counted from 1: {@code cuMemAlloc_v2:3:2} lets the third
 *     allocation find no memory. In tests {@link Stubs#intercept} does the same and more while the process runs</li>
 * <li>{@code turningpoint.software.spin}: nanoseconds that an idle thread looks for work before it sleeps, by default 20000</li>
 * </ul>
 */
public final class SoftwareDriver implements SoftwareGpu {
    private static final Stubs DRIVER = new Stubs(DriverFunctions.class, "cu");
    private static final Stubs CUBLASLT = new Stubs(CublasLtFunctions.class, "cublasLt");

    private static boolean planned;

    private static synchronized void planFailures() {
        String plan = System.getProperty("turningpoint.software.fail");
        if (planned || plan == null) return;
        try {
            Stubs.intercept(new PlannedFailures(plan, DRIVER, CUBLASLT));
            planned = true;
        } catch (IllegalArgumentException e) {
            throw new NativeLibraryException("-Dturningpoint.software.fail: " + e.getMessage());
        }
    }

    @Override
    public SymbolLookup symbols(NativeLibrary library) {
        planFailures();
        return switch (library) {
            case CUDA -> DRIVER;
            case CUBLASLT -> CUBLASLT;
            default -> throw new IllegalArgumentException(library + " is not served by the software GPU");
        };
    }
}
