package dev.turningpoint.softgpu.jit;

import dev.turningpoint.bindings.NativeLibrary;
import dev.turningpoint.bindings.llvm.LLVMDiagnosticHandler;
import dev.turningpoint.bindings.llvm.Llvm;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Map;
import java.util.TreeMap;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

/** LLVM behind two operations: IR text to an object file, an object file to an address in this process. */
final class NativeCompiler {
    private static final int OPTIMIZE_DEFAULT = 2, RELOCATION_PIC = 2, MODEL_DEFAULT = 0, MODEL_JIT = 1, OBJECT_FILE = 1, VERIFY_RETURN = 2, SEVERITY_ERROR = 0;

    /**
     * Instruction scheduling before register allocation lengthens live ranges until independent matrix products spill. That after it takes a tenth of the time, and the processor reorders
     * better than it.
     */
    private static final String[] OPTIONS = {"-enable-misched=false", "-disable-post-ra"};

    private final Target target;
    private final String version;
    private final MemorySegment llvmTarget;

    private static NativeCompiler instance;

    static synchronized NativeCompiler get() {
        if (instance == null) {
            NativeLibrary.LLVM.load();
            instance = new NativeCompiler();
        }
        return instance;
    }

    private NativeCompiler() {
        Arena a = Arena.global();
        MemorySegment arguments = a.allocate(ADDRESS, 1 + OPTIONS.length);
        arguments.setAtIndex(ADDRESS, 0, a.allocateFrom("turningpoint"));
        for (int i = 0; i < OPTIONS.length; i++) arguments.setAtIndex(ADDRESS, 1 + i, a.allocateFrom(OPTIONS[i]));
        Llvm.LLVMParseCommandLineOptions(1 + OPTIONS.length, arguments, a.allocateFrom(""));
        Llvm.LLVMInitializeX86TargetInfo();
        Llvm.LLVMInitializeX86Target();
        Llvm.LLVMInitializeX86TargetMC();
        Llvm.LLVMInitializeX86AsmPrinter();
        Llvm.LLVMInitializeX86AsmParser();
        String triple = message(Llvm.LLVMGetDefaultTargetTriple()), cpu = message(Llvm.LLVMGetHostCPUName()), features = message(Llvm.LLVMGetHostCPUFeatures());
        target = new Target(triple, cpu, features).without(System.getProperty("turningpoint.software.without", ""));
        MemorySegment v = a.allocate(ValueLayout.JAVA_INT, 3);
        Llvm.LLVMGetVersion(v, v.asSlice(4), v.asSlice(8));
        version = v.getAtIndex(ValueLayout.JAVA_INT, 0) + "." + v.getAtIndex(ValueLayout.JAVA_INT, 1) + "." + v.getAtIndex(ValueLayout.JAVA_INT, 2);
        MemorySegment out = a.allocate(ADDRESS), error = a.allocate(ADDRESS);
        if (Llvm.LLVMGetTargetFromTriple(a.allocateFrom(triple), out, error) != 0) throw new IllegalStateException("LLVM has no target " + triple + ": " + taken(error));
        llvmTarget = out.get(ADDRESS, 0);
    }

    private NativeCompiler(NativeCompiler like, Target target) {
        this.target = target;
        version = like.version;
        llvmTarget = like.llvmTarget;
    }

    /** The same for another processor, whose code this one can run. */
    NativeCompiler with(Target lesser) { return new NativeCompiler(this, lesser); }

    Target target() { return target; }
    String version() { return version; }
    /** What else decides the code that comes out. */
    String options() { return OPTIMIZE_DEFAULT + " " + String.join(" ", OPTIONS); }

    private static String message(MemorySegment s) {
        if (s.address() == 0) return "";
        String t = s.reinterpret(Long.MAX_VALUE).getString(0);
        Llvm.LLVMDisposeMessage(s);
        return t;
    }

    private static String taken(MemorySegment pointer) { return message(pointer.get(ADDRESS, 0)); }

    private static void check(String what, MemorySegment error) {
        if (error.address() == 0) return;
        MemorySegment m = Llvm.LLVMGetErrorMessage(error);
        String t = m.reinterpret(Long.MAX_VALUE).getString(0);
        Llvm.LLVMDisposeErrorMessage(m);
        throw new IllegalStateException(what + ": " + t);
    }

    /** @param mode 0 for an object file, 1 for a JIT builder: they want different code models */
    private MemorySegment machine(Arena a, int mode) {
        return Llvm.LLVMCreateTargetMachine(llvmTarget, a.allocateFrom(target.triple()), a.allocateFrom(target.cpu()), a.allocateFrom(target.features()),
                OPTIMIZE_DEFAULT, RELOCATION_PIC, mode == 0 ? MODEL_DEFAULT : MODEL_JIT);
    }

