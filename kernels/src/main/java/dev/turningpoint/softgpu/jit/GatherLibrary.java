package dev.turningpoint.softgpu.jit;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Loads, stores and prefetches of lanes that are not neighbours, as functions: all of them for processors without AVX-512, those of a vector a lane for every processor. LLVM would write out an access for each
 * of the 32 lanes at every use, with a test and a branch where lanes are masked; a function that visits the lanes is as fast, and a hundredth of the text.
 *
 * <p>A function takes memory for the values (component by component, 32 lanes each), an address, 32 offsets from it, and the lanes as bits.
 */
final class GatherLibrary {
    private static final int GROUP = Interleave.LANES;   // lanes at a time: what is loaded here and stored to be loaded again is as long as the registers of the one who loads it

    private final KernelEmitter k;
    private final Map<String, String> tables = new HashMap<>();

    GatherLibrary(KernelEmitter k) { this.k = k; }

    /** The offsets of lanes from the first one, as a constant. */
    String table(long[] pattern) {
        long[] offsets = Arrays.stream(pattern).map(p -> p - pattern[0]).toArray();
        return tables.computeIfAbsent(Arrays.toString(offsets), t -> {
            String name = "@tp_offsets_" + tables.size();
            k.helper(name, () -> name + " = private unnamed_addr constant <32 x i64> " + Ir.lanes("i64", offsets, 0) + "\n");
            return name;
        });
    }

    String load(String type, int bytes, int width) { return function(type, bytes, width, true); }

    String store(String type, int bytes, int width) { return function(type, bytes, width, false); }

    /** Asks for the lines of 32 addresses, given in memory. */
    String prefetch() {
        k.helper("@tp_prefetch", () -> {
            k.ir.declare("void @llvm.prefetch.p0(ptr, i32, i32, i32)");
            return """
                    define internal fastcc void @tp_prefetch(ptr nocapture readonly %addresses) noinline #0 {
                    entry:
                      br label %loop
                    loop:
                      %l = phi i64 [ 0, %entry ], [ %next, %loop ]
                      %own = getelementptr ptr, ptr %addresses, i64 %l
                      %at = load ptr, ptr %own
                      call void @llvm.prefetch.p0(ptr %at, i32 0, i32 3, i32 1)
                      %next = add i64 %l, 1
                      %more = icmp ne i64 %next, 32
                      br i1 %more, label %loop, label %done
                    done:
                      ret void
                    }
                    """;
        });
        return "@tp_prefetch";
    }

    private String function(String type, int bytes, int width, boolean load) {
        String name = "@tp_" + (load ? "gather_" : "scatter_") + type + "x" + width;
        k.helper(name, () -> {
            var f = new Ir();
            f.line("%all = icmp eq i32 %lanes, -1");
            f.line("br i1 %all, label %whole, label %part");
            f.label("whole");
            for (int l = 0; l < 32; l += GROUP) {
                int first = l;
                var rows = new ArrayList<String>();   // of GROUP / width lanes each
                for (int row = 0; row < width; row++) {
                    int from = first + row * GROUP / width;
                    if (load) {
                        var lanes = new ArrayList<String>();
                        for (int n = 0; n < GROUP / width; n++) lanes.add(f.temp("load " + Ir.vector(width, type) + ", ptr " + lane(f, "" + (from + n)) + ", align " + bytes));
                        rows.add(f.concat(type, lanes, Collections.nCopies(GROUP / width, width)));
                    } else {
                        rows.add(f.temp("load " + Ir.vector(GROUP, type) + ", ptr " + value(f, bytes, row, first) + ", align " + bytes));
                    }
                }
                List<String> turned = load ? Interleave.apart(f, type, rows) : Interleave.together(f, type, rows);
                for (int row = 0; row < width; row++) {
                    if (load) {
                        f.line("store " + Ir.vector(GROUP, type) + " " + turned.get(row) + ", ptr " + value(f, bytes, row, first) + ", align " + bytes);
                        continue;
                    }
                    for (int n = 0; n < GROUP / width; n++) {
                        int at = n * width;
                        String v = f.shuffle(type, GROUP, turned.get(row), null, width, e -> at + e);
                        f.line("store " + Ir.vector(width, type) + " " + v + ", ptr " + lane(f, "" + (first + row * GROUP / width + n)) + ", align " + bytes);
                    }
                }
            }
            f.line("ret void");
            f.label("part");
            f.line("%none = icmp eq i32 %lanes, 0");
            f.line("br i1 %none, label %done, label %loop");
            f.label("loop");
            f.line("%m = phi i32 [ %lanes, %part ], [ %rest, %loop ]");
            f.line("%l = call i32 @llvm.cttz.i32(i32 %m, i1 true)");
            f.line("%lane = zext i32 %l to i64");
            String at = lane(f, "%lane");
            for (int n = 0; n < width; n++) {
                String memory = n == 0 ? at : f.temp("getelementptr i8, ptr " + at + ", i64 " + n * bytes), own = f.temp("getelementptr " + type + ", ptr " + value(f, bytes, n, 0) + ", i64 %lane");
                String v = f.temp("load " + type + ", ptr " + (load ? memory : own) + ", align " + bytes);
                f.line("store " + type + " " + v + ", ptr " + (load ? own : memory) + ", align " + bytes);
            }
            f.line("%less = sub i32 %m, 1");
            f.line("%rest = and i32 %m, %less");
            f.line("%more = icmp ne i32 %rest, 0");
            f.line("br i1 %more, label %loop, label %done");
            f.label("done");
            k.ir.declare("i32 @llvm.cttz.i32(i32, i1)");
            return "define internal fastcc void " + name + "(ptr nocapture %values, i64 %base, ptr nocapture readonly %offsets, i32 %lanes) noinline #0 {\nentry:\n" + f.take() + "  ret void\n}\n";
        });
        return name;
    }

    private static String lane(Ir f, String l) {
        return f.temp("inttoptr i64 " + f.temp("add i64 %base, " + f.temp("load i64, ptr " + f.temp("getelementptr i64, ptr %offsets, i64 " + l))) + " to ptr");
    }

    private static String value(Ir f, int bytes, int component, int lane) {
        int at = (component * 32 + lane) * bytes;
        return at == 0 ? "%values" : f.temp("getelementptr i8, ptr %values, i64 " + at);
    }
}
