package dev.turningpoint.softgpu.ptx;

import java.util.List;

/** An operand of an instruction. */
public sealed interface Operand {
    /** The elements of a vector; of any other operand itself alone. */
    default List<Operand> elements() { return List.of(this); }

    /** A register, possibly a predicate taken negated ({@code !%p1}). */
    record Reg(Register register, boolean negated) implements Operand {
        @Override public String toString() { return (negated ? "!" : "") + register; }
    }

    /** A literal; {@code bits} holds the integer, or the IEEE bits of a single ({@code 0f}) or double ({@code 0d}, decimal). */
    record Immediate(long bits, Kind kind) implements Operand {
        public enum Kind { INTEGER, SINGLE, DOUBLE }
        @Override public String toString() { return kind == Kind.INTEGER ? Long.toString(bits) : "0x" + Long.toHexString(bits); }
    }

    /** A special register such as {@code %tid.x}. */
    record Special(String name) implements Operand {
        @Override public String toString() { return name; }
    }

    /** The address of a variable, in its own space. */
    record Symbol(PtxVariable variable) implements Operand {
        @Override public String toString() { return variable.name(); }
    }

    /** The address of a parameter. */
    record Param(PtxParam param) implements Operand {
        @Override public String toString() { return param.name(); }
    }

    /** {@code [base+offset]}; the base is a register, symbol, parameter or literal. */
    record Address(Operand base, long offset) implements Operand {
        @Override public String toString() { return "[" + base + (offset == 0 ? "" : "+" + offset) + "]"; }
    }

    /** {@code {a, b, ...}}. */
    record Vector(List<Operand> elements) implements Operand {
        @Override public String toString() { return elements.toString().replace('[', '{').replace(']', '}'); }
    }

    /** {@code d|p}: two results. */
    record Pair(Operand first, Operand second) implements Operand {
        @Override public String toString() { return first + "|" + second; }
    }

    /** A branch target or a table of them. */
    record Label(String name) implements Operand {
        @Override public String toString() { return name; }
    }

    /** {@code _}: a result nobody wants. */
    record Sink() implements Operand {
        @Override public String toString() { return "_"; }
    }
}
