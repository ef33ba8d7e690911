package dev.turningpoint.softgpu.jit;

import dev.turningpoint.softgpu.interpreter.KernelFault;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import java.util.stream.Stream;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** printf, assert, trap, malloc and free of device code: text as C writes it, lane after lane. */
class SystemCallTest {
    static Stream<?> ways() { return Way.all(); }

    private static List<String> lines(PrintStream real, Consumer<PrintStream> set, Runnable run) {
        var bytes = new ByteArrayOutputStream();
        set.accept(new PrintStream(bytes, true));
        try {
            run.run();
        } finally {
            set.accept(real);
        }
        return bytes.toString().lines().toList();
    }

    private static List<String> printed(Runnable run) { return lines(System.out, System::setOut, run); }

    @ParameterizedTest @MethodSource("ways")
    void printfOfLanesThatDiverged(Way way) {
        try (Arena a = Arena.ofConfined()) {
            int n = 37;
            float x = 1.25f;
            List<String> got = printed(() -> way.run("system", "print", 2, 32, n, x, a.allocateFrom("device")));
            List<String> want = IntStream.range(0, n).mapToObj(i -> switch (i % 3) {
                case 0 -> String.format("%d: %5.2f|%-6d|%06x|%c|%s|%d|0x%x|100%%", i, x * i, i, i * 1000, 'A' + i % 26, "device", (long) i << 40, 16 + i);
                case 1 -> String.format("%d: %6d %.3e %s 18446744073709551615 %d +%d %s %d", i, -i, x, shortest(.5 * i), i, i, "0" + Integer.toOctalString(8 + i), 4);
                default -> "nothing to convert";
            }).sorted().toList();
            assertEquals(want, got.stream().sorted().toList());
            // lanes that go one way print in their order
            List<String> thirds = got.stream().filter(l -> l.contains("|device|")).toList();
            assertEquals(IntStream.range(0, n).filter(i -> i % 3 == 0).mapToObj(i -> i + ":").toList(), thirds.stream().map(l -> l.split(" ")[0]).toList());
        }
    }

    /** What %g makes of a multiple of a half. */
    private static String shortest(double v) { return v == Math.rint(v) ? Long.toString((long) v) : Double.toString(v); }

    @ParameterizedTest @MethodSource("ways")
    void printfGivesTheNumberOfItsArguments(Way way) {
        try (Arena a = Arena.ofConfined()) {
            var out = Launch.ints(a, new int[3]);
            assertEquals(List.of("even and 0", "odd and 1", "even and 2"), printed(() -> way.run("system", "returned", 1, 3, out)));
            assertArrayEquals(new int[]{2, 2, 2}, out.toArray(ValueLayout.JAVA_INT));
        }
    }

    private static int fault(Way way, String entry, int grid, int block, Object... arguments) {
        if (way.compiled()) return Launch.run(way.module("system"), entry, new int[]{grid}, new int[]{block}, 0, arguments);
        return switch (assertThrows(KernelFault.class, () -> way.run("system", entry, grid, block, arguments)).kind()) {
            case ASSERT -> CompiledKernel.ASSERTION;
            case LAUNCH_FAILED -> CompiledKernel.TRAP;
            default -> -1;
        };
    }

    @ParameterizedTest @MethodSource("ways")
    void anAssertionNamesItselfAndItsThreads(Way way) {
        try (Arena a = Arena.ofConfined()) {
            int[] x = new int[96];
            x[64 + 5] = x[64 + 9] = 100;
            int[] code = {0};
            List<String> said = lines(System.err, System::setErr, () -> code[0] = fault(way, "small", 2, 48, Launch.ints(a, x), 100));
            assertEquals(CompiledKernel.ASSERTION, code[0]);
            assertEquals(Stream.of(21, 25).map(t -> "system.cu:15: void small(const int *, int): block: [1,0,0], thread: [" + t
                    + ",0,0] Assertion `x[blockIdx.x * blockDim.x + threadIdx.x] < limit` failed.").toList(), said);
            way.run("system", "small", 2, 48, Launch.ints(a, x), 101);
        }
    }

    @ParameterizedTest @MethodSource("ways")
    void aTrapOfOneThreadEndsTheLaunch(Way way) {
        assertEquals(CompiledKernel.TRAP, fault(way, "stop", 1, 40, 33));
        way.run("system", "stop", 1, 40, 40);
    }

    @ParameterizedTest @MethodSource("ways")
    void memoryOfTheDeviceHeap(Way way) {
        try (Arena a = Arena.ofConfined()) {
            var out = Launch.ints(a, new int[128]);
            way.run("system", "lists", 2, 64, out, 7);
            for (int i = 0; i < 128; i++) {
                int k = i % 7;
                assertEquals(i * k * (k - 1) / 2, out.getAtIndex(ValueLayout.JAVA_INT, i));
            }
            way.run("system", "greedy", 1, 1, out);
            assertEquals(1, out.getAtIndex(ValueLayout.JAVA_INT, 0));
            int code = fault(way, "free_of_another", 1, 1, Launch.ints(a, 1, 2, 3, 4));
            assertEquals(way.compiled() ? CompiledKernel.NO_BLOCK : CompiledKernel.TRAP, code);
        }
    }
}
