/**
 * Where the symbols of each native library come from, and what is said when they do not.
 * Uses nothing but the JDK; the generated packages beside it ({@code cuda}, {@code cublaslt}, {@code llvm}, {@code onednn}) take their symbols here.
 * Libraries come from the system, from jars on the class path, or from a {@link dev.turningpoint.bindings.SoftwareGpu} found as a service.
 */
package dev.turningpoint.bindings;
