package dev.turningpoint.softgpu.ptx;

import dev.turningpoint.softgpu.ptx.Lexer.Kind;
import dev.turningpoint.softgpu.ptx.Lexer.Token;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads PTX text as nvcc writes it, inline assembly included. Knows the grammar, not the meaning of opcodes: what is not served is refused
 * when the kernel that uses it is compiled, so that its neighbours can still run.
 */
public final class PtxParser {
    private static final java.util.regex.Pattern SPECIAL = java.util.regex.Pattern.compile("%(((n?tid|n?ctaid)(\\.[xyz])?)|laneid|n?warpid|n?smid|gridid|lanemask_[a-z]{2}"
            + "|clock(64|_hi)?|globaltimer(_lo|_hi)?|(total|dynamic|aggr)_smem_size|envreg\\d+|pm\\d(_64)?|cluster.*|n?clusterid.*|is_explicit_cluster|current_graph_exec)");

    private final String module;
    private final String text;
    private final List<Token> tokens;
    private int at;

    private final Map<String, Code> entries = new LinkedHashMap<>();
    private final Map<String, Code> functions = new HashMap<>();
    private final Map<String, String> aliases = new HashMap<>();
    private final Map<String, PtxVariable> variables = new LinkedHashMap<>();
    private final Map<String, PtxVariable> functionAddresses = new HashMap<>();
    private final Map<Long, String> files;
    private final Map<String, Mnemonic> mnemonics = new HashMap<>();
    private final StringBuilder variableText = new StringBuilder();
    private long dataBytes;

    /** {@code ld.global.f32}, taken apart once a module. */
    private record Mnemonic(String opcode, List<String> modifiers) {
        static Mnemonic of(String text) {
            List<String> parts = List.of(text.split("\\."));
            return new Mnemonic(parts.getFirst(), parts.subList(1, parts.size()));
        }
    }

    private PtxParser(String module, String text) {
        this.module = module;
        this.text = text;
        this.tokens = Lexer.tokens(module, text);
        this.files = files();
    }

    /** Bare names of the CUDA sources by number, read ahead: nvcc writes {@code .file} after the code that refers to it. */
    private Map<Long, String> files() {
        var names = new HashMap<Long, String>();
        for (int i = 0; i + 2 < tokens.size(); i++) {
            if (!tokens.get(i).is(".file")) continue;
            at = i + 1;
            long number = number(next());
            String path = next().text();
            names.put(number, path.substring(path.lastIndexOf('/') + 1));
        }
        at = 0;
        return names;
    }

    /**
     * @param name module name used in messages, without ".ptx"
     * @throws PtxException naming the line if the text is not PTX we can read
     */
    public static PtxModule parse(String name, String text) {
        var p = new PtxParser(name, text);
        var kernels = new LinkedHashMap<String, PtxKernel>();
        try {
            p.module();
            p.aliases.forEach((alias, function) -> { if (p.functions.containsKey(function)) p.functions.put(alias, p.functions.get(function)); });
            for (Code entry : p.entries.values()) kernels.put(entry.name, new Inliner(name, p.functions, entry).kernel());
        } catch (IndexOutOfBoundsException | NumberFormatException | NegativeArraySizeException | ArithmeticException | NullPointerException e) {
            throw p.error(p.peek(), "not PTX: near " + p.peek());
        }
        return new PtxModule(name, text, kernels, p.variables, p.functionAddresses, p.variableText.toString(), p.dataBytes);
    }

    // ---- module level

    private void module() {
        boolean versioned = false;
        while (peek().kind() != Kind.END) {
            Token t = next();
            switch (t.text()) {
                case ".version" -> { next(); versioned = true; }
                case ".target" -> { next(); while (accept(",")) next(); }
                case ".address_size" -> { if (!next().is("64")) throw error(t, "only 64-bit addresses are served"); }
                case ".visible", ".weak", ".common" -> { }
                case ".extern" -> { if (peek().is(".shared")) { next(); moduleVariable(t, StateSpace.SHARED); } else external(); }
                case ".global" -> moduleVariable(t, StateSpace.GLOBAL);
                case ".const" -> moduleVariable(t, StateSpace.CONST);
                case ".shared" -> moduleVariable(t, StateSpace.SHARED);
                case ".entry", ".func" -> new CodeParser(t).parse();
                case ".alias" -> {
                    String alias = next().text();
                    expect(",");
                    aliases.put(alias, next().text());
                    expect(";");
                }
                case ".file", ".loc" -> skipLine(t);
                case ".pragma" -> skipTo(";");
                case ".section" -> { skipTo("{"); skipTo("}"); }
                case ";" -> { }
                default -> throw error(t, "expected a directive, found " + t);
            }
            if (!versioned) throw error(t, "PTX begins with .version, found " + t);
        }
    }

