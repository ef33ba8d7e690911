/**
 * Replays reference data through the engine: inputs of a file go through the launchers that training uses, the outputs are compared with the file's.
 * It uses schedule, the kernels' launchers and weights for reading; the command {@code check} and the tests call it.
 * Data comes from a folder of safetensors files; a table of largest errors goes out.
 */
package dev.turningpoint.check;
