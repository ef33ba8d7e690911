package dev.turningpoint.softgpu.jit;

import dev.turningpoint.softgpu.ptx.PtxModule;

import org.junit.jupiter.params.provider.Arguments;

import java.util.stream.Stream;

import static org.junit.jupiter.api.Assertions.assertEquals;

/** How a feature is tried: PTX of {@code features/} for one architecture, compiled or interpreted. */
record Way(String architecture, boolean compiled) {
    static Stream<Arguments> all() {
        return Stream.of("sm_80", "sm_90").flatMap(a -> Stream.of(true, false).map(c -> Arguments.of(new Way(a, c))));
    }

    PtxModule module(String file) { return Launch.module("features/" + file + "." + architecture); }

    void run(String file, String entry, int grid, int block, Object... arguments) { run(file, entry, new int[]{grid}, new int[]{block}, 0, arguments); }

    void run(String file, String entry, int[] grid, int[] block, int dynamicShared, Object... arguments) {
        if (compiled) assertEquals(0, Launch.run(module(file), entry, grid, block, dynamicShared, arguments), entry);
        else Launch.interpret(module(file), entry, grid, block, dynamicShared, arguments);
    }

    @Override public String toString() { return architecture + (compiled ? " compiled" : " interpreted"); }
}
