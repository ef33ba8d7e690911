package dev.turningpoint.tensor;

import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.tensor.ParameterLayout.Slot;
import dev.turningpoint.weights.SafetensorsFile;
import dev.turningpoint.weights.SafetensorsWriter;
import dev.turningpoint.weights.TensorInfo;
import dev.turningpoint.weights.TensorType;
import dev.turningpoint.weights.WeightsException;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** Parameters by name to and from safetensors files: every name of the layout, no other, each of its shape. */
public final class ParameterFile {
    private ParameterFile() {
    }

    /**
     * Reads all parameters of a layout into a flat buffer on the device.
     *
     * @param prefix of the names in the file, usually ""; other tensors of the file are then none of this layout's business
     * @throws WeightsException if a tensor is missing, of another shape or type, or, with an empty prefix, one too many
     */
    public static void load(Path file, String prefix, ParameterLayout layout, Tensor flat, Stream stream) {
        try (HostMemory host = HostMemory.allocate(flat.bytes())) {
            read(file, prefix, layout, host.segment());
            Parameters.upload(host.segment(), flat, stream);
        }
    }

    /** As {@link #load} into host memory. @param target f32, as many as the layout has */
    public static void read(Path file, String prefix, ParameterLayout layout, MemorySegment target) {
        try (SafetensorsFile tensors = SafetensorsFile.open(file)) {
            target.fill((byte) 0);
            if (prefix.isEmpty()) {
                refuseOthers(file, tensors, layout);
            }
            for (Slot slot : layout.slots().values()) {
                read(file, tensors, prefix, slot, target);
            }
        }
    }

    /** As {@link #load} from a file on the class path. */
    public static void loadResource(Class<?> beside, String name, ParameterLayout layout, Tensor flat, Stream stream) {
        try (InputStream in = beside.getResourceAsStream(name)) {
            if (in == null) {
                throw new WeightsException(name, "is not on the class path");
            }
            Path file = Files.createTempFile("turningpoint", ".safetensors");
            try {
                Files.copy(in, file, StandardCopyOption.REPLACE_EXISTING);
                load(file, "", layout, flat, stream);
            } finally {
                Files.deleteIfExists(file);
            }
        } catch (IOException e) {
            throw new UncheckedIOException("the bundled weights " + name + " cannot be unpacked: " + e.getMessage(), e);
        }
    }

    /**
     * Adds all parameters of a flat buffer to a file under construction, in f32. The host memory must stay open until the file is written.
     *
     * @param flat host memory of the layout, as {@link Parameters#download} gives it
     */
    public static void add(SafetensorsWriter writer, String prefix, ParameterLayout layout, MemorySegment flat) {
        for (Slot slot : layout.slots().values()) {
            writer.tensor(prefix + slot.name(), TensorType.F32, flat.asSlice(4 * slot.offset(), 4 * slot.elements()), slot.shape());
        }
    }

    /** Writes all parameters of a flat device buffer as an f32 file, beside its place and renamed. */
    public static void save(Path file, ParameterLayout layout, Tensor flat, Map<String, String> metadata, Stream stream) {
        try (HostMemory host = Parameters.download(flat, stream)) {
            var writer = new SafetensorsWriter();
            metadata.forEach(writer::metadata);
            add(writer, "", layout, host.segment());
            writer.write(file);
        }
    }

    private static void refuseOthers(Path file, SafetensorsFile tensors, ParameterLayout layout) {
        List<String> others = new ArrayList<>();
        for (String name : tensors.names()) {
            if (!layout.slots().containsKey(name)) {
                others.add(name);
            }
        }
        if (!others.isEmpty()) {
            throw new WeightsException(file.toString(), "has " + others.size() + (others.size() == 1 ? " tensor" : " tensors") + " that this model has not, the first is '" + others.getFirst() + "'");
        }
    }

    private static void read(Path file, SafetensorsFile tensors, String prefix, Slot slot, MemorySegment target) {
        String name = prefix + slot.name();
        if (!tensors.contains(name)) {
            throw new WeightsException(file.toString(), "has no tensor '" + name + "'");
        }
        TensorInfo info = tensors.info(name);
        if (!info.shape().equals(Arrays.stream(slot.shape()).boxed().toList())) {
            throw new WeightsException(file.toString(), "tensor '" + name + "' is " + info.shape() + ", this model's is " + Arrays.toString(slot.shape()));
        }
        if (info.type() == TensorType.F32) {
            MemorySegment.copy(tensors.data(name), 0, target, 4 * slot.offset(), 4 * slot.elements());
            return;
        }
        float[] values = tensors.floats(name);
        MemorySegment.copy(values, 0, target, ValueLayout.JAVA_FLOAT, 4 * slot.offset(), values.length);
    }
}
