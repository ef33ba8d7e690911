package dev.turningpoint.softgpu.ptx;

import java.util.List;

/**
 * A variable of a module or kernel.
 *
 * @param offset   bytes from the start of its space's block: module data for {@code .global} and {@code .const}, the depot for {@code .local},
 *                 -1 for shared variables, whose place is the kernel's business
 * @param size     bytes; 0 for {@code extern .shared x[]}
 * @param initial  first bytes, the rest is zero; null if none
 * @param pointers initial values that are addresses of other variables
 */
public record PtxVariable(String name, StateSpace space, int align, long offset, long size, byte[] initial, List<Pointer> pointers) {
    /** At byte {@code at} of the variable stands the address of {@code target} plus {@code addend}. */
    public record Pointer(long at, String target, long addend) {}
}
