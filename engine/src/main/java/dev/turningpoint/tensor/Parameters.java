package dev.turningpoint.tensor;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.MlpKernels;
import java.lang.foreign.MemorySegment;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.Map;
import java.util.Set;

/**
 * The parameters of a model in one flat f32 buffer, with what training keeps beside it, each a flat buffer of the same layout: gradients, AdamW moments, running
 * average, a frozen reference, and, where the network computes in bf16, a bf16 copy that its matrix products read. One optimizer launch serves them all.
 *
 * <p>Parameters {@link #inStorage} are the other kind: nobody trains them, and where the network computes in bf16 there is the bf16 buffer alone, with f32 beside it of biases and
 * scales only, which some kernels add and multiply in f32: 2 bytes a parameter instead of 6.
 */
public final class Parameters implements AutoCloseable {

    /** What is kept beside the values. */
    public enum Keep { GRADIENTS, MOMENTS, AVERAGE, REFERENCE }

    /** Which buffer the network reads. */
    public enum Source { VALUES, AVERAGE, REFERENCE }

    private final ParameterLayout layout;
    private final DType storage;
    private final Workspace workspace;
    private final Tensor values;     // null where the parameters are in storage type alone
    private final Tensor vectors;    // f32 of the parameters with one dimension, where values is null
    private final Map<ParameterLayout.Slot, Long> places;   // of those in it
    private final Tensor compute;
    private final Tensor gradients;
    private final Tensor firstMoment;
    private final Tensor secondMoment;
    private final Tensor average;
    private final Tensor reference;
    private final Tensor alternateCompute;
    private Tensor readValues;
    private Tensor readCompute;

    /**
     * @param purpose what the memory is for, as an out-of-memory message says it
     * @param storage type of activations: with BF16 a bf16 copy of the values is kept
     */
    public Parameters(Device device, String purpose, ParameterLayout layout, DType storage, Set<Keep> keep) { this(device, purpose, layout, storage, keep, true); }

    private Parameters(Device device, String purpose, ParameterLayout layout, DType storage, Set<Keep> keep, boolean masters) {
        this.layout = layout;
        this.storage = storage;
        workspace = new Workspace(purpose);
        places = new IdentityHashMap<>();
        values = masters ? flat("values") : null;
        vectors = masters ? null : workspace.tensor("biases and scales", DType.F32, placeVectors());
        gradients = keep.contains(Keep.GRADIENTS) ? flat("gradients") : null;
        firstMoment = keep.contains(Keep.MOMENTS) ? flat("first moment") : null;
        secondMoment = keep.contains(Keep.MOMENTS) ? flat("second moment") : null;
        average = keep.contains(Keep.AVERAGE) ? flat("average") : null;
        reference = keep.contains(Keep.REFERENCE) ? flat("reference") : null;
        boolean copies = storage == DType.BF16;
        compute = copies ? workspace.tensor("bf16 copy", DType.BF16, layout.size()) : values;
        alternateCompute = copies && (average != null || reference != null) ? workspace.tensor("bf16 copy of average or reference", DType.BF16, layout.size()) : null;
        readValues = values;
        readCompute = compute;
        workspace.allocate(device);
        try (Stream stream = device.newStream()) {
            stream.fill((masters ? values : vectors).address(), (byte) 0, workspace.bytes());
            stream.synchronize();
        } catch (RuntimeException e) {
            workspace.close();
            throw e;
        }
    }

    /** Parameters that no one trains. */
    public static Parameters frozen(Device device, String purpose, ParameterLayout layout, DType storage) {
        return new Parameters(device, purpose, layout, storage, EnumSet.noneOf(Keep.class));
    }

    /** Parameters that no one trains, in the type that the network computes in, and nothing beside them but f32 of those with one dimension. */
    public static Parameters inStorage(Device device, String purpose, ParameterLayout layout, DType storage) {
        return storage == DType.F32 ? frozen(device, purpose, layout, storage) : new Parameters(device, purpose, layout, storage, EnumSet.noneOf(Keep.class), false);
    }

    /** Gives each parameter of one dimension its place; neighbours of the layout stay neighbours, so that groups are whole. Returns the elements of all. */
    private long placeVectors() {
        long size = 0, end = -1;
        var byOffset = new HashMap<Long, Long>();
        for (ParameterLayout.Slot slot : layout.slots().values()) {
            if (slot.shape().length != 1) {
                continue;
            }
            if (slot.offset() != end) {
                size = (size + 63) / 64 * 64;
            }
            places.put(slot, size);
            byOffset.put(slot.offset(), size);
            size += slot.elements();
            end = slot.offset() + slot.elements();
        }
        for (ParameterLayout.Slot group : layout.groups().values()) {
            if (group.shape().length == 1) {
                places.put(group, byOffset.get(group.offset()));
            }
        }
        return Math.max(size, 1);
    }

    private Tensor flat(String name) {
        return workspace.tensor(name, DType.F32, layout.size());
    }

    public ParameterLayout layout() {
        return layout;
    }

    /** Elements of every flat buffer. */
    public long size() {
        return layout.size();
    }

    public Tensor values() {
        return required(values, "f32 values");
    }

    public Tensor gradients() {
        return required(gradients, "gradients");
    }

    public Tensor firstMoment() {
        return required(firstMoment, "moments");
    }

    public Tensor secondMoment() {
        return required(secondMoment, "moments");
    }

