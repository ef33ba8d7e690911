package dev.turningpoint.softgpu.driver;

import dev.turningpoint.softgpu.jit.KernelCompiler;
import dev.turningpoint.softgpu.ptx.PtxKernel;
import dev.turningpoint.softgpu.ptx.PtxModule;
import java.lang.foreign.Arena;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Supplier;

/** A module as {@code cuModuleLoadDataEx} made it; its variables and its compiled kernels live while it is loaded. */
final class LoadedModule {
    final PtxModule ptx;
    private final Arena code = Arena.ofShared();
    final KernelCompiler compiler = new KernelCompiler(code);
    private final Map<String, Function> functions = new HashMap<>();
    private final java.util.List<Long> registered = new java.util.ArrayList<>();

    /** Texts of the modules that are loaded, and how many those are of each: a text is read once, whoever loads it meanwhile waits for that. */
    private static final Map<String, Text> TEXTS = new ConcurrentHashMap<>();

    private record Text(PtxModule parsed, int modules) {}

    /** @param parse what makes a module of the text, if none of it is loaded */
    static LoadedModule load(String text, Supplier<PtxModule> parse) {
        var ptx = new PtxModule[1];
        TEXTS.compute(text, (t, known) -> {
            ptx[0] = known == null ? parse.get() : known.parsed.again();
            return known == null ? new Text(ptx[0], 1) : new Text(known.parsed, known.modules + 1);
        });
        return new LoadedModule(ptx[0]);
    }

    private LoadedModule(PtxModule ptx) {
        this.ptx = ptx;
        for (String name : ptx.variables().keySet()) {
            var memory = ptx.global(name);
            if (memory == null || memory.byteSize() == 0) continue;
            Memory.VARIABLES.register(memory.address(), memory.byteSize());
            registered.add(memory.address());
        }
    }

    synchronized Function function(String name) {
        Function f = functions.get(name);
        if (f != null) return f;
        PtxKernel kernel = ptx.kernels().get(name);
        if (kernel == null) throw Code.NOT_FOUND.error("no entry '" + name + "'; there are " + ptx.kernels().keySet().stream().sorted().toList());
        f = new Function(this, kernel);
        functions.put(name, f);
        return f;
    }

    synchronized void unload() {
        for (Function f : functions.values()) Handles.remove(f.handle, Function.class);
        functions.clear();
        for (long address : registered) Memory.VARIABLES.unregister(address);
        registered.clear();
        freeCode();
        TEXTS.computeIfPresent(ptx.text(), (_, t) -> t.modules == 1 ? null : new Text(t.parsed, t.modules - 1));
    }

    boolean isLoaded() { return code.scope().isAlive(); }

    /** A launch that another thread slipped in is waited for; one that comes later, from a graph, finds no code. */
    private void freeCode() {
        while (code.scope().isAlive()) {
            try {
                code.close();
            } catch (IllegalStateException running) {
                Thread.onSpinWait();
            }
        }
    }
}
