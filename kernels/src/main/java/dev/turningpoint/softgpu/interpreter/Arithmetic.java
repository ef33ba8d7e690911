package dev.turningpoint.softgpu.interpreter;

import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.PtxType;
import dev.turningpoint.softgpu.ptx.Register;

import java.math.BigInteger;
import java.util.List;

/** Integers, bits, comparisons, selections and moves. Floating arithmetic is {@link FloatArithmetic}'s, conversions are {@link Conversions}'. */
final class Arithmetic {
    interface Unary { long of(long a); }
    interface Binary { long of(long a, long b); }
    interface Ternary { long of(long a, long b, long c); }

    private Arithmetic() {}

    static Operation operation(Instruction i, Operands o) {
        PtxType t = i.type();
        if (t == null) throw o.refuse(i, "");
        return switch (i.opcode()) {
            case "mov" -> move(i, o, t);
            case "cvt" -> Conversions.operation(i, o);
            case "setp", "set" -> compare(i, o);
            case "selp" -> ternary(i, o, t, t, t, PtxType.PRED, (a, b, p) -> p != 0 ? a : b);
            case "slct" -> {
                PtxType c = t, v = i.types().get(0);
                yield ternary(i, o, v, v, v, c, c == PtxType.F32 ? (a, b, x) -> flush(Float.intBitsToFloat((int) x), i) >= 0 ? a : b : (a, b, x) -> (int) x >= 0 ? a : b);
            }
            case "and" -> binary(i, o, t, t, t, (a, b) -> a & b);
            case "or" -> binary(i, o, t, t, t, (a, b) -> a | b);
            case "xor" -> binary(i, o, t, t, t, (a, b) -> a ^ b);
            case "not" -> unary(i, o, t, t, a -> ~a);
            case "cnot" -> unary(i, o, t, t, a -> a == 0 ? 1 : 0);
            default -> t.isFloat() ? FloatArithmetic.operation(i, o, t) : integer(i, o, t);
        };
    }

    private static float flush(float v, Instruction i) { return i.has("ftz") && Math.abs(v) < Float.MIN_NORMAL ? Math.copySign(0f, v) : v; }

    // ---- lane by lane

    /** Bits a result leaves in a register: those of the type, a predicate one. */
    private static long kept(PtxType t) { return t == PtxType.PRED ? 1 : Operands.mask(t.bytes()); }

