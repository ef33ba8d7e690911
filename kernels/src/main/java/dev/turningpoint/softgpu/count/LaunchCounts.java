package dev.turningpoint.softgpu.count;

import dev.turningpoint.softgpu.interpreter.Launch;

import java.util.Arrays;
import java.util.List;
import java.util.function.ToLongFunction;
import java.util.stream.Stream;

/** What one launch, or several of one kernel added up, came to. The package's documentation defines each number. */
public final class LaunchCounts {
    private final Launch launch;
    private final Site[] sites;
    private int launches = 1;
    private long blocks, barriers;
    private long dramRead, dramWritten, l2Read, l2Written;

    LaunchCounts(Launch launch, Counter counter) {
        this.launch = launch;
        sites = counter.sites;
        blocks = launch.blocks();
        barriers = counter.barriers;
        dramRead = 32 * counter.sectors.distinctRead();
        dramWritten = 32 * counter.sectors.distinctWritten();
        l2Read = 32 * counter.sectors.readByBlocks;
        l2Written = 32 * counter.sectors.writtenByBlocks;
    }

    /** Adds another launch of the same kernel. */
    public void add(LaunchCounts o) {
        if (!kernel().equals(o.kernel()) || sites.length != o.sites.length) throw new IllegalArgumentException("launches of " + kernel() + " and " + o.kernel() + " do not add up");
        for (int i = 0; i < sites.length; i++) sites[i].add(o.sites[i]);
        launches += o.launches;
        blocks += o.blocks;
        barriers += o.barriers;
        dramRead += o.dramRead;
        dramWritten += o.dramWritten;
        l2Read += o.l2Read;
        l2Written += o.l2Written;
    }

    public String kernel() { return launch.kernel().name(); }
    /** The launch, or the first of several. Its parameters are gone. */
    public Launch launch() { return launch; }
    public int launches() { return launches; }
    public long blocks() { return blocks; }
    public List<Site> sites() { return List.of(sites); }

    private long sum(ToLongFunction<Site> of) { return Arrays.stream(sites).mapToLong(of).sum(); }
    private Stream<Site> of(InstructionClass c) { return Arrays.stream(sites).filter(s -> s.kind == c); }
    private Stream<Site> named(String opcode) { return Arrays.stream(sites).filter(s -> s.instruction.is(opcode)); }

    public long issued() { return sum(s -> s.issued); }
    public long issued(InstructionClass c) { return of(c).mapToLong(s -> s.issued).sum(); }
    /** Lanes that came to an instruction, whether its guard held or not. */
    public long threadInstructions() { return sum(s -> s.lanes); }
    /** Lanes that did the instruction. */
    public long guardedThreadInstructions() { return sum(s -> s.guarded); }

    public long globalRequests() { return sum(s -> s.globalRequests); }
    public long globalLoadRequests() { return sum(s -> s.instruction.is("atom") || s.instruction.is("red") || s.instruction.is("st") ? 0 : s.globalRequests); }
    public long globalStoreRequests() { return named("st").mapToLong(s -> s.globalRequests).sum(); }
    public long sectors() { return sum(s -> s.sectors); }
    public long idealSectors() { return sum(s -> s.idealSectors); }
    public long uncoalesced() { return sum(s -> s.uncoalesced); }
    public double sectorsPerRequest() { return (double) sectors() / globalRequests(); }

    public long dramReadBytes() { return dramRead; }
    public long dramWrittenBytes() { return dramWritten; }
    public long dramBytes() { return dramRead + dramWritten; }
    public long l2ReadBytes() { return l2Read; }
    public long l2WrittenBytes() { return l2Written; }
    public long l2Bytes() { return l2Read + l2Written; }

    public long sharedRequests() { return sum(s -> s.sharedRequests); }
    public long wavefronts() { return sum(s -> s.wavefronts); }
    public long bankConflicts() { return sum(s -> s.wavefronts - s.idealWavefronts); }
    public long localRequests() { return sum(s -> s.localRequests); }
    public long localSectors() { return sum(s -> s.localSectors); }
    public long constantRequests() { return sum(s -> s.constantRequests); }
    public long atomicRequests() { return of(InstructionClass.ATOMIC).mapToLong(s -> s.globalRequests + s.sharedRequests).sum(); }
    public long atomicLanes() { return of(InstructionClass.ATOMIC).mapToLong(s -> s.guarded).sum(); }

    public long branches() { return sum(s -> s.branches); }
    public long divergentBranches() { return sum(s -> s.divergent); }
    public long barriers() { return barriers; }

    public long matrixProducts() { return issued(InstructionClass.MATRIX); }
    long flops(Work.Kind kind) {
        boolean perWarp = kind.name().startsWith("MATRIX");
        return Arrays.stream(sites).filter(s -> s.work.kind() == kind).mapToLong(s -> s.work.operations() * (perWarp ? s.issued : s.guarded)).sum();
    }
    public long fp32Flops() { return flops(Work.Kind.F32); }
    public long fp16Flops() { return flops(Work.Kind.F16) + flops(Work.Kind.BF16); }
    public long fp64Flops() { return flops(Work.Kind.F64); }
    public long bf16MatrixFlops() { return flops(Work.Kind.MATRIX_BF16); }
    public long f16MatrixFlops() { return flops(Work.Kind.MATRIX_F16); }
    public long tf32MatrixFlops() { return flops(Work.Kind.MATRIX_TF32); }
    public long otherMatrixFlops() { return flops(Work.Kind.MATRIX_F64) + flops(Work.Kind.MATRIX_OTHER); }
}
