/**
 * Checking mode: what NVIDIA's compute-sanitizer finds on a GPU (memcheck, initcheck, racecheck, synccheck), found while the interpreter runs a kernel.
 * {@code Checker} is the {@code Watch} that looks on, with a table of allocations which the driver keeps up to date and a shadow of every byte that kernels touch.
 * Uses {@code softgpu.interpreter} and what it reads; the driver switches it on with {@code -Dturningpoint.software.check=true} and reports what it finds.
 */
package dev.turningpoint.softgpu.check;
