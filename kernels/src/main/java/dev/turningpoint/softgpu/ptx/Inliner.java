package dev.turningpoint.softgpu.ptx;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * Makes a kernel of an entry and the functions it calls: each call is replaced by the function's body with registers, labels and local memory of its own, where
 * {@code ret} goes on behind the call. Arguments and results become registers, one for each piece that caller and callee store and load alike; where they take
 * different pieces, or an address, local memory. Recursion and calls through pointers have no such form: a kernel with one is not served.
 */
public final class Inliner {
    /** A kernel that grows beyond has calls in calls without measure. */
    private static final int MOST_INSTRUCTIONS = 1 << 18;

    private final String module;
    private final Map<String, Code> functions;
    private final Code entry;
    private final List<Register> registers = new ArrayList<>();
    private final List<Instruction> instructions = new ArrayList<>();
    private final Map<String, Integer> labels = new HashMap<>();
    private final Map<String, List<String>> tables = new HashMap<>();
    private final Set<PtxVariable> shared = new LinkedHashSet<>();
    private final Set<String> texts = new LinkedHashSet<>();
    private final Deque<Code> within = new ArrayDeque<>();
    private long local;
    private int calls;
    private PtxException unserved;

    Inliner(String module, Map<String, Code> functions, Code entry) {
        this.module = module;
        this.functions = functions;
        this.entry = entry;
    }

    PtxKernel kernel() {
        if (entry.instructions.stream().noneMatch(i -> i.is("call"))) asItStands();
        else new Body(entry, "", 0, Map.of()).emit();
        var offsets = new LinkedHashMap<String, Long>();
        long bytes = 0, dynamicAlign = 16;
        for (PtxVariable v : shared) {
            if (v.size() == 0) { dynamicAlign = Math.max(dynamicAlign, v.align()); continue; }
            long align = Math.max(v.align(), 16);
            bytes = (bytes + align - 1) / align * align;
            if (offsets.putIfAbsent(v.name(), bytes) == null) bytes += v.size();
        }
        boolean dynamic = shared.stream().anyMatch(v -> v.size() == 0);
        if (dynamic) bytes = (bytes + dynamicAlign - 1) / dynamicAlign * dynamicAlign;
        for (PtxVariable v : shared) if (v.size() == 0) offsets.put(v.name(), bytes);
        return new PtxKernel(module, entry.name, String.join("\n", texts), entry.params, entry.paramBytes, registers, instructions, labels, tables, offsets, bytes,
                local, entry.maxThreads, entry.maxRegisters, entry.requiredBlock, unserved);
    }

    /** Most entries call nothing, and a module has many: what the parser made of them is the kernel. */
    private void asItStands() {
        registers.addAll(entry.registers);
        instructions.addAll(entry.instructions);
        labels.putAll(entry.labels);
        tables.putAll(entry.tables);
        shared.addAll(entry.shared);
        texts.add(entry.text);
        local = entry.local;
        unserved = entry.unserved;
    }

    private void refuse(Instruction at, String why) {
        if (unserved == null) unserved = new PtxException(module, at.line(), "the software GPU does not serve " + why + " (kernel " + entry.name + ")");
    }

    /** Bytes {@code [offset, offset + bytes)} of a parameter. */
    private record Piece(long offset, int bytes) implements Comparable<Piece> {
        @Override public int compareTo(Piece p) { return offset != p.offset ? Long.compare(offset, p.offset) : Integer.compare(bytes, p.bytes); }
    }

    /** Where a parameter of a call lies: a register a piece, or in local memory. */
    private record Slot(Map<Piece, Register> pieces, PtxVariable memory) {}

    /** A body as it is put into the kernel: the entry's own, or a function's for one call. */
    private final class Body {
        private final Code code;
        private final String prefix;            // of labels
        private final Map<PtxVariable, Slot> slots = new IdentityHashMap<>();
        private final Register[] own;
        private final Map<PtxVariable, PtxVariable> locals = new IdentityHashMap<>();
        private final long base;                // of its local memory
        private long end;

