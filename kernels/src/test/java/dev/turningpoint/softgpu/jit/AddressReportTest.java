package dev.turningpoint.softgpu.jit;

import dev.turningpoint.softgpu.analysis.Geometry;
import dev.turningpoint.softgpu.analysis.KernelAnalysis;
import dev.turningpoint.softgpu.ptx.PtxParser;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.util.List;

import static org.junit.jupiter.api.Assertions.assertEquals;

/** What a kernel author is told of accesses that are no vector loads and stores. */
class AddressReportTest {
    // out[index[i]] = in[i] and column[i] = in[33 i]: an index out of memory escapes the analysis, rows 132 bytes apart it follows but cannot join
    private static final String PTX = """
            .version 8.5
            .target sm_80
            .address_size 64
            .visible .entry permute(.param .u64 in, .param .u64 index, .param .u64 out)
            .maxntid 64, 1, 1
            {
            .reg .b32 %r<4>;
            .reg .f32 %f<3>;
            .reg .b64 %rd<10>;
            .loc 1 7 5
            ld.param.u64 %rd1, [in];
            ld.param.u64 %rd2, [index];
            ld.param.u64 %rd3, [out];
            mov.u32 %r1, %tid.x;
            mul.wide.u32 %rd4, %r1, 4;
            add.s64 %rd5, %rd1, %rd4;
            add.s64 %rd6, %rd2, %rd4;
            ld.global.f32 %f1, [%rd5];
            ld.global.u32 %r2, [%rd6];
            .loc 1 8 5
            mul.wide.u32 %rd7, %r2, 4;
            add.s64 %rd8, %rd3, %rd7;
            st.global.f32 [%rd8], %f1;
            .loc 1 9 5
            mul.wide.u32 %rd9, %r1, 132;
            add.s64 %rd9, %rd9, %rd1;
            ld.global.f32 %f2, [%rd9];
            st.global.f32 [%rd5], %f2;
            ret;
            }
            .file 1 "/somewhere/permute.cu"
            """;

    @ParameterizedTest
    @ValueSource(strings = {"+avx2,+fma", "+avx512f,+avx512vl,+avx512bw,+avx512dq"})
    void anAccessThatEscapesIsReportedWithItsLines(String features) {
        var kernel = PtxParser.parse("permute", PTX).kernel("permute");
        var emitter = new KernelEmitter(new KernelAnalysis(kernel, new Geometry(64, 1, 1)), new Target("x86_64-unknown-linux-gnu", "x86-64-v3", features), 0);
        emitter.emit();
        assertEquals(List.of(
                "kernel permute, permute.ptx:23 (permute.cu:8): st.global.f32 scatters: its address escapes the lane analysis",
                "kernel permute, permute.ptx:27 (permute.cu:9): ld.global.f32 gathers: its lanes touch memory in too many places"), emitter.report);
    }
}
