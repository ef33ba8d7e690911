package dev.turningpoint.train;

/** A configuration that cannot be run; the message is one line for the person who wrote it. */
public final class ConfigException extends RuntimeException {
    private final String key;
    private final String complaint;

    /**
     * @param key       dotted name of the value at fault, in snake case
     * @param complaint what is wrong with it, reading on from the key
     */
    public ConfigException(String key, String complaint) {
        super(key + " " + complaint);
        this.key = key;
        this.complaint = complaint;
    }

    /** A complaint with its place, about the file as a whole or a line of it. */
    ConfigException(String place, String key, String message) {
        super(place + ": " + message);
        this.key = key;
        this.complaint = message;
    }

    public String key() { return key; }

    public String complaint() { return complaint; }
}
