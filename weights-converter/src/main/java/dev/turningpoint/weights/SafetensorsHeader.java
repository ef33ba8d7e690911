package dev.turningpoint.weights;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.json.JsonFactory;

/**
 * The header of a safetensors file, every claim of it checked: names unique, offsets inside the file, in agreement with shape and type, and covering
 * the data without overlap or hole.
 *
 * @param tensors  by name, in the header's order
 * @param metadata the {@code __metadata__} strings
 * @param dataAt   byte of the file at which tensor data begins
 */
record SafetensorsHeader(Map<String, TensorInfo> tensors, Map<String, String> metadata, long dataAt) {

    static final int LENGTH_BYTES = 8;
    static final long MAX_LENGTH = 100_000_000;
    static final String METADATA = "__metadata__";

    private static final JsonFactory JSON = JsonFactory.builder()
            .streamReadConstraints(StreamReadConstraints.builder().maxStringLength((int) MAX_LENGTH).maxNameLength((int) MAX_LENGTH).build())
            .build();

    /**
     * How long the header is that follows the first 8 bytes.
     *
     * @param length   those 8 bytes, little-endian
     * @param fileSize bytes of the whole file
     */
    static int checkLength(String file, long length, long fileSize) {
        if (length < 0 || length > MAX_LENGTH)
            throw new WeightsException(file, "claims a header of " + (length < 0 ? Long.toUnsignedString(length) : grouped(length)) + " bytes, the format allows "
                    + grouped(MAX_LENGTH) + ": this is no safetensors file");
        if (length > fileSize - LENGTH_BYTES)
            throw new WeightsException(file, "the header ends at byte " + grouped(LENGTH_BYTES + length) + ", the file at " + grouped(fileSize)
                    + ": the file is truncated; download it again");
        return (int) length;
    }

    /**
     * @param file     named in messages
     * @param json     the header's bytes, without the 8 of its length
     * @param fileSize bytes of the whole file
     * @throws WeightsException if any claim of the header does not hold
     */
    static SafetensorsHeader parse(String file, byte[] json, long fileSize) {
        if (json.length == 0 || json[0] != '{') throw new WeightsException(file, "the header does not begin with '{': this is no safetensors file");
        try (JsonParser parser = JSON.createParser(ObjectReadContext.empty(), json)) {
            var reader = new Reader(file, parser);
            reader.readAll();
            long dataAt = LENGTH_BYTES + (long) json.length;
            checkCoverage(file, reader.tensors.values(), dataAt, fileSize);
            return new SafetensorsHeader(reader.tensors, reader.metadata, dataAt);
        } catch (JacksonException e) {
            long at = e.getLocation() == null ? -1 : e.getLocation().getByteOffset();
            throw new WeightsException(file, "the header is not valid JSON" + (at < 0 ? "" : " at byte " + grouped(LENGTH_BYTES + at)) + ": "
                    + oneLine(e.getOriginalMessage()), e);
        }
    }

    private static void checkCoverage(String file, Iterable<TensorInfo> tensors, long dataAt, long fileSize) {
        var sorted = new ArrayList<TensorInfo>();
        tensors.forEach(sorted::add);
        sorted.sort(Comparator.comparingLong(TensorInfo::begin).thenComparingLong(TensorInfo::end));
        long covered = 0;
        TensorInfo before = null;
        for (TensorInfo t : sorted) {
            if (t.begin() < covered)
                throw new WeightsException(file, "tensors " + quoted(before.name()) + " and " + quoted(t.name()) + " overlap at byte " + grouped(dataAt + t.begin()));
            if (t.begin() > covered)
                throw new WeightsException(file, "no tensor owns the bytes " + grouped(dataAt + covered) + " to " + grouped(dataAt + t.begin()) + " before "
                        + quoted(t.name()) + "; the format allows no holes");
            covered = t.end();
            before = t;
            if (covered > fileSize - dataAt)
                throw new WeightsException(file, "tensor " + quoted(t.name()) + " ends at byte " + grouped(dataAt + covered) + ", the file at " + grouped(fileSize)
                        + ": the file is truncated; download it again");
        }
        if (dataAt + covered != fileSize)
            throw new WeightsException(file, "the last tensor ends at byte " + grouped(dataAt + covered) + ", the file at " + grouped(fileSize) + ": "
                    + grouped(fileSize - dataAt - covered) + " bytes belong to no tensor");
    }

    static String grouped(long value) {
        return String.format(Locale.ROOT, "%,d", value);
    }

    /** A name from a file as it may stand in a message: short, printable, on one line. */
    static String quoted(String name) {
        return "'" + oneLine(name.length() > 120 ? name.substring(0, 117) + "..." : name) + "'";
    }

