package dev.turningpoint.tensor;

/** Two shapes, types or sizes that should agree and do not; the message names both. */
public final class ShapeException extends IllegalArgumentException {
    public ShapeException(String message) {
        super(message);
    }
}
