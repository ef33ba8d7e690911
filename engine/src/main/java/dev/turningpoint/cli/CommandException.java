package dev.turningpoint.cli;

/** A failure that a command expected and can explain in one line. */
final class CommandException extends RuntimeException {
    CommandException(String message) { super(message); }

    CommandException(String message, Throwable cause) { super(message, cause); }
}