    private void external() {
        if (peek().is(".func")) new CodeParser(next()).parse();
        else if (peek().is(".global") || peek().is(".const")) throw error(peek(), "external variables are not served: modules are not linked");
        else throw error(peek(), "expected a declaration, found " + peek());
    }

    /** What stands for the address of a function: a place of its own, where nothing lies. Calls through it are refused where they stand. */
    private PtxVariable functionAddress(String name) {
        return functionAddresses.computeIfAbsent(name, n -> {
            long offset = (dataBytes + 15) / 16 * 16;
            dataBytes = offset + 16;
            return new PtxVariable(n, StateSpace.GLOBAL, 16, offset, 0, null, List.of());
        });
    }

    /** Bytes that no variable has, so that whoever runs past the end of one is not in the next. */
    private static final int BETWEEN_VARIABLES = 256;

    private void moduleVariable(Token first, StateSpace space) {
        Declaration d = declaration(true);
        long offset = -1;
        if (space != StateSpace.SHARED) {
            int align = Math.max(d.align, 16);
            offset = (dataBytes + align - 1) / align * align;
            dataBytes = offset + d.size + BETWEEN_VARIABLES;
        }
        variables.put(d.name, new PtxVariable(d.name, space, d.align, offset, d.size, d.initial, d.pointers));
        variableText.append(text, first.start(), peek().start());
        expect(";");
    }

    private record Declaration(String name, PtxType type, int align, long size, boolean array, byte[] initial, List<PtxVariable.Pointer> pointers) {}

    /** {@code [.align n] [.attribute] [.ptr ...] .type name[dims] [= initialiser]}, the space already read. */
    private Declaration declaration(boolean initialiser) {
        int align = 0, vector = 1;
        PtxType type = null;
        while (peek().text().startsWith(".") && peek().kind() == Kind.WORD) {
            Token t = next();
            switch (t.text()) {
                case ".align" -> {
                    int n = (int) number(next());
                    if (type == null) align = n;   // after the type it speaks of what a pointer points to
                }
                case ".ptr", ".global", ".const", ".shared", ".local" -> { }
                case ".attribute" -> skipTo(")");
                case ".v2" -> vector = 2;
                case ".v4" -> vector = 4;
                default -> {
                    type = PtxType.of(t.text().substring(1));
                    if (type == null) throw error(t, "unknown type " + t);
                }
            }
        }
        Token name = next();
        if (type == null) throw error(name, "a declaration needs a type, found " + name);
        if (name.kind() != Kind.WORD) throw error(name, "expected a name, found " + name);
        long count = vector;
        boolean array = false;
        while (accept("[")) {
            array = true;
            if (accept("]")) { count = 0; continue; }
            count *= number(next());
            expect("]");
        }
        byte[] initial = null;
        var pointers = new ArrayList<PtxVariable.Pointer>();
        if (initialiser && accept("=")) {
            initial = new byte[(int) (count * type.bytes())];
            int[] where = {0};
            initial(type, initial, where, pointers);
        }
        return new Declaration(name.text(), type, Math.max(align, vector * type.bytes()), count * type.bytes(), array, initial, pointers);
    }

