package dev.turningpoint.softgpu.driver;

import java.util.List;

/** Captured commands in an order that keeps every dependency. */
final class Graph {
    final Command[] nodes;

    private long[] handles;

    Graph(List<Command> nodes) {
        this.nodes = nodes.toArray(Command[]::new);
    }

    /** Handle of a node, for those who look into the graph. */
    synchronized long handle(int node) {
        if (handles == null) handles = new long[nodes.length];
        if (handles[node] == 0) handles[node] = Handles.add(nodes[node]);
        return handles[node];
    }

    synchronized void forgetHandles() {
        if (handles != null) for (long h : handles) if (h != 0) Handles.remove(h, Command.class);
        handles = null;
    }

    /** An instantiated graph: the commands never change, so any number of launches may run at once. */
    static final class Executable {
        final Command[] nodes;

        Executable(Graph graph) {
            nodes = graph.nodes;
        }
    }
}
