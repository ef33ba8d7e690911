package dev.turningpoint.softgpu.fuzz;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * PTX text from a random sequence: every thread loads its registers, computes on them through branches, loops, jump tables, predicates, memory and exchanges with
 * its warp and its block, and stores them. What hardware leaves undefined does not occur: exchanges stand where all threads pass (or are among lanes that a ballot
 * named), shared memory is written and read between barriers, threads write memory of their own, and what they write together is written by operations whose order
 * does not matter. Floats never turn into integers by their bits, nor do they give their sign away, so that the bits of a NaN, which no manual fixes, stay where
 * they are told apart.
 *
 * <p>Each kernel has some kinds of registers, operations and statements only, drawn anew: what is left meets more often, and LLVM has less to do (swarm testing;
 * Groce et al., ISSTA 2012).
 */
final class KernelGenerator {
    /**
     * Registers of a kind: their type, name prefix and count. {@code UNIFORM} starts alike in all threads and {@code INDEX} in steps, so that what an analysis of lanes
     * finds out about them has to be right; {@code ESTIMATE} holds results of approximate operations, each beside the {@code OPERAND} it came from.
     */
    enum Kind {
        B32("b32", "%r", 5), UNIFORM("b32", "%u", 2), INDEX("b32", "%i", 2), B64("b64", "%q", 3), F32("f32", "%f", 4), F64("f64", "%d", 3), B16("b16", "%e", 2), F16("b16", "%h", 2), BF16("b16", "%g", 2),
        F16X2("b32", "%v", 2), BF16X2("b32", "%w", 2), ESTIMATE("f32", "%x", APPROXIMATE.length), OPERAND("f32", "%y", APPROXIMATE.length);

        final String type, prefix;
        final int count, bytes;

        Kind(String type, String prefix, int count) {
            this.type = type;
            this.prefix = prefix;
            this.count = count;
            bytes = Integer.parseInt(type.substring(1)) / 8;
        }

        String register(int n) { return prefix + n; }
    }

    /** Operations that are right within bounds: {@link Estimates} has them. */
    static final String[] APPROXIMATE = {"ex2.approx.f32", "ex2.approx.ftz.f32", "lg2.approx.f32", "lg2.approx.ftz.f32", "sin.approx.f32", "cos.approx.f32", "rsqrt.approx.f32", "rsqrt.approx.ftz.f32",
        "rcp.approx.f32", "rcp.approx.ftz.f32", "sqrt.approx.f32", "sqrt.approx.ftz.f32", "tanh.approx.f32"};

    private static final String[] COMPARE_FLOAT = {"eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"};
    private static final String[] COMPARE = {"eq", "ne", "lt", "le", "gt", "ge"};
    private static final int PREDICATES = 4, CELL_BYTES = 64, READ_MASK = 63;
    private static final int[][] BLOCKS = {{32, 1}, {32, 1}, {32, 1}, {64, 1}, {64, 1}, {64, 1}, {32, 2}, {96, 1}, {8, 4}, {16, 4}, {4, 8}, {128, 1}, {45, 1}, {17, 1}, {16, 3}, {5, 7}};
    private static final int[] SIZES = {1, 1, 1, 2, 2, 2, 3, 3, 4, 6};   // statements at most: most kernels are small, since LLVM takes its time for each line

    /** Operations on a counter that several threads do in any order. */
    static final String[] SUMS = {"add.u32", "min.s32", "max.u32", "and.b32", "or.b32", "xor.b32", "max.s32", "min.u32"};

    static final int GRID = 2, COUNTERS = 16, FLOAT_COUNTER = 40;
    /** Bytes of {@code in} that kernels read at random. */
    static final int READABLE = 5000;

    private final Random random;
    private final int blockX, blockY, threads;
    /** Whether a thread's registers lie together in memory, rather than each register's threads. */
    private final boolean together;
    private final StringBuilder text = new StringBuilder();
    private final BitSet used = new BitSet();
    private final Map<String, Integer> shared = new LinkedHashMap<>();   // arrays and their bytes
    private final Exchanges exchanges;
    private final List<String> functions = new ArrayList<>();
    private boolean local, cells, constants;
    private int labels, budget;
    private final String kernel;

    // what this kernel is made of
    private final int[] registersOf = new int[Kind.values().length];
    private String[] forms;
    private final List<Statement> statements = new ArrayList<>();
    private boolean inFunction;

    private enum Statement { OPERATION, COMPARE, BRANCH, LOOP, TABLE, LOAD, STORE, LOCAL, ESTIMATE, EVEN, AMONG, CALL }

    KernelGenerator(Random random) {
        this.random = random;
        int[] block = BLOCKS[random.nextInt(BLOCKS.length)];
        blockX = block[0];
        blockY = block[1];
        threads = blockX * blockY;
        together = random.nextInt(16) == 0;
        exchanges = new Exchanges(this, random);
        selection();
        kernel = module();
    }

