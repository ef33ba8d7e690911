package dev.turningpoint.bindings;

/** Who serves the CUDA driver API: an NVIDIA driver, or our software GPU. */
public enum DeviceKind { CUDA, SOFTWARE }
