package dev.turningpoint.gpu;

import dev.turningpoint.bindings.cuda.Cuda;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Work captured by {@link Stream#capture}, launched as one. */
public final class Graph implements AutoCloseable {

    private final MemorySegment handle;
    private final long nodes;
    private boolean closed;

    private Graph(MemorySegment handle, long nodes) {
        this.handle = handle;
        this.nodes = nodes;
    }

    static Graph instantiate(MemorySegment graph, Arena arena) {
        MemorySegment count = arena.allocate(ValueLayout.JAVA_LONG), pointer = arena.allocate(ValueLayout.ADDRESS);
        check(Cuda.cuGraphGetNodes(graph, MemorySegment.NULL, count), "cuGraphGetNodes");
        long nodes = count.get(ValueLayout.JAVA_LONG, 0);
        check(Cuda.cuGraphInstantiateWithFlags(pointer, graph, 0), "cuGraphInstantiate(" + nodes + " nodes)");
        return new Graph(pointer.get(ValueLayout.ADDRESS, 0), nodes);
    }

    /** How many kernels, copies and fills it holds. */
    public long nodes() {
        return nodes;
    }

    /** Does all of it once, in the order of the stream. */
    public void launch(Stream stream) {
        if (closed) throw new IllegalStateException("the graph of " + nodes + " nodes is closed");
        check(Cuda.cuGraphLaunch(handle, stream.handle()), "cuGraphLaunch");
    }

    private static void check(int result, String call) {
        if (result != 0) throw GpuException.driver(result, call);
    }

    @Override
    public void close() {
        if (closed) return;
        closed = true;
        check(Cuda.cuGraphExecDestroy(handle), "cuGraphExecDestroy");
    }
}