    /** Draws what kinds of registers, operations and statements the kernel has. */
    private void selection() {
        boolean all = random.nextInt(24) == 0;
        for (Kind k : Kind.values())
            registersOf[k.ordinal()] = switch (k) {
                case B32 -> 2 + random.nextInt(k.count - 1);
                case UNIFORM, INDEX -> 1 + random.nextInt(k.count);
                case ESTIMATE, OPERAND -> k.count;
                default -> all || random.nextInt(3) == 0 ? k == Kind.B16 ? 2 : 1 + random.nextInt(k.count) : 0;
            };
        forms = formsOf(all);
        for (Statement s : Statement.values()) {
            int share = switch (s) { case OPERATION -> 10; case COMPARE -> 2; case EVEN -> random.nextInt(5); default -> all ? 1 : random.nextInt(3) == 0 ? 2 : 0; };
            if (s == Statement.ESTIMATE && registersOf[Kind.F32.ordinal()] == 0 || s == Statement.CALL && random.nextInt(3) > 0) share = 0;
            for (int n = 0; n < share; n++) statements.add(s);
        }
        if (statements.contains(Statement.CALL)) for (int n = random.nextInt(2); n >= 0; n--) function();
    }

    /** The forms whose registers the kernel has, or some of them. */
    private String[] formsOf(boolean all) {
        List<String> possible = new ArrayList<>();
        for (String f : Forms.ALL) if (isPossible(f)) possible.add(f);
        Collections.shuffle(possible, random);
        int most = all || random.nextInt(4) == 0 ? possible.size() : 4 + random.nextInt(12);
        return possible.subList(0, Math.min(most, possible.size())).toArray(new String[0]);
    }

    private boolean isPossible(String form) {
        for (String instruction : form.split(";"))
            for (char c : instruction.substring(instruction.indexOf(' ') + 1).toCharArray()) {
                Kind k = switch (c) { case 'q' -> Kind.B64; case 'e' -> Kind.B16; case 'f' -> Kind.F32; case 'd' -> Kind.F64; case 'h' -> Kind.F16; case 'g' -> Kind.BF16; case 'v' -> Kind.F16X2; case 'w' -> Kind.BF16X2; default -> Kind.B32; };
                if (registersOf[k.ordinal()] == 0) return false;
            }
        return true;
    }

    /** A function of integers that kernels, and functions after it, call. */
    private void function() {
        String name = "part" + functions.size(), outer = text.toString();
        BitSet outerUsed = (BitSet) used.clone();
        text.setLength(0);
        budget = 4;
        int[] outerRegisters = registersOf.clone();
        List<Statement> outerStatements = List.copyOf(statements);
        String[] outerForms = forms;
        for (Kind k : Kind.values()) registersOf[k.ordinal()] = k == Kind.B32 ? 2 : k == Kind.B64 ? 1 : 0;
        forms = formsOf(false);
        inFunction = true;
        statements.clear();
        statements.addAll(List.of(Statement.OPERATION, Statement.OPERATION, Statement.COMPARE, Statement.BRANCH, Statement.LOOP));
        if (!functions.isEmpty()) statements.add(Statement.CALL);
        text.append(".func (.param .b32 back) ").append(name).append("(.param .b32 first, .param .b64 second)\n{\n");
        declarations();
        line("ld.param.b32 %r0, [first]");
        line("ld.param.b64 %q0, [second]");
        line("cvt.u32.u64 %r1, %q0");
        for (int p = 0; p < PREDICATES; p++) line("setp." + COMPARE[p] + ".s32 %p" + p + ", %r" + p % 2 + ", " + (3 + 7 * p));
        statements(1 + random.nextInt(3), 1);
        if (random.nextBoolean()) {
            int n = labels++;
            line("@" + predicate() + " bra STAY" + n);
            line("st.param.b32 [back], %r0");
            line("ret");
            text.append("STAY").append(n).append(":\n");
            statements(1 + random.nextInt(2), 1);
        }
        line("st.param.b32 [back], %r1");
        text.append("ret;\n}\n");
        functions.add(text.toString());
        inFunction = false;
        text.setLength(0);
        text.append(outer);
        used.clear();
        used.or(outerUsed);
        System.arraycopy(outerRegisters, 0, registersOf, 0, registersOf.length);
        statements.clear();
        statements.addAll(outerStatements);
        forms = outerForms;
    }

    private void call() {
        int n = labels++;
        String a = register(Kind.B32), b = inFunction || registersOf[Kind.B64.ordinal()] > 0 ? register(Kind.B64) : "%a4";
        if (b.equals("%a4")) { line("cvt.s64.s32 %a5, " + register(Kind.B32)); b = "%a5"; }
        text.append("{\n");
        line(".param .b32 first" + n);
        line("st.param.b32 [first" + n + "], " + a);
        line(".param .b64 second" + n);
        line("st.param.b64 [second" + n + "], " + b);
        line(".param .b32 back" + n);
        line("call" + (random.nextBoolean() ? ".uni" : "") + " (back" + n + "), part" + random.nextInt(functions.size()) + ", (first" + n + ", second" + n + ")");
        line("ld.param.b32 " + register(Kind.B32) + ", [back" + n + "]");
        text.append("}\n");
    }

    /** A module with one entry {@code f(in, out, memory, n)}. */
    String text() { return kernel; }
    int[] block() { return new int[]{blockX, blockY}; }
    int threads() { return threads; }

    static int registers() {
        int n = 0;
        for (Kind k : Kind.values()) n += k.count;
        return n;
    }

