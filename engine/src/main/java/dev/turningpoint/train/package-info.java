/**
 * The training loop and the configuration that decides it.
 * It may use every other package of the engine but the command line, which calls it.
 * Prompts and configuration come in; metrics, pictures and checkpoints go out to a run folder.
 */
package dev.turningpoint.train;
