package dev.turningpoint.data;

/** Prompts that cannot be had; the message is one line that names the file and line, or the setting. */
public final class PromptException extends RuntimeException {
    public PromptException(String message) {
        super(message);
    }

    public PromptException(String message, Throwable cause) {
        super(message, cause);
    }
}
