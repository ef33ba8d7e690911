package dev.turningpoint.onnx;

/** A frozen model or its tokenizer that cannot be loaded, is not what it should be, or fails; the message is one line that names the file. */
public final class OnnxException extends RuntimeException {
    public OnnxException(String message) {
        super(message);
    }

    public OnnxException(String message, Throwable cause) {
        super(message, cause);
    }
}
