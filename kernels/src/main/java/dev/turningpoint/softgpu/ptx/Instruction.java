package dev.turningpoint.softgpu.ptx;

import java.util.List;
import java.util.Objects;

/** One instruction: guard, opcode with modifiers, operands, and the line it stands on. */
public final class Instruction {
    private final Operand.Reg guard;
    private final String opcode;
    private final List<String> modifiers;
    private final List<Operand> operands;
    private final int line;
    private final SourceLine source;

    public Instruction(Operand.Reg guard, String opcode, List<String> modifiers, List<Operand> operands, int line, SourceLine source) {
        this.guard = guard;
        this.opcode = opcode;
        this.modifiers = List.copyOf(modifiers);
        this.operands = List.copyOf(operands);
        this.line = line;
        this.source = source;
    }

    /** The predicate that must hold, or null. */
    public Operand.Reg guard() { return guard; }
    public String opcode() { return opcode; }
    public List<String> modifiers() { return modifiers; }
    public List<Operand> operands() { return operands; }
    public Operand operand(int i) { return operands.get(i); }
    public int line() { return line; }
    /** The line of CUDA C++ it comes from; null without line information. */
    public SourceLine source() { return source; }

    public boolean is(String op) { return opcode.equals(op); }
    public boolean has(String modifier) { return modifiers.contains(modifier); }

    /** The last modifier read as a type: the type the operation works in (for {@code cvt} the source type). */
    public PtxType type() {
        for (int i = modifiers.size() - 1; i >= 0; i--) {
            PtxType t = PtxType.of(modifiers.get(i));
            if (t != null) return t;
        }
        return null;
    }

    /** All modifiers that are types, in order. */
    public List<PtxType> types() { return modifiers.stream().map(PtxType::of).filter(Objects::nonNull).toList(); }

    /** Opcode with modifiers as written, e.g. {@code ld.global.v4.f32}. */
    public String name() { return modifiers.isEmpty() ? opcode : opcode + "." + String.join(".", modifiers); }

    @Override public String toString() {
        var s = new StringBuilder();
        if (guard != null) s.append('@').append(guard).append(' ');
        s.append(name());
        for (int i = 0; i < operands.size(); i++) s.append(i == 0 ? " " : ", ").append(operands.get(i));
        return s.toString();
    }
}
