package dev.turningpoint.softgpu.count;

import java.util.ArrayList;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** Counts as tables to read and as values to write. */
public final class Report {
    /** One line: a launch, or all launches of a kernel. */
    private static final class Row {
        final String label;
        final LaunchCounts counts;
        /** Bytes the launch has to move, each once; 0 where nobody said. */
        final long compulsory;
        final Map<Gpu, Double> seconds = new EnumMap<>(Gpu.class);
        final Map<Gpu, Map<Roofline.Part, Double>> parts = new EnumMap<>(Gpu.class);

        Row(String label, LaunchCounts counts, long compulsory) {
            this.label = label;
            this.counts = counts;
            this.compulsory = compulsory;
            estimate(counts);
        }

        void add(LaunchCounts more) {
            estimate(more);
            counts.add(more);
        }

        private void estimate(LaunchCounts one) {
            for (Gpu gpu : Gpu.values()) {
                Roofline r = Roofline.of(gpu, one);
                seconds.merge(gpu, r.time(), Double::sum);
                r.seconds().forEach((part, s) -> parts.computeIfAbsent(gpu, g -> new EnumMap<>(Roofline.Part.class)).merge(part, s, Double::sum));
            }
        }

        Roofline.Part bound(Gpu gpu) { return new Roofline(parts.get(gpu)).bound(); }
        Resources resources(Gpu gpu) { return Resources.of(counts.launch().module(), counts.launch().kernel(), gpu); }

        Occupancy occupancy(Gpu gpu) {
            Resources r = resources(gpu);
            return r == null ? null : Occupancy.of(gpu, counts.launch().threads(), r.registers(), r.shared() + counts.launch().dynamicShared());
        }
    }

    private final Map<String, Row> byKernel = new LinkedHashMap<>();
    private final List<Row> rows = new ArrayList<>();

    /** Adds a launch to the row of its kernel. */
    public void add(LaunchCounts launch) {
        Row row = byKernel.get(launch.kernel());
        if (row != null) row.add(launch);
        else {
            row = new Row(launch.kernel(), launch, 0);
            byKernel.put(launch.kernel(), row);
            rows.add(row);
        }
    }

    /** Adds a launch as a row of its own. */
    public void add(String label, LaunchCounts launch, long compulsoryBytes) { rows.add(new Row(label, launch, compulsoryBytes)); }

    public boolean isEmpty() { return rows.isEmpty(); }

    // ---- to read

    private static final String HEAD = "%-*s %7s %10s %11s %9s %11s %6s %11s %9s %9s %8s %5s %5s %11s %s%n",
            LINE = "%-*s %7d %10d %5.2f/%5.2f %9d %11d %6s %11d %9d %9d %8d %5s %5s %11.3f %s%n";

    /** A line a row. The last columns are estimates for one GPU. */
    public String table(Gpu gpu) {
        int width = rows.stream().mapToInt(r -> r.label.length()).max().orElse(6);
        String head = HEAD.replace("*", "" + width), line = LINE.replace("*", "" + width);
        var t = new StringBuilder();
        t.append(format(head, "", "", "warp", "sectors a", "uncoal.", "DRAM", "of", "L2", "bank", "divergent", "", "regs", "occ.", "us, est.", "bound"));
        t.append(format(head, "kernel", "launches", "instr.", "req./ideal", "requests", "bytes", "least", "bytes", "conflicts", "branches", "barriers", gpu, gpu, gpu, "by"));
        for (Row r : rows) {
            LaunchCounts c = r.counts;
            Resources used = r.resources(gpu);
            Occupancy o = r.occupancy(gpu);
            long requests = Math.max(1, c.globalRequests());
            t.append(format(line, r.label, c.launches(), c.issued(), (double) c.sectors() / requests, (double) c.idealSectors() / requests, c.uncoalesced(), c.dramBytes(),
                    r.compulsory == 0 ? "" : format("%.2f", (double) c.dramBytes() / r.compulsory), c.l2Bytes(), c.bankConflicts(), c.divergentBranches(), c.barriers(),
                    used == null ? "?" : used.registers(), o == null ? "?" : format("%.0f%%", 100 * o.share()), 1e6 * r.seconds.get(gpu), r.bound(gpu)));
        }
        return t.toString();
    }

