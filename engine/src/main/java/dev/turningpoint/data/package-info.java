/**
 * Prompts to train on and held-out ones to judge by, never the same target in both. Deterministic from the seed and the prompt's number, so a resumed run asks
 * for what it would have asked for. Prompts come from a generator of words or from a text file, one a line, and go to training, which groups and encodes them.
 */
package dev.turningpoint.data;
