/**
 * The plain scalar reading of a kernel: each lane of each warp does each instruction on raw bits, one after the other, as the PTX manual says it.
 * It takes the same parsed PTX as {@code softgpu.jit} and shares no arithmetic with it, so each is the other's test; it is slow and shows an
 * {@code Observer} everything. Uses {@code softgpu.ptx}; the driver runs launches here with {@code -Dturningpoint.software.interpret=true}.
 */
package dev.turningpoint.softgpu.interpreter;
