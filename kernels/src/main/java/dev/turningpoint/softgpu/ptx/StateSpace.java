package dev.turningpoint.softgpu.ptx;

/** Where an address points; GENERIC addresses are host addresses. */
public enum StateSpace { GENERIC, GLOBAL, CONST, SHARED, LOCAL, PARAM }