    /** The kind of the n-th value a thread stores. */
    static Kind kind(int n) {
        for (Kind k : Kind.values()) {
            if (n < k.count) return k;
            n -= k.count;
        }
        throw new IndexOutOfBoundsException();
    }

    /** Which of its kind the n-th value a thread stores is. */
    static int ofItsKind(int n) { return n - first(kind(n)); }

    private static int first(Kind kind) {
        int n = 0;
        for (Kind k : Kind.values()) {
            if (k == kind) return n;
            n += k.count;
        }
        throw new IllegalArgumentException();
    }

    /** Where the n-th value of a thread of the grid lies in {@code in} and {@code out}. */
    long offset(int n, int thread) {
        int own = isHalf(kind(n)) ? ofItsKind(n) : 0;   // two halves lie in four bytes
        return (together ? 8L * (registers() * thread + n - own) : 8L * GRID * threads * (n - own) + (long) accessBytes(n) * thread) + 2 * own;
    }

    private static boolean isHalf(Kind k) { return k == Kind.B16 || k == Kind.F16 || k == Kind.BF16; }
    private static int accessBytes(int n) { return isHalf(kind(n)) ? 4 : kind(n).bytes; }

    /** Whether the kernel has the n-th value. */
    boolean uses(int n) { return used.get(n); }
    /** Bytes of {@code in} and of {@code out}. */
    long valueBytes() { return 8L * GRID * threads * registers(); }
    /** Bytes of the memory that threads add to together, and then of each on its own. */
    long memoryBytes() { return 4 * COUNTERS + (long) CELL_BYTES * GRID * threads; }

    private String module() {
        budget = random.nextInt(50) == 0 ? 30 : SIZES[random.nextInt(SIZES.length)];
        for (int parts = 1 + random.nextInt(8) / 7; parts > 0; parts--) {
            statements(1 + random.nextInt(Math.max(budget, 1)), 0);
            switch (random.nextInt(24)) {
                case 0 -> uniformLoop();
                case 1 -> uniformBranch();
                case 2, 3, 4, 5, 6, 7, 8, 9 -> exchanges.any();
                default -> { }
            }
        }
        if (random.nextInt(16) == 0) {   // some threads end before the others
            budget = Math.max(budget, 2);
            line("@%p" + random.nextInt(PREDICATES) + " exit");
            statements(1 + random.nextInt(2), 0);
        }
        String body = text.toString();
        text.setLength(0);
        head();
        text.append(body);
        for (int bytes = 4; bytes <= 8; bytes *= 2) line("mad.wide.u32 %c" + bytes + ", %t3, " + step(bytes) + ", %a2");
        registers((n, type, register) -> {
            if (register.startsWith("{")) line("mov.b32 %t7, " + register);
            line("st.global." + type + " [%c" + accessBytes(n) + "+" + offset(n, 0) + "], " + (register.startsWith("{") ? "%t7" : register));
        });
        text.append("ret;\n}\n");
        return text.toString();
    }

    private void head() {
        text.append(".version 9.0\n.target sm_90\n.address_size 64\n");
        functions.forEach(text::append);
        if (constants) text.append(".const .align 16 .b8 constants[32] = {1, 2, 3, 4, 250, 0, 128, 127, 9, 200, 0, 0, 255, 255, 255, 255, 77, 3, 192, 1, 0, 0, 0, 128, 31, 41, 59, 26, 53, 58, 97, 93};\n");
        text.append(".visible .entry f(.param .u64 in, .param .u64 out, .param .u64 memory, .param .u32 n)\n{\n");
        declarations();
        shared.forEach((name, bytes) -> text.append(".shared .align 32 .b8 ").append(name).append('[').append(bytes).append("];\n"));
        if (local) text.append(".local .align 16 .b8 pocket[16];\n");
        line("mov.u32 %t0, %tid.x");
        line("mov.u32 %t1, %ctaid.x");
        if (blockY > 1) {
            line("mov.u32 %t3, %tid.y");
            line("mad.lo.s32 %t0, %t3, " + blockX + ", %t0");
        }
        line("mad.lo.s32 %t3, %t1, " + threads + ", %t0");
        line("ld.param.u64 %a1, [in]");
        line("ld.param.u64 %a2, [out]");
        if (cells) {
            line("ld.param.u64 %a3, [memory]");
            line("mad.wide.u32 %a4, %t3, " + CELL_BYTES + ", %a3");
            line("add.s64 %a4, %a4, " + 4 * COUNTERS);   // behind what all add to
        }
        line("mad.wide.u32 %a6, %t3, 77777777, 5");
        line("mov.b32 %t15, 0");
        for (int bytes = 4; bytes <= 8; bytes *= 2) line("mad.wide.u32 %b" + bytes + ", %t3, " + step(bytes) + ", %a1");
        registers((n, type, register) -> {
            line("ld.global." + type + " " + (register.startsWith("{") ? "%t7" : register) + ", [%b" + accessBytes(n) + "+" + offset(n, 0) + "]");
            if (register.startsWith("{")) line("mov.b32 " + register + ", %t7");
        });
        for (int n = 0; n < Kind.UNIFORM.count; n++) if (used.get(first(Kind.UNIFORM) + n)) line(n == 0 ? "mov.u32 %u0, %t1" : "ld.param.u32 %u1, [n]");
        for (int n = 0; n < Kind.INDEX.count; n++) if (used.get(first(Kind.INDEX) + n)) line(n == 0 ? "mov.u32 %i0, %tid.x" : blockY > 1 ? "mov.u32 %i1, %tid.y" : "mov.u32 %i1, %laneid");
        if (local) line("st.local.v4.b32 [pocket], {%t0, %t1, %t3, 77}");
        for (int p = 0; p < PREDICATES; p++) line("setp." + COMPARE[p] + ".s32 %p" + p + ", %t0, " + (3 + 7 * p));
    }