    /** Verifies, optimises and compiles. */
    byte[] compile(String name, String ir, String passes) {
        try (Arena a = Arena.ofConfined()) {
            MemorySegment context = Llvm.LLVMContextCreate(), machine = MemorySegment.NULL, options = MemorySegment.NULL, module = MemorySegment.NULL;
            String[] trouble = {null};
            try {
                // Without a handler LLVM ends the process on an error.
                Llvm.LLVMContextSetDiagnosticHandler(context, LLVMDiagnosticHandler.allocate((d, c) -> {
                    if (Llvm.LLVMGetDiagInfoSeverity(d) == SEVERITY_ERROR) trouble[0] = message(Llvm.LLVMGetDiagInfoDescription(d));
                }, a), MemorySegment.NULL);
                byte[] text = ir.getBytes(java.nio.charset.StandardCharsets.ISO_8859_1);
                MemorySegment source = a.allocate(text.length + 1L);
                MemorySegment.copy(text, 0, source, ValueLayout.JAVA_BYTE, 0, text.length);
                MemorySegment buffer = Llvm.LLVMCreateMemoryBufferWithMemoryRangeCopy(source, text.length, a.allocateFrom(name));
                MemorySegment out = a.allocate(ADDRESS), error = a.allocate(ADDRESS);
                if (Llvm.LLVMParseIRInContext(context, buffer, out, error) != 0)   // takes the buffer
                    throw new IllegalStateException("kernel " + name + ": LLVM does not read our IR: " + taken(error));
                module = out.get(ADDRESS, 0);
                if (Llvm.LLVMVerifyModule(module, VERIFY_RETURN, error) != 0) throw new IllegalStateException("kernel " + name + ": LLVM does not accept our IR: " + taken(error));
                machine = machine(a, 0);
                options = Llvm.LLVMCreatePassBuilderOptions();
                check("kernel " + name, Llvm.LLVMRunPasses(module, a.allocateFrom(passes), machine, options));
                if (Llvm.LLVMTargetMachineEmitToMemoryBuffer(machine, module, OBJECT_FILE, error, out) != 0)
                    throw new IllegalStateException("kernel " + name + ": " + taken(error));
                MemorySegment object = out.get(ADDRESS, 0);
                byte[] bytes = Llvm.LLVMGetBufferStart(object).reinterpret(Llvm.LLVMGetBufferSize(object)).toArray(ValueLayout.JAVA_BYTE);
                Llvm.LLVMDisposeMemoryBuffer(object);
                if (trouble[0] != null) throw new IllegalStateException("kernel " + name + ": " + trouble[0]);
                return bytes;
            } finally {
                if (options.address() != 0) Llvm.LLVMDisposePassBuilderOptions(options);
                if (module.address() != 0) Llvm.LLVMDisposeModule(module);
                if (machine.address() != 0) Llvm.LLVMDisposeTargetMachine(machine);
                Llvm.LLVMContextDispose(context);
            }
        }
    }

    /** Loads an object file for as long as the arena lives; {@code @tp_module_data} in it is the given address, and so are the functions it calls. Gives the function of that name. */
    synchronized MemorySegment link(String symbol, byte[] object, long moduleData, Map<String, Long> functions, Arena lifetime) {
        try (Arena a = Arena.ofConfined()) {
            MemorySegment builder = Llvm.LLVMOrcCreateLLJITBuilder();
            Llvm.LLVMOrcLLJITBuilderSetJITTargetMachineBuilder(builder, Llvm.LLVMOrcJITTargetMachineBuilderCreateFromTargetMachine(machine(a, 1)));   // takes the machine
            MemorySegment out = a.allocate(ADDRESS);
            check("JIT", Llvm.LLVMOrcCreateLLJIT(out, builder));
            MemorySegment jit = out.get(ADDRESS, 0);
            try {
                return MemorySegment.ofAddress(link(a, jit, symbol, object, moduleData, functions)).reinterpret(lifetime, code -> check("JIT", Llvm.LLVMOrcDisposeLLJIT(jit)));
            } catch (Throwable t) {
                check("JIT", Llvm.LLVMOrcDisposeLLJIT(jit));
                throw t;
            }
        }
    }

    private static long link(Arena a, MemorySegment jit, String symbol, byte[] object, long moduleData, Map<String, Long> functions) {
        MemorySegment out = a.allocate(ADDRESS), library = Llvm.LLVMOrcLLJITGetMainJITDylib(jit);
        check("JIT", Llvm.LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(out, Llvm.LLVMOrcLLJITGetGlobalPrefix(jit), MemorySegment.NULL, MemorySegment.NULL));
        Llvm.LLVMOrcJITDylibAddGenerator(library, out.get(ADDRESS, 0));
        // { symbol name, { address, { flags, target flags } } }
        var symbols = new TreeMap<>(functions);
        symbols.put("tp_module_data", moduleData);
        MemorySegment pairs = a.allocate(24L * symbols.size(), 8);
        long at = 0;
        for (var s : symbols.entrySet()) {
            pairs.set(ADDRESS, at, Llvm.LLVMOrcLLJITMangleAndIntern(jit, a.allocateFrom(s.getKey())));
            pairs.set(JAVA_LONG, at + 8, s.getValue());
            pairs.set(ValueLayout.JAVA_BYTE, at + 16, (byte) 1);   // exported
            at += 24;
        }
        check("JIT", Llvm.LLVMOrcJITDylibDefine(library, Llvm.LLVMOrcAbsoluteSymbols(pairs, symbols.size())));
        MemorySegment bytes = a.allocate(object.length + 1L, 64);
        MemorySegment.copy(object, 0, bytes, ValueLayout.JAVA_BYTE, 0, object.length);
        MemorySegment buffer = Llvm.LLVMCreateMemoryBufferWithMemoryRangeCopy(bytes, object.length, a.allocateFrom(symbol));
        check("kernel " + symbol, Llvm.LLVMOrcLLJITAddObjectFile(jit, library, buffer));
        MemorySegment address = a.allocate(JAVA_LONG);
        check("kernel " + symbol, Llvm.LLVMOrcLLJITLookup(jit, address, a.allocateFrom(symbol)));
        return address.get(JAVA_LONG, 0);
    }
}