        Body(Code code, String prefix, long base, Map<PtxVariable, Slot> given) {
            this.code = code;
            this.prefix = prefix;
            this.base = (base + 15) / 16 * 16;
            slots.putAll(given);
            own = new Register[code.registers.size()];
            for (Register r : code.registers) own[r.id()] = register(r.name(), r.type());
            end = this.base + code.local;
            shared.addAll(code.shared);
            texts.add(code.text);
            if (code.unserved != null && unserved == null) unserved = code.unserved;
            callSlots();
            local = Math.max(local, end);
        }

        /** A slot for each parameter that the body gives to a call or takes from one. */
        private void callSlots() {
            var pieces = new IdentityHashMap<PtxVariable, Set<Piece>>();
            for (Instruction i : code.instructions) accesses(i, pieces);
            for (Instruction i : code.instructions) {
                if (!i.is("call")) continue;
                Code callee = i.operand(1) instanceof Operand.Label l ? functions.get(l.name()) : null;
                if (callee == null) continue;
                var inside = new IdentityHashMap<PtxVariable, Set<Piece>>();
                for (Instruction k : callee.instructions) accesses(k, inside);
                pair(i.operand(0).elements(), callee.results, callee, inside, pieces);
                pair(i.operand(2).elements(), callee.formals, callee, inside, pieces);
            }
            pieces.forEach((v, all) -> { if (!slots.containsKey(v)) slots.put(v, slot(v, all)); });
        }

        private void pair(List<Operand> given, List<PtxVariable> formal, Code callee, Map<PtxVariable, Set<Piece>> inside, Map<PtxVariable, Set<Piece>> pieces) {
            for (int n = 0; n < Math.min(given.size(), formal.size()); n++) {
                PtxVariable f = formal.get(n);
                Set<Piece> taken = callee.text == null ? Set.of(new Piece(0, (int) f.size())) : inside.getOrDefault(f, Set.of());
                if (given.get(n) instanceof Operand.Symbol s) pieces.computeIfAbsent(s.variable(), v -> new TreeSet<>()).addAll(taken);
            }
        }

        private Slot slot(PtxVariable v, Set<Piece> pieces) {
            long last = 0;
            boolean apart = true;
            for (Piece p : pieces) {
                apart &= p.offset >= last && p.bytes <= 16;
                last = p.offset + p.bytes;
            }
            if (!apart) return new Slot(null, memory(v));
            var registers = new TreeMap<Piece, Register>();
            for (Piece p : pieces) registers.put(p, register(v.name(), bits(p.bytes)));
            return new Slot(registers, null);
        }

        private PtxVariable memory(PtxVariable v) {
            int align = Math.max(v.align(), 16);
            long at = (end + align - 1) / align * align;
            end = at + v.size();
            return new PtxVariable(v.name(), StateSpace.LOCAL, align, at, v.size(), null, List.of());
        }

        /** The pieces of call parameters that an instruction stores or loads; an address that is taken is no piece and overlaps all. */
        private void accesses(Instruction i, Map<PtxVariable, Set<Piece>> into) {
            if (i.is("call")) return;
            boolean moves = i.is("ld") || i.is("st");
            for (int n = 0; n < i.operands().size(); n++) {
                Operand o = i.operand(n);
                if (moves && o instanceof Operand.Address a && a.base() instanceof Operand.Symbol s && s.variable().space() == StateSpace.PARAM) {
                    int bytes = i.type().bytes(), count = i.operand(i.is("ld") ? 0 : 1).elements().size();
                    for (int k = 0; k < count; k++) into.computeIfAbsent(s.variable(), v -> new TreeSet<>()).add(new Piece(a.offset() + (long) k * bytes, bytes));
                } else if (o instanceof Operand.Symbol s && s.variable().space() == StateSpace.PARAM) {
                    Set<Piece> all = into.computeIfAbsent(s.variable(), v -> new TreeSet<>());
                    all.add(new Piece(0, Integer.MAX_VALUE));
                }
            }
        }

        // ---- instructions

