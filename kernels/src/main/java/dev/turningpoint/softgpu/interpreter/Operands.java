package dev.turningpoint.softgpu.interpreter;

import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.PtxException;
import dev.turningpoint.softgpu.ptx.PtxKernel;
import dev.turningpoint.softgpu.ptx.PtxModule;
import dev.turningpoint.softgpu.ptx.PtxType;
import dev.turningpoint.softgpu.ptx.PtxVariable;
import dev.turningpoint.softgpu.ptx.Register;

import java.util.Arrays;

/**
 * The operands of the instructions of one kernel as raw bits. A source is asked for by the width at which it is read: a wider register gives its low bits.
 * A target takes a value of the width at which it is written: a wider register is filled with zeros, or with the sign where the caller has widened it.
 */
final class Operands {
    private final PtxModule module;
    private final PtxKernel kernel;

    Operands(PtxModule module, PtxKernel kernel) {
        this.module = module;
        this.kernel = kernel;
    }

    PtxException refuse(Instruction i, String why) { return kernel.refusal(i, "is not served by the software GPU", why); }

    static long mask(int bytes) { return bytes >= 8 ? -1 : (1L << bytes * 8) - 1; }

    // ---- sources

    /** Operand {@code n} read as {@code type}. */
    Values source(Instruction i, int n, PtxType type) { return source(i, i.operand(n), type); }

    Values source(Instruction i, Operand o, PtxType type) {
        return switch (o) {
            case Operand.Reg r -> register(r, type.bytes());
            case Operand.Immediate k -> constant(immediate(k, type));
            case Operand.Special s -> special(i, s, type.bytes());
            case Operand.Symbol s -> symbol(i, s.variable(), type.bytes());
            case Operand.Param p -> {
                long[] all = new long[32];
                yield w -> { Arrays.fill(all, w.block.launch.params() + p.param().offset()); return all; };
            }
            default -> throw refuse(i, "operand " + o);
        };
    }

    private static Values register(Operand.Reg r, int bytes) {
        int id = r.register().id();
        PtxType own = r.register().type();
        if (r.negated()) {
            long[] not = new long[32];
            return w -> {
                long[] v = w.registers[id];
                for (int l = 0; l < 32; l++) not[l] = v[l] ^ 1;
                return not;
            };
        }
        if (own.bytes() <= bytes || own == PtxType.PRED) return w -> w.registers[id];
        long mask = mask(bytes);
        long[] low = new long[32];
        return w -> {
            long[] v = w.registers[id];
            for (int l = 0; l < 32; l++) low[l] = v[l] & mask;
            return low;
        };
    }

    static Values constant(long bits) {
        long[] all = new long[32];
        Arrays.fill(all, bits);
        return w -> all;
    }

    /** A literal as bits of a type: an integer keeps its bits, a floating literal is rounded to the type. */
    static long immediate(Operand.Immediate k, PtxType type) {
        long bits = switch (k.kind()) {
            case INTEGER -> k.bits();
            case SINGLE -> type == PtxType.F64 ? Double.doubleToRawLongBits(Float.intBitsToFloat((int) k.bits())) : k.bits();
            case DOUBLE -> type == PtxType.F32 ? Float.floatToRawIntBits((float) Double.longBitsToDouble(k.bits())) : k.bits();
        };
        return type == PtxType.PRED ? bits & 1 : bits & mask(type.bytes());
    }

    private Values symbol(Instruction i, PtxVariable v, int bytes) {
        long at = switch (v.space()) {
            case SHARED -> kernel.sharedOffset(v.name());
            case LOCAL -> v.offset();
            case GLOBAL, CONST -> module.data().address() + v.offset();
            default -> throw refuse(i, "address of " + v.name());
        };
        return constant(at & mask(bytes));
    }

    // ---- special registers

    private interface OfLane { long at(Warp w, int lane); }