    /** Everything, row after row, with the lines that make most instructions, ask for more sectors or passes over the banks than they need, or diverge. */
    public String details() {
        var t = new StringBuilder();
        for (Row r : rows) {
            LaunchCounts c = r.counts;
            var l = c.launch();
            t.append(format("%n%s%n", r.label));
            line(t, "launch", "%d of grid (%d, %d, %d), block (%d, %d, %d), %d bytes of dynamic shared memory", c.launches(), l.gridX(), l.gridY(), l.gridZ(),
                    l.blockX(), l.blockY(), l.blockZ(), l.dynamicShared());
            line(t, "instructions", "%d of warps, %d of threads, %d with their guard: %.1f of 32 lanes", c.issued(), c.threadInstructions(), c.guardedThreadInstructions(),
                    (double) c.threadInstructions() / Math.max(1, c.issued()));
            for (InstructionClass k : InstructionClass.values()) if (c.issued(k) > 0) line(t, "  " + k.name().toLowerCase(Locale.ROOT), "%d", c.issued(k));
            line(t, "flops", "%d f32, %d f16 and bf16, %d f64; matrix products %d: %d bf16, %d f16, %d tf32, %d other", c.fp32Flops(), c.fp16Flops(), c.fp64Flops(),
                    c.matrixProducts(), c.bf16MatrixFlops(), c.f16MatrixFlops(), c.tf32MatrixFlops(), c.otherMatrixFlops());
            line(t, "global memory", "%d load and %d store requests, %d sectors, %d would do; %d requests uncoalesced", c.globalLoadRequests(), c.globalStoreRequests(),
                    c.sectors(), c.idealSectors(), c.uncoalesced());
            line(t, "DRAM", "%d bytes read, %d written%s", c.dramReadBytes(), c.dramWrittenBytes(), r.compulsory == 0 ? "" : format("; %d are compulsory", r.compulsory));
            line(t, "L2", "%d bytes read, %d written by blocks", c.l2ReadBytes(), c.l2WrittenBytes());
            line(t, "shared memory", "%d requests, %d passes, of them %d for bank conflicts", c.sharedRequests(), c.wavefronts(), c.bankConflicts());
            line(t, "other memory", "local %d requests, %d sectors; constant %d requests; atomic %d requests of %d lanes", c.localRequests(), c.localSectors(),
                    c.constantRequests(), c.atomicRequests(), c.atomicLanes());
            line(t, "flow", "%d branches, %d divergent; %d barriers", c.branches(), c.divergentBranches(), c.barriers());
            for (Gpu gpu : Gpu.values()) {
                Resources used = r.resources(gpu);
                Occupancy o = r.occupancy(gpu);
                line(t, gpu.title(), "%s; estimated %.3f us, bound by %s (%s)", used == null ? "registers unknown: no ptxas on PATH"
                        : format("%d registers, %d bytes of shared memory, %d spilled, occupancy %.0f%% (%d blocks, limit %s)", used.registers(), used.shared(), used.spills(),
                        100 * o.share(), o.blocks(), name(o.limit())), 1e6 * r.seconds.get(gpu), name(r.bound(gpu)), parts(r.parts.get(gpu)));
            }
            busiest(t, c);
            for (Site s : c.sites()) {
                if (s.sectors > s.idealSectors) line(t, s.place(), "%s: %d requests of %d sectors where %d would do", s.instruction.name(), s.globalRequests, s.sectors, s.idealSectors);
                if (s.wavefronts > s.idealWavefronts) line(t, s.place(), "%s: %d bank conflicts in %d requests", s.instruction.name(), s.bankConflicts(), s.sharedRequests);
                if (s.divergent > 0) line(t, s.place(), "%d of %d branches diverge", s.divergent, s.branches);
            }
        }
        return t.toString();
    }

    /** The lines that make most of the instructions. */
    private static void busiest(StringBuilder t, LaunchCounts c) {
        var byPlace = new LinkedHashMap<String, Long>();
        for (Site s : c.sites()) if (s.kind != InstructionClass.MOVE) byPlace.merge(s.place(), s.issued, Long::sum);
        double all = Math.max(1, byPlace.values().stream().mapToLong(n -> n).sum());
        byPlace.entrySet().stream().filter(e -> e.getValue() > 0).sorted(Map.Entry.<String, Long>comparingByValue().reversed()).limit(5)
                .forEach(e -> line(t, e.getKey(), "%.0f%% of the instructions, moves aside", 100 * e.getValue() / all));
    }

    private static void line(StringBuilder t, String what, String format, Object... values) { t.append(format("  %-16s %s%n", what, format(format, values))); }

    private static String parts(Map<Roofline.Part, Double> seconds) {
        var t = new StringBuilder();
        seconds.forEach((part, s) -> { if (s > 0) t.append(t.isEmpty() ? "" : ", ").append(name(part)).append(format(" %.3f", 1e6 * s)); });
        return t.toString();
    }

    private static String name(Enum<?> e) { return e.name().toLowerCase(Locale.ROOT).replace('_', ' '); }

