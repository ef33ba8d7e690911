package dev.turningpoint.softgpu.system;

import java.io.ByteArrayOutputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

/**
 * {@code vprintf} of device code. The arguments lie one after the other, each at a multiple of its size: int and narrower as 4 bytes, long and pointers as 8,
 * floats as doubles. Each conversion is the C library's own, as it is with CUDA.
 */
final class Printf {
    private static final MemorySegment ALL = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);
    private static final MethodHandle WITH_LONG = snprintf(JAVA_LONG), WITH_DOUBLE = snprintf(JAVA_DOUBLE);

    private static MethodHandle snprintf(MemoryLayout argument) {
        Linker linker = Linker.nativeLinker();
        return linker.downcallHandle(linker.defaultLookup().findOrThrow("snprintf"), FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG, ADDRESS, argument), Linker.Option.firstVariadicArg(3));
    }

    private final byte[] format;
    private long at;
    private int arguments;
    private final ByteArrayOutputStream out = new ByteArrayOutputStream();

    /** @param arguments address of the packed arguments, 0 if there are none */
    Printf(long format, long arguments) {
        this.format = bytes(format);
        this.at = arguments;
    }

    /** Bytes before the terminating zero. */
    static byte[] bytes(long address) {
        int n = 0;
        while (ALL.get(ValueLayout.JAVA_BYTE, address + n) != 0) n++;
        return ALL.asSlice(address, n).toArray(ValueLayout.JAVA_BYTE);
    }

    /** Conversions done; what device code's printf returns. */
    int arguments() { return arguments; }

    byte[] text() {
        try (Arena a = Arena.ofConfined()) {
            int i = 0;
            while (i < format.length) {
                int end = format[i] == '%' ? conversion(i) : i;
                if (end == i) { out.write(format[i++]); continue; }
                convert(a, i, end);
                i = end;
            }
        }
        return out.toByteArray();
    }

    /** Where the conversion that begins here ends, or the beginning if it is none. */
    private int conversion(int from) {
        int i = from + 1;
        while (i < format.length && "-+ #0123456789.*hljzt".indexOf(format[i]) >= 0) i++;
        return i < format.length && "%cdiouxXpeEfFgGaAs".indexOf(format[i]) >= 0 ? i + 1 : from;
    }

    private long next(int bytes) {
        at = (at + bytes - 1) / bytes * bytes;
        long v = bytes == 4 ? ALL.get(JAVA_INT, at) : ALL.get(JAVA_LONG, at);
        at += bytes;
        return v;
    }

    private void convert(Arena a, int from, int to) {
        char kind = (char) format[to - 1];
        if (kind == '%') { out.write('%'); return; }
        var spec = new StringBuilder();
        boolean wide = "psaAeEfFgG".indexOf(kind) >= 0;
        for (int i = from; i < to; i++) {
            if (format[i] == '*') spec.append(next(4));
            else spec.append((char) format[i]);
            wide |= "ljzt".indexOf(format[i]) >= 0;
        }
        long v = next(wide ? 8 : 4);
        arguments++;
        boolean real = "aAeEfFgG".indexOf(kind) >= 0;
        MemorySegment text = a.allocateFrom(spec.toString());
        int n = snprintf(MemorySegment.NULL, 0, text, v, real);
        if (n < 0) return;
        MemorySegment into = a.allocate(n + 1L);
        snprintf(into, n + 1L, text, v, real);
        out.writeBytes(into.asSlice(0, n).toArray(ValueLayout.JAVA_BYTE));
    }

    private static int snprintf(MemorySegment into, long size, MemorySegment format, long v, boolean real) {
        try {
            return real ? (int) WITH_DOUBLE.invokeExact(into, size, format, Double.longBitsToDouble(v)) : (int) WITH_LONG.invokeExact(into, size, format, v);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }
}
