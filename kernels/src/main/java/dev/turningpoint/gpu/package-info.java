/**
 * The CUDA driver API and cuBLASLt made safe: devices, memory, streams, kernels, graphs, matrix products. It uses the bindings and nothing above them; whether
 * libcuda or the software GPU answers is not visible here. Addresses come from {@link dev.turningpoint.gpu.DeviceMemory} and go to the launchers of dev.turningpoint.kernels.
 */
package dev.turningpoint.gpu;
