package dev.turningpoint.report;

/** A run folder that cannot be used as asked; the message is one line that names it. */
public final class RunFolderException extends RuntimeException {
    public RunFolderException(String message) {
        super(message);
    }
}