    private void initial(PtxType type, byte[] into, int[] where, List<PtxVariable.Pointer> pointers) {
        Token t = peek();
        if (accept("{")) {
            do initial(type, into, where, pointers); while (accept(","));
            expect("}");
            return;
        }
        int size = type.bytes();
        if (where[0] + size > into.length) throw error(t, "more initial values than elements");
        long bits;
        if (t.kind() == Kind.WORD) {
            next();
            String target = t.text();
            if (target.equals("generic")) { expect("("); target = next().text(); expect(")"); }
            long addend = accept("+") ? number(next()) : 0;
            if (size != 8) throw error(t, "an address fills 8 bytes, not " + size);
            pointers.add(new PtxVariable.Pointer(where[0], target, addend));
            if (functions.containsKey(target)) functionAddress(target);
            bits = 0;
        } else {
            Operand.Immediate v = immediate();
            bits = v.bits();
            if (type == PtxType.F32 && v.kind() == Operand.Immediate.Kind.DOUBLE) bits = Float.floatToRawIntBits((float) Double.longBitsToDouble(bits));
        }
        for (int i = 0; i < size; i++) into[where[0]++] = (byte) (bits >>> (8 * i));
    }

    // ---- kernels and functions

    private final class CodeParser {
        private final Token first;
        private final Code code = new Code();
        private SourceLine source;
        /** The last {@code .loc} of each {@link #place}. */
        private final Map<Long, SourceLine> places = new HashMap<>();
        private final Deque<Scope> scopes = new ArrayDeque<>();
        private int scopeCount;

        /** Names of one pair of braces. */
        private static final class Scope {
            final int id;
            final Map<String, Object> names = new HashMap<>();   // Register, PtxVariable, PtxParam
            final Map<String, int[]> ranges = new HashMap<>();   // prefix -> {count, type ordinal}
            Scope(int id) { this.id = id; }
        }

        CodeParser(Token first) { this.first = first; }

        /** {@code .entry name (parameters) directives { ... }} or {@code .func (results) name (parameters) directives { ... }}, of which a declaration has no body. */
        void parse() {
            boolean entry = first.is(".entry");
            scopes.push(new Scope(scopeCount++));
            if (!entry && peek().is("(")) formals(code.results);
            code.name = next().text();
            if (peek().is("(")) {
                if (entry) parameters();
                else formals(code.formals);
            }
            if (!entry) functions.putIfAbsent(code.name, code);   // known to its own body
            while (!peek().is("{")) {
                if (!entry && accept(";")) return;
                directive(next());
            }
            next();
            int depth = 1;
            while (depth > 0) {
                Token t = next();
                switch (t.text()) {
                    case "{" -> { depth++; scopes.push(new Scope(scopeCount++)); }
                    case "}" -> { depth--; scopes.pop(); }
                    case ";" -> { }
                    default -> {
                        if (t.kind() == Kind.END) throw error(t, (entry ? "kernel " : "function ") + code.name + " has no end");
                        statement(t);
                    }
                }
            }
            for (Instruction i : code.instructions)
                for (Operand o : i.operands())
                    if (o instanceof Operand.Label l && i.is("bra") && !code.labels.containsKey(l.name()))
                        throw new PtxException(module, i.line(), "branch to unknown label " + l.name());
            code.text = text.substring(first.start(), tokens.get(at - 1).start() + 1);
            if (!entry) functions.put(code.name, code);
            else if (entries.put(code.name, code) != null) throw error(first, "two entries named " + code.name);
        }

        private void parameters() {
            expect("(");
            while (!accept(")")) {
                expect(".param");
                Declaration d = declaration(false);
                int offset = (code.paramBytes + d.align - 1) / d.align * d.align;
                var p = new PtxParam(d.name, offset, (int) d.size, d.align);
                code.params.add(p);
                scope().names.put(d.name, p);
                code.paramBytes = offset + p.size();
                accept(",");
            }
        }

        /** Parameters or results of a function: variables that the caller gives. */
        private void formals(List<PtxVariable> into) {
            expect("(");
            while (!accept(")")) {
                if (accept(".reg")) throw error(peek(), "parameters in registers are not served");
                expect(".param");
                Declaration d = declaration(false);
                var v = new PtxVariable(d.name, StateSpace.PARAM, d.align, -1, d.size, null, List.of());
                into.add(v);
                scope().names.put(d.name, v);
                accept(",");
            }
        }

        private Scope scope() { return scopes.peek(); }

