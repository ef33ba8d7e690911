package dev.turningpoint.softgpu.interpreter;

import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.PtxType;
import dev.turningpoint.softgpu.ptx.Register;

import java.util.function.LongBinaryOperator;

/** Operations between the lanes of a warp. When one runs, all living lanes that its mask names are there. */
final class WarpOperations {
    private final Operands operands;

    WarpOperations(Operands operands) { this.operands = operands; }

    Operation operation(Instruction i) {
        return switch (i.opcode()) {
            case "shfl" -> shuffle(i);
            case "vote" -> vote(i);
            case "match" -> match(i);
            case "redux" -> redux(i);
            case "elect" -> elect(i);
            default -> throw operands.refuse(i, "");
        };
    }

    private static void each(Warp w, Register d, int lanes, long v) {
        if (d == null) return;
        for (int rest = lanes; rest != 0; rest &= rest - 1) w.registers[d.id()][Integer.numberOfTrailingZeros(rest)] = v;
    }

    /** A lane whose source is not there keeps its own value; hardware leaves that undefined. */
    private Operation shuffle(Instruction i) {
        Operand first = i.operand(0), second = null;
        if (first instanceof Operand.Pair p) { first = p.first(); second = p.second(); }
        Register d = Operands.target(first), valid = second == null ? null : Operands.target(second);
        Values a = operands.source(i, 1, PtxType.B32), b = operands.source(i, 2, PtxType.B32), c = operands.source(i, 3, PtxType.B32);
        boolean up = i.has("up"), down = i.has("down"), butterfly = i.has("bfly");
        long[] before = new long[32], n = new long[32], limit = new long[32];
        return (w, lanes) -> {
            System.arraycopy(a.of(w), 0, before, 0, 32);
            System.arraycopy(b.of(w), 0, n, 0, 32);
            System.arraycopy(c.of(w), 0, limit, 0, 32);
            for (int rest = lanes; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest), by = (int) n[l] & 31, clamp = (int) limit[l] & 31, segment = (int) (limit[l] >>> 8) & 31;
                int least = l & segment, most = least | clamp & ~segment;
                int j = up ? l - by : down ? l + by : butterfly ? l ^ by : least | by & ~segment;
                boolean inside = up ? j >= most : j <= most;
                if (!inside) j = l;
                if (d != null) w.registers[d.id()][l] = (lanes >>> j & 1) != 0 ? before[j] : before[l];
                if (valid != null) w.registers[valid.id()][l] = inside ? 1 : 0;
            }
        };
    }

    private Operation vote(Instruction i) {
        Register d = Operands.target(i.operand(0));
        Values p = operands.source(i, 1, PtxType.PRED);
        return (w, lanes) -> {
            long[] v = p.of(w);
            int held = 0;
            for (int rest = lanes; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest);
                if (v[l] != 0) held |= 1 << l;
            }
            long r = i.has("ballot") ? held & 0xffffffffL : (i.has("any") ? held != 0 : i.has("all") ? held == lanes : held == lanes || held == 0) ? 1 : 0;
            each(w, d, lanes, r);
        };
    }

    private Operation match(Instruction i) {
        Operand first = i.operand(0), second = null;
        if (first instanceof Operand.Pair q) { first = q.first(); second = q.second(); }
        Register d = Operands.target(first), same = second == null ? null : Operands.target(second);
        Values a = operands.source(i, 1, i.type());
        long[] v = new long[32];
        return (w, lanes) -> {
            System.arraycopy(a.of(w), 0, v, 0, 32);
            if (i.has("all")) {
                boolean equal = true;
                long one = v[Integer.numberOfTrailingZeros(lanes)];
                for (int rest = lanes; rest != 0; rest &= rest - 1) equal &= v[Integer.numberOfTrailingZeros(rest)] == one;
                each(w, d, lanes, equal ? lanes & 0xffffffffL : 0);
                each(w, same, lanes, equal ? 1 : 0);
                return;
            }
            for (int rest = lanes; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest), equal = 0;
                for (int more = lanes; more != 0; more &= more - 1) {
                    int m = Integer.numberOfTrailingZeros(more);
                    if (v[m] == v[l]) equal |= 1 << m;
                }
                if (d != null) w.registers[d.id()][l] = equal & 0xffffffffL;
            }
        };
    }

    private Operation redux(Instruction i) {
        PtxType t = i.type();
        if (t.isFloat()) throw operands.refuse(i, "reductions of floats, of sm_100");
        Register d = Operands.target(i.operand(0));
        Values a = operands.source(i, 1, t);
        LongBinaryOperator f = switch (i.modifiers().get(i.has("sync") ? 1 : 0)) {
            case "add" -> (x, y) -> x + y & 0xffffffffL;
            case "and" -> (x, y) -> x & y;
            case "or" -> (x, y) -> x | y;
            case "xor" -> (x, y) -> x ^ y;
            case "min" -> t.isSigned() ? (x, y) -> (int) x < (int) y ? x : y : Math::min;
            case "max" -> t.isSigned() ? (x, y) -> (int) x < (int) y ? y : x : Math::max;
            default -> throw operands.refuse(i, "");
        };
        return (w, lanes) -> {
            long[] v = a.of(w);
            int first = Integer.numberOfTrailingZeros(lanes);
            long r = v[first];
            for (int rest = lanes & lanes - 1; rest != 0; rest &= rest - 1) r = f.applyAsLong(r, v[Integer.numberOfTrailingZeros(rest)]);
            each(w, d, lanes, r);
        };
    }

    /** One leader of the lanes: the first. */
    private Operation elect(Instruction i) {
        var pair = (Operand.Pair) i.operand(0);
        Register d = Operands.target(pair.first()), p = Operands.target(pair.second());
        return (w, lanes) -> {
            int leader = Integer.numberOfTrailingZeros(lanes);
            each(w, d, lanes, leader);
            each(w, p, lanes, 0);
            each(w, p, 1 << leader, 1);
        };
    }

    Operation activeMask(Instruction i) {
        Register d = Operands.target(i.operand(0));
        return (w, lanes) -> each(w, d, lanes, lanes & 0xffffffffL);
    }

    /** {@code movmatrix}: lane l holds elements (l / 4, 2 (l % 4)) and its right neighbour of an 8 x 8 matrix of 16 bits, before and after. */
    Operation transpose(Instruction i) {
        Register d = Operands.target(i.operand(0));
        Values a = operands.source(i, 1, PtxType.B32);
        long[] v = new long[32];
        return (w, lanes) -> {
            System.arraycopy(a.of(w), 0, v, 0, 32);
            for (int l = 0; l < 32; l++) {
                long r = 0;
                for (int e = 0; e < 2; e++) {
                    int row = 2 * (l % 4) + e, column = l / 4;
                    r |= (v[row * 4 + column / 2] >>> 16 * (column % 2) & 0xffff) << 16 * e;
                }
                w.registers[d.id()][l] = r;
            }
        };
    }
}
