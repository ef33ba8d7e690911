package dev.turningpoint.softgpu.system;

/** One of the functions, done for one thread. */
public enum SystemCall {
    VPRINTF("vprintf", 2), ASSERTFAIL("__assertfail", 5), MALLOC("malloc", 1), FREE("free", 1);

    /** How a call ends. */
    public enum End { DONE, ASSERTION, NO_BLOCK }

    /** The calling thread, for messages. */
    public record Caller(int blockX, int blockY, int blockZ, int threadX, int threadY, int threadZ) {}

    private final String function;
    private final int arguments;

    SystemCall(String function, int arguments) {
        this.function = function;
        this.arguments = arguments;
    }

    /** Its name in PTX. */
    public String function() { return function; }
    public int arguments() { return arguments; }

    /** Null if the function is none of them. */
    public static SystemCall of(String function) {
        for (SystemCall c : values()) if (c.function.equals(function)) return c;
        return null;
    }

    /**
     * Does it. Text of {@code vprintf} is written at once, each call in one piece; CUDA keeps it until the host synchronises.
     *
     * @param a the arguments as in C, narrow ones with any bits above; {@code a[0]} receives the result
     */
    public End call(long[] a, Caller caller) {
        switch (this) {
            case VPRINTF -> {
                if (a[0] == 0) { a[0] = -1; return End.DONE; }
                var p = new Printf(a[0], a[1]);
                byte[] text = p.text();
                System.out.write(text, 0, text.length);
                System.out.flush();
                a[0] = p.arguments();
            }
            case ASSERTFAIL -> {
                System.err.printf("%s:%d: %s: block: [%d,%d,%d], thread: [%d,%d,%d] Assertion `%s` failed.%n", text(a[1]), (int) a[2], text(a[3]),
                        caller.blockX, caller.blockY, caller.blockZ, caller.threadX, caller.threadY, caller.threadZ, text(a[0]));
                return End.ASSERTION;
            }
            case MALLOC -> a[0] = Heap.allocate(a[0]);
            case FREE -> { return Heap.free(a[0]) ? End.DONE : End.NO_BLOCK; }
        }
        return End.DONE;
    }

    private static String text(long address) { return address == 0 ? "" : new String(Printf.bytes(address), java.nio.charset.StandardCharsets.UTF_8); }
}
