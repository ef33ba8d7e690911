/**
 * Shows on the machine at hand that its device computes what it should: every kernel case runs there and on a reference in a process of its own, the results are compared within the
 * cases' tolerances, and speed is measured. It uses the cases of dev.turningpoint.kernels.cases and dev.turningpoint.gpu; the command {@code selftest} calls it.
 * Inputs come from seeds; one text goes out, made to be sent to whoever should judge it.
 */
package dev.turningpoint.selftest;
