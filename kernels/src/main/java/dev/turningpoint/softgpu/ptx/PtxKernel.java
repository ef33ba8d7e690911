package dev.turningpoint.softgpu.ptx;

import java.util.List;
import java.util.Map;

/**
 * One {@code .entry} as read: parameters, registers, instructions in text order, labels and its shared and local variables. Functions it calls stand in it
 * where they are called; what remains as {@code call} are calls of functions without a body: a result or nothing, the function's name, the arguments.
 */
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
    private final int maxThreads, mostRegisters;
    private final List<Integer> requiredBlock;
    private final PtxException unserved;
    private final boolean syncsGrid;

    PtxKernel(String module, String name, String text, List<PtxParam> params, int paramBytes, List<Register> registers, List<Instruction> instructions,
              Map<String, Integer> labels, Map<String, List<String>> branchTables, Map<String, Long> sharedOffsets, long staticShared,
              long localBytes, int maxThreads, int maxRegisters, List<Integer> requiredBlock, PtxException unserved) {
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
        this.maxThreads = !requiredBlock.isEmpty() ? requiredBlock.stream().reduce(1, (a, b) -> a * b) : maxThreads != 0 ? maxThreads : 1024;
        this.mostRegisters = requiredBlock.isEmpty() && maxThreads == 0 ? maxRegisters : 0;
        this.requiredBlock = requiredBlock;
        this.unserved = unserved;
        this.syncsGrid = instructions.stream().anyMatch(i -> i.operands().stream().anyMatch(o -> o instanceof Operand.Special s && s.name().startsWith("%envreg")));
    }

    /** @throws PtxException if something of the kernel as a whole is not served, such as clusters or recursion */
    public void requireServed() { if (unserved != null) throw new PtxException(unserved.getMessage()); }

    /** The error for an instruction, naming its line: {@code 'name' verdict: why}; {@code why} may be empty. */
    public PtxException refusal(Instruction i, String verdict, String why) {
        return new PtxException(module, i.line(), "'" + i.name() + "' " + verdict + (why.isEmpty() ? "" : ": " + why) + " (kernel " + name + ")");
    }

    /** Name of the module, for messages. */
    public String module() { return module; }
    public String name() { return name; }
    /** The kernel's PTX text, with that of the functions it calls. */
    public String text() { return text; }
    public List<PtxParam> params() { return params; }
    /** Bytes of the parameter buffer up to the end of the last parameter. */
    public int paramBytes() { return paramBytes; }
    /** Whether it reads where its grid's workspace lies: by that the blocks of a cooperative launch wait for each other. */
    public boolean syncsGrid() { return syncsGrid; }
    /** Where behind the parameters the address of the grid's workspace stands; 0 stands there in a launch that is not cooperative. */
    public int workspaceOffset() { return (paramBytes + 7) / 8 * 8; }
    /** Bytes that the buffer of a launch must have. */
    public int bufferBytes() { return syncsGrid ? workspaceOffset() + 8 : paramBytes; }
    public List<Register> registers() { return registers; }
    public List<Instruction> instructions() { return instructions; }
    /** Label to index of the instruction that follows it. */
    public Map<String, Integer> labels() { return labels; }
    /** {@code .branchtargets} tables by name. */
    public Map<String, List<String>> branchTables() { return branchTables; }
    /** Bytes from the start of the block's shared memory; {@code extern} arrays start at {@link #staticShared()}. */
    public long sharedOffset(String variable) { return sharedOffsets.get(variable); }
    /** The variable that holds a byte of the block's shared memory, as {@code tile + 12}; null if none begins before it. */
    public String sharedVariable(long at) {
        return sharedOffsets.entrySet().stream().filter(e -> e.getValue() <= at).max(Map.Entry.<String, Long>comparingByValue().thenComparing(Map.Entry.comparingByKey()))
                .map(e -> e.getKey() + " + " + (at - e.getValue())).orElse(null);
    }

    /** Bytes of static shared memory, rounded up to the alignment of the dynamic part. */
    public long staticShared() { return staticShared; }
    /** Bytes of local memory per thread. */
    public long localBytes() { return localBytes; }
    /** Threads per block promised by {@code .maxntid} or {@code .reqntid}; 1024 if neither is given. */
    public int maxThreads() { return maxThreads; }
    /** Registers that {@code .maxnreg} lets ptxas give a thread; 0 if it is not there, or with a bound on threads: ptxas sees to it that such a block has enough. */
    public int mostRegisters() { return mostRegisters; }
    /** Whether a block of this shape may be launched: {@code .reqntid} demands one. */
    public boolean admits(int x, int y, int z) {
        return requiredBlock.isEmpty() || x == required(0) && y == required(1) && z == required(2);
    }
    /** One dimension of the block that {@code .reqntid} demands; 1 where it names none. */
    public int required(int dimension) { return dimension < requiredBlock.size() ? requiredBlock.get(dimension) : 1; }
}