    private void declarations() {
        text.append(".reg .pred %p<").append(PREDICATES + 3).append(">;\n");
        for (Kind k : Kind.values()) text.append(".reg .").append(k.type).append(' ').append(k.prefix).append('<').append(k.count).append(">;\n");
        text.append(".reg .b32 %t<48>;\n.reg .f32 %s<8>;\n.reg .f64 %z<20>;\n.reg .b16 %j<4>;\n.reg .b64 %a<16>, %b<9>, %c<9>;\n");
    }

    private interface Access { void of(int n, String type, String register); }

    /** Every register the kernel has; of halves two at once. */
    private void registers(Access access) {
        for (int n = 0; n < registers(); n++) {
            Kind k = kind(n);
            if (!isHalf(k)) {
                if (used.get(n)) access.of(n, k.type, k.register(ofItsKind(n)));
            } else if (ofItsKind(n) == 0 && (used.get(n) || used.get(n + 1))) {
                used.set(n, n + 2);
                access.of(n, "b32", "{" + k.register(0) + ", " + k.register(1) + "}");
            }
        }
    }

    private int step(int bytes) { return together ? 8 * registers() : bytes; }

    void line(String s) { text.append(s).append(";\n"); }

    String pick(String... of) { return of[random.nextInt(of.length)]; }

    /** One of the kernel's registers of a kind that it has. */
    String register(Kind k) {
        int n = random.nextInt(registersOf[k.ordinal()]);
        used.set(first(k) + n);
        return k.register(n);
    }

    boolean has(Kind k) { return registersOf[k.ordinal()] > 0; }
    /** A register of 64 bits, of integers where the kernel has none. */
    String wide() { return has(Kind.B64) ? register(Kind.B64) : "%a6"; }

    /** The first of a kind, several at once; the kernel has them from now on. */
    String registers(Kind k, int count) {
        used.set(first(k), first(k) + count);
        return IntStream.range(0, count).mapToObj(k::register).collect(Collectors.joining(", ", "{", "}"));
    }

    /** An array in shared memory. */
    String shared(String name, int bytes) {
        shared.put(name, bytes);
        return name;
    }

    int label() { return labels++; }
    void label(String name) { text.append(name).append(":\n"); }

    String predicate() { return "%p" + random.nextInt(PREDICATES); }

    String guard() { return random.nextInt(6) > 0 ? "" : "@" + (random.nextBoolean() ? "!" : "") + predicate() + " "; }

    /** Statements of threads that may be on different ways. */
    private void statements(int count, int depth) {
        while (count-- > 0 && budget-- > 0) {
            switch (statements.get(random.nextInt(statements.size()))) {
                case OPERATION -> operation();
                case COMPARE -> compare(random.nextInt(PREDICATES));
                case BRANCH -> { if (depth < 2) branch(depth); else operation(); }
                case LOOP -> { if (depth < 2) loop(depth); else operation(); }
                case TABLE -> { if (depth < 1) table(depth); else operation(); }
                case LOAD -> load();
                case STORE -> store();
                case LOCAL -> localMemory();
                case ESTIMATE -> estimate();
                case EVEN -> even(random.nextBoolean() ? Kind.UNIFORM : Kind.INDEX);
                case AMONG -> { if (depth == 0) amongThem(); else operation(); }
                case CALL -> call();
            }
        }
    }

    private void operation() {
        String[] instructions = forms[random.nextInt(forms.length)].split(";");
        for (String instruction : instructions) {
            String[] form = instruction.split(" ");
            var s = new StringBuilder(instructions.length > 1 ? "" : guard()).append(form[0]).append(' ');
            boolean target = true, apart = false, conversion = form[0].startsWith("cvt");
            int within = 0;
            String last = "";
            for (char c : form[1].toCharArray()) {
                if (c == '}') { s.append('}'); within--; target = target && within > 0; continue; }
                if (c == '|') { s.append('|'); apart = true; target = true; continue; }
                if (!s.toString().endsWith(" ") && !s.toString().endsWith("{") && !s.toString().endsWith("|")) s.append(", ");
                if (c == '{') { s.append('{'); within++; continue; }
                String o = operand(c, !target, !target && !conversion && within == 0);
                while (target && (within > 0 || apart) && o.equals(last)) o = operand(c, false, false);
                s.append(o);
                last = o;
                if (within == 0) target = false;
                apart = false;
            }
            line(s.toString());
        }
    }

