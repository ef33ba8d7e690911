package dev.turningpoint.softgpu.ptx;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Map;

/**
 * One loaded module: its kernels, and the live memory of its {@code .global} and {@code .const} variables.
 * Parsing the same text twice gives two modules with variables of their own, as loading it twice does on a GPU.
 */
public final class PtxModule {
    private final String name;
    private final String text;
    private final Map<String, PtxKernel> kernels;
    private final Map<String, PtxVariable> variables, functions;
    private final String variableText;
    private final long dataBytes;
    private final MemorySegment data;

    PtxModule(String name, String text, Map<String, PtxKernel> kernels, Map<String, PtxVariable> variables, Map<String, PtxVariable> functions, String variableText,
              long dataBytes) {
        this.name = name;
        this.text = text;
        this.kernels = Map.copyOf(kernels);
        this.variables = Map.copyOf(variables);
        this.functions = Map.copyOf(functions);
        this.variableText = variableText;
        this.dataBytes = dataBytes;
        this.data = Arena.ofAuto().allocate(Math.max(64, (dataBytes + 63) / 64 * 64), 256);
        for (PtxVariable v : variables.values()) {
            if (v.offset() < 0 || v.initial() == null) continue;
            MemorySegment.copy(v.initial(), 0, data, ValueLayout.JAVA_BYTE, v.offset(), v.initial().length);
            for (PtxVariable.Pointer p : v.pointers()) {
                PtxVariable target = variables.getOrDefault(p.target(), functions.get(p.target()));
                if (target == null || target.offset() < 0) throw new PtxException(name + ".ptx: initialiser of " + v.name() + " points to unknown " + p.target());
                data.set(ValueLayout.JAVA_LONG_UNALIGNED, v.offset() + p.at(), data.address() + target.offset() + p.addend());
            }
        }
    }

    /** Another module of the same text, whose kernels are these: its variables are its own, and as the text has them. */
    public PtxModule again() { return new PtxModule(name, text, kernels, variables, functions, variableText, dataBytes); }

    public String name() { return name; }
    /** The whole text as loaded. */
    public String text() { return text; }
    public Map<String, PtxKernel> kernels() { return kernels; }

    /** @throws PtxException if the module has no such entry; the message lists those it has */
    public PtxKernel kernel(String entry) {
        PtxKernel k = kernels.get(entry);
        if (k == null) throw new PtxException(name + ".ptx has no entry '" + entry + "'; it has " + kernels.keySet().stream().sorted().toList());
        return k;
    }

    /** Module variables by name. */
    public Map<String, PtxVariable> variables() { return variables; }
    /** The declarations as written: part of the key of compiled code. */
    public String variableText() { return variableText; }
    /** Whether code that names variables or functions of the module belongs to this module alone. */
    public boolean hasData() { return dataBytes > 0; }
    /** Memory of the module's variables, at {@link PtxVariable#offset()}; lives as long as this module is reachable. */
    public MemorySegment data() { return data; }

    /** Address and size for {@code cuModuleGetGlobal}; null if there is no such variable. */
    public MemorySegment global(String variable) {
        PtxVariable v = variables.get(variable);
        return v == null || v.offset() < 0 ? null : data.asSlice(v.offset(), v.size());
    }

}
