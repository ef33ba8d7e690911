package dev.turningpoint.softgpu.driver;

import java.lang.classfile.ClassFile;
import java.lang.classfile.Label;
import java.lang.classfile.TypeKind;
import java.lang.constant.ClassDesc;
import java.lang.constant.MethodTypeDesc;
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
 * {@link DriverLog#failed} turns it into the result of an int function, 0 of one that gives a long. An {@link Interception} may answer int functions in their place.
 */
public final class Stubs implements SymbolLookup {
    private static final MethodTypeDesc BEFORE = MethodTypeDesc.ofDescriptor("(Ljava/lang/String;I)I"), FAILED = MethodTypeDesc.ofDescriptor("(Ljava/lang/String;Ljava/lang/Throwable;I)I");

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

    /** What an int function called {@code name} gives in place of its own result; 0: nothing. Called by every stub. */
    private static int before(String name, int unknown) {
        Interception i = interception;
        int code = i == null ? 0 : i.before(name);
        if (code != 0) {
            Code of = unknown == Code.UNKNOWN.value ? Code.of(code) : null;
            DriverLog.note(name + ": made to fail with " + (of != null ? "CUDA_ERROR_" + of + " (" + code + ")" : code), false);
            if (of != null && of.isFault()) Context.failPrimary(of);
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
            return Linker.nativeLinker().upcallStub(guarded(method), descriptor(method), Arena.global());
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(method.toString(), e);
        }
    }

    /**
     * The method behind what every stub does, as a class of one static method. (Method handles say the same in less text, but the ten that each stub wants
     * were a third of the time from the start of the JVM to its first kernel.)
     *
     * <pre>{@code
     * static int name(...) {
     *     try {
     *         int code = Stubs.before("name", unknown);
     *         return code != 0 ? code : Functions.name(...);
     *     } catch (Throwable t) {
     *         return DriverLog.failed("name", t, unknown);
     *     }
     * }}</pre>
     */
    private MethodHandle guarded(Method method) throws ReflectiveOperationException {
        String name = method.getName();
        var type = MethodType.methodType(method.getReturnType(), method.getParameterTypes());
        MethodTypeDesc signature = type.describeConstable().orElseThrow();
        boolean isStatus = method.getReturnType() == int.class;
        byte[] bytes = ClassFile.of().build(ClassDesc.of(Stubs.class.getPackageName(), "Stub"), c -> c.withMethodBody(name, signature, ClassFile.ACC_STATIC, code -> code.trying(
                body -> {
                    if (isStatus) {
                        Label serve = body.newLabel();
                        body.loadConstant(name).loadConstant(unknown).invokestatic(of(Stubs.class), "before", BEFORE).dup().ifeq(serve).ireturn().labelBinding(serve).pop();
                    }
                    for (int i = 0; i < type.parameterCount(); i++) body.loadLocal(TypeKind.from(type.parameterType(i)), body.parameterSlot(i));
                    body.invokestatic(of(method.getDeclaringClass()), name, signature).return_(TypeKind.from(type.returnType()));
                },
                failure -> failure.catchingAll(handler -> {
                    int thrown = handler.allocateLocal(TypeKind.REFERENCE);
                    handler.astore(thrown);
                    if (isStatus) handler.loadConstant(name).aload(thrown).loadConstant(unknown).invokestatic(of(DriverLog.class), "failed", FAILED).ireturn();
                    else handler.lconst_0().lreturn();
                }))));
        MethodHandles.Lookup stub = MethodHandles.lookup().defineHiddenClass(bytes, false, MethodHandles.Lookup.ClassOption.NESTMATE);
        return stub.findStatic(stub.lookupClass(), name, type);
    }

    private static ClassDesc of(Class<?> c) { return c.describeConstable().orElseThrow(); }

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