        void emit() {
            within.push(code);
            String after = prefix + "return";
            List<Instruction> list = code.instructions;
            var at = new HashMap<Integer, List<String>>();
            code.labels.forEach((label, n) -> at.computeIfAbsent(n, k -> new ArrayList<>()).add(label));
            code.tables.forEach((name, targets) -> tables.put(prefix + name, targets.stream().map(l -> prefix + l).toList()));
            for (int n = 0; n <= list.size(); n++) {
                for (String label : at.getOrDefault(n, List.of())) labels.put(prefix + label, instructions.size());
                if (n == list.size() || unserved != null) continue;
                Instruction i = list.get(n);
                if (i.is("call")) call(i);
                else if (i.is("ret") && code != entry) {
                    if (n + 1 < list.size()) add(i, "bra", List.of(), new Operand.Label(after));
                } else if ((i.is("ld") || i.is("st")) && parameter(i)) continue;
                else instructions.add(new Instruction(guard(i), i.opcode(), i.is("cvta") ? local(i.modifiers()) : i.modifiers(), i.operands().stream().map(this::own).toList(), i.line(), i.source()));
            }
            if (code != entry) labels.put(after, instructions.size());
            if (instructions.size() > MOST_INSTRUCTIONS) refuse(list.getFirst(), "calls within calls that make more than " + MOST_INSTRUCTIONS + " instructions");
            within.pop();
        }

        private void add(Instruction i, String opcode, List<String> modifiers, Operand... operands) {
            instructions.add(new Instruction(guard(i), opcode, modifiers, List.of(operands), i.line(), i.source()));
        }

        private Operand.Reg guard(Instruction i) { return i.guard() == null ? null : new Operand.Reg(own[i.guard().register().id()], i.guard().negated()); }

        /** An operand of the text as one of the kernel. */
        private Operand own(Operand o) {
            return switch (o) {
                case Operand.Reg r -> new Operand.Reg(own[r.register().id()], r.negated());
                case Operand.Symbol s when s.variable().space() == StateSpace.LOCAL -> new Operand.Symbol(moved(s.variable()));
                case Operand.Symbol s when s.variable().space() == StateSpace.PARAM -> new Operand.Symbol(slots.get(s.variable()).memory);
                case Operand.Address a -> new Operand.Address(own(a.base()), a.offset());
                case Operand.Vector v -> new Operand.Vector(v.elements().stream().map(this::own).toList());
                case Operand.Pair p -> new Operand.Pair(own(p.first()), own(p.second()));
                case Operand.Label l -> new Operand.Label(prefix + l.name());
                default -> o;
            };
        }

        private PtxVariable moved(PtxVariable v) {
            return base == 0 ? v : locals.computeIfAbsent(v, k -> new PtxVariable(k.name(), k.space(), k.align(), k.offset() + base, k.size(), k.initial(), k.pointers()));
        }

        private List<String> local(List<String> modifiers) { return modifiers.stream().map(m -> m.startsWith("param") && code != entry ? "local" : m).toList(); }

        /** A load or store of a call's parameter as a move, or one of local memory; false if it is of something else. */
        private boolean parameter(Instruction i) {
            boolean load = i.is("ld");
            if (!(i.operand(load ? 1 : 0) instanceof Operand.Address a) || !(a.base() instanceof Operand.Symbol s) || s.variable().space() != StateSpace.PARAM) return false;
            Slot slot = slots.get(s.variable());
            Operand values = own(i.operand(load ? 0 : 1));
            PtxType t = i.type();
            if (slot.memory != null) {
                var place = new Operand.Address(new Operand.Symbol(slot.memory), a.offset());
                List<String> modifiers = i.modifiers().stream().map(m -> m.startsWith("param") ? "local" : m).toList();
                if (load) add(i, "ld", modifiers, values, place);
                else add(i, "st", modifiers, place, values);
                return true;
            }
            List<Operand> elements = values.elements();
            for (int n = 0; n < elements.size(); n++) {
                Operand piece = new Operand.Reg(slot.pieces.get(new Piece(a.offset() + (long) n * t.bytes(), t.bytes())), false);
                if (load) move(i, elements.get(n), piece, t);
                else move(i, piece, elements.get(n), t);
            }
            return true;
        }