        private void directive(Token t) {
            switch (t.text()) {
                case ".maxntid" -> code.maxThreads = (int) Math.min(1024, product());
                case ".reqntid" -> {
                    var block = new ArrayList<Integer>();
                    do block.add((int) number(next())); while (accept(","));
                    code.requiredBlock = List.copyOf(block);
                }
                case ".maxnreg" -> code.maxRegisters = (int) number(next());
                case ".minnctapersm", ".maxnctapersm", ".maxclusterrank" -> next();
                case ".reqnctapercluster" -> { if (product() > 1) unserved(t, "a kernel of clusters"); }
                case ".pragma" -> skipTo(";");
                case ".noreturn", ".unique", ".explicitcluster" -> { }
                default -> {
                    unserved(t, "the directive " + t);
                    while (!peek().is("{") && !peek().is(";") && !peek().text().startsWith(".")) if (next().kind() == Kind.END) throw error(t, "a body is missing");
                }
            }
        }

        private long product() {
            long n = number(next());
            while (accept(",")) n *= number(next());
            return n;
        }

        /** Whoever launches the kernel hears of it; its neighbours in the module can still run. */
        private void unserved(Token t, String what) {
            if (code.unserved == null) code.unserved = new PtxException(module, t.line(), "the software GPU does not serve " + what + " (" + code.name + ")");
        }

        private void statement(Token t) {
            switch (t.text()) {
                case ".reg" -> registers();
                case ".shared", ".local", ".param" -> {
                    boolean isShared = t.is(".shared"), isLocal = t.is(".local");
                    do {
                        Declaration d = declaration(false);
                        long offset = -1;
                        StateSpace space = StateSpace.PARAM;
                        if (isLocal) {
                            offset = (code.local + d.align - 1) / d.align * d.align;
                            code.local = offset + d.size;
                            space = StateSpace.LOCAL;
                        }
                        if (isShared) space = StateSpace.SHARED;
                        String name = isShared && !first.is(".entry") ? code.name + "." + d.name : d.name;
                        var v = new PtxVariable(name, space, d.align, offset, d.size, null, List.of());
                        scope().names.put(d.name, v);
                        if (isShared) code.shared.add(v);
                    } while (accept(","));
                    expect(";");
                }
                case ".loc" -> location(t);
                case ".file" -> skipLine(t);
                case ".pragma" -> skipTo(";");
                case ".branchtargets" -> throw error(t, ".branchtargets without a label");
                default -> {
                    if (t.kind() == Kind.WORD && peek().is(":")) {
                        next();
                        label(t);
                    } else instruction(t);
                }
            }
        }

        /**
         * {@code .loc file line column}, of inlined code followed by {@code , function_name label, inlined_at file line column}; the place it was inlined at had a
         * {@code .loc} of its own before, which may say the same of itself.
         */
        private void location(Token t) {
            Token number = next();
            long file = number(number), line = number(next()), column = number(next());
            if (files.get(file) == null) throw error(number, ".loc of unknown file " + number);
            SourceLine caller = null;
            while (peek().kind() != Kind.END && peek().line() == t.line())
                if (next().is("inlined_at")) {
                    long callerFile = number(next()), callerLine = number(next());
                    caller = places.get(place(callerFile, callerLine, number(next())));
                    if (caller == null && files.containsKey(callerFile)) caller = new SourceLine(files.get(callerFile), (int) callerLine);
                }
            if (line == 0) return;   // the compiler's own code, counted to the line before it
            source = new SourceLine(files.get(file), (int) line, caller);
            places.put(place(file, line, column), source);
        }

        private static long place(long file, long line, long column) { return file << 48 | line << 20 | column; }

        private void label(Token t) {
            if (peek().is(".branchtargets")) {
                next();
                var targets = new ArrayList<String>();
                do targets.add(labelName(next().text())); while (accept(","));
                expect(";");
                code.tables.put(t.text(), targets);
                return;
            }
            if (peek().is(".callprototype")) { skipTo(";"); return; }
            String n = t.text();
            // Labels of inner scopes may repeat (inline assembly): the scope's number keeps them apart.
            if (scopes.size() > 1) { n = n + "@" + scope().id; scope().names.put(t.text(), n); }
            if (code.labels.put(n, code.instructions.size()) != null) throw error(t, "label " + t + " twice");
        }

