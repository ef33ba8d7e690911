package dev.turningpoint.softgpu.ptx;

/** A kernel parameter and its place in the parameter buffer, laid out as CUDA does (each at its natural or declared alignment). */
public record PtxParam(String name, int offset, int size, int align) {}
