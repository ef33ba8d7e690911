/**
 * PTX text read into data: modules, kernels, variables, registers and instructions, each instruction with its line.
 * Uses nothing but the JDK. Text comes from {@code cuModuleLoadData}; the result goes to {@code softgpu.analysis} and {@code softgpu.jit}.
 */
package dev.turningpoint.softgpu.ptx;
