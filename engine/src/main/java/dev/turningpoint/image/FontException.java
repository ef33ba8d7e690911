package dev.turningpoint.image;

/** A font that is missing, damaged or lacks a letter; the message is one line that names it. */
public final class FontException extends RuntimeException {
    public FontException(String message) {
        super(message);
    }

    public FontException(String message, Throwable cause) {
        super(message, cause);
    }
}
