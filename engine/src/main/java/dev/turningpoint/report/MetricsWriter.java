package dev.turningpoint.report;

import dev.turningpoint.weights.AtomicFile;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonGenerator;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.ObjectWriteContext;
import tools.jackson.core.json.JsonFactory;

/**
 * {@code metrics.jsonl}: one JSON object a line, {@code step} first; a line reaches the file whole, in one write. What JSON has no number for (NaN,
 * infinities) becomes null.
 */
public final class MetricsWriter implements AutoCloseable {
    private static final JsonFactory JSON = new JsonFactory();

    private static final long LAST = Long.MAX_VALUE - 1, DAMAGED = Long.MAX_VALUE;

    private final Path path;
    private final FileChannel channel;

    /** Opens the file to append to, after cutting off a last line that a crash tore. */
    public MetricsWriter(Path path) {
        this.path = path;
        try {
            channel = FileChannel.open(path, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
        } catch (IOException e) {
            throw AtomicFile.failure(path, e);
        }
        keepUpTo(LAST);
    }

    /** Removes the lines of later steps: they are about to be written again. Lines stand in ascending order of step. */
    public void keepUpTo(long step) {
        try {
            ByteBuffer content = ByteBuffer.allocate(Math.toIntExact(channel.size()));
            channel.position(0);
            while (content.hasRemaining() && channel.read(content) >= 0) {
                // read on
            }
            int keep = 0;
            for (int at = 0; at < content.position(); at++) {
                if (content.get(at) != '\n') continue;
                if (stepOf(content.array(), keep, at - keep) > step) break;
                keep = at + 1;
            }
            channel.truncate(keep);
            channel.position(keep);
        } catch (IOException e) {
            throw AtomicFile.failure(path, e);
        }
    }

    /** The step of a line; beyond every step if it is not a line of ours, so that nothing after damage is kept. */
    private static long stepOf(byte[] bytes, int offset, int length) {
        try (JsonParser parser = JSON.createParser(ObjectReadContext.empty(), bytes, offset, length)) {
            boolean ours = parser.nextToken() == JsonToken.START_OBJECT && "step".equals(parser.nextName()) && parser.nextToken() == JsonToken.VALUE_NUMBER_INT;
            if (!ours) return DAMAGED;
            long step = parser.getLongValue();
            JsonToken token;
            do token = parser.nextToken(); while (token != null && token != JsonToken.END_OBJECT);
            return token == null || parser.nextToken() != null ? DAMAGED : step;
        } catch (JacksonException e) {
            return DAMAGED;
        }
    }

    /**
     * Appends a line.
     *
     * @param metrics in the order of their line
     * @throws java.io.UncheckedIOException if the disk is full
     */
    public void write(long step, Map<String, Double> metrics) {
        var line = new ByteArrayOutputStream();
        try (JsonGenerator json = JSON.createGenerator(ObjectWriteContext.empty(), line)) {
            json.writeStartObject();
            json.writeNumberProperty("step", step);
            metrics.forEach((name, value) -> {
                if (value == null || !Double.isFinite(value)) json.writeNullProperty(name);
                else if (value == Math.rint(value) && Math.abs(value) < 1e15) json.writeNumberProperty(name, value.longValue());
                else json.writeNumberProperty(name, value);
            });
            json.writeEndObject();
        }
        line.write('\n');
        try {
            AtomicFile.writeFully(channel, ByteBuffer.wrap(line.toByteArray()));
        } catch (IOException e) {
            throw AtomicFile.failure(path, e);
        }
    }

    @Override
    public void close() {
        try {
            channel.close();
        } catch (IOException e) {
            throw AtomicFile.failure(path, e);
        }
    }
}
