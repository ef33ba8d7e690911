package dev.turningpoint.softgpu.analysis;

import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.Register;

import java.util.List;
import java.util.function.Consumer;

/** Which registers an instruction writes and reads. */
public final class Effects {
    private Effects() {}

    /** Whether operand 0 is a result. */
    public static boolean hasResult(Instruction i) {
        return switch (i.opcode()) {
            case "st", "bra", "brx", "ret", "exit", "trap", "brkpt", "membar", "fence", "red", "cp", "prefetch", "prefetchu", "nanosleep", "discard",
                 "applypriority", "stmatrix", "pmevent", "griddepcontrol" -> false;
            case "bar", "barrier" -> i.has("red");
            case "wmma" -> !i.has("store");
            case "mbarrier" -> !(i.operand(0) instanceof Operand.Address);
            default -> !i.operands().isEmpty();
        };
    }

    public static void writes(Instruction i, Consumer<Register> to) {
        if (hasResult(i)) registers(i.operand(0), to);
    }

    public static void reads(Instruction i, Consumer<Register> to) {
        if (i.guard() != null) to.accept(i.guard().register());
        List<Operand> o = i.operands();
        for (int k = hasResult(i) ? 1 : 0; k < o.size(); k++) registers(o.get(k), to);
    }

    public static void registers(Operand o, Consumer<Register> to) {
        switch (o) {
            case Operand.Reg r -> to.accept(r.register());
            case Operand.Address a -> registers(a.base(), to);
            case Operand.Vector v -> v.elements().forEach(e -> registers(e, to));
            case Operand.Pair p -> { registers(p.first(), to); registers(p.second(), to); }
            default -> { }
        }
    }
}
