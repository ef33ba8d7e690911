package dev.turningpoint.weights;

/** A weights file that is not what it should be; the message begins with the file and fits one line. */
public final class WeightsException extends RuntimeException {
    public WeightsException(String file, String problem) {
        super(file + ": " + problem);
    }

    WeightsException(String file, String problem, Throwable cause) {
        super(file + ": " + problem, cause);
    }
}
