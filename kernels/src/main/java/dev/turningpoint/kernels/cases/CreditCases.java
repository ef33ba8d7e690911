package dev.turningpoint.kernels.cases;

import static dev.turningpoint.gpu.DType.F32;
import static dev.turningpoint.gpu.DType.F64;
import static dev.turningpoint.gpu.DType.I32;
import static dev.turningpoint.kernels.CreditKernels.BONUS;
import static dev.turningpoint.kernels.CreditKernels.DROP_MAIN;
import static dev.turningpoint.kernels.CreditKernels.FIRST;
import static dev.turningpoint.kernels.CreditKernels.FIRST_CONSISTENT;
import static dev.turningpoint.kernels.CreditKernels.INNER_CONSISTENT;
import static dev.turningpoint.kernels.CreditKernels.PROPAGATE;
import static dev.turningpoint.kernels.CreditKernels.SUFFIX;
import static dev.turningpoint.kernels.cases.Tolerance.EXACT;

import dev.turningpoint.kernels.CreditKernels;
import dev.turningpoint.kernels.cases.KernelCase.Builder;
import dev.turningpoint.kernels.cases.KernelCase.Family;
import java.util.List;

/** {@code credit.cu}: differences, comparisons and sums of doubles in a fixed order. */
final class CreditCases {
    private static final Family<CreditKernels> CREDIT = new Family<>("credit", CreditKernels.class, CreditKernels::new);
    /** Consistent turning points, the default of a run. */
    private static final int CONSISTENT = BONUS | FIRST | FIRST_CONSISTENT | INNER_CONSISTENT | SUFFIX | DROP_MAIN;

    private static final int BATCHES = 2;

    private CreditCases() {
    }

    private record Shape(Size size, int batch, int n, int groups) implements KernelCase.Shape {
        long elements() {
            return (long) batch * n;
        }
    }

    private static final List<Shape> SHAPES = List.of(new Shape(Size.SMALL, 37, 7, 5), new Shape(Size.GLYPH, 96, 7, 6), new Shape(Size.SD35, 1152, 10, 48));

    static void addTo(List<KernelCase> cases) {
        for (Shape s : SHAPES) {
            cases.add(scan(s));
            cases.add(balanced(s, "balanced", CONSISTENT));
            cases.add(balanced(s, "propagated", CONSISTENT | PROPAGATE));
            cases.add(advantages(s, false));
            cases.add(advantages(s, true));
        }
        cases.add(scan(new Shape(Size.DRAM, 1 << 20, 64, 1)));
    }

    private static KernelCase scan(Shape s) {
        Builder<CreditKernels> c = CREDIT.of("credit_scan", s);
        var rewards = rewards(c, s);
        var indicator = c.write("indicator", F32, s.elements(), EXACT);
        var reward = c.write("reward", F32, s.elements(), EXACT);
        return c.launches("credit_scan", List.of(rewards), List.of(indicator, reward))
                .by((k, stream, at) -> k.stepRewards(stream, at.of(rewards), 0, 0, at.of(reward), at.of(indicator), 0, 0, 0, s.batch, s.n, CONSISTENT, 1));
    }

    private static KernelCase balanced(Shape s, String what, int flags) {
        Builder<CreditKernels> c = CREDIT.of("step_rewards_" + what, s);
        var rewards = rewards(c, s);
        var rowBatch = c.read("rowBatch", I32, s.batch, Fill.cyclic(BATCHES));
        var reward = c.write("reward", F32, s.elements(), EXACT);
        var indicator = c.write("indicator", F32, s.elements(), EXACT);
        var main = c.write("main", F32, s.elements(), EXACT);
        var bonus = c.write("bonus", F32, s.elements(), EXACT);
        var scratch = c.scratch("scratch", F32, CreditKernels.scratch(s.batch, s.n));
        return c.launches("turning_points", List.of(rewards), List.of(scratch))
                .launches("balance", List.of(scratch, rowBatch), List.of(scratch))
                .launches("step_rewards", List.of(rewards, scratch, rowBatch), List.of(indicator, reward, main, bonus))
                .by((k, stream, at) -> k.stepRewards(stream, at.of(rewards), at.of(rowBatch), BATCHES, at.of(reward), at.of(indicator), at.of(main), at.of(bonus), at.of(scratch),
                        s.batch, s.n, flags, 0.5f));
    }

    private static KernelCase advantages(Shape s, boolean globalStd) {
        Builder<CreditKernels> c = CREDIT.of("advantages" + (globalStd ? "_global_std" : ""), s);
        var reward = c.read("reward", F32, s.elements(), Fill.gaussian(0.3));
        var rowGroup = c.read("rowGroup", I32, s.batch, Fill.cyclic(s.groups));
        var advantage = c.write("advantage", F64, s.elements(), EXACT);
        if (!globalStd) {
            return c.launches("advantages", List.of(reward, rowGroup), List.of(advantage))
                    .by((k, stream, at) -> k.advantages(stream, at.of(reward), at.of(rowGroup), at.of(advantage), 0, s.batch, s.n, s.groups, 1.5));
        }
        var deviation = c.write("deviation", F64, s.n, EXACT);
        return c.launches("step_deviation", List.of(reward), List.of(deviation))
                .launches("advantages", List.of(reward, rowGroup, deviation), List.of(advantage))
                .by((k, stream, at) -> k.advantages(stream, at.of(reward), at.of(rowGroup), at.of(advantage), at.of(deviation), s.batch, s.n, s.groups, 1.5));
    }

    private static Buffer rewards(Builder<?> c, Shape s) {
        return c.read("rewards", F32, (long) s.batch * (s.n + 1), Fill.uniform(0, 1));
    }
}