    private static String format(String f, Object... values) { return String.format(Locale.ROOT, f, values); }

    // ---- to write

    /** Everything as JSON: an array with an object a row. */
    public String json() {
        var t = new StringBuilder();
        write(t, values(), "\n");
        return t.append('\n').toString();
    }

    private static void write(StringBuilder t, Object value, String indent) {
        switch (value) {
            case Map<?, ?> map -> {
                String next = indent + "  ", separator = "{";
                for (Map.Entry<?, ?> e : map.entrySet()) {
                    t.append(separator).append(next).append('"').append(e.getKey()).append("\": ");
                    write(t, e.getValue(), next);
                    separator = ",";
                }
                t.append(indent).append('}');
            }
            case List<?> list -> {
                String separator = "[";
                for (Object e : list) {
                    t.append(separator);
                    write(t, e, indent);
                    separator = ", ";
                }
                t.append(list.isEmpty() ? "[]" : "]");
            }
            case String text -> t.append('"').append(text).append('"');   // names of kernels and cases: nothing to escape
            default -> t.append(value);
        }
    }

    private List<Map<String, Object>> values() {
        var all = new ArrayList<Map<String, Object>>();
        for (Row r : rows) {
            LaunchCounts c = r.counts;
            var l = c.launch();
            var v = new LinkedHashMap<String, Object>();
            v.put("label", r.label);
            v.put("kernel", c.kernel());
            v.put("launches", c.launches());
            v.put("grid", List.of(l.gridX(), l.gridY(), l.gridZ()));
            v.put("block", List.of(l.blockX(), l.blockY(), l.blockZ()));
            v.put("dynamicShared", l.dynamicShared());
            v.put("warpInstructions", c.issued());
            v.put("threadInstructions", c.threadInstructions());
            v.put("guardedThreadInstructions", c.guardedThreadInstructions());
            var classes = new LinkedHashMap<String, Object>();
            for (InstructionClass k : InstructionClass.values()) classes.put(k.name().toLowerCase(Locale.ROOT), c.issued(k));
            v.put("warpInstructionsByClass", classes);
            v.put("globalLoadRequests", c.globalLoadRequests());
            v.put("globalStoreRequests", c.globalStoreRequests());
            v.put("sectors", c.sectors());
            v.put("idealSectors", c.idealSectors());
            v.put("uncoalescedRequests", c.uncoalesced());
            v.put("dramReadBytes", c.dramReadBytes());
            v.put("dramWrittenBytes", c.dramWrittenBytes());
            if (r.compulsory != 0) v.put("compulsoryBytes", r.compulsory);
            v.put("l2ReadBytes", c.l2ReadBytes());
            v.put("l2WrittenBytes", c.l2WrittenBytes());
            v.put("sharedRequests", c.sharedRequests());
            v.put("sharedWavefronts", c.wavefronts());
            v.put("bankConflicts", c.bankConflicts());
            v.put("localRequests", c.localRequests());
            v.put("localSectors", c.localSectors());
            v.put("constantRequests", c.constantRequests());
            v.put("atomicRequests", c.atomicRequests());
            v.put("atomicLanes", c.atomicLanes());
            v.put("branches", c.branches());
            v.put("divergentBranches", c.divergentBranches());
            v.put("barriers", c.barriers());
            v.put("fp32Flops", c.fp32Flops());
            v.put("fp16Flops", c.fp16Flops());
            v.put("fp64Flops", c.fp64Flops());
            v.put("matrixProducts", c.matrixProducts());
            v.put("bf16MatrixFlops", c.bf16MatrixFlops());
            v.put("f16MatrixFlops", c.f16MatrixFlops());
            v.put("tf32MatrixFlops", c.tf32MatrixFlops());
            v.put("otherMatrixFlops", c.otherMatrixFlops());
            for (Gpu gpu : Gpu.values()) v.put(gpu.name(), values(r, gpu));
            all.add(v);
        }
        return all;
    }

    private static Map<String, Object> values(Row r, Gpu gpu) {
        var v = new LinkedHashMap<String, Object>();
        Resources used = r.resources(gpu);
        if (used != null) {
            Occupancy o = r.occupancy(gpu);
            v.put("registers", used.registers());
            v.put("staticShared", used.shared());
            v.put("spilledBytes", used.spills());
            v.put("occupancy", o.share());
            v.put("blocksPerMultiprocessor", o.blocks());
            v.put("occupancyLimit", name(o.limit()));
        }
        v.put("estimatedSeconds", r.seconds.get(gpu));
        v.put("boundBy", name(r.bound(gpu)));
        return v;
    }
}