    private String operand(char kind, boolean source, boolean literal) {
        return switch (kind) {
            case 'r' -> {
                if (literal && random.nextInt(6) == 0) yield Integer.toString(random.nextInt(5) == 0 ? random.nextInt() : random.nextInt(64) - 8);
                yield register(source && !inFunction && random.nextInt(4) == 0 ? random.nextBoolean() ? Kind.UNIFORM : Kind.INDEX : Kind.B32);
            }
            case 'q' -> register(Kind.B64);
            case 'e' -> register(Kind.B16);
            case 'f' -> literal && random.nextInt(8) == 0 ? single() : register(Kind.F32);
            case 'c' -> single();
            case 'd' -> register(Kind.F64);
            case 'h' -> register(Kind.F16);
            case 'g' -> register(Kind.BF16);
            case 'v' -> register(Kind.F16X2);
            case 'w' -> register(Kind.BF16X2);
            case 'p', 'P' -> predicate();
            case 'l' -> Integer.toString(random.nextInt(256));
            case 'k' -> Integer.toString(random.nextInt(9) - 4);
            case 't' -> "%t7";
            default -> random.nextBoolean() ? Integer.toString(random.nextInt(40)) : register(Kind.B32);
        };
    }

    private String single() { return String.format("0f%08X", Float.floatToIntBits(Inputs.single(random))); }

    /** An operation among registers that are alike in all threads, or among those in steps and those. */
    private void even(Kind kind) {
        String[] form = pick(Forms.EVEN).split(" ");
        var s = new StringBuilder(random.nextInt(12) == 0 ? guard() : "").append(form[0]).append(' ').append(register(kind));
        for (int k = 1; k < form[1].length(); k++) {
            s.append(", ");
            switch (form[1].charAt(k)) {
                case 'p' -> s.append(predicate());
                case 's' -> s.append(random.nextInt(20));
                default -> s.append(k > 1 && random.nextBoolean() ? Integer.toString(random.nextInt(12)) : register(k == 1 ? kind : random.nextInt(3) == 0 ? kind : Kind.UNIFORM));
            }
        }
        line(s.toString());
    }

    private void estimate() {
        int n = random.nextInt(APPROXIMATE.length);
        used.set(first(Kind.ESTIMATE) + n);
        used.set(first(Kind.OPERAND) + n);
        line("mov.f32 %y" + n + ", " + register(Kind.F32));
        line(APPROXIMATE[n] + " %x" + n + ", %y" + n);
    }

    private void compare(int p) {
        String type, a, b;
        Kind kind = pickKind(Kind.B32, Kind.B32, Kind.INDEX, Kind.B64, Kind.F32, Kind.F64, Kind.F16, Kind.BF16);
        boolean real = false;
        switch (kind) {
            case INDEX -> { type = "u32"; a = register(random.nextBoolean() ? Kind.UNIFORM : Kind.INDEX); b = Integer.toString(random.nextInt(40)); }
            case B64 -> { type = pick("s64", "u64"); a = register(kind); b = register(kind); }
            case F32 -> { type = pick("f32", "ftz.f32"); a = register(kind); b = operand('f', true, true); real = true; }
            case F64, F16, BF16 -> { type = kind == Kind.F64 ? "f64" : kind == Kind.F16 ? "f16" : "bf16"; a = register(kind); b = register(kind); real = true; }
            default -> { type = pick("s32", "s32", "u32"); a = register(kind); b = operand('r', true, true); if (type.equals("u32") && b.startsWith("-")) b = b.substring(1); }
        }
        String how = real ? pick(COMPARE_FLOAT) : pick(COMPARE);
        String logic = random.nextInt(5) > 0 ? "" : "." + pick("and", "or", "xor");
        line("setp." + how + logic + "." + type + " %p" + p + (random.nextInt(6) == 0 ? "|" + "%p" + (p + 1) % PREDICATES : "") + ", " + a + ", " + b + (logic.isEmpty() ? "" : ", " + (random.nextBoolean() ? "!" : "") + predicate()));
    }

    /** One of the kinds that the kernel has. */
    private Kind pickKind(Kind... of) {
        Kind[] possible = Arrays.stream(of).filter(this::has).filter(k -> !inFunction || k == Kind.B32 || k == Kind.B64).toArray(Kind[]::new);
        return possible[random.nextInt(possible.length)];
    }

    // ---- memory

    /** Puts into %a5 an address of an element of {@code bytes} in what is only read. */
    private void readable(int bytes) {
        switch (random.nextInt(4)) {
            case 0 -> line("mad.wide.u32 %a5, %t0, " + bytes * (1 + random.nextInt(3)) + ", %a1");   // in steps
            case 1 -> line("add.s64 %a5, %a1, " + bytes * random.nextInt(8));   // one for all
            default -> {
                line("and.b32 %t7, " + register(pickIndex()) + ", " + READ_MASK);
                line("mad.wide.u32 %a5, %t7, " + bytes + ", %a1");
            }
        }
    }

    private Kind pickIndex() { return inFunction ? Kind.B32 : switch (random.nextInt(3)) { case 0 -> Kind.INDEX; case 1 -> Kind.UNIFORM; default -> Kind.B32; }; }

