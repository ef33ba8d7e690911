package dev.turningpoint.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.weights.SafetensorsWriter;
import dev.turningpoint.weights.WeightsException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Parameters on their way between files and device, and the memory they live in. */
class ParameterFileTest {
    @TempDir
    private Path folder;

    private static ParameterLayout layout() {
        var layout = new ParameterLayout();
        layout.add("a.weight", 3, 5);
        layout.add("a.bias", 3);
        return layout;
    }

    @Test
    void whatIsSavedIsLoaded() {
        Path file = folder.resolve("w.safetensors");
        try (Device device = Device.open(); Stream stream = device.newStream(); var from = Parameters.frozen(device, "from", layout(), DType.F32); var to = Parameters.frozen(device, "to", layout(), DType.F32)) {
            float[] values = new float[(int) from.size()];
            for (var slot : from.layout().slots().values()) {
                for (int i = 0; i < slot.elements(); i++) {
                    values[(int) slot.offset() + i] = slot.offset() + i + 0.5f;
                }
            }
            try (HostMemory host = HostMemory.allocate(4L * values.length)) {
                host.segment().copyFrom(java.lang.foreign.MemorySegment.ofArray(values));
                Parameters.upload(host.segment(), from.values(), stream);
            }
            ParameterFile.save(file, from.layout(), from.values(), Map.of("format", "pt"), stream);
            ParameterFile.load(file, "", to.layout(), to.values(), stream);
            try (HostMemory host = Parameters.download(to.values(), stream)) {
                assertArrayEquals(values, host.segment().toArray(ValueLayout.JAVA_FLOAT));
            }
        }
    }

    @Test
    void aFileOfAnotherModelIsRefused() {
        assertRefused("has no tensor 'a.bias'", new SafetensorsWriter().tensor("a.weight", new float[15], 3, 5));
        assertRefused("tensor 'a.weight' is [5, 3], this model's is [3, 5]", new SafetensorsWriter().tensor("a.weight", new float[15], 5, 3).tensor("a.bias", new float[3], 3));
        assertRefused("has 1 tensor that this model has not, the first is 'b'",
                new SafetensorsWriter().tensor("a.weight", new float[15], 3, 5).tensor("a.bias", new float[3], 3).tensor("b", new float[1], 1));
        assertRefused("is I64, not a floating-point tensor", new SafetensorsWriter().tensor("a.weight", new long[15], 3, 5).tensor("a.bias", new float[3], 3));
    }

    private void assertRefused(String message, SafetensorsWriter writer) {
        Path file = folder.resolve("other.safetensors");
        writer.write(file);
        try (Device device = Device.open(); Stream stream = device.newStream(); var to = Parameters.frozen(device, "to", layout(), DType.F32)) {
            var refused = assertThrows(WeightsException.class, () -> ParameterFile.load(file, "", to.layout(), to.values(), stream));
            assertTrue(refused.getMessage().contains(message), refused.getMessage());
            assertTrue(refused.getMessage().startsWith(file.toString()), refused.getMessage());
            assertEquals(1, refused.getMessage().lines().count());
        }
    }

    @Test
    void aTruncatedFileIsRefused() throws Exception {
        Path file = folder.resolve("short.safetensors");
        new SafetensorsWriter().tensor("a.weight", new float[15], 3, 5).tensor("a.bias", new float[3], 3).write(file);
        byte[] whole = Files.readAllBytes(file);
        Files.write(file, java.util.Arrays.copyOf(whole, whole.length - 4));
        try (Device device = Device.open(); Stream stream = device.newStream(); var to = Parameters.frozen(device, "to", layout(), DType.F32)) {
            assertThrows(WeightsException.class, () -> ParameterFile.load(file, "", to.layout(), to.values(), stream));
        }
    }

    @Test
    void aWorkspaceIsPlannedThenAllocatedThenClosed() {
        try (Device device = Device.open()) {
            var workspace = new Workspace("a test");
            Tensor a = workspace.tensor("a", DType.BF16, 3, 7);
            Tensor b = workspace.tensor("b", DType.F32, 5);
            assertThrows(IllegalStateException.class, a::address);
            workspace.allocate(device);
            assertEquals(256, b.address() - a.address());
            assertEquals(0, a.address() % 256);
            assertEquals(a.address() + 14, a.view("row 1", 7, 7).address());
            assertThrows(ShapeException.class, () -> a.view("too long", 14, 8));
            assertThrows(IllegalStateException.class, () -> workspace.tensor("c", DType.F32, 1));
            workspace.close();
            workspace.close();
            assertThrows(IllegalStateException.class, a::address);
        }
    }
}
