package dev.turningpoint.kernels.cases;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;

/** All cases. Every entry of every PTX file of the project is launched by at least one of each of the sizes small and glyph, but for what the glyph model has no use for. */
public final class KernelCases {
    static final List<DType> STORAGES = List.of(DType.F32, DType.BF16);
    private static final List<KernelCase> ALL = all();

    private KernelCases() {
    }

    /** The cases of one size, by family. */
    public static List<KernelCase> of(Size size) {
        return ALL.stream().filter(c -> c.size() == size).toList();
    }

    /** The cases of all sizes but {@link Size#DRAM} whose name contains {@code part}; an empty part: all of them. */
    public static List<KernelCase> named(String part) {
        return ALL.stream().filter(c -> c.size() != Size.DRAM && c.name().contains(part)).toList();
    }

    /** The case of this name, of whatever size. */
    public static KernelCase get(String name) {
        return ALL.stream().filter(c -> c.name().equals(name)).findFirst().orElseThrow(() -> new IllegalArgumentException("there is no case " + name));
    }

    /**
     * Makes every kernel ready for the block shapes and the shared memory of its small cases, which are those of training, without running any. The software GPU compiles what its cache
     * does not hold; NVIDIA's driver has compiled when it loaded the modules.
     *
     * @param threads how many compile at once
     */
    public static void compile(Device device, int threads) {
        List<KernelCase> cases = kernelsApart(of(Size.SMALL));
        var next = new AtomicInteger();
        Runnable work = () -> {
            device.attach();
            try (var stream = device.newStream(); var launchers = new Launchers(device)) {
                for (int i; (i = next.getAndIncrement()) < cases.size(); ) {
                    try (var run = new CaseRun(cases.get(i), launchers, stream)) {
                        stream.capture(run::launch).close();
                    }
                }
            }
        };
        try (var pool = Executors.newFixedThreadPool(threads)) {
            var all = IntStream.range(0, threads).mapToObj(_ -> CompletableFuture.runAsync(work, pool)).toArray(CompletableFuture[]::new);
            CompletableFuture.allOf(all).join();
        }
    }

    /** First those that launch a kernel that none before does, the largest kernels in front: who compiles a kernel should not keep others waiting for it, nor begin with it last. */
    private static List<KernelCase> kernelsApart(List<KernelCase> cases) {
        var seen = new HashSet<String>();
        List<KernelCase> first = new ArrayList<>(), others = new ArrayList<>();
        for (boolean attention : new boolean[] {true, false}) {
            for (KernelCase c : cases) {
                if (c.name().startsWith("attention") == attention) {
                    boolean adds = false;
                    for (KernelLaunch launch : c.launches()) {
                        adds |= seen.add(launch.entry());
                    }
                    (adds ? first : others).add(c);
                }
            }
        }
        first.addAll(others);
        return first;
    }

    private static List<KernelCase> all() {
        var cases = new ArrayList<KernelCase>();
        SamplerCases.addTo(cases);
        CreditCases.addTo(cases);
        GrpoCases.addTo(cases);
        NormCases.addTo(cases);
        AttentionCases.addTo(cases);
        MlpCases.addTo(cases);
        EmbedCases.addTo(cases);
        OptimCases.addTo(cases);
        return List.copyOf(cases);
    }
}
