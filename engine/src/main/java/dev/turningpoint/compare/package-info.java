/**
 * Several modes of training beside each other, over several seeds: what each run told ({@code Curve}), how sure the means are ({@code Estimate}), and the report that
 * shows it. Reads run folders; trains nothing itself and asks nothing of the device.
 */
package dev.turningpoint.compare;
