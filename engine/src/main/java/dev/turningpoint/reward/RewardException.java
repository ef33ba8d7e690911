package dev.turningpoint.reward;

/** An image that cannot be scored, or a scoring model that cannot run; the message is one line for the person who trains. */
public final class RewardException extends RuntimeException {
    public RewardException(String message) {
        super(message);
    }

    public RewardException(String message, Throwable cause) {
        super(message, cause);
    }
}
