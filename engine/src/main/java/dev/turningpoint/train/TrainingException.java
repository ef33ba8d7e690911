package dev.turningpoint.train;

/** Training cannot go on; the message is one line that says what to do. */
public final class TrainingException extends RuntimeException {
    public TrainingException(String message) {
        super(message);
    }
}
