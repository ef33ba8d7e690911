package dev.turningpoint.bench;

import dev.turningpoint.gpu.DType;

/**
 * What a row of the report is about.
 *
 * @param title   what it is
 * @param name    of the case
 * @param shape   sizes, for people
 * @param bytes   that the kernels must move at least, each reading its inputs and writing its outputs once; 0 where nobody counts them
 * @param flops   of the products in it; 0 where nobody counts them
 * @param units   whose peak they are held against: F32 for multiply-adds, BF16 for dot products; null without flops
 * @param goal    how many times as fast as the peer it is to be; 0 for none
 * @param inMemory whether its bandwidth is held against the triad's
 * @param reason  why the goal is out of reach, for the report where it is missed; empty if nothing is known to be in its way
 */
record Subject(String title, String name, String shape, double bytes, double flops, DType units, double goal, boolean inMemory, String reason) {}
