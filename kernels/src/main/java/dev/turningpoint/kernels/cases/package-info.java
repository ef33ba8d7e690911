/**
 * One or more runnable cases for every kernel of the project: which arrays it takes, how they are filled, which bytes it must at least move, and how far two devices may differ.
 * Whoever runs, compares, counts or compiles all kernels walks {@link dev.turningpoint.kernels.cases.KernelCases}. Cases launch through the typed launchers of dev.turningpoint.kernels
 * on dev.turningpoint.gpu; inputs come from seeds, so that two processes fill the same bits.
 */
package dev.turningpoint.kernels.cases;
