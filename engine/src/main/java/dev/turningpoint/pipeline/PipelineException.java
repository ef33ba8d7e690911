package dev.turningpoint.pipeline;

/** A pipeline's folder that is not what it should be; the message is one line that names the file. */
public final class PipelineException extends RuntimeException {
    public PipelineException(String message) {
        super(message);
    }

    public PipelineException(String message, Throwable cause) {
        super(message, cause);
    }
}
