package dev.turningpoint.softgpu.count;

import dev.turningpoint.softgpu.ptx.Instruction;

/** One instruction of a kernel and what its executions came to. */
public final class Site {
    final Instruction instruction;
    final InstructionClass kind;
    final Work work;

    /** Times a warp executed it, lanes that came to it, and of those the lanes whose guard held. */
    long issued, lanes, guarded;
    /** Requests that went to each space; a generic instruction whose lanes point into two spaces makes one in each. */
    long globalRequests, sharedRequests, localRequests, constantRequests;
    /** 32-byte sectors the global requests asked for, and the fewest that hold the bytes asked for. */
    long sectors, idealSectors;
    /** Requests of at least two sectors more than that: one more is what neighbours cost that do not begin with a sector. */
    long uncoalesced;
    /** Passes over the banks that the shared requests needed, and those they would have needed without conflicts. */
    long wavefronts, idealWavefronts;
    long localSectors;
    /** Executions as a conditional branch, and those in which some lanes went one way and some the other. */
    long branches, divergent;

    Site(Instruction instruction) {
        this.instruction = instruction;
        kind = InstructionClass.of(instruction);
        work = Work.of(instruction);
    }

    void add(Site o) {
        issued += o.issued;
        lanes += o.lanes;
        guarded += o.guarded;
        globalRequests += o.globalRequests;
        sharedRequests += o.sharedRequests;
        localRequests += o.localRequests;
        constantRequests += o.constantRequests;
        sectors += o.sectors;
        idealSectors += o.idealSectors;
        uncoalesced += o.uncoalesced;
        wavefronts += o.wavefronts;
        idealWavefronts += o.idealWavefronts;
        localSectors += o.localSectors;
        branches += o.branches;
        divergent += o.divergent;
    }

    public Instruction instruction() { return instruction; }
    public InstructionClass kind() { return kind; }
    public long issued() { return issued; }
    public long globalRequests() { return globalRequests; }
    public long sectors() { return sectors; }
    public long idealSectors() { return idealSectors; }
    public long uncoalesced() { return uncoalesced; }
    public long sharedRequests() { return sharedRequests; }
    public long wavefronts() { return wavefronts; }
    public long bankConflicts() { return wavefronts - idealWavefronts; }
    public long branches() { return branches; }
    public long divergent() { return divergent; }

    /** Where it stands: the line of CUDA C++ if that is known, else of PTX. */
    public String place() { return instruction.source() != null ? instruction.source().toString() : "PTX line " + instruction.line(); }
}
