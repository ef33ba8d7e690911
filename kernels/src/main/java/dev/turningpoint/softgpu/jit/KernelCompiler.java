package dev.turningpoint.softgpu.jit;

import dev.turningpoint.softgpu.analysis.Geometry;
import dev.turningpoint.softgpu.analysis.KernelAnalysis;
import dev.turningpoint.softgpu.ptx.PtxException;
import dev.turningpoint.softgpu.ptx.PtxKernel;
import dev.turningpoint.softgpu.ptx.PtxModule;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;

/**
 * Compiles kernels, remembers them, and keeps their objects in the cache folder. Thread safe; different kernels compile in parallel on the calling threads.
 *
 * <p>System properties: {@code turningpoint.software.cache=false} neither reads nor writes objects on disk, {@code turningpoint.software.dump=DIR} writes the LLVM IR of
 * every kernel compiled there, {@code turningpoint.software.without=avx512f,...} pretends the processor lacks features.
 */
public final class KernelCompiler {
    /** Part of the cache key: objects of another emitter are not ours. Read when it is first wanted. */
    private static final class Emitter { static final String VERSION = emitterVersion(); }

    /**
     * LLVM's passes: registers out of their slots, then once over what that leaves. Warps are vectors and loops are as the PTX has them, so most of {@code default<O1>} has nothing to
     * do here and would take as long as code generation.
     */
    private static final String PASSES = "always-inline,function(sroa,early-cse<memssa>,instcombine<max-iterations=1;no-verify-fixpoint>,simplifycfg),cgscc(inline),function(loop-mssa(licm),early-cse,adce)";
    private static final System.Logger LOG = System.getLogger(KernelCompiler.class.getName());

    private static final AtomicBoolean PREPARED = new AtomicBoolean();

    private record Key(Object owner, String entry, Geometry geometry, long dynamicShared) {}

    private final Map<Key, CompletableFuture<CompiledKernel>> compiled = new ConcurrentHashMap<>();
    private final NativeCompiler given;
    private final Arena lifetime;
    private final UnaryOperator<String> rewrite;

    /** @param lifetime how long the code lives; nothing may be compiled any more once it is closed, and it cannot be closed while a kernel runs */
    public KernelCompiler(Arena lifetime) { this(null, lifetime); }

    /** For a processor other than this one. */
    KernelCompiler(NativeCompiler given, Arena lifetime) { this(given, lifetime, null); }

    /** With a last say on the IR before LLVM has it; nothing of this goes into the cache or comes from there. */
    KernelCompiler(NativeCompiler given, Arena lifetime, UnaryOperator<String> rewrite) {
        this.given = given;
        this.lifetime = lifetime;
        this.rewrite = rewrite;
    }

