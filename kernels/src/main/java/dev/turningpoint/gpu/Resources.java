package dev.turningpoint.gpu;

import java.util.ArrayDeque;

/**
 * What an object or a block of code has opened, closed last opened first. Everything is closed, whatever fails on the way.
 *
 * {@snippet :
 * Sampler(Device device) {
 *     try {
 *         stream = resources.add(device.newStream());
 *         memory = resources.add(device.allocate(bytes, "latents"));
 *     } catch (RuntimeException | Error e) {
 *         resources.closeAfter(e);   // nobody gets an object to close
 *         throw e;
 *     }
 * }
 * }
 */
public final class Resources implements AutoCloseable {

    private final ArrayDeque<AutoCloseable> open = new ArrayDeque<>();

    /** Closes {@code resource} before what was added so far. */
    public <T extends AutoCloseable> T add(T resource) {
        open.push(resource);
        return resource;
    }

    /** Closes everything because of {@code failure}; what fails meanwhile is suppressed in it. */
    public void closeAfter(Throwable failure) {
        while (!open.isEmpty()) {
            try {
                open.pop().close();
            } catch (Exception e) {
                if (e != failure) failure.addSuppressed(e);
            }
        }
    }

    /** Closes everything; a second call does nothing. The first failure is thrown at the end, later ones are suppressed in it. */
    @Override
    public void close() {
        while (!open.isEmpty()) {
            try {
                open.pop().close();
            } catch (RuntimeException e) {
                closeAfter(e);
                throw e;
            } catch (Exception e) {
                var failure = new IllegalStateException(e);
                closeAfter(failure);
                throw failure;
            }
        }
    }
}
