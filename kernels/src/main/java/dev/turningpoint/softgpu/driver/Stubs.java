package dev.turningpoint.softgpu.driver;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;

/**
 * C functions made of the static methods of a class whose names start with a prefix: each becomes an upcall stub when it is first asked for.
 *
 * <p>A method's Java types are its C types: int for 32-bit integers and enums, long for 64-bit integers, sizes, handles and every pointer, float for float.
 * (Pointers as long: C passes both alike, and no segment is made per call.) No exception leaves a stub, since that would end the process:
 * {@link DriverLog#failed} turns it into the result of an int function, 0 of any other. An {@link Interception} may answer int functions in their place.
 */
public final class Stubs implements SymbolLookup {
    private final Map<String, Method> methods = new TreeMap<>();
    private final Map<String, MemorySegment> stubs = new ConcurrentHashMap<>();
    private final int unknown;
    private static volatile Interception interception;

    public Stubs(Class<?> functions, String prefix) {
        unknown = functions == DriverFunctions.class ? Code.UNKNOWN.value : CublasLtFunctions.INTERNAL_ERROR;
        for (Method m : functions.getDeclaredMethods())
            if (Modifier.isStatic(m.getModifiers()) && m.getName().startsWith(prefix)) methods.put(m.getName(), m);
    }

    /** Puts something before every call from now on, those of all libraries; null takes it away. */
    public static void intercept(Interception before) {
        interception = before;
    }

    private static boolean intercepted() { return interception != null; }

    private static int before(Stubs library, String function) {
        Interception i = interception;
        int code = i == null ? 0 : i.before(function);
        if (code != 0) {
            Code name = library.unknown == Code.UNKNOWN.value ? Code.of(code) : null;
            DriverLog.note(function + ": made to fail with " + (name != null ? "CUDA_ERROR_" + name + " (" + code + ")" : code), false);
            if (name != null && name.isFault()) Context.failPrimary(name);
        }
        return code;
    }

    /** The functions served, with the descriptor of each. */
    public Map<String, FunctionDescriptor> functions() {
        var all = new TreeMap<String, FunctionDescriptor>();
        methods.forEach((name, method) -> all.put(name, descriptor(method)));
        return all;
    }

    @Override
    public Optional<MemorySegment> find(String name) {
        Method method = methods.get(name);
        return method == null ? Optional.empty() : Optional.of(stubs.computeIfAbsent(name, n -> stub(method)));
    }

    private MemorySegment stub(Method method) {
        try {
            MethodHandle target = MethodHandles.lookup().unreflect(method);
            return Linker.nativeLinker().upcallStub(guarded(method.getName(), target), descriptor(method), Arena.global());
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(method.toString(), e);
        }
    }

    private MethodHandle guarded(String name, MethodHandle target) throws ReflectiveOperationException {
        MethodHandle handler;
        if (target.type().returnType() == int.class) {
            handler = MethodHandles.lookup().findStatic(DriverLog.class, "failed", MethodType.methodType(int.class, String.class, Throwable.class, int.class));
            handler = MethodHandles.insertArguments(MethodHandles.insertArguments(handler, 2, unknown), 0, name);
        } else {
            handler = MethodHandles.dropArguments(MethodHandles.zero(target.type().returnType()), 0, Throwable.class);
        }
        return MethodHandles.catchException(interceptible(name, target), Throwable.class, handler);
    }

    /** {@code intercepted() ? ((code = before(this, name)) == 0 ? target(...) : code) : target(...)}, for functions that return a status. */
    private MethodHandle interceptible(String name, MethodHandle target) throws ReflectiveOperationException {
        if (target.type().returnType() != int.class) return target;
        var lookup = MethodHandles.lookup();
        MethodHandle before = MethodHandles.insertArguments(lookup.findStatic(Stubs.class, "before", MethodType.methodType(int.class, Stubs.class, String.class)), 0, this, name);
        MethodHandle isZero = lookup.findStatic(Stubs.class, "isZero", MethodType.methodType(boolean.class, int.class));
        MethodHandle serve = MethodHandles.dropArguments(target, 0, int.class);
        MethodHandle code = MethodHandles.dropArguments(MethodHandles.identity(int.class), 1, target.type().parameterList());
        MethodHandle answered = MethodHandles.foldArguments(MethodHandles.guardWithTest(isZero, serve, code), before);
        return MethodHandles.guardWithTest(lookup.findStatic(Stubs.class, "intercepted", MethodType.methodType(boolean.class)), answered, target);
    }

    private static boolean isZero(int code) { return code == 0; }

    private static FunctionDescriptor descriptor(Method method) {
        var arguments = new MemoryLayout[method.getParameterCount()];
        for (int i = 0; i < arguments.length; i++) arguments[i] = layout(method.getParameterTypes()[i]);
        return FunctionDescriptor.of(layout(method.getReturnType()), arguments);
    }

    private static MemoryLayout layout(Class<?> type) {
        if (type == int.class) return ValueLayout.JAVA_INT;
        if (type == long.class) return ValueLayout.JAVA_LONG;
        if (type == float.class) return ValueLayout.JAVA_FLOAT;
        if (type == short.class) return ValueLayout.JAVA_SHORT;
        if (type == byte.class) return ValueLayout.JAVA_BYTE;
        throw new IllegalArgumentException("no C type for " + type);
    }
}
