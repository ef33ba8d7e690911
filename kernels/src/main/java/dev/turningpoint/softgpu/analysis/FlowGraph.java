package dev.turningpoint.softgpu.analysis;

import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.PtxException;
import dev.turningpoint.softgpu.ptx.PtxKernel;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.Deque;
import java.util.List;
import java.util.TreeSet;

/** Basic blocks of a kernel in text order, with post-dominators and the order in which diverged lanes are served. */
public final class FlowGraph {
    /** Instructions {@code [start, end)}; the successor {@link FlowGraph#exit()} stands for leaving the kernel. */
    public record Block(int start, int end, List<Integer> successors) {}

    private final PtxKernel kernel;
    private final List<Block> blocks = new ArrayList<>();
    private int[] postDominator;
    private int[] position;
    private int[] atPosition;
    private boolean irreducible;

    public FlowGraph(PtxKernel kernel) {
        this.kernel = kernel;
        List<Instruction> code = kernel.instructions();
        int n = code.size();
        var starts = new TreeSet<Integer>(List.of(0));
        for (int at : kernel.labels().values()) if (at < n) starts.add(at);
        for (int i = 0; i + 1 < n; i++) if (isTerminator(code.get(i))) starts.add(i + 1);
        var list = new ArrayList<>(starts);
        int[] blockOf = new int[n + 1];
        for (int b = 0; b < list.size(); b++) for (int i = list.get(b); i < (b + 1 < list.size() ? list.get(b + 1) : n); i++) blockOf[i] = b;
        blockOf[n] = list.size();
        for (int b = 0; b < list.size(); b++) {
            int start = list.get(b), end = b + 1 < list.size() ? list.get(b + 1) : n;
            var next = new ArrayList<Integer>();
            Instruction t = end > start ? code.get(end - 1) : null;
            if (t != null && isTerminator(t)) {
                switch (t.opcode()) {
                    case "bra" -> next.add(blockOf[label(t, (Operand.Label) t.operand(0))]);
                    case "brx" -> { for (String l : table(t)) next.add(blockOf[label(t, new Operand.Label(l))]); }
                    case "trap" -> { }
                    default -> next.add(list.size());
                }
                if (t.guard() != null && !next.contains(b + 1)) next.add(b + 1);
            } else next.add(b + 1);
            blocks.add(new Block(start, end, List.copyOf(next)));
        }
        postDominators();
        schedule();
    }

    private int label(Instruction at, Operand.Label l) {
        Integer i = kernel.labels().get(l.name());
        if (i == null) throw new PtxException(kernel.module(), at.line(), "branch to unknown label " + l.name());
        return i;
    }

    /** Targets of {@code brx.idx}. */
    public List<String> table(Instruction brx) {
        String name = brx.operand(1) instanceof Operand.Label l ? l.name() : brx.operand(1).toString();
        List<String> t = kernel.branchTables().get(name);
        if (t == null) throw new PtxException(kernel.module(), brx.line(), "unknown branch table " + name);
        return t;
    }

    /** Block that begins at a label. */
    public int blockOf(String label) {
        int at = kernel.labels().get(label);
        for (int b = 0; b < blocks.size(); b++) if (blocks.get(b).start() == at) return b;
        return exit();
    }

    static boolean isTerminator(Instruction i) {
        return switch (i.opcode()) {
            case "bra", "brx", "ret", "exit" -> true;
            case "trap" -> i.guard() == null;
            default -> false;
        };
    }

    public List<Block> blocks() { return blocks; }
    public Block block(int b) { return blocks.get(b); }
    public int size() { return blocks.size(); }
    /** The virtual block after the last. */
    public int exit() { return blocks.size(); }
    public Instruction instruction(int i) { return kernel.instructions().get(i); }

    /** The instruction that ends the block by jumping, or null if it falls through. */
    public Instruction terminator(int b) {
        Block k = blocks.get(b);
        if (k.end() == k.start()) return null;
        Instruction t = instruction(k.end() - 1);
        return isTerminator(t) ? t : null;
    }

    /** Where the paths from a block meet again at the latest. */
    public int postDominator(int b) { return postDominator[b]; }
    /** Rank of a block: of all blocks with waiting lanes the one of least rank runs first. */
    public int position(int b) { return position[b]; }
    public int atPosition(int p) { return atPosition[p]; }
    /** A loop has several entries: no order keeps its lanes in step. */
    public boolean irreducible() { return irreducible; }

