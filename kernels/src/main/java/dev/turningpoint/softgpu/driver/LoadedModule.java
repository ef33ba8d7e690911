package dev.turningpoint.softgpu.driver;

import dev.turningpoint.softgpu.jit.KernelCompiler;
import dev.turningpoint.softgpu.ptx.PtxKernel;
import dev.turningpoint.softgpu.ptx.PtxModule;
import java.lang.foreign.Arena;
import java.util.HashMap;
import java.util.Map;

/** A module as {@code cuModuleLoadDataEx} made it; its variables and its compiled kernels live while it is loaded. */
final class LoadedModule {
    final PtxModule ptx;
    private final Arena code = Arena.ofShared();
    final KernelCompiler compiler = new KernelCompiler(code);
    private final Map<String, Function> functions = new HashMap<>();
    private final java.util.List<Long> registered = new java.util.ArrayList<>();

    LoadedModule(PtxModule ptx) {
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
