package dev.turningpoint.embed;

/** What becomes of a call whose session has a full queue. */
public enum WhenFull {
    /** It is refused at once. */
    REFUSE,
    /** The submitting thread waits for room, until the call's deadline. */
    WAIT
}