    private void postDominators() {
        int n = blocks.size();
        BitSet[] dom = new BitSet[n + 1];
        for (int b = 0; b <= n; b++) { dom[b] = new BitSet(); if (b < n) dom[b].set(0, n + 1); else dom[b].set(n); }
        for (boolean changed = true; changed; ) {
            changed = false;
            for (int b = n - 1; b >= 0; b--) {
                BitSet s = null;
                for (int x : blocks.get(b).successors()) { if (s == null) s = (BitSet) dom[x].clone(); else s.and(dom[x]); }
                if (s == null) s = (BitSet) dom[n].clone();
                s.set(b);
                if (!s.equals(dom[b])) { dom[b] = s; changed = true; }
            }
        }
        postDominator = new int[n];
        for (int b = 0; b < n; b++) {
            int size = dom[b].cardinality(), found = n;
            for (int c = dom[b].nextSetBit(0); c >= 0; c = dom[b].nextSetBit(c + 1)) if (c != b && dom[c].cardinality() == size - 1) found = c;
            postDominator[b] = found;   // an endless loop has none but the exit
        }
    }

    /**
     * Topological order with every loop in one piece and its header last in it: lanes that come round to the header wait for those still
     * in the body, lanes that have left wait for those still inside. So lanes of a loop are always in the same iteration.
     */
    private void schedule() {
        int n = blocks.size();
        position = new int[n + 1];
        atPosition = new int[n];
        var order = new ArrayList<Integer>();
        var all = new BitSet();
        all.set(0, n);
        schedule(all, order);
        for (int p = 0; p < n; p++) { position[order.get(p)] = p; atPosition[p] = order.get(p); }
        position[n] = n;
    }

    private void schedule(BitSet set, List<Integer> order) {
        for (BitSet component : components(set)) {
            int first = component.nextSetBit(0);
            if (component.cardinality() == 1) { order.add(first); continue; }
            var headers = new BitSet();
            if (component.get(0)) headers.set(0);
            for (int b = 0; b < blocks.size(); b++)
                if (!component.get(b)) for (int s : blocks.get(b).successors()) if (s < blocks.size() && component.get(s)) headers.set(s);
            // Within an outer loop whose header was taken out, edges from that header count as entries too: they come from outside this component.
            if (headers.cardinality() > 1) irreducible = true;
            int header = headers.isEmpty() ? first : headers.nextSetBit(0);
            var rest = (BitSet) component.clone();
            rest.clear(header);
            schedule(rest, order);
            order.add(header);
        }
    }

    /** Strongly connected components of the induced graph in topological order (Tarjan, without recursion). */
    private List<BitSet> components(BitSet set) {
        int n = blocks.size();
        int[] index = new int[n], low = new int[n];
        boolean[] on = new boolean[n];
        var out = new ArrayDeque<BitSet>();
        Deque<Integer> stack = new ArrayDeque<>();
        int counter = 0;
        for (int root = set.nextSetBit(0); root >= 0; root = set.nextSetBit(root + 1)) {
            if (index[root] != 0) continue;
            Deque<int[]> work = new ArrayDeque<>();
            index[root] = low[root] = ++counter;
            stack.push(root);
            on[root] = true;
            work.push(new int[]{root, 0});
            while (!work.isEmpty()) {
                int[] top = work.peek();
                int b = top[0];
                List<Integer> succ = blocks.get(b).successors();
                if (top[1] < succ.size()) {
                    int s = succ.get(top[1]++);
                    if (s >= n || !set.get(s)) continue;
                    if (index[s] == 0) {
                        index[s] = low[s] = ++counter;
                        stack.push(s);
                        on[s] = true;
                        work.push(new int[]{s, 0});
                    } else if (on[s]) low[b] = Math.min(low[b], index[s]);
                } else {
                    work.pop();
                    if (!work.isEmpty()) low[work.peek()[0]] = Math.min(low[work.peek()[0]], low[b]);
                    if (low[b] == index[b]) {
                        var c = new BitSet();
                        int x;
                        do { x = stack.pop(); on[x] = false; c.set(x); } while (x != b);
                        out.addFirst(c);
                    }
                }
            }
        }
        return new ArrayList<>(out);
    }
}
