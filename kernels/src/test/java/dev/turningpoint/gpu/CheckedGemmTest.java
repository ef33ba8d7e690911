package dev.turningpoint.gpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.bindings.cuda.Cuda;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;

/** What checking mode sees of a matrix product: what it reads must have been written, and what it writes is. */
@EnabledIfSystemProperty(named = "turningpoint.software.check", matches = "true")
class CheckedGemmTest {
    private static final int M = 5, N = 16, K = 24, LDA = 32;

    private final Device device = Device.open();
    private final Stream stream = device.newStream();

    /** Nothing can be given back to a context that failed, but its reset takes all. */
    @AfterEach
    void close() {
        Cuda.cuDevicePrimaryCtxReset_v2(0);
        Cuda.cuDevicePrimaryCtxRelease_v2(0);
    }

    private DeviceMemory floats(int count) { return device.allocate(4L * count, "a test"); }

    private void write(DeviceMemory memory, int first, int count) {
        try (var arena = Arena.ofConfined()) {
            MemorySegment host = arena.allocate(4L * count, 64);
            stream.copyToDevice(memory.address() + 4L * first, host);
            stream.synchronize();
        }
    }

    @Test
    void itReadsWhatWasWrittenAndWritesTheRest() {
        try (var gemm = Gemm.of(device, DType.F32, DType.F32, DType.F32, false, false, N, K, M, false); var a = floats(M * LDA); var b = floats(K * N); var c = floats(M * N); var d = floats(M * N);
             var square = Gemm.of(device, DType.F32, DType.F32, DType.F32, false, false, N, N, M, false); var e = floats(N * N)) {
            for (int row = 0; row < M; row++) write(a, row * LDA, K);   // what stands between the rows is not read
            write(b, 0, K * N);
            write(e, 0, N * N);
            gemm.run(stream, M, a.address(), LDA, b.address(), N, c.address(), N, 0, 1, 0);
            square.run(stream, M, c.address(), N, e.address(), N, d.address(), N, 0, 1, 0);   // reads the first one's result
            stream.synchronize();
        }
    }

    @Test
    void oneElementThatNobodyWroteIsTooMany() {
        var gemm = Gemm.of(device, DType.F32, DType.F32, DType.F32, false, false, N, K, M, false);
        var a = floats(M * K);
        var b = floats(K * N);
        write(a, 0, M * K);
        write(b, 0, K * N - 1);
        gemm.run(stream, M, a.address(), K, b.address(), N, floats(M * N).address(), N, 0, 1, 0);
        var failure = assertThrows(GpuException.class, stream::synchronize);
        assertEquals("CUDA_ERROR_LAUNCH_FAILED", failure.error());
        assertTrue(failure.getMessage().contains("uninitialised read: product n 16 k 24 f32: nobody wrote the byte at offset 1532 of an allocation of 1536 bytes"), failure.getMessage());
    }
}
