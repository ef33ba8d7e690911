package dev.turningpoint.reward;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * As much of an ONNX file as folding constants takes: nodes with their inputs, outputs and attributes, and the f32 constants they read. Everything else goes
 * through byte by byte. The wire format is that of protocol buffers, the field numbers those of onnx.proto.
 */
final class OnnxGraph {
    private static final int MODEL_GRAPH = 7, GRAPH_NODE = 1, GRAPH_INITIALIZER = 5;
    private static final int NODE_INPUT = 1, NODE_OUTPUT = 2, NODE_OP = 4, NODE_ATTRIBUTE = 5;
    private static final int ATTRIBUTE_NAME = 1, ATTRIBUTE_FLOAT = 2, ATTRIBUTE_TENSOR = 5, ATTRIBUTE_INTS = 8, ATTRIBUTE_TYPE = 20, TYPE_FLOAT = 1;
    private static final int TENSOR_DIMS = 1, TENSOR_TYPE = 2, TENSOR_FLOATS = 4, TENSOR_NAME = 8, TENSOR_RAW = 9, FLOAT = 1;

    /** A field of a message as it stands in the file: a varint or fixed number, or bytes. */
    private record Field(int number, int wire, long value, byte[] bytes) {}

    /** An f32 constant. */
    record Constant(long[] shape, float[] values) {
        boolean isScalar() {
            return values.length == 1;
        }
    }

    /** An operation; inputs and outputs are names of values. */
    static final class Node {
        String op;
        final List<String> inputs = new ArrayList<>();
        final List<String> outputs = new ArrayList<>();
        private final List<Field> rest = new ArrayList<>();

        Node(String op) {
            this.op = op;
        }

        String output() {
            return outputs.getFirst();
        }

        /** Of two inputs the one that is not {@code input}. */
        String other(String input) {
            return inputs.get(inputs.get(0).equals(input) ? 1 : 0);
        }

        Node attribute(String name, float value) {
            var message = new Writer().bytes(ATTRIBUTE_NAME, name.getBytes(StandardCharsets.UTF_8)).fixed32(ATTRIBUTE_FLOAT, value).varint(ATTRIBUTE_TYPE, TYPE_FLOAT);
            rest.add(new Field(NODE_ATTRIBUTE, 2, 0, message.toBytes()));
            return this;
        }

        /** Whether a list of whole numbers, such as {@code pads}, has one that is not 0. */
        boolean hasNonZero(String name) {
            for (Field a : rest) {
                if (a.number != NODE_ATTRIBUTE) continue;
                List<Field> fields = parse(a.bytes);
                if (fields.stream().noneMatch(f -> f.number == ATTRIBUTE_NAME && text(f).equals(name))) continue;
                for (Field f : fields) {
                    if (f.number != ATTRIBUTE_INTS) continue;
                    if (f.wire == 0 && f.value != 0) return true;
                    if (f.wire == 2) for (byte b : f.bytes) if (b != 0) return true;   // packed: a varint is 0 only as a zero byte
                }
            }
            return false;
        }
    }

    private final List<Field> model;
    private final List<Field> graph = new ArrayList<>();   // but its nodes
    private final Map<String, Constant> constants = new HashMap<>();
    private final Map<String, Constant> added = new LinkedHashMap<>();
    final List<Node> nodes = new ArrayList<>();

    OnnxGraph(byte[] file) {
        model = parse(file);
        for (Field part : parse(model.stream().filter(f -> f.number == MODEL_GRAPH).findFirst().orElseThrow().bytes)) {
            if (part.number != GRAPH_NODE) {
                graph.add(part);
                continue;
            }
            var node = new Node("");
            for (Field f : parse(part.bytes)) {
                switch (f.number) {
                    case NODE_INPUT -> node.inputs.add(text(f));
                    case NODE_OUTPUT -> node.outputs.add(text(f));
                    case NODE_OP -> node.op = text(f);
                    default -> node.rest.add(f);
                }
            }
            nodes.add(node);
            if (node.op.equals("Constant")) {
                for (Field a : node.rest) {
                    if (a.number != NODE_ATTRIBUTE) continue;
                    for (Field f : parse(a.bytes)) if (f.number == ATTRIBUTE_TENSOR) tensor(node.output(), f.bytes);
                }
            }
        }
    }

    private void tensor(String name, byte[] message) {
        var dims = new ArrayList<Long>();
        ByteBuffer raw = null;
        for (Field f : parse(message)) {
            if (f.number == TENSOR_TYPE && f.value != FLOAT) return;
            if (f.number == TENSOR_DIMS) {
                if (f.wire == 0) dims.add(f.value);
                else for (ByteBuffer in = ByteBuffer.wrap(f.bytes); in.hasRemaining(); ) dims.add(varint(in));
            }
            if (f.number == TENSOR_RAW || f.number == TENSOR_FLOATS && f.wire == 2) raw = ByteBuffer.wrap(f.bytes).order(ByteOrder.LITTLE_ENDIAN);
        }
        if (raw == null) return;
        float[] values = new float[raw.remaining() / 4];
        raw.asFloatBuffer().get(values);
        constants.put(name, new Constant(dims.stream().mapToLong(Long::longValue).toArray(), values));
    }

