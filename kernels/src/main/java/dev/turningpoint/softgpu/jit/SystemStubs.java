package dev.turningpoint.softgpu.jit;

import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.PtxKernel;
import dev.turningpoint.softgpu.system.SystemCall;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Upcalls by which compiled code reaches {@link SystemCall}: {@code int f(int64 arguments[n][32], int lanes, int bx, int by, int bz, int thread, int x, int y)}
 * for the lanes of a warp whose first thread is the given one of its block of x by y by z; the first row receives the results. Gives 0 or a fault code.
 */
final class SystemStubs {
    private static final System.Logger LOG = System.getLogger(SystemStubs.class.getName());
    private static final MemorySegment ALL = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);
    private static final Map<SystemCall, Long> ADDRESSES = new ConcurrentHashMap<>();

    private SystemStubs() {}

    static String symbol(SystemCall c) { return "tp_" + c.function(); }

    /** The addresses of those that a kernel calls, by symbol. */
    static Map<String, Long> of(PtxKernel kernel) {
        var all = new TreeMap<String, Long>();
        for (Instruction i : kernel.instructions()) {
            SystemCall c = i.is("call") ? SystemCall.of(((Operand.Label) i.operand(1)).name()) : null;
            if (c != null) all.put(symbol(c), ADDRESSES.computeIfAbsent(c, SystemStubs::stub));
        }
        return all;
    }

    private static long stub(SystemCall c) {
        try {
            var call = MethodHandles.lookup().findStatic(SystemStubs.class, "call",
                    MethodType.methodType(int.class, SystemCall.class, long.class, int.class, int.class, int.class, int.class, int.class, int.class, int.class));
            var i = ValueLayout.JAVA_INT;
            return Linker.nativeLinker().upcallStub(call.bindTo(c), FunctionDescriptor.of(i, ValueLayout.JAVA_LONG, i, i, i, i, i, i, i), Arena.global()).address();
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }

    /** No exception may leave it: that would end the process. */
    private static int call(SystemCall c, long arguments, int lanes, int bx, int by, int bz, int thread, int x, int y) {
        try {
            int fault = CompiledKernel.OK;
            long[] a = new long[c.arguments()];
            for (int rest = lanes; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest), t = thread + l;
                for (int n = 0; n < a.length; n++) a[n] = ALL.get(ValueLayout.JAVA_LONG, arguments + 8L * (32 * n + l));
                fault = Math.max(fault, switch (c.call(a, new SystemCall.Caller(bx, by, bz, t % x, t / x % y, t / (x * y)))) {
                    case DONE -> CompiledKernel.OK;
                    case ASSERTION -> CompiledKernel.ASSERTION;
                    case NO_BLOCK -> CompiledKernel.NO_BLOCK;
                });
                ALL.set(ValueLayout.JAVA_LONG, arguments + 8L * l, a[0]);
            }
            return fault;
        } catch (Throwable e) {
            LOG.log(System.Logger.Level.ERROR, c.function() + " in device code failed", e);
            return CompiledKernel.TRAP;
        }
    }
}