    /**
     * Loads LLVM on a thread beside, once: for whoever reads a module now and will want kernels of it in a moment. What fails here fails again, and is reported,
     * when the first kernel is compiled.
     */
    public static void prepare() {
        if (!PREPARED.compareAndSet(false, true)) return;
        var thread = Thread.ofPlatform().daemon().name("software-gpu-llvm").unstarted(() -> {
            try {
                NativeCompiler.get();
                LOG.log(System.Logger.Level.TRACE, "emitter {0}", Emitter.VERSION);
            } catch (RuntimeException | LinkageError e) {
                LOG.log(System.Logger.Level.DEBUG, "LLVM does not load", e);
            }
        });
        var ended = new Thread(() -> {   // the process may end before: libLLVM's destructors must not meet its initialisers
            try {
                thread.join();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        });
        try {
            Runtime.getRuntime().addShutdownHook(ended);
            thread.start();
        } catch (IllegalStateException e) {
            LOG.log(System.Logger.Level.DEBUG, "the process ends, LLVM is not loaded");
        }
    }

    /** LLVM is loaded when the first kernel is compiled, if nobody prepared it. */
    private NativeCompiler llvm() { return given != null ? given : NativeCompiler.get(); }

    /**
     * The kernel compiled for a block shape and a size of dynamic shared memory; the same arguments give the same object again.
     *
     * @throws PtxException if the kernel uses what the software GPU does not serve, or the block shape is impossible
     */
    public CompiledKernel compile(PtxModule module, String entry, int blockX, int blockY, int blockZ, long dynamicShared) {
        PtxKernel kernel = module.kernel(entry);
        var geometry = new Geometry(blockX, blockY, blockZ);
        if (blockX < 1 || blockY < 1 || blockZ < 1 || (long) blockX * blockY * blockZ > 1024)
            throw new PtxException("kernel " + entry + ": a block of " + blockX + " x " + blockY + " x " + blockZ + " threads; 1 to 1024 are possible");
        // Variables live in the module, and code holds their address; without any, modules of the same text share their code.
        var key = new Key(module.hasData() ? module : kernel.text(), entry, geometry, dynamicShared);
        CompletableFuture<CompiledKernel> mine = new CompletableFuture<>(), other = compiled.putIfAbsent(key, mine);
        if (other != null) return joined(other);
        try {
            CompiledKernel k = build(module, kernel, geometry, dynamicShared);
            mine.complete(k);
            return k;
        } catch (Throwable t) {
            compiled.remove(key, mine);
            mine.completeExceptionally(t);
            throw t;
        }
    }

    /** The LLVM IR a kernel becomes, for those who look. */
    public String ir(PtxModule module, String entry, int blockX, int blockY, int blockZ, long dynamicShared) {
        PtxKernel kernel = module.kernel(entry);
        return new KernelEmitter(new KernelAnalysis(kernel, new Geometry(blockX, blockY, blockZ)), llvm().target(), kernel.staticShared() + dynamicShared).emit();
    }

    private CompiledKernel build(PtxModule module, PtxKernel kernel, Geometry geometry, long dynamicShared) {
        long start = System.nanoTime();
        NativeCompiler llvm = llvm();
        boolean cached = !"false".equals(System.getProperty("turningpoint.software.cache"));
        String key = ObjectCache.hash(kernel.text(), module.variableText(), geometry.toString(), Long.toString(dynamicShared), llvm.target().toString(), llvm.version(), llvm.options(), Emitter.VERSION, PASSES);
        Compiled c = rewrite != null ? new Compiled(compile(llvm, kernel, geometry, dynamicShared), false) : once(key, () -> {
            ObjectCache.Entry kept = cached ? ObjectCache.read(key) : null;
            if (kept != null) return new Compiled(kept, true);
            ObjectCache.Entry e = compile(llvm, kernel, geometry, dynamicShared);
            if (cached) ObjectCache.write(key, e);
            return new Compiled(e, false);
        });
        ObjectCache.Entry e = c.entry;
        MemorySegment code = llvm.link(kernel.name(), e.object(), module.data().address(), SystemStubs.of(kernel), lifetime);
        if (LOG.isLoggable(System.Logger.Level.DEBUG)) {
            LOG.log(System.Logger.Level.DEBUG, "{0} for {1} x {2} x {3} threads {4} in {5} ms", kernel.name(), geometry.x(), geometry.y(), geometry.z(),
                    c.found ? "from the cache" : "compiled", (System.nanoTime() - start) / 1_000_000);
            for (String s : e.report()) LOG.log(System.Logger.Level.DEBUG, s);
        }
        return new CompiledKernel(kernel.name(), code, e.scratchBytes(), e.sharedBytes(), e.report(), c.found);
    }

    /** An object, and whether it was in the cache. */
    private record Compiled(ObjectCache.Entry entry, boolean found) {}

    /** What is made under a key now; who asks for the same meanwhile, from another module of the same text, waits for it. */
    private static final Map<String, CompletableFuture<Compiled>> MAKING = new ConcurrentHashMap<>();

    private static Compiled once(String key, Supplier<Compiled> make) {
        CompletableFuture<Compiled> mine = new CompletableFuture<>(), other = MAKING.putIfAbsent(key, mine);
        if (other != null) return joined(other);
        try {
            Compiled c = make.get();
            mine.complete(c);
            return c;
        } catch (Throwable t) {
            mine.completeExceptionally(t);
            throw t;
        } finally {
            MAKING.remove(key);
        }
    }

    private static <T> T joined(CompletableFuture<T> other) {
        try {
            return other.join();
        } catch (CompletionException e) {
            if (e.getCause() instanceof RuntimeException r) throw r;
            throw e;
        }
    }

    private ObjectCache.Entry compile(NativeCompiler llvm, PtxKernel kernel, Geometry geometry, long dynamicShared) {
        CompilerDirectives.give();
        long shared = kernel.staticShared() + dynamicShared;
        KernelEmitter emitter;
        String ir;
        try {
            emitter = new KernelEmitter(new KernelAnalysis(kernel, geometry), llvm.target(), shared);
            ir = emitter.emit();
        } catch (PtxException x) {
            throw x;
        } catch (RuntimeException x) {   // operands of a kind or number that the instruction does not have
            var p = new PtxException("kernel " + kernel.name() + " of " + kernel.module() + ".ptx cannot be translated: " + x);
            p.initCause(x);
            throw p;
        }
        if (rewrite != null) ir = rewrite.apply(ir);
        String dump = System.getProperty("turningpoint.software.dump");
        if (dump != null) dump(Path.of(dump), kernel.name() + "-" + geometry.x() + "x" + geometry.y() + "x" + geometry.z() + ".ll", ir);
        return new ObjectCache.Entry(llvm.compile(kernel.name(), ir, PASSES), emitter.scratchBytes(), shared, java.util.List.copyOf(emitter.report));
    }

    /** A hash over the classes that decide what is emitted, and those within them. */
    private static String emitterVersion() {
        Class<?>[] emitters = {KernelEmitter.class, Arithmetic.class, Carries.class, Groups.class, Turns.class, BarrierObjects.class, dev.turningpoint.softgpu.analysis.Waits.class, SystemStubs.class, Memory.class, Runs.class, GatherLibrary.class, Matrix.class, MatrixLibrary.class, WarpMatrices.class, SharedSlots.class, MathLibrary.class, Ir.class, NativeCompiler.class, KernelCompiler.class,
                KernelAnalysis.class, Geometry.class, dev.turningpoint.softgpu.analysis.FlowGraph.class, dev.turningpoint.softgpu.analysis.Shape.class,
                dev.turningpoint.softgpu.analysis.Interval.class, dev.turningpoint.softgpu.analysis.Effects.class, dev.turningpoint.softgpu.ptx.PtxParser.class, dev.turningpoint.softgpu.ptx.PtxModule.class,
                dev.turningpoint.softgpu.ptx.Inliner.class};
        var parts = new java.util.ArrayList<String>();
        var all = new java.util.ArrayList<>(java.util.List.of(emitters));
        for (Class<?> c : emitters) all.addAll(java.util.List.of(c.getDeclaredClasses()));
        for (Class<?> c : all) {
            try (var in = c.getResourceAsStream(c.getName().substring(c.getPackageName().length() + 1) + ".class")) {
                parts.add(in == null ? c.getName() : new String(in.readAllBytes(), java.nio.charset.StandardCharsets.ISO_8859_1));
            } catch (IOException e) {
                parts.add(Long.toString(System.nanoTime()));   // unreadable: no entry of another run is trusted
            }
        }
        return ObjectCache.hash(parts.toArray(new String[0]));
    }

    private static void dump(Path folder, String name, String text) {
        try {
            Files.createDirectories(folder);
            Files.writeString(folder.resolve(name), text);
        } catch (IOException x) {
            LOG.log(System.Logger.Level.WARNING, "IR not written: " + x);
        }
    }
}