        /** From or to a register of exactly the type's width; the other one may be wider. */
        private void move(Instruction i, Operand to, Operand from, PtxType t) {
            if (to instanceof Operand.Sink) return;
            PtxType d = ((Operand.Reg) to).register().type(), s = from instanceof Operand.Reg r ? r.register().type() : t.bytes() > 1 ? t : PtxType.U16;
            if (d.bytes() == s.bytes() && d.bytes() > 1) add(i, "mov", List.of(from instanceof Operand.Immediate ? name(t) : "b" + t.bits()), to, from);
            else add(i, "cvt", List.of((t.isSigned() ? "s" : "u") + d.bits(), (t.isSigned() ? "s" : "u") + s.bits()), to, from);
        }

        // ---- calls

        private void call(Instruction i) {
            if (!(i.operand(1) instanceof Operand.Label l)) { refuse(i, "calls through a pointer"); return; }
            Code callee = functions.get(l.name());
            if (callee == null) { refuse(i, "the call of " + l.name() + ", which is not in the module"); return; }
            if (within.contains(callee)) { refuse(i, "recursion: " + l.name() + " calls itself"); return; }
            List<Operand> results = i.operand(0).elements(), arguments = i.operand(2).elements();
            if (results.size() != callee.results.size() || arguments.size() != callee.formals.size()) {
                refuse(i, "a call of " + l.name() + " with " + arguments.size() + " arguments and " + results.size() + " results");
                return;
            }
            if (callee.text == null) { external(i, l, results, arguments, callee); return; }
            String around = prefix + l.name() + "#" + ++calls + ".";
            if (i.guard() != null) instructions.add(new Instruction(new Operand.Reg(guard(i).register(), !i.guard().negated()), "bra", List.of(), List.of(new Operand.Label(around + "return")), i.line(), i.source()));
            var given = new IdentityHashMap<PtxVariable, Slot>();
            for (int n = 0; n < arguments.size(); n++) given.put(callee.formals.get(n), passed(i, arguments.get(n), callee.formals.get(n)));
            for (int n = 0; n < results.size(); n++) given.put(callee.results.get(n), passed(i, results.get(n), callee.results.get(n)));
            new Body(callee, around, end, given).emit();
        }

        /** The slot of an argument or result; of a value that is given as such, a new one. */
        private Slot passed(Instruction i, Operand o, PtxVariable formal) {
            if (o instanceof Operand.Symbol s) return slots.get(s.variable());
            var whole = new Piece(0, (int) formal.size());
            Register r = register(formal.name(), bits(whole.bytes));
            move(i, new Operand.Reg(r, false), own(o), r.type());
            return new Slot(Map.of(whole, r), null);
        }

        /** A function without a body is the engines' business: the result or nothing, its name, the arguments. */
        private void external(Instruction i, Operand.Label name, List<Operand> results, List<Operand> arguments, Code callee) {
            var operands = new ArrayList<Operand>();
            operands.add(results.isEmpty() ? new Operand.Sink() : whole(i, results.getFirst(), callee.results.getFirst()));
            operands.add(name);
            for (int n = 0; n < arguments.size(); n++) operands.add(whole(i, arguments.get(n), callee.formals.get(n)));
            instructions.add(new Instruction(guard(i), "call", List.of(), operands, i.line(), i.source()));
        }

        private Operand whole(Instruction i, Operand o, PtxVariable formal) {
            if (!(o instanceof Operand.Symbol s)) return own(o);
            Slot slot = slots.get(s.variable());
            Register r = slot.pieces == null ? null : slot.pieces.get(new Piece(0, (int) formal.size()));
            if (r == null) { refuse(i, "a call of a function without a body with arguments in pieces"); return new Operand.Sink(); }
            return new Operand.Reg(r, false);
        }
    }

    private Register register(String name, PtxType type) {
        var r = new Register(registers.size(), name, type);
        registers.add(r);
        return r;
    }

    private static PtxType bits(int bytes) {
        return switch (bytes) { case 1 -> PtxType.B8; case 2 -> PtxType.B16; case 4 -> PtxType.B32; case 8 -> PtxType.B64; default -> PtxType.B128; };
    }

    private static String name(PtxType t) { return t.name().toLowerCase(java.util.Locale.ROOT); }
}
