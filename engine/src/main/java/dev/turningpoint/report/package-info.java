/**
 * What a run leaves behind and what it tells while it goes on: the run folder, metrics as JSON lines and TensorBoard events, pictures, and a line of progress.
 * Listens to train and asks nothing of the device. A resumed run first takes back what was told of updates after its checkpoint.
 */
package dev.turningpoint.report;
