package dev.turningpoint.selftest;

/** The reference gave no results; the message says why in one line. */
final class ReferenceException extends Exception {
    ReferenceException(String message) { super(message); }
}