    public Tensor average() {
        return required(average, "average");
    }

    public Tensor reference() {
        return required(reference, "reference");
    }

    public boolean hasGradients() {
        return gradients != null;
    }

    public boolean hasAverage() {
        return average != null;
    }

    public boolean hasReference() {
        return reference != null;
    }

    /** Address of the bf16 copy that an optimizer step writes with the values, or 0 where there is none. */
    public long computeCopy() {
        return compute == values ? 0 : compute.address();
    }

    /**
     * Address of a parameter in the f32 buffer that the network reads now.
     *
     * @throws IllegalStateException if it is a matrix, and the parameters are in the storage type alone
     */
    public long value(ParameterLayout.Slot slot) {
        if (values != null) {
            return readValues.address(slot.offset());
        }
        Long place = places.get(slot);
        if (place == null) {
            throw new IllegalStateException(workspace.purpose() + " keeps no f32 of '" + slot.name() + "'");
        }
        return vectors.address(place);
    }

    /** Address of a parameter in the storage type. */
    public long compute(ParameterLayout.Slot slot) {
        return readCompute.address(slot.offset());
    }

    /** Address of a parameter's gradient. */
    public long gradient(ParameterLayout.Slot slot) {
        return gradients().address(slot.offset());
    }

    /** Queues the bf16 copy after the values were changed by other than the optimizer step. */
    public void changed(MlpKernels kernels, Stream stream) {
        if (values != null && compute != values) {
            kernels.cast(stream, DType.F32, values.address(), DType.BF16, compute.address(), size());
        }
    }

    /** Sets parameters one by one, whatever kind they are; to be closed. */
    public final class Upload implements AutoCloseable {
        private static final long STAGED = 4 << 20;   // elements: a bf16 copy is made piece by piece

        private final MlpKernels kernels;
        private final Stream stream;
        private final Workspace memory = new Workspace("staging of " + workspace.purpose());
        private final Tensor staged;

        private Upload(Device device, MlpKernels kernels, Stream stream) {
            this.kernels = kernels;
            this.stream = stream;
            staged = values == null ? memory.tensor("f32 on their way to bf16", DType.F32, STAGED) : null;
            if (staged != null) {
                memory.allocate(device);
            }
        }

        /**
         * Copies a parameter and waits for it.
         *
         * @param elements f32, off the heap, as many as the slot has
         */
        public void set(ParameterLayout.Slot slot, MemorySegment elements) {
            if (elements.byteSize() != DType.F32.bytes(slot.elements())) {
                throw new IllegalArgumentException("parameter '" + slot.name() + "' takes " + DType.F32.bytes(slot.elements()) + " bytes, not " + elements.byteSize());
            }
            if (values != null) {
                stream.copyToDevice(values.address(slot.offset()), elements);
            } else {
                for (long at = 0; at < slot.elements(); at += STAGED) {
                    long n = Math.min(STAGED, slot.elements() - at);
                    stream.copyToDevice(staged.address(), elements.asSlice(DType.F32.bytes(at), DType.F32.bytes(n)));
                    kernels.cast(stream, DType.F32, staged.address(), DType.BF16, compute.address(slot.offset() + at), n);
                    stream.synchronize();
                }
                if (places.containsKey(slot)) {
                    stream.copyToDevice(value(slot), elements);
                }
            }
            stream.synchronize();
        }

        /** Makes the bf16 copy of f32 values, and frees what the way took. */
        @Override
        public void close() {
            changed(kernels, stream);
            stream.synchronize();
            memory.close();
        }
    }

    /** Begins to set parameters one by one. */
    public Upload upload(Device device, MlpKernels kernels, Stream stream) { return new Upload(device, kernels, stream); }

    /** Freezes the values of now as the reference. */
    public void takeReference(Stream stream) {
        reference().copyFrom(values, stream);
    }

    /** Lets the network read another buffer until the next call; work queued before is not affected. */
    public void read(Source source, MlpKernels kernels, Stream stream) {
        Tensor from = switch (source) {
            case VALUES -> values;
            case AVERAGE -> average();
            case REFERENCE -> reference();
        };
        readValues = from;
        readCompute = from;
        if (compute != values) {
            readCompute = source == Source.VALUES ? compute : alternateCompute;
            if (source != Source.VALUES) {
                kernels.cast(stream, DType.F32, from.address(), DType.BF16, alternateCompute.address(), size());
            }
        }
    }

    public DType storage() {
        return storage;
    }

    /** Copies a flat f32 buffer (values, average, a moment) to off-heap memory and waits for it; close the result. */
    public static HostMemory download(Tensor flat, Stream stream) {
        HostMemory host = HostMemory.allocate(flat.bytes());
        try {
            flat.copyTo(host.segment(), stream);
            stream.synchronize();
            return host;
        } catch (RuntimeException e) {
            host.close();
            throw e;
        }
    }

    /** Copies off-heap memory of the flat layout to a flat buffer and waits for it. */
    public static void upload(MemorySegment host, Tensor flat, Stream stream) {
        flat.copyFrom(host, stream);
        stream.synchronize();
    }

    private Tensor required(Tensor tensor, String what) {
        if (tensor == null) {
            throw new IllegalStateException(workspace.purpose() + " keeps no " + what);
        }
        return tensor;
    }

    @Override
    public void close() {
        workspace.close();
    }
}
