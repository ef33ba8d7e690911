package dev.turningpoint.softgpu.driver;

/**
 * Stands before every served call that returns a status, on the thread of the caller; the caller's own frames are on the stack. {@link Stubs#intercept} sets it.
 * For tests: to make calls fail, to count them, to find who makes them.
 */
@FunctionalInterface
public interface Interception {
    /**
     * @param function exported name of the call, as {@code cuMemAlloc_v2}
     * @return 0: the call is served; anything else is its result, and nothing is done. A code that a fault in a kernel would have poisons the context too
     */
    int before(String function);
}