    private static Values each(OfLane f, int bytes) {
        long[] v = new long[32];
        long mask = mask(bytes);
        return w -> {
            for (int l = 0; l < 32; l++) v[l] = f.at(w, l) & mask;
            return v;
        };
    }

    private Values special(Instruction i, Operand.Special s, int bytes) {
        OfLane f = switch (s.name()) {
            case "%tid", "%tid.x" -> (w, l) -> w.thread(l) % w.block.launch.blockX();
            case "%tid.y" -> (w, l) -> w.thread(l) / w.block.launch.blockX() % w.block.launch.blockY();
            case "%tid.z" -> (w, l) -> w.thread(l) / (w.block.launch.blockX() * w.block.launch.blockY());
            case "%ntid", "%ntid.x" -> (w, l) -> w.block.launch.blockX();
            case "%ntid.y" -> (w, l) -> w.block.launch.blockY();
            case "%ntid.z" -> (w, l) -> w.block.launch.blockZ();
            case "%ctaid", "%ctaid.x" -> (w, l) -> w.block.x;
            case "%ctaid.y" -> (w, l) -> w.block.y;
            case "%ctaid.z" -> (w, l) -> w.block.z;
            case "%nctaid", "%nctaid.x" -> (w, l) -> w.block.launch.gridX();
            case "%nctaid.y" -> (w, l) -> w.block.launch.gridY();
            case "%nctaid.z" -> (w, l) -> w.block.launch.gridZ();
            case "%laneid" -> (w, l) -> l;
            case "%warpid" -> (w, l) -> w.index;
            case "%nwarpid" -> (w, l) -> w.block.warps.length;
            case "%lanemask_eq" -> (w, l) -> 1L << l;
            case "%lanemask_lt" -> (w, l) -> (1L << l) - 1;
            case "%lanemask_le" -> (w, l) -> (2L << l) - 1;
            case "%lanemask_gt" -> (w, l) -> -(2L << l);
            case "%lanemask_ge" -> (w, l) -> -(1L << l);
            case "%clusterid", "%clusterid.x" -> (w, l) -> w.block.x;   // launched without clusters, each block is one of its own
            case "%clusterid.y" -> (w, l) -> w.block.y;
            case "%clusterid.z" -> (w, l) -> w.block.z;
            case "%nclusterid", "%nclusterid.x" -> (w, l) -> w.block.launch.gridX();
            case "%nclusterid.y" -> (w, l) -> w.block.launch.gridY();
            case "%nclusterid.z" -> (w, l) -> w.block.launch.gridZ();
            case "%envreg1" -> (w, l) -> w.block.launch.workspace() >>> 32;   // the two halves of the address of the grid's workspace
            case "%envreg2" -> (w, l) -> w.block.launch.workspace();
            case "%smid", "%gridid", "%cluster_ctaid", "%cluster_ctaid.x", "%cluster_ctaid.y", "%cluster_ctaid.z",
                 "%cluster_ctarank", "%is_explicit_cluster" -> (w, l) -> 0;
            case "%nsmid", "%cluster_nctarank", "%cluster_nctaid", "%cluster_nctaid.x", "%cluster_nctaid.y", "%cluster_nctaid.z" -> (w, l) -> 1;
            case "%total_smem_size", "%aggr_smem_size" -> (w, l) -> w.block.sharedBytes;
            case "%dynamic_smem_size" -> (w, l) -> w.block.launch.dynamicShared();
            case "%clock", "%clock64", "%globaltimer", "%globaltimer_lo" -> (w, l) -> System.nanoTime();
            case "%clock_hi", "%globaltimer_hi" -> (w, l) -> System.nanoTime() >>> 32;
            default -> throw refuse(i, "special register " + s.name());
        };
        return each(f, bytes);
    }

    // ---- targets

    /** Where results go: the register's lanes, or null if nobody wants them. */
    static Register target(Operand o) { return o instanceof Operand.Reg r ? r.register() : null; }
}