    private static String oneLine(String text) {
        return text == null ? "" : text.replaceAll("\\p{Cntrl}+", " ").strip();
    }

    /** Walks the header token by token; nothing that the format does not know is skipped. */
    private static final class Reader {
        final String file;
        final JsonParser parser;
        final Map<String, TensorInfo> tensors = new LinkedHashMap<>();
        Map<String, String> metadata;

        Reader(String file, JsonParser parser) {
            this.file = file;
            this.parser = parser;
        }

        void readAll() {
            parser.nextToken();   // '{', seen by the caller
            while (parser.nextToken() != JsonToken.END_OBJECT) {
                String name = parser.currentName();
                if (name.equals(METADATA)) readMetadata();
                else if (tensors.put(name, readTensor(name)) != null) throw problem("tensor " + quoted(name) + " stands twice in the header");
            }
            if (parser.nextToken() != null) throw problem("the header goes on after its closing brace");
            if (metadata == null) metadata = Map.of();
        }

        void readMetadata() {
            if (metadata != null) throw problem(METADATA + " stands twice in the header");
            metadata = new LinkedHashMap<>();
            if (parser.nextToken() != JsonToken.START_OBJECT) throw problem(METADATA + " is not an object");
            while (parser.nextToken() != JsonToken.END_OBJECT) {
                String key = parser.currentName();
                if (parser.nextToken() != JsonToken.VALUE_STRING) throw problem(METADATA + " " + quoted(key) + " is not a string");
                if (metadata.put(key, parser.getString()) != null) throw problem(METADATA + " " + quoted(key) + " stands twice in the header");
            }
        }

        TensorInfo readTensor(String name) {
            String tensor = "tensor " + quoted(name);
            if (parser.nextToken() != JsonToken.START_OBJECT) throw problem(tensor + " is not described by an object");
            TensorType type = null;
            List<Long> shape = null, offsets = null;
            while (parser.nextToken() != JsonToken.END_OBJECT) {
                String field = parser.currentName();
                boolean twice;
                switch (field) {
                    case "dtype" -> {
                        twice = type != null;
                        if (parser.nextToken() != JsonToken.VALUE_STRING) throw problem(tensor + " has a dtype that is not a string");
                        type = TensorType.ofName(parser.getString());
                        if (type == null)
                            throw problem(tensor + " has dtype " + quoted(parser.getString()) + "; known are " + List.of(TensorType.values()));
                    }
                    case "shape" -> {
                        twice = shape != null;
                        shape = readSizes(tensor, field);
                    }
                    case "data_offsets" -> {
                        twice = offsets != null;
                        offsets = readSizes(tensor, field);
                    }
                    default -> throw problem(tensor + " has the field " + quoted(field) + ", which the format does not know");
                }
                if (twice) throw problem(tensor + " has two fields '" + field + "'");
            }
            String missing = type == null ? "dtype" : shape == null ? "shape" : offsets == null ? "data_offsets" : null;
            if (missing != null) throw problem(tensor + " has no '" + missing + "'");
            if (offsets.size() != 2) throw problem(tensor + " has " + offsets.size() + " data_offsets, not 2");
            long begin = offsets.get(0), end = offsets.get(1);
            if (end < begin) throw problem(tensor + " ends at offset " + grouped(end) + ", before it begins at " + grouped(begin));
            long bytes = type.bytes();
            for (long size : shape) {
                if (size != 0 && bytes > Long.MAX_VALUE / size && !shape.contains(0L)) throw problem(tensor + " of shape " + shape + " has more than 2^63 bytes");
                bytes *= size;
            }
            if (end - begin != bytes)
                throw problem(tensor + " has " + grouped(end - begin) + " bytes of data, " + type + " " + shape + " takes " + grouped(bytes));
            return new TensorInfo(name, type, shape, begin, end);
        }

        List<Long> readSizes(String tensor, String field) {
            if (parser.nextToken() != JsonToken.START_ARRAY) throw problem(tensor + " has a '" + field + "' that is not a list");
            var sizes = new ArrayList<Long>();
            while (parser.nextToken() != JsonToken.END_ARRAY) {
                boolean whole = parser.currentToken() == JsonToken.VALUE_NUMBER_INT && parser.getNumberType() != JsonParser.NumberType.BIG_INTEGER;
                if (!whole || parser.getLongValue() < 0)
                    throw problem(tensor + " has " + quoted(String.valueOf(parser.getString())) + " in its '" + field + "'; whole numbers from 0 to 2^63 - 1 may stand there");
                sizes.add(parser.getLongValue());
            }
            return sizes;
        }

        WeightsException problem(String text) {
            return new WeightsException(file, text);
        }
    }
}
