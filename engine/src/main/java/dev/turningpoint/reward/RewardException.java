package dev.turningpoint.reward;

/** An image that cannot be scored, or a scoring model that cannot run; the message is one line for the person who trains. */
public sealed class RewardException extends RuntimeException permits RewardException.Option {
    /** An option of a reward that will not do: its full key, and what is wrong with it, reading on from the key. */
    public static final class Option extends RewardException {
        private final String key;
        private final String complaint;

        Option(String key, String complaint) {
            super(key + " " + complaint);
            this.key = key;
            this.complaint = complaint;
        }

        public String key() { return key; }

        public String complaint() { return complaint; }
    }

    public RewardException(String message) {
        super(message);
    }

    public RewardException(String message, Throwable cause) {
        super(message, cause);
    }
}