    private void load() {
        String how = "ld" + switch (random.nextInt(12)) { case 0 -> ".volatile"; case 1 -> ".relaxed.gpu"; case 2 -> ".acquire.cta"; default -> ""; };
        how += how.length() == 2 && random.nextInt(8) == 0 ? "" : ".global";   // or by a generic address
        if (how.equals("ld.global") && random.nextInt(3) == 0) how += ".nc";
        boolean strong = how.startsWith("ld.v") || how.startsWith("ld.r") || how.startsWith("ld.a");   // not under a guard: in a loop it may wait
        if (random.nextInt(6) == 0) line(pick("cvta.to.global.u64 %a1, %a1", "cvta.global.u64 %a1, %a1"));
        String on = strong ? "" : guard();
        Kind kind = pickKind(Kind.B32, Kind.B32, Kind.B64, Kind.B16, Kind.F16, Kind.BF16, Kind.F32, Kind.F64);
        switch (kind) {
            case B64 -> {
                if (random.nextBoolean()) { readable(8); line(on + how + ".b64 " + register(Kind.B64) + ", [%a5]"); }
                else { readable(16); line(on + how + ".v2.b64 " + registers(Kind.B64, 2) + ", [%a5+16]"); }
            }
            case B16 -> {
                if (random.nextBoolean()) { readable(2); line(on + how + "." + pick("b16", "u8", "s8", "s16") + " " + register(Kind.B16) + ", [%a5]"); }
                else { readable(4); line(on + how + ".v2.u16 " + registers(Kind.B16, 2) + ", [%a5+4]"); }
            }
            case F16, BF16 -> { readable(2); line(on + how + ".b16 " + register(kind) + ", [%a5]"); }
            case F64 -> {
                if (random.nextBoolean()) { readable(8); line(on + how + ".f64 " + register(kind) + ", [%a5]"); }
                else { readable(16); line(on + how + ".v2.f64 " + registers(kind, 2) + ", [%a5]"); }
            }
            case F32 -> {
                if (random.nextBoolean()) { readable(4); line(on + how + ".f32 " + register(kind) + ", [%a5+4]"); }
                else { readable(8); line(on + how + ".v2.f32 " + registers(kind, 2) + ", [%a5]"); }
            }
            default -> {
                switch (random.nextInt(7)) {
                    case 0 -> { readable(1); line(on + how + "." + pick("u8", "s8") + " " + register(Kind.B32) + ", [%a5]"); }
                    case 1 -> { readable(2); line(on + how + "." + pick("u16", "s16") + " " + register(Kind.B32) + ", [%a5+2]"); }
                    case 2 -> { readable(8); line(on + how + ".v2.b32 {" + register(Kind.B32) + ", %t8}, [%a5]"); }
                    case 3 -> { readable(16); line(on + how + ".v4.b32 " + registers(Kind.B32, 4) + ", [%a5]"); }
                    case 4 -> {
                        constants = true;
                        line("and.b32 %t7, " + register(pickIndex()) + ", 28");
                        line("mov.u64 %a5, constants");
                        line("mad.wide.u32 %a5, %t7, 1, %a5");
                        line(guard() + "ld.const." + pick("b32", "u8", "s16") + " " + register(Kind.B32) + ", [%a5]");
                    }
                    default -> { readable(4); line(on + how + ".b32 " + register(Kind.B32) + ", [%a5+4]"); }
                }
            }
        }
    }

