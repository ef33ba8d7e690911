package dev.turningpoint.model;

/** Why a forward runs: the kernels and their order are the same in all three. */
enum Pass {
    /** Keeps nothing, activations of one block after another share memory. */
    ROLLOUT,
    /** Keeps what the backward reads. */
    TRAIN,
    /** As {@link #ROLLOUT}, with adapters off. */
    REFERENCE
}