        private String labelName(String n) {
            for (Scope s : scopes) if (s.names.get(n) instanceof String mangled) return mangled;
            return n;
        }

        private void registers() {
            Token t = next();
            PtxType type = PtxType.of(t.text().substring(1));
            if (type == null) throw error(t, "unknown register type " + t);
            do {
                String n = next().text();
                if (accept("<")) {
                    scope().ranges.put(n, new int[]{(int) number(next()), type.ordinal()});
                    expect(">");
                } else scope().names.put(n, register(n, type));
            } while (accept(","));
            expect(";");
        }

        private Register register(String n, PtxType type) {
            var r = new Register(code.registers.size(), n, type);
            code.registers.add(r);
            return r;
        }

        private Object lookup(String n) {
            for (Scope s : scopes) {
                Object found = s.names.get(n);
                if (found != null && !(found instanceof String)) return found;
                if (n.startsWith("%")) {
                    int d = n.length();
                    while (d > 0 && Character.isDigit(n.charAt(d - 1))) d--;
                    if (d == n.length()) continue;
                    int[] range = s.ranges.get(n.substring(0, d));
                    if (range != null && Integer.parseInt(n.substring(d)) < range[0]) {
                        Register r = register(n, PtxType.values()[range[1]]);
                        s.names.put(n, r);
                        return r;
                    }
                }
            }
            PtxVariable v = variables.get(n);
            if (v != null && v.space() == StateSpace.SHARED) code.shared.add(v);
            return v != null ? v : functions.containsKey(n) ? functionAddress(n) : null;
        }

        private void instruction(Token t) {
            Operand.Reg guard = null;
            int line = t.line();
            if (t.is("@")) {
                boolean not = accept("!");
                Token p = next();
                if (!(lookup(p.text()) instanceof Register r) || r.type() != PtxType.PRED) throw error(p, "a guard is a predicate register, not " + p);
                guard = new Operand.Reg(r, not);
                t = next();
            }
            if (t.kind() != Kind.WORD || t.text().startsWith(".") || t.text().startsWith("%")) throw error(t, "expected an instruction, found " + t);
            Mnemonic mnemonic = mnemonics.computeIfAbsent(t.text(), Mnemonic::of);
            var operands = new ArrayList<Operand>();
            if (mnemonic.opcode.equals("call")) {
                operands.addAll(call());
            } else if (!peek().is(";")) {
                boolean jump = mnemonic.opcode.equals("bra") || mnemonic.opcode.equals("brx");
                do operands.add(jump && peek().kind() == Kind.WORD && !peek().text().startsWith("%") ? new Operand.Label(labelName(next().text())) : operand());
                while (accept(","));
            }
            expect(";");
            code.instructions.add(new Instruction(guard, mnemonic.opcode, mnemonic.modifiers, operands, line, source));
        }

        /** {@code (results), callee, (arguments), prototype}: as a vector, a label or register, a vector. */
        private List<Operand> call() {
            Operand results = new Operand.Vector(List.of()), arguments = results;
            if (peek().is("(")) { results = actuals(); expect(","); }
            Token t = peek();
            boolean pointer = t.text().startsWith("%");
            Operand callee = pointer ? single() : new Operand.Label(next().text());
            if (!pointer && t.kind() != Kind.WORD) throw error(t, "expected a function, found " + t);
            if (accept(",")) {
                if (peek().is("(")) arguments = actuals();
                if (peek().is(",")) next();
                if (!peek().is(";")) next();   // the prototype
            }
            return List.of(results, callee, arguments);
        }

        private Operand actuals() {
            var list = new ArrayList<Operand>();
            expect("(");
            while (!accept(")")) { list.add(single()); accept(","); }
            return new Operand.Vector(list);
        }

        private Operand operand() {
            Operand a = single();
            if (accept("|")) return new Operand.Pair(a, single());
            return a;
        }