    /** To the thread's own cell, at a fixed place or a computed one; or a sum with others. */
    private void store() {
        cells = true;
        if (random.nextInt(3) == 0) {
            line("and.b32 %t7, " + register(Kind.B32) + ", 48");
            line("cvt.u64.u32 %a5, %t7");
            line("add.s64 %a5, %a4, %a5");
        } else line("add.s64 %a5, %a4, " + 16 * random.nextInt(4));
        String how = "st" + switch (random.nextInt(12)) { case 0 -> ".volatile.global"; case 1 -> ".relaxed.gpu.global"; case 2 -> ".release.cta.global"; case 3 -> ""; default -> ".global"; };
        switch (random.nextInt(15)) {
            case 0 -> line(guard() + how + ".u8 [%a5+3], " + register(Kind.B32));
            case 1 -> line(guard() + how + ".u16 [%a5+6], " + register(has(Kind.B16) ? Kind.B16 : Kind.B32));
            case 2 -> line(guard() + how + ".b64 [%a5+8], " + wide());
            case 3 -> line(guard() + how + ".v2.b32 [%a5], {" + register(Kind.B32) + ", " + register(Kind.B32) + "}");
            case 4 -> line(guard() + how + ".v4.b32 [%a5], {" + register(Kind.B32) + ", " + register(Kind.INDEX) + ", " + register(Kind.B32) + ", " + register(Kind.UNIFORM) + "}");
            case 5 -> line(guard() + how + ".v2.b64 [%a5], {" + wide() + ", " + wide() + "}");
            case 6, 7 -> line(guard() + "atom" + pick(".global", "", ".acq_rel.gpu.global") + "." + pick("add.u32", "min.s32", "max.s32", "min.u32", "max.u32", "exch.b32", "and.b32", "or.b32", "xor.b32", "inc.u32", "dec.u32") + " " + register(Kind.B32) + ", [%a5+4], " + register(Kind.B32));
            case 8 -> line(guard() + "atom.global." + pick("add.u64", "min.s64", "max.s64", "min.u64", "max.u64", "exch.b64", "and.b64", "or.b64", "xor.b64") + " " + wide() + ", [%a5+8], " + wide());
            case 9 -> line(guard() + "atom.global.cas.b32 " + register(Kind.B32) + ", [%a5], " + register(Kind.B32) + ", " + register(Kind.B32));
            case 10 -> {   // one that meets its value, or not
                line("ld.global.b64 %a7, [%a5+8]");
                line("and.b64 %a7, %a7, -" + (1 + random.nextInt(2)));
                line(guard() + "atom.global.cas.b64 " + wide() + ", [%a5+8], %a7, " + wide());
            }
            case 11 -> {
                line("ld.global.u16 %j0, [%a5+2]");
                line("cvt.u16.u32 %j1, " + register(Kind.B32));
                line("and.b16 %j0, %j0, -" + (1 + random.nextInt(2)));
                line(guard() + "atom.global.cas.b16 %j2, [%a5+2], %j0, %j1");
                line("cvt.u32.u16 " + register(Kind.B32) + ", %j2");
            }
            case 12 -> sumOfFloats();
            default -> {   // one operation a counter, so that their order does not matter
                int n = random.nextInt(SUMS.length);
                switch (random.nextInt(4)) {
                    case 0 -> line(guard() + "red.global.add.u64 [%a3+" + 32 + "], " + wide());
                    case 1 -> {
                        line("and.b32 %t7, " + register(Kind.B32) + ", 1023");
                        line("cvt.rn.f32.s32 %s0, %t7");
                        line(guard() + "red.global.add.f32 [%a3+" + FLOAT_COUNTER + "], %s0");
                    }
                    default -> line(guard() + "red.global." + SUMS[n] + " [%a3+" + 4 * n + "], " + register(Kind.B32));
                }
            }
        }
        if (random.nextInt(8) == 0) line(pick("membar.cta", "membar.gl", "fence.acq_rel.gpu", "fence.sc.cta", "prefetch.global.L2 [%a5]", "nanosleep.u32 20"));
        if (random.nextBoolean()) line("ld.global.b32 " + register(Kind.B32) + ", [%a5]");
    }

    /** Of small integers, which are exact in every format. */
    private void sumOfFloats() {
        String[] f = pick("f32 %s b32", "f64 %z b64", "f16 %j b16", "bf16 %j b16", "f16x2 %t2 b32", "bf16x2 %t2 b32").split(" ");
        boolean pair = f[0].endsWith("x2"), half = pair || f[0].endsWith("16");
        String one = f[0].replace("x2", "");
        for (int n = 0; n < 2; n++) {
            line("and.b32 %t7, " + register(Kind.B32) + ", 63");
            line("cvt.rn." + one + ".s32 " + (half ? "%j" : f[1]) + n + ", %t7");
            if (pair) line("mov.b32 %t2" + n + ", {%j" + n + ", %j" + n + "}");
        }
        if (f[0].equals("f32") && random.nextBoolean()) {   // several at once
            int n = random.nextBoolean() ? 2 : 4;
            String all = IntStream.range(0, n).mapToObj(k -> "%s" + k % 2).collect(Collectors.joining(", ", "{", "}"));
            line("st.global.v" + n + ".f32 [%a5], " + all);
            line(guard() + "atom.global.add.v" + n + ".f32 " + IntStream.range(2, 2 + n).mapToObj(k -> "%s" + k).collect(Collectors.joining(", ", "{", "}")) + ", [%a5], " + all);
            return;
        }
        line("st.global." + f[2] + " [%a5+8], " + f[1] + "0");
        line(guard() + "atom" + pick(".global", "") + ".add." + (half ? "noftz." : "") + f[0] + " " + f[1] + "2, [%a5+8], " + f[1] + "1");
        line("ld.global.u16 " + register(Kind.B32) + ", [%a5+8]");
    }

    private void localMemory() {
        local = true;
        line("and.b32 %t7, " + register(pickIndex()) + ", 12");
        line("mov.u32 %t8, pocket");
        line("add.u32 %t7, %t7, %t8");
        String d = random.nextInt(3) > 0 ? "%t7" : "pocket";
        switch (random.nextInt(13)) {
            case 0 -> line(guard() + "st.local.b64 [pocket+8], " + wide());
            case 1 -> line(guard() + "ld.local.b64 " + wide() + ", [pocket]");
            case 2 -> line(guard() + "st.local.v4.b32 [pocket], " + registers(Kind.B32, 4));
            case 8 -> line(guard() + "ld.local.v4.b32 " + registers(Kind.B32, 4) + ", [pocket]");
            case 9 -> line(guard() + "st.local.v2.b64 [pocket], {" + wide() + ", " + wide() + "}");
            case 10 -> line(guard() + "st.local.v2.b32 [pocket+8], " + registers(Kind.B32, 2));
            case 3 -> line(guard() + "ld.local.v2.b32 " + registers(Kind.B32, 2) + ", [pocket+8]");
            case 4 -> {
                line("cvt.u64.u32 %a5, %t7");
                line("cvta.local.u64 %a5, %a5");
                if (random.nextBoolean()) {   // there and back
                    line("cvta.to.local.u64 %a5, %a5");
                    line("ld.local.b32 " + register(Kind.B32) + ", [%a5]");
                    return;
                }
                line(guard() + (random.nextBoolean() ? "ld.b32 " + register(Kind.B32) + ", [%a5]" : "st.b32 [%a5], " + register(Kind.B32)));
            }
            case 5, 6, 7 -> line(guard() + "ld.local." + pick("b32", "u8", "s16") + " " + register(Kind.B32) + ", [" + d + "]");
            default -> line(guard() + "st.local." + pick("b32", "u8", "u16") + " [" + d + "], " + register(Kind.B32));
        }
    }

