/**
 * What device code calls of the driver: printf, assert, malloc and free, which PTX declares as functions without a body. Uses the JDK and the C library;
 * the engines call it, {@code softgpu.interpreter} directly and compiled code of {@code softgpu.jit} by upcalls. Text goes to the process's standard streams.
 */
package dev.turningpoint.softgpu.system;