    static Operation unary(Instruction i, Operands o, PtxType d, PtxType a, Unary f) {
        Values x = o.source(i, 1, a);
        Register to = Operands.target(i.operand(0));
        if (to == null) return (w, lanes) -> { };
        long keep = kept(d);
        return (w, lanes) -> {
            long[] p = x.of(w), r = w.registers[to.id()];
            for (int rest = lanes; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest);
                r[l] = f.of(p[l]) & keep;
            }
        };
    }

    static Operation binary(Instruction i, Operands o, PtxType d, PtxType a, PtxType b, Binary f) {
        Values x = o.source(i, 1, a), y = o.source(i, 2, b);
        Register to = Operands.target(i.operand(0));
        if (to == null) return (w, lanes) -> { };
        long keep = kept(d);
        return (w, lanes) -> {
            long[] p = x.of(w), q = y.of(w), r = w.registers[to.id()];
            for (int rest = lanes; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest);
                r[l] = f.of(p[l], q[l]) & keep;
            }
        };
    }

    static Operation ternary(Instruction i, Operands o, PtxType d, PtxType a, PtxType b, PtxType c, Ternary f) {
        Values x = o.source(i, 1, a), y = o.source(i, 2, b), z = o.source(i, 3, c);
        Register to = Operands.target(i.operand(0));
        if (to == null) return (w, lanes) -> { };
        long keep = kept(d);
        return (w, lanes) -> {
            long[] p = x.of(w), q = y.of(w), s = z.of(w), r = w.registers[to.id()];
            for (int rest = lanes; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest);
                r[l] = f.of(p[l], q[l], s[l]) & keep;
            }
        };
    }

    // ---- moves

    private static Operation move(Instruction i, Operands o, PtxType t) {
        if (i.operand(1) instanceof Operand.Vector v) return pack(i, o, t, v.elements());
        if (i.operand(0) instanceof Operand.Vector v) return unpack(i, o, t, v.elements());
        if (t == PtxType.B128) {
            Register d = Operands.target(i.operand(0)), s = Operands.target(i.operand(1));
            return (w, lanes) -> {
                for (int rest = lanes; rest != 0; rest &= rest - 1) {
                    int l = Integer.numberOfTrailingZeros(rest);
                    w.registers[d.id()][l] = w.registers[s.id()][l];
                    w.high[d.id()][l] = w.high[s.id()][l];
                }
            };
        }
        return unary(i, o, t, t, a -> a);
    }

    private static Operation pack(Instruction i, Operands o, PtxType t, List<Operand> parts) {
        Register d = Operands.target(i.operand(0));
        int bits = t.bits() / parts.size();
        var values = new Values[parts.size()];
        for (int n = 0; n < values.length; n++) values[n] = o.source(i, parts.get(n), integer(bits));
        long[][] read = new long[values.length][32];
        return (w, lanes) -> {
            for (int n = 0; n < values.length; n++) System.arraycopy(values[n].of(w), 0, read[n], 0, 32);
            for (int rest = lanes; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest);
                if (t == PtxType.B128) {
                    long[] halves = new long[2];
                    for (int n = 0; n < values.length; n++) halves[n * bits / 64] |= read[n][l] << n * bits % 64;
                    w.registers[d.id()][l] = halves[0];
                    w.high[d.id()][l] = halves[1];
                    continue;
                }
                long v = 0;
                for (int n = 0; n < values.length; n++) v |= read[n][l] << n * bits;
                w.registers[d.id()][l] = v;
            }
        };
    }

    private static Operation unpack(Instruction i, Operands o, PtxType t, List<Operand> parts) {
        int bits = t.bits() / parts.size();
        Register wide = t == PtxType.B128 ? Operands.target(i.operand(1)) : null;
        Values from = wide == null ? o.source(i, 1, t) : w -> w.registers[wide.id()];
        long[] low = new long[32], high = new long[32];
        return (w, lanes) -> {
            System.arraycopy(from.of(w), 0, low, 0, 32);
            if (wide != null) System.arraycopy(w.high[wide.id()], 0, high, 0, 32);
            for (int n = 0; n < parts.size(); n++) {
                Register d = Operands.target(parts.get(n));
                if (d == null) continue;
                for (int rest = lanes; rest != 0; rest &= rest - 1) {
                    int l = Integer.numberOfTrailingZeros(rest);
                    long half = n * bits >= 64 ? high[l] : low[l];
                    w.registers[d.id()][l] = half >>> n * bits % 64 & Operands.mask(bits / 8);
                }
            }
        };
    }

    private static PtxType integer(int bits) {
        return switch (bits) { case 8 -> PtxType.B8; case 16 -> PtxType.B16; case 32 -> PtxType.B32; default -> PtxType.B64; };
    }

    // ---- comparisons

    private interface Test { boolean of(long a, long b); }

    private static Operation compare(Instruction i, Operands o) {
        List<PtxType> types = i.types();
        PtxType t = types.get(types.size() - 1);
        if (t == PtxType.F16X2 || t == PtxType.BF16X2) return comparePacked(i, o, t, types.get(0));
        Test test = test(i, o, t);
        String logic = null;
        for (String m : i.modifiers()) if (m.equals("and") || m.equals("or") || m.equals("xor")) logic = m;
        String combine = logic;
        Values a = o.source(i, 1, t), b = o.source(i, 2, t), c = logic == null ? null : o.source(i, 3, PtxType.PRED);
        Operand first = i.operand(0), second = null;
        if (first instanceof Operand.Pair p) { first = p.first(); second = p.second(); }
        Register yes = Operands.target(first), no = second == null ? null : Operands.target(second);
        PtxType result = types.get(0);
        long truth = i.is("setp") ? 1 : result.isFloat() ? Rounding.bits(1, result) : Operands.mask(result.bytes());
        long[] with = new long[32];
        return (w, lanes) -> {
            long[] x = a.of(w), y = b.of(w);
            if (c != null) System.arraycopy(c.of(w), 0, with, 0, 32);
            for (int rest = lanes; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest);
                boolean r = test.of(x[l], y[l]), z = with[l] != 0;
                if (yes != null) w.registers[yes.id()][l] = combined(r, z, combine) ? truth : 0;
                if (no != null) w.registers[no.id()][l] = combined(!r, z, combine) ? truth : 0;
            }
        };
    }

    /** Both halves apart: two predicates, or in each half of the result ones, or 1.0. */
    private static Operation comparePacked(Instruction i, Operands o, PtxType t, PtxType result) {
        if (i.operands().size() > 3) throw o.refuse(i, "with a third operand");
        PtxType one = t == PtxType.F16X2 ? PtxType.F16 : PtxType.BF16;
        Test test = test(i, o, one);
        if (i.is("set")) {
            long truth = result.isFloat() ? Rounding.bits(1, one) : 0xffff;
            return binary(i, o, PtxType.B32, PtxType.B32, PtxType.B32, (a, b) ->
                    (test.of(a & 0xffff, b & 0xffff) ? truth : 0) | (test.of(a >>> 16, b >>> 16) ? truth << 16 : 0));
        }
        if (!(i.operand(0) instanceof Operand.Pair p)) throw o.refuse(i, "");
        Register low = Operands.target(p.first()), high = Operands.target(p.second());
        Values a = o.source(i, 1, PtxType.B32), b = o.source(i, 2, PtxType.B32);
        return (w, lanes) -> {
            long[] x = a.of(w), y = b.of(w);
            for (int rest = lanes; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest);
                if (low != null) w.registers[low.id()][l] = test.of(x[l] & 0xffff, y[l] & 0xffff) ? 1 : 0;
                if (high != null) w.registers[high.id()][l] = test.of(x[l] >>> 16, y[l] >>> 16) ? 1 : 0;
            }
        };
    }

    private static boolean combined(boolean r, boolean c, String logic) {
        return logic == null ? r : switch (logic) { case "and" -> r && c; case "or" -> r || c; default -> r ^ c; };
    }

    private static Test test(Instruction i, Operands o, PtxType t) {
        String cmp = i.modifiers().get(0);
        if (t.isFloat()) {
            boolean ftz = i.has("ftz");
            return (p, q) -> {
                double a = FloatArithmetic.read(p, t, ftz), b = FloatArithmetic.read(q, t, ftz);
                boolean nan = a != a || b != b;
                return switch (cmp) {
                    case "eq" -> a == b; case "ne" -> !nan && a != b; case "lt" -> a < b; case "le" -> a <= b; case "gt" -> a > b; case "ge" -> a >= b;
                    case "equ" -> nan || a == b; case "neu" -> nan || a != b; case "ltu" -> nan || a < b; case "leu" -> nan || a <= b; case "gtu" -> nan || a > b;
                    case "geu" -> nan || a >= b; case "num" -> !nan; case "nan" -> nan;
                    default -> throw o.refuse(i, "comparison " + cmp);
                };
            };
        }
        boolean signed = t.isSigned() && !cmp.equals("lo") && !cmp.equals("ls") && !cmp.equals("hi") && !cmp.equals("hs");
        int unused = t == PtxType.PRED ? 0 : 64 - t.bits();
        return (p, q) -> {
            int order = signed ? Long.compare(p << unused, q << unused) : Long.compareUnsigned(p, q);
            return switch (cmp) {
                case "eq" -> order == 0; case "ne" -> order != 0; case "lt", "lo" -> order < 0; case "le", "ls" -> order <= 0; case "gt", "hi" -> order > 0; case "ge", "hs" -> order >= 0;
                default -> throw o.refuse(i, "comparison " + cmp);
            };
        };
    }

    // ---- integers

    /** The number that the bits of an integer type stand for, in a long; of u64 the same bits. */
    static long number(long bits, PtxType t) {
        int unused = 64 - t.bits();
        return t.isSigned() ? bits << unused >> unused : bits;
    }

    private static Operation integer(Instruction i, Operands o, PtxType t) {
        boolean signed = t.isSigned();
        int bits = t.bits();
        return switch (i.opcode()) {
            case "add", "addc", "sub", "subc" -> sum(i, o, t);
            case "mul", "mad", "madc" -> product(i, o, t);
            case "mul24" -> binary(i, o, t, t, t, (a, b) -> product24(i, a, b, signed));
            case "mad24" -> {
                if (!i.has("sat")) yield ternary(i, o, t, t, t, t, (a, b, c) -> product24(i, a, b, signed) + c);
                if (!i.has("hi") || t != PtxType.S32) throw o.refuse(i, "");
                yield ternary(i, o, t, t, t, t, (a, b, c) -> Math.clamp(product24(i, a, b, true) + number(c, t), Integer.MIN_VALUE, Integer.MAX_VALUE));
            }
            case "sad" -> ternary(i, o, t, t, t, t, (a, b, c) -> {
                boolean less = signed ? number(a, t) < number(b, t) : Long.compareUnsigned(a, b) < 0;
                return c + (less ? b - a : a - b);
            });
            case "div", "rem" -> {
                boolean rem = i.is("rem");
                yield binary(i, o, t, t, t, (a, b) -> {
                    if (b == 0) return rem ? a : -1;   // as hardware does
                    if (!signed) return rem ? Long.remainderUnsigned(a, b) : Long.divideUnsigned(a, b);
                    long x = number(a, t), y = number(b, t);
                    return rem ? x % y : x / y;
                });
            }
            case "abs" -> unary(i, o, t, t, a -> Math.abs(number(a, t)));
            case "neg" -> unary(i, o, t, t, a -> -a);
            case "min", "max" -> {
                if (i.has("relu")) throw o.refuse(i, "");
                boolean least = i.is("min");
                yield binary(i, o, t, t, t, (a, b) -> {
                    boolean less = signed ? number(a, t) < number(b, t) : Long.compareUnsigned(a, b) < 0;
                    return less == least ? a : b;
                });
            }
            case "popc" -> unary(i, o, PtxType.U32, t, Long::bitCount);
            case "clz" -> unary(i, o, PtxType.U32, t, a -> Long.numberOfLeadingZeros(a) - (64 - bits));
            case "brev" -> unary(i, o, t, t, a -> Long.reverse(a) >>> 64 - bits);
            case "bfind" -> unary(i, o, PtxType.U32, t, a -> {
                long v = signed && number(a, t) < 0 ? ~number(a, t) : a;
                if (v == 0) return -1;
                int high = 63 - Long.numberOfLeadingZeros(v);
                return i.has("shiftamt") ? bits - 1 - high : high;
            });
            case "fns" -> ternary(i, o, PtxType.U32, PtxType.U32, PtxType.U32, PtxType.S32, Arithmetic::findBit);
            case "shl" -> binary(i, o, t, t, PtxType.U32, (a, n) -> n >= bits ? 0 : a << n);
            case "shr" -> binary(i, o, t, t, PtxType.U32, (a, n) -> signed ? number(a, t) >> Math.min(n, bits - 1) : n >= bits ? 0 : a >>> n);
            case "shf" -> ternary(i, o, t, t, t, PtxType.U32, (lo, hi, n) -> {
                long by = i.has("wrap") ? n & 31 : Math.min(n, 32), both = hi << 32 | lo;
                return i.has("l") ? both << by >>> 32 : both >>> by;
            });
            case "bfe" -> ternary(i, o, t, t, PtxType.U32, PtxType.U32, (a, p, n) -> {
                int pos = (int) p & 255, len = (int) n & 255;
                boolean sign = signed && len != 0 && (a >>> Math.min(pos + len - 1, bits - 1) & 1) != 0;
                long r = 0;
                for (int k = 0; k < bits; k++) {
                    boolean one = k < len && pos + k < bits ? (a >>> pos + k & 1) != 0 : sign;
                    if (one) r |= 1L << k;
                }
                return r;
            });
            case "bfi" -> {
                Values a = o.source(i, 1, t), b = o.source(i, 2, t), p = o.source(i, 3, PtxType.U32), n = o.source(i, 4, PtxType.U32);
                Register d = Operands.target(i.operand(0));
                yield (w, lanes) -> {
                    long[] from = a.of(w), into = b.of(w), at = p.of(w), length = n.of(w);
                    for (int rest = lanes; rest != 0; rest &= rest - 1) {
                        int l = Integer.numberOfTrailingZeros(rest), pos = (int) at[l] & 255, len = (int) length[l] & 255;
                        long r = into[l];
                        for (int k = 0; k < len && pos + k < bits; k++) r = r & ~(1L << pos + k) | (from[l] >>> k & 1) << pos + k;
                        w.registers[d.id()][l] = r;
                    }
                };
            }
            case "prmt" -> ternary(i, o, t, t, t, PtxType.U32, (a, b, c) -> permuted(i, b << 32 | a, (int) c));
            case "lop3" -> logic3(i, o, t);
            case "dp4a" -> {
                List<PtxType> types = i.types();
                boolean sa = types.get(0).isSigned(), sb = types.get(1).isSigned();
                yield ternary(i, o, PtxType.U32, PtxType.B32, PtxType.B32, PtxType.B32, (a, b, c) -> {
                    long sum = c;
                    for (int k = 0; k < 32; k += 8) sum += (sa ? (byte) (a >> k) : a >> k & 0xff) * (sb ? (byte) (b >> k) : b >> k & 0xff);
                    return sum;
                });
            }
            case "dp2a" -> {
                List<PtxType> types = i.types();
                boolean sa = types.get(0).isSigned(), sb = types.get(1).isSigned();
                int high = i.has("hi") ? 16 : 0;
                yield ternary(i, o, PtxType.U32, PtxType.B32, PtxType.B32, PtxType.B32, (a, b, c) -> {
                    long sum = c;
                    for (int k = 0; k < 2; k++) sum += (sa ? (short) (a >> 16 * k) : a >> 16 * k & 0xffff) * (sb ? (byte) (b >> high + 8 * k) : b >> high + 8 * k & 0xff);
                    return sum;
                });
            }
            case "bmsk" -> binary(i, o, t, PtxType.U32, PtxType.U32, (pos, len) -> {
                long from = bits32(i, pos), to = from + bits32(i, len), r = 0;
                for (long k = from; k < Math.min(to, 32); k++) r |= 1L << k;
                return r;
            });
            case "szext" -> binary(i, o, t, t, PtxType.U32, (a, n) -> {
                long len = bits32(i, n);
                boolean sign = signed && len > 0 && (a >>> len - 1 & 1) != 0;
                long field = a & (1L << len) - 1;
                return sign ? field | -1L << len : field;
            });
            default -> throw o.refuse(i, "");
        };
    }

    /** A position or width in 32 bits: its low five bits, or 32 for everything above. */
    private static long bits32(Instruction i, long n) { return i.has("wrap") ? n & 31 : Math.min(n & 0xffffffffL, 32); }

    private static long product24(Instruction i, long a, long b, boolean signed) {
        long x = signed ? a << 40 >> 40 : a & 0xffffff, y = signed ? b << 40 >> 40 : b & 0xffffff;
        return i.has("hi") ? x * y >> 16 : x * y;
    }

    /** Sums with saturation, or with the carry flag: {@code .cc} writes it, {@code addc} and {@code subc} (as a borrow) read it. */
    private static Operation sum(Instruction i, Operands o, PtxType t) {
        boolean minus = i.opcode().startsWith("sub"), reads = i.opcode().endsWith("c"), writes = i.has("cc");
        int unused = 64 - t.bits();
        if (!reads && !writes) {
            if (!i.has("sat")) return minus ? binary(i, o, t, t, t, (a, b) -> a - b) : binary(i, o, t, t, t, Long::sum);
            return binary(i, o, t, t, t, (a, b) -> {
                long r = minus ? number(a, t) - number(b, t) : number(a, t) + number(b, t);
                return t.isSigned() ? Math.max(-1L << t.bits() - 1, Math.min((1L << t.bits() - 1) - 1, r)) : Math.max(0, Math.min(Operands.mask(t.bytes()), r));
            });
        }
        Values a = o.source(i, 1, t), b = o.source(i, 2, t);
        Register d = Operands.target(i.operand(0));
        return (w, lanes) -> {
            long[] x = a.of(w), y = b.of(w);
            for (int rest = lanes; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest);
                // a - b = a + ~b + 1: the flag is the carry of that, set where nothing is borrowed; nvcc's division reads it with addc
                long p = x[l] << unused >>> unused, q = (minus ? ~y[l] : y[l]) << unused >>> unused, in = reads ? w.carry[l] : minus ? 1 : 0;
                BigInteger s = unsigned(p).add(unsigned(q)).add(BigInteger.valueOf(in));
                if (d != null) w.registers[d.id()][l] = s.longValue() & Operands.mask(t.bytes());
                if (writes) w.carry[l] = s.testBit(t.bits()) ? 1 : 0;
            }
        };
    }

    private static BigInteger unsigned(long v) {
        BigInteger b = BigInteger.valueOf(v);
        return v < 0 ? b.add(BigInteger.ONE.shiftLeft(64)) : b;
    }

    private static Operation product(Instruction i, Operands o, PtxType t) {
        boolean adds = !i.is("mul"), wide = i.has("wide"), high = i.has("hi"), reads = i.is("madc"), writes = i.has("cc");
        PtxType d = wide ? t.bytes() == 2 ? t.isSigned() ? PtxType.S32 : PtxType.U32 : t.isSigned() ? PtxType.S64 : PtxType.U64 : t;
        if (wide && t.bytes() == 8) throw o.refuse(i, "");
        if (i.has("sat")) {
            if (!adds || !high || t != PtxType.S32) throw o.refuse(i, "");
            return ternary(i, o, t, t, t, t, (a, b, c) -> Math.clamp((number(a, t) * number(b, t) >> 32) + number(c, t), Integer.MIN_VALUE, Integer.MAX_VALUE));
        }
        if (!reads && !writes) {
            Binary f = !high ? (a, b) -> number(a, t) * number(b, t)
                    : t.bytes() < 8 ? (a, b) -> number(a, t) * number(b, t) >> t.bits()
                    : t.isSigned() ? Math::multiplyHigh : Math::unsignedMultiplyHigh;
            return adds ? ternary(i, o, d, t, t, d, (a, b, c) -> f.of(a, b) + c) : binary(i, o, d, t, t, f);
        }
        Values a = o.source(i, 1, t), b = o.source(i, 2, t), c = o.source(i, 3, t);
        Register to = Operands.target(i.operand(0));
        return (w, lanes) -> {
            long[] x = a.of(w), y = b.of(w), z = c.of(w);
            for (int rest = lanes; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest);
                BigInteger p = t.isSigned() ? BigInteger.valueOf(number(x[l], t)).multiply(BigInteger.valueOf(number(y[l], t))) : unsigned(x[l]).multiply(unsigned(y[l]));
                if (high) p = p.shiftRight(t.bits());
                BigInteger s = unsigned(p.longValue() & Operands.mask(t.bytes())).add(unsigned(z[l])).add(BigInteger.valueOf(reads ? w.carry[l] : 0));
                w.registers[to.id()][l] = s.longValue() & Operands.mask(t.bytes());
                if (writes) w.carry[l] = s.testBit(t.bits()) ? 1 : 0;
            }
        };
    }

    /** {@code fns}: the place of the n-th set bit from a place on, upwards or, if n is negative, downwards; of n = 0 that place itself. */
    private static long findBit(long mask, long from, long count) {
        int n = (int) count, at = (int) from & 31, step = n < 0 ? -1 : 1;
        if (n == 0) return (mask >>> at & 1) != 0 ? at : 0xffffffffL;
        for (int left = Math.abs(n); at >= 0 && at < 32; at += step)
            if ((mask >>> at & 1) != 0 && --left == 0) return at;
        return 0xffffffffL;
    }

    private static long permuted(Instruction i, long bytes, int c) {
        long r = 0;
        int n = c & 3;
        for (int k = 0; k < 4; k++) {
            int from = i.has("f4e") ? n + k : i.has("b4e") ? n - k & 7 : i.has("rc8") ? n : i.has("ecl") ? Math.max(k, n) : i.has("ecr") ? Math.min(k, n)
                    : i.has("rc16") ? (n & 1) * 2 + (k & 1) : c >>> 4 * k & 15;
            long b = bytes >>> (from & 7) * 8 & 0xff;
            if ((from & 8) != 0) b = (b & 0x80) != 0 ? 0xff : 0;
            r |= b << 8 * k;
        }
        return r;
    }

    private static Operation logic3(Instruction i, Operands o, PtxType t) {
        int table = (int) ((Operand.Immediate) i.operand(4)).bits();
        Ternary f = (a, b, c) -> {
            long r = 0;
            for (int k = 0; k < 8; k++) if ((table >>> k & 1) != 0) r |= ((k & 4) != 0 ? a : ~a) & ((k & 2) != 0 ? b : ~b) & ((k & 1) != 0 ? c : ~c);
            return r;
        };
        if (!(i.operand(0) instanceof Operand.Pair both)) return ternary(i, o, t, t, t, t, f);
        // the predicate tells whether anything is left, and or or with another
        Values x = o.source(i, 1, t), y = o.source(i, 2, t), z = o.source(i, 3, t), q = o.source(i, 5, PtxType.PRED);
        Register d = Operands.target(both.first()), p = Operands.target(both.second());
        boolean and = i.has("and");
        return (w, lanes) -> {
            long[] a = x.of(w), b = y.of(w), c = z.of(w), other = q.of(w);
            for (int rest = lanes; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest);
                long r = f.of(a[l], b[l], c[l]) & Operands.mask(t.bytes()), any = r != 0 ? 1 : 0;
                any = and ? any & other[l] : any | other[l];
                if (d != null) w.registers[d.id()][l] = r;
                if (p != null) w.registers[p.id()][l] = any;
            }
        };
    }
}