    /** The f32 constant of this name, or null. */
    Constant constant(String name) {
        return constants.get(name);
    }

    boolean isScalar(String name) {
        Constant c = constants.get(name);
        return c != null && c.isScalar();
    }

    /** Adds a constant under a new name that begins like {@code name}. */
    String add(String name, long[] shape, float[] values) {
        String fresh = name;
        while (constants.containsKey(fresh)) fresh += "'";
        var constant = new Constant(shape, values);
        constants.put(fresh, constant);
        added.put(fresh, constant);
        return fresh;
    }

    /** The node that makes this value, or null. */
    Node producer(String value) {
        for (Node n : nodes) if (n.outputs.contains(value)) return n;
        return null;
    }

    /** The nodes that read this value. */
    List<Node> users(String value) {
        return nodes.stream().filter(n -> n.inputs.contains(value)).toList();
    }

    /** The file again, without constants that nobody reads. */
    byte[] toBytes() {
        var used = new java.util.HashSet<String>();
        for (Node n : nodes) used.addAll(n.inputs);
        var out = new Writer();
        for (Node n : nodes) {
            if (n.op.equals("Constant") && !used.contains(n.output())) continue;
            var node = new Writer();
            for (String s : n.inputs) node.bytes(NODE_INPUT, s.getBytes(StandardCharsets.UTF_8));
            for (String s : n.outputs) node.bytes(NODE_OUTPUT, s.getBytes(StandardCharsets.UTF_8));
            node.bytes(NODE_OP, n.op.getBytes(StandardCharsets.UTF_8)).fields(n.rest);
            out.bytes(GRAPH_NODE, node.toBytes());
        }
        added.forEach((name, constant) -> {
            if (!used.contains(name)) return;
            var tensor = new Writer();
            for (long d : constant.shape) tensor.varint(TENSOR_DIMS, d);
            ByteBuffer raw = ByteBuffer.allocate(4 * constant.values.length).order(ByteOrder.LITTLE_ENDIAN);
            raw.asFloatBuffer().put(constant.values);
            out.bytes(GRAPH_INITIALIZER, tensor.varint(TENSOR_TYPE, FLOAT).bytes(TENSOR_NAME, name.getBytes(StandardCharsets.UTF_8)).bytes(TENSOR_RAW, raw.array()).toBytes());
        });
        byte[] graphBytes = out.fields(graph).toBytes();
        var file = new Writer();
        for (Field f : model) {
            if (f.number == MODEL_GRAPH) file.bytes(MODEL_GRAPH, graphBytes);
            else file.fields(List.of(f));
        }
        return file.toBytes();
    }

    private static String text(Field f) {
        return new String(f.bytes, StandardCharsets.UTF_8);
    }

    private static List<Field> parse(byte[] message) {
        ByteBuffer in = ByteBuffer.wrap(message).order(ByteOrder.LITTLE_ENDIAN);
        var fields = new ArrayList<Field>();
        while (in.hasRemaining()) {
            long key = varint(in);
            int number = (int) (key >>> 3), wire = (int) key & 7;
            switch (wire) {
                case 0 -> fields.add(new Field(number, wire, varint(in), null));
                case 1 -> fields.add(new Field(number, wire, in.getLong(), null));
                case 2 -> {
                    byte[] bytes = new byte[Math.toIntExact(varint(in))];
                    in.get(bytes);
                    fields.add(new Field(number, wire, 0, bytes));
                }
                case 5 -> fields.add(new Field(number, wire, in.getInt(), null));
                default -> throw new RewardException("the OCR model is damaged: wire type " + wire + " in its file");
            }
        }
        return fields;
    }

    private static long varint(ByteBuffer in) {
        long value = 0;
        for (int shift = 0; ; shift += 7) {
            byte b = in.get();
            value |= (b & 0x7fL) << shift;
            if (b >= 0) return value;
        }
    }

    private static final class Writer {
        private final ByteArrayOutputStream out = new ByteArrayOutputStream();

        Writer varint(int number, long value) {
            return raw((long) number << 3).raw(value);
        }

        Writer fixed32(int number, float value) {
            raw((long) number << 3 | 5);
            out.writeBytes(ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putFloat(value).array());
            return this;
        }

        Writer bytes(int number, byte[] value) {
            raw((long) number << 3 | 2).raw(value.length);
            out.writeBytes(value);
            return this;
        }

        Writer fields(List<Field> fields) {
            for (Field f : fields) {
                if (f.wire == 2) {
                    bytes(f.number, f.bytes);
                    continue;
                }
                raw((long) f.number << 3 | f.wire);
                if (f.wire == 0) raw(f.value);
                else {
                    ByteBuffer number = ByteBuffer.allocate(f.wire == 1 ? 8 : 4).order(ByteOrder.LITTLE_ENDIAN);
                    out.writeBytes((f.wire == 1 ? number.putLong(f.value) : number.putInt((int) f.value)).array());
                }
            }
            return this;
        }

        byte[] toBytes() {
            return out.toByteArray();
        }

        private Writer raw(long varint) {
            for (; (varint & ~0x7fL) != 0; varint >>>= 7) out.write((int) (varint & 0x7f | 0x80));
            out.write((int) varint);
            return this;
        }
    }
}
