package dev.turningpoint.softgpu.ptx;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** A kernel or function as it stands in the text, its calls not yet resolved. A function without text is declared and has no body. */
final class Code {
    String name;
    String text;
    /** Of a kernel. */
    final List<PtxParam> params = new ArrayList<>();
    int paramBytes;
    /** Threads of a block at most, and registers of a thread; 0 where the text does not say. */
    int maxThreads, maxRegisters;
    /** Block that a launch must have, of one to three dimensions; empty if any will do. */
    List<Integer> requiredBlock = List.of();
    /** Of a function. */
    final List<PtxVariable> formals = new ArrayList<>(), results = new ArrayList<>();
    final List<Register> registers = new ArrayList<>();
    final List<Instruction> instructions = new ArrayList<>();
    final Map<String, Integer> labels = new HashMap<>();
    final Map<String, List<String>> tables = new HashMap<>();
    /** Shared variables it declares or names, in order. */
    final Set<PtxVariable> shared = new LinkedHashSet<>();
    /** Bytes of its local variables. */
    long local;
    /** What of it as a whole is not served, or null. */
    PtxException unserved;
}
