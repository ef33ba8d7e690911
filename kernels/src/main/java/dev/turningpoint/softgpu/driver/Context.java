package dev.turningpoint.softgpu.driver;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** The primary context of the one device: alive while retained; a fault in a kernel poisons it until it is reset. */
final class Context {
    /** What a thread has pushed; the last is current. */
    private static final ThreadLocal<List<Context>> STACK = ThreadLocal.withInitial(ArrayList::new);

    static volatile boolean initialised;
    private static Context primary;
    private static int retained;

    final long handle = Handles.add(this);
    final Set<StreamQueue> streams = ConcurrentHashMap.newKeySet();
    /** Allocations whose free waits in a stream. */
    final Set<Long> freeing = ConcurrentHashMap.newKeySet();
    private volatile StreamQueue legacy;
    private volatile Code fault;
    /** What the first fault was, for every call that it makes fail; written before it. */
    private String faultReason = "it was told to fail";
    private volatile boolean destroyed;

    private Context() {}

    static synchronized Context retain() {
        if (primary == null) primary = new Context();
        retained++;
        return primary;
    }

    static synchronized void release() {
        if (retained == 0) throw Code.INVALID_CONTEXT.error("the primary context is not retained");
        if (--retained == 0) reset();
    }

    /** Ends the primary context: streams finish, memory is freed. */
    static synchronized void reset() {
        Context c = primary;
        if (c == null) return;
        primary = null;
        c.destroyed = true;
        Capture.endAll(c);
        for (StreamQueue s : c.streams) s.close();
        for (StreamQueue s : c.streams) s.awaitEnd();
        Handles.remove(c.handle, Context.class);
        if (Memory.CHECKER != null) Memory.CHECKER.allocations().leaks().forEach(leak -> DriverLog.note(leak, true));
        String left = Handles.removeAll(o -> o instanceof StreamQueue || o instanceof Event || o instanceof LoadedModule || o instanceof Graph.Executable, o -> {
            if (o instanceof LoadedModule m) m.unload();
        });
        left += Handles.counted(Memory.DEVICE.freeAll(), "allocation") + Handles.counted(Memory.PINNED.freeAll(), "host allocation");
        if (!left.isEmpty()) DriverLog.note("the context ended with what was not given back: " + left.substring(2), Memory.CHECKER != null);
    }

    /** As if a kernel of the primary context had failed. */
    static synchronized void failPrimary(Code code) {
        if (primary != null && primary.fault == null) primary.fault = code;
    }

    static synchronized boolean active() {
        return primary != null;
    }

    // ---- the calling thread

    static Context currentOrNull() {
        List<Context> stack = STACK.get();
        return stack.isEmpty() ? null : stack.getLast();
    }

    static void setCurrent(Context c) {
        List<Context> stack = STACK.get();
        if (!stack.isEmpty()) stack.removeLast();
        if (c != null) stack.addLast(c);
    }

    static void push(Context c) {
        STACK.get().addLast(c);
    }

    static Context pop() {
        List<Context> stack = STACK.get();
        if (stack.isEmpty()) throw Code.INVALID_CONTEXT.error("no context is current");
        return stack.removeLast();
    }

    static void requireInitialised() {
        if (!initialised) throw Code.NOT_INITIALIZED.error("cuInit comes first");
        if (Thread.currentThread() instanceof ComputeThread t && t.inHostFunction) throw Code.NOT_PERMITTED.error("a host function may not call the driver");
    }

    /** For calls that need no current context, but fail in one that a kernel has poisoned. */
    static void requireSound() {
        requireInitialised();
        Context c = currentOrNull();
        if (c != null) c.requireNoFault();
    }

    /** The current context, fit for work. */
    static Context current() {
        requireInitialised();
        Context c = currentOrNull();
        if (c == null) throw Code.INVALID_CONTEXT.error("no context is current on this thread");
        if (c.destroyed) throw Code.CONTEXT_IS_DESTROYED.error("the current context was destroyed");
        c.requireNoFault();
        return c;
    }

    private void requireNoFault() {
        if (fault != null) throw fault.error("an earlier kernel failed; the context can only be reset: " + faultReason);
    }

    Code fault() { return fault; }

    void fail(Code code, String why) {
        synchronized (this) {
            if (fault == null) {
                faultReason = why;
                fault = code;
            }
        }
        DriverLog.note(why, true);
    }

    /** Stream of a handle; 0 and 1 are the legacy stream. */
    StreamQueue stream(long handle) {
        if (handle == 0 || handle == 1) return legacy();
        if (handle == 2) throw Code.NOT_SUPPORTED.error("the per-thread default stream");
        StreamQueue s = Handles.get(handle, StreamQueue.class);
        if (s.context != this) throw Code.INVALID_HANDLE.error("the stream belongs to another context");
        return s;
    }

    private StreamQueue legacy() {
        StreamQueue s = legacy;
        if (s != null) return s;
        synchronized (this) {
            if (legacy == null) legacy = new StreamQueue(this, true, true);
            return legacy;
        }
    }

    /** Null if it was never used. */
    StreamQueue legacyIfUsed() {
        return legacy;
    }

    void synchronizeAll() {
        for (StreamQueue s : streams) s.awaitAll();
    }

    /** Waits for what the legacy stream waits for. */
    void synchronizeBlocking(String call) {
        refuseLegacyDuringCapture(call);
        for (StreamQueue s : streams) if (s.blocking) s.awaitAll();
    }

    /** A capture of a stream that the legacy stream waits for; null if there is none. */
    Capture blockingCapture() {
        for (StreamQueue s : streams) {
            Capture c = s.capture;
            if (c != null && s.blocking) return c;
        }
        return null;
    }

    /** The legacy stream would wait for a stream that captures, which can never end. */
    void refuseLegacyDuringCapture(String call) {
        Capture c = blockingCapture();
        if (c == null) return;
        c.invalidate(call + " used the legacy stream during the capture");
        throw Code.STREAM_CAPTURE_IMPLICIT.error(call + " would wait for a stream that captures");
    }

    /** The context cannot be waited for while a stream of it captures, whatever the mode. */
    void refuseDuringCapture(String call) {
        for (StreamQueue s : streams) s.refuseDuringCapture(call);
    }
}
