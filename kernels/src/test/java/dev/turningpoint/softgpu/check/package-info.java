/** Kernels that are wrong on purpose, each reported with its line and thread, and kernels like them that are right. */
package dev.turningpoint.softgpu.check;
