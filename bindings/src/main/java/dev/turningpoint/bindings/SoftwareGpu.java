package dev.turningpoint.bindings;

import java.lang.foreign.SymbolLookup;

/**
 * Serves the C functions of {@link NativeLibrary#CUDA} and {@link NativeLibrary#CUBLASLT} in this process, where there is no NVIDIA driver.
 * Found by {@link java.util.ServiceLoader}; nobody imports an implementation.
 */
public interface SoftwareGpu {

    /**
     * The functions served for a library, as addresses that native code may call (upcall stubs that live as long as the JVM).
     *
     * @param library {@link NativeLibrary#CUDA} or {@link NativeLibrary#CUBLASLT}
     */
    SymbolLookup symbols(NativeLibrary library);
}
