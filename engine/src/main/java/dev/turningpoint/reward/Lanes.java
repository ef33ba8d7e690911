package dev.turningpoint.reward;

import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.function.Supplier;

/** Buffers that one call at a time may use: as many as there are calls at the same time, used again by later ones. */
final class Lanes<T extends AutoCloseable> implements AutoCloseable {
    private final ConcurrentLinkedQueue<T> free = new ConcurrentLinkedQueue<>();
    private final Supplier<T> make;

    Lanes(Supplier<T> make) {
        this.make = make;
    }

    T take() {
        T lane = free.poll();
        return lane != null ? lane : make.get();
    }

    void giveBack(T lane) {
        free.add(lane);
    }

    /** Closes the lanes; none is in use any more. */
    @Override
    public void close() {
        for (T lane; (lane = free.poll()) != null; ) {
            try {
                lane.close();
            } catch (RuntimeException e) {
                throw e;
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        }
    }
}
