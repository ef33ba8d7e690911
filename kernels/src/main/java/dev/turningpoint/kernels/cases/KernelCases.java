package dev.turningpoint.kernels.cases;

import dev.turningpoint.gpu.DType;
import java.util.ArrayList;
import java.util.List;

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

    /** The cases of all sizes whose name contains {@code part}; an empty part: all cases. */
    public static List<KernelCase> named(String part) {
        return ALL.stream().filter(c -> c.name().contains(part)).toList();
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
        LoraCases.addTo(cases);
        OptimCases.addTo(cases);
        return List.copyOf(cases);
    }
}
