package dev.turningpoint.softgpu.interpreter;

import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.PtxType;
import dev.turningpoint.softgpu.ptx.Register;

import java.util.List;

/**
 * A matrix spread over registers of the lanes of a warp. As numbers it is an array of doubles, row by row, which hold every type of a fragment exactly.
 *
 * @param type of an element; those of less than 32 bits share a register, the first in the lowest bits
 * @param size number of elements
 * @param slots elements a lane holds
 * @param layout which element is in which slot
 */
record Fragment(PtxType type, int size, int slots, Layout layout) {
    /** Index, row by row, of the element in a lane's slot. */
    interface Layout { int element(int lane, int slot); }

    /** A factor A[m, k] of {@code mma}: register r of lane l holds the row l / 4 of the rows from 8 (r % (m / 8)), its k from the lane's place in the quad. */
    static Fragment left(PtxType t, int m, int k) {
        int per = perRegister(t), tiles = m / 8;
        return new Fragment(t, m * k, m * k / 32, (l, s) -> {
            int r = s / per;
            return (l / 4 + 8 * (r % tiles)) * k + per * (4 * (r / tiles) + l % 4) + s % per;
        });
    }

    /** A factor B[k, n = 8] of {@code mma}: lane l holds of column l / 4 what it would hold of a row of A. */
    static Fragment right(PtxType t, int k) {
        int per = perRegister(t);
        return new Fragment(t, k * 8, k * 8 / 32, (l, s) -> (per * (4 * (s / per) + l % 4) + s % per) * 8 + l / 4);
    }

    /** C or D[m, 8] of {@code mma}: a lane holds two neighbours of row l / 4 and of the row 8 below. */
    static Fragment sum(PtxType t, int m) {
        return new Fragment(t, m * 8, m * 8 / 32, (l, s) -> (l / 4 + 8 * (s / 2)) * 8 + 2 * (l % 4) + s % 2);
    }

    /** A fragment of {@code wmma}, whose layout PTX leaves open: neighbours lie in neighbouring lanes; where there are more slots than elements, each is held several times. */
    static Fragment spread(PtxType t, int size, int registers) {
        return new Fragment(t, size, registers * perRegister(t), (l, s) -> (32 * s + l) % size);
    }

    static int perRegister(PtxType t) { return Math.max(1, 4 / t.bytes()); }

    int registers() { return Math.max(1, slots / perRegister(type)); }

    /** Type of the registers. */
    PtxType held() { return type == PtxType.F64 ? PtxType.B64 : PtxType.B32; }

    void read(Warp w, Values[] from, double[] to) {
        int per = perRegister(type);
        long mask = Operands.mask(type.bytes());
        for (int s = 0; s < slots; s++) {
            long[] v = from[s / per].of(w);
            for (int l = 0; l < 32; l++) to[layout.element(l, s)] = number(v[l] >>> type.bits() * (s % per) & mask);
        }
    }

    /** Of tf32 the hardware reads the upper 19 bits. */
    private double number(long bits) {
        if (type == PtxType.TF32) return Float.intBitsToFloat((int) bits & ~0x1fff);
        return type.isFloat() ? Rounding.value(bits, type) : Arithmetic.number(bits, type);
    }

    /** @param clamp integers out of range become the nearest, else they wrap around */
    void write(Warp w, List<Operand> to, double[] from, boolean clamp) {
        int per = perRegister(type);
        for (int r = 0; r < to.size(); r++) {
            Register d = Operands.target(to.get(r));
            if (d == null) continue;
            for (int l = 0; l < 32; l++) {
                long v = 0;
                for (int e = 0; e < per; e++) v |= bits(from[layout.element(l, r * per + e)], clamp) << type.bits() * e;
                w.registers[d.id()][l] = v;
            }
        }
    }

    private long bits(double v, boolean clamp) {
        if (type.isFloat()) return Rounding.bits(Rounding.round(v, Rounding.format(type), Rounding.Mode.RN), type);
        return (clamp ? (int) v : (int) (long) v) & 0xffffffffL;
    }
}
