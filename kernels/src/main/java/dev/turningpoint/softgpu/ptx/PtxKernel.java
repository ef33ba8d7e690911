package dev.turningpoint.softgpu.ptx;

import java.util.List;
import java.util.Map;

/** One {@code .entry} as read: parameters, registers, instructions in text order, labels and its shared and local variables. */
public final class PtxKernel {
    private final String module;
    private final String name;
    private final String text;
    private final List<PtxParam> params;
    private final int paramBytes;
    private final List<Register> registers;
    private final List<Instruction> instructions;
    private final Map<String, Integer> labels;
    private final Map<String, List<String>> branchTables;
    private final Map<String, Long> sharedOffsets;
    private final long staticShared;
    private final long localBytes;
    private final int maxThreads;

    PtxKernel(String module, String name, String text, List<PtxParam> params, int paramBytes, List<Register> registers, List<Instruction> instructions,
              Map<String, Integer> labels, Map<String, List<String>> branchTables, Map<String, Long> sharedOffsets, long staticShared,
              long localBytes, int maxThreads) {
        this.module = module;
        this.name = name;
        this.text = text;
        this.params = List.copyOf(params);
        this.paramBytes = paramBytes;
        this.registers = List.copyOf(registers);
        this.instructions = List.copyOf(instructions);
        this.labels = Map.copyOf(labels);
        this.branchTables = Map.copyOf(branchTables);
        this.sharedOffsets = Map.copyOf(sharedOffsets);
        this.staticShared = staticShared;
        this.localBytes = localBytes;
        this.maxThreads = maxThreads;
    }

    /** The error for an instruction that is not served, naming its line; {@code why} may be empty. */
    public PtxException refusal(Instruction i, String why) {
        return new PtxException(module, i.line(), "the software GPU does not serve '" + i.name() + "'" + (why.isEmpty() ? "" : ": " + why) + " (kernel " + name + ")");
    }

    /** Name of the module, for messages. */
    public String module() { return module; }
    public String name() { return name; }
    /** The kernel's own PTX text. */
    public String text() { return text; }
    public List<PtxParam> params() { return params; }
    /** Bytes of the parameter buffer up to the end of the last parameter. */
    public int paramBytes() { return paramBytes; }
    public List<Register> registers() { return registers; }
    public List<Instruction> instructions() { return instructions; }
    /** Label to index of the instruction that follows it. */
    public Map<String, Integer> labels() { return labels; }
    /** {@code .branchtargets} tables by name. */
    public Map<String, List<String>> branchTables() { return branchTables; }
    /** Bytes from the start of the block's shared memory; {@code extern} arrays start at {@link #staticShared()}. */
    public long sharedOffset(String variable) { return sharedOffsets.get(variable); }
    /** Bytes of static shared memory, rounded up to the alignment of the dynamic part. */
    public long staticShared() { return staticShared; }
    /** Bytes of local memory per thread. */
    public long localBytes() { return localBytes; }
    /** Threads per block promised by {@code .maxntid} or {@code .reqntid}; 1024 if neither is given. */
    public int maxThreads() { return maxThreads; }
}
