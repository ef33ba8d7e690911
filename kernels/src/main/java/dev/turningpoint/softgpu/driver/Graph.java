package dev.turningpoint.softgpu.driver;

import java.util.List;

/** Captured commands in an order that keeps every dependency, with the dependencies. */
final class Graph {
    final Command[] nodes;
    /** Of each node the earlier ones that it directly waits for. */
    private final int[][] dependencies;

    private long[] handles;

    Graph(List<Command> nodes, List<int[]> dependencies) {
        this.nodes = nodes.toArray(Command[]::new);
        this.dependencies = dependencies.toArray(int[][]::new);
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
        final int[][] dependencies;

        Executable(Graph graph) {
            nodes = graph.nodes;
            dependencies = graph.dependencies;
        }
    }
}
