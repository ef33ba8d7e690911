/**
 * PTX kernels become native code: LLVM IR in which one warp is one 32-lane vector, compiled by LLVM and kept in an object cache.
 * Uses {@code softgpu.ptx}, {@code softgpu.analysis} and the LLVM bindings; nothing else imports it but the driver.
 * Takes a parsed kernel and a block shape, gives the address of a C function that runs a range of blocks.
 */
package dev.turningpoint.softgpu.jit;