    // ---- ways

    private void branch(int depth) {
        int n = labels++;
        boolean otherwise = random.nextBoolean();
        line("@" + (random.nextBoolean() ? "!" : "") + predicate() + " bra ELSE" + n);
        statements(1 + random.nextInt(2), depth + 1);
        if (otherwise) line("bra FI" + n);
        text.append("ELSE").append(n).append(":\n");
        if (otherwise) {
            statements(1, depth + 1);
            text.append("FI").append(n).append(":\n");
        }
    }

    /** One to four rounds, each lane as many as its own register says, with a way out in the middle. */
    private void loop(int depth) {
        int n = labels++, counter = 10 + depth;
        boolean leaves = random.nextBoolean();
        line("and.b32 %t" + counter + ", " + register(random.nextInt(3) == 0 ? pickIndex() : Kind.B32) + ", 3");
        text.append("LOOP").append(n).append(":\n");
        statements(1 + random.nextInt(2), depth + 1);
        if (leaves) line("@" + predicate() + " bra OUT" + n);
        statements(random.nextInt(2), depth + 1);
        line("sub.s32 %t" + counter + ", %t" + counter + ", 1");
        line("setp.ge.s32 %p" + PREDICATES + ", %t" + counter + ", 0");
        line("@%p" + PREDICATES + " bra LOOP" + n);
        if (leaves) text.append("OUT").append(n).append(":\n");
    }

    private void table(int depth) {
        int n = labels++, ways = 2 + random.nextInt(2);
        line("and.b32 %t7, " + register(random.nextInt(3) == 0 ? pickIndex() : Kind.B32) + ", 7");
        line("min.u32 %t7, %t7, " + (ways - 1));
        text.append("TABLE").append(n).append(": .branchtargets ");
        for (int w = 0; w < ways; w++) text.append(w == 0 ? "" : ", ").append("WAY").append(n).append('_').append(w);
        text.append(";\n");
        line("brx.idx %t7, TABLE" + n);
        for (int w = 0; w < ways; w++) {
            text.append("WAY").append(n).append('_').append(w).append(":\n");
            statements(1, depth + 1);
            if (random.nextInt(3) > 0) line("bra JOIN" + n);
        }
        text.append("JOIN").append(n).append(":\n");
    }

    /** Lanes that a ballot named exchange on a way of their own. */
    private void amongThem() {
        int n = labels++;
        String p = predicate();
        String d = register(Kind.B32), a = register(Kind.B32);
        line("vote.sync.ballot.b32 %t14, " + p + ", -1");
        line("@!" + p + " bra REST" + n);
        switch (random.nextInt(6)) {
            case 5 -> line("match.any.sync.b64 " + d + ", " + wide() + ", %t14");
            case 0 -> line("redux.sync." + pick("add.s32", "min.s32", "max.u32", "and.b32", "or.b32", "xor.b32") + " " + d + ", " + a + ", %t14");
            case 1 -> line("match.any.sync.b32 " + d + ", " + a + ", %t14");
            case 2 -> line("vote.sync.ballot.b32 " + d + ", " + predicate() + ", %t14");
            case 3 -> line("vote.sync." + pick("all", "any", "uni") + ".pred " + predicate() + ", " + predicate() + ", %t14");
            default -> {   // from the first of them
                line("brev.b32 %t15, %t14");
                line("clz.b32 %t15, %t15");
                line("shfl.sync.idx.b32 " + d + ", " + a + ", %t15, 31, %t14");
            }
        }
        statements(random.nextInt(2), 1);
        text.append("REST").append(n).append(":\n");
    }

    private void uniformLoop() {
        int n = labels++;
        line("add.u32 %t13, %t1, " + random.nextInt(2));
        text.append("AGAIN").append(n).append(":\n");
        statements(1 + random.nextInt(2), 1);
        exchanges.inLoop();
        line("sub.u32 %t13, %t13, 1");
        line("setp.ge.s32 %p" + (PREDICATES + 1) + ", %t13, 0");
        line("@%p" + (PREDICATES + 1) + " bra AGAIN" + n);
    }

    private void uniformBranch() {
        int n = labels++;
        line("setp.eq.u32 %p" + (PREDICATES + 1) + ", %t1, " + random.nextInt(GRID));
        line("@%p" + (PREDICATES + 1) + " bra OTHER" + n);
        exchanges.any();
        line("bra SAME" + n);
        text.append("OTHER").append(n).append(":\n");
        exchanges.any();
        text.append("SAME").append(n).append(":\n");
    }
}
