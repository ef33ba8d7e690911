/**
 * Prompts to train on and held-out ones to judge by, from a generator of words or from files in flow_grpo's layout. Deterministic from the seed and the number of
 * the iteration, so a resumed run asks for what it would have asked for, and so does any number of ranks. Prompts go to training, which groups and encodes them,
 * and to rewards.
 */
package dev.turningpoint.data;