        private Operand single() {
            Token t = peek();
            if (accept("{")) {
                var e = new ArrayList<Operand>();
                if (!accept("}")) {
                    do e.add(single()); while (accept(","));
                    expect("}");
                }
                return new Operand.Vector(List.copyOf(e));
            }
            if (accept("[")) {
                Operand base = single();
                long offset = 0;
                while (!accept("]")) {
                    Token sign = next();
                    if (!sign.is("+") && !sign.is("-")) throw error(sign, "the software GPU does not serve this address: found " + sign);
                    Operand.Immediate o = immediate();
                    offset += sign.is("-") ? -o.bits() : o.bits();
                }
                return new Operand.Address(base, offset);
            }
            if (accept("!")) {
                Token p = next();
                if (lookup(p.text()) instanceof Register r) return new Operand.Reg(r, true);
                throw error(p, "expected a predicate after '!', found " + p);
            }
            if (t.kind() == Kind.NUMBER || t.is("-") || t.is("+")) return immediate();
            if (t.kind() != Kind.WORD) throw error(t, "expected an operand, found " + t);
            next();
            if (t.is("_")) return new Operand.Sink();
            if (t.is("WARP_SZ")) return new Operand.Immediate(32, Operand.Immediate.Kind.INTEGER);
            Object o = lookup(t.text());
            if (o instanceof Register r) return new Operand.Reg(r, false);
            if (o instanceof PtxParam p) return new Operand.Param(p);
            if (o instanceof PtxVariable v) return new Operand.Symbol(v);
            if (SPECIAL.matcher(t.text()).matches()) return new Operand.Special(t.text());
            throw error(t, "unknown name " + t);
        }
    }

    // ---- literals and tokens

    private Operand.Immediate immediate() {
        boolean minus = false;
        while (peek().is("-") || peek().is("+")) minus ^= next().is("-");
        Token t = next();
        String s = t.text();
        if (t.kind() != Kind.NUMBER) throw error(t, "expected a number, found " + t);
        try {
            if (s.startsWith("0f") || s.startsWith("0F")) {
                int bits = Integer.parseUnsignedInt(s.substring(2), 16);
                return new Operand.Immediate((minus ? bits ^ 0x80000000 : bits) & 0xffffffffL, Operand.Immediate.Kind.SINGLE);
            }
            if (s.startsWith("0d") || s.startsWith("0D")) {
                long bits = Long.parseUnsignedLong(s.substring(2), 16);
                return new Operand.Immediate(minus ? bits ^ Long.MIN_VALUE : bits, Operand.Immediate.Kind.DOUBLE);
            }
            if (s.indexOf('.') >= 0) {
                double d = Double.parseDouble(s);
                return new Operand.Immediate(Double.doubleToRawLongBits(minus ? -d : d), Operand.Immediate.Kind.DOUBLE);
            }
            if (s.endsWith("U")) s = s.substring(0, s.length() - 1);
            long v = s.startsWith("0x") || s.startsWith("0X") ? Long.parseUnsignedLong(s.substring(2), 16)
                    : s.startsWith("0b") ? Long.parseUnsignedLong(s.substring(2), 2)
                    : s.length() > 1 && s.startsWith("0") ? Long.parseUnsignedLong(s, 8) : Long.parseUnsignedLong(s);
            return new Operand.Immediate(minus ? -v : v, Operand.Immediate.Kind.INTEGER);
        } catch (NumberFormatException e) {
            throw error(t, "not a number: " + t);
        }
    }

    private long number(Token t) {
        if (t.kind() != Kind.NUMBER) throw error(t, "expected a number, found " + t);
        at--;
        return immediate().bits();
    }

    private Token peek() { return tokens.get(at); }

    private Token next() { return tokens.get(at < tokens.size() - 1 ? at++ : at); }

    private boolean accept(String s) {
        if (!peek().is(s)) return false;
        at++;
        return true;
    }

    private void expect(String s) {
        if (!accept(s)) throw error(peek(), "expected '" + s + "', found " + peek());
    }

    private void skipTo(String s) {
        while (!peek().is(s)) if (next().kind() == Kind.END) throw error(peek(), "expected '" + s + "', found end of text");
        at++;
    }

    private void skipLine(Token first) {
        while (peek().kind() != Kind.END && peek().line() == first.line()) next();
    }

    private PtxException error(Token t, String problem) { return new PtxException(module, t.line(), problem); }
}
