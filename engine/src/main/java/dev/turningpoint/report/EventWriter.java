package dev.turningpoint.report;

import dev.turningpoint.weights.AtomicFile;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.util.Map;
import java.util.zip.CRC32C;

/**
 * A TensorBoard event file: TFRecords (length, masked CRC of the length, payload, masked CRC of the payload) of {@code tensorflow.Event} messages, written
 * field by field. Every writer starts a file of its own, whose first step makes TensorBoard forget what earlier files say of that step and later ones.
 */
public final class EventWriter implements AutoCloseable {
    private static final int START = 1;   // SessionLog.SessionStatus

    private final Path path;
    private final FileChannel channel;

    /**
     * @param folder    exists; receives the file
     * @param firstStep the first step that will be written
     */
    public EventWriter(Path folder, long firstStep) {
        Instant now = Instant.now();
        path = folder.resolve("events.out.tfevents." + now.getEpochSecond() + "." + ProcessHandle.current().pid() + ".turningpoint");
        try {
            channel = FileChannel.open(path, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        } catch (IOException e) {
            throw AtomicFile.failure(path, e);
        }
        event(0, new Message().string(3, "brain.Event:2"));
        event(firstStep, new Message().message(7, new Message().varint(1, START)));
    }

    public Path path() {
        return path;
    }

    /** Writes scalars of one step; NaN and infinities too, which TensorBoard marks. */
    public void scalars(long step, Map<String, Double> values) {
        var summary = new Message();
        values.forEach((tag, value) -> {
            if (value != null) summary.message(1, new Message().string(1, tag).fixed32(2, Float.floatToRawIntBits(value.floatValue())));
        });
        event(step, new Message().message(5, summary));
    }

    /**
     * Writes a picture of one step.
     *
     * @param png      the file's bytes
     * @param channels 1 grey, 3 red, green and blue
     */
    public void image(long step, String tag, byte[] png, int width, int height, int channels) {
        var image = new Message().varint(1, height).varint(2, width).varint(3, channels).bytes(4, png);
        event(step, new Message().message(5, new Message().message(1, new Message().string(1, tag).message(4, image))));
    }

    private void event(long step, Message content) {
        Instant now = Instant.now();
        byte[] payload = new Message().fixed64(1, Double.doubleToRawLongBits(now.getEpochSecond() + now.getNano() * 1e-9)).varint(2, step).append(content).toBytes();
        ByteBuffer record = ByteBuffer.allocate(8 + 4 + payload.length + 4).order(ByteOrder.LITTLE_ENDIAN);
        record.putLong(payload.length).putInt(maskedCrc(record.array(), 0, 8)).put(payload).putInt(maskedCrc(payload, 0, payload.length)).flip();
        try {
            AtomicFile.writeFully(channel, record);
        } catch (IOException e) {
            throw AtomicFile.failure(path, e);
        }
    }

    /** CRC-32C, rotated and shifted so that a checksum of data that holds checksums stays a checksum. */
    static int maskedCrc(byte[] bytes, int offset, int length) {
        var crc = new CRC32C();
        crc.update(bytes, offset, length);
        return Integer.rotateRight((int) crc.getValue(), 15) + 0xa282ead8;
    }

    @Override
    public void close() {
        try {
            channel.close();
        } catch (IOException e) {
            throw AtomicFile.failure(path, e);
        }
    }

    /** A protocol buffer message, built in field order. */
    private static final class Message {
        private final ByteArrayOutputStream out = new ByteArrayOutputStream();

        Message varint(int field, long value) {
            return raw((long) field << 3).raw(value);
        }

        Message fixed64(int field, long value) {
            raw((long) field << 3 | 1);
            out.writeBytes(ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(value).array());
            return this;
        }

        Message fixed32(int field, int value) {
            raw((long) field << 3 | 5);
            out.writeBytes(ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(value).array());
            return this;
        }

        Message bytes(int field, byte[] value) {
            raw((long) field << 3 | 2).raw(value.length);
            out.writeBytes(value);
            return this;
        }

        Message string(int field, String value) {
            return bytes(field, value.getBytes(StandardCharsets.UTF_8));
        }

        Message message(int field, Message value) {
            return bytes(field, value.toBytes());
        }

        Message append(Message other) {
            out.writeBytes(other.toBytes());
            return this;
        }

        byte[] toBytes() {
            return out.toByteArray();
        }

        private Message raw(long varint) {
            for (; (varint & ~0x7fL) != 0; varint >>>= 7) out.write((int) (varint & 0x7f | 0x80));
            out.write((int) varint);
            return this;
        }
    }
}
