package dev.turningpoint.embed;

import dev.turningpoint.gpu.Device;
import java.util.ArrayDeque;

/**
 * A device, and the sessions on it: where a service begins.
 *
 * {@snippet :
 * try (var engine = TurningPoint.open(); var sampler = engine.sampler(SamplerOptions.glyph())) {
 *     sampler.warmUp();
 *     SamplerCall call = sampler.newCall();
 *     call.submit(prompts, 42, 0, pixels);
 *     call.await();
 * }
 * }
 */
public final class TurningPoint implements AutoCloseable {
    private final Device device;
    private final ArrayDeque<Session> sessions = new ArrayDeque<>();
    private boolean closed;

    private TurningPoint(Device device) {
        this.device = device;
    }

    /** Opens the first device: the GPU where there is a driver, else the software GPU. @throws dev.turningpoint.gpu.GpuException if it does not start */
    public static TurningPoint open() {
        return open(0);
    }

    /** Opens a device. @param ordinal its number, from 0 */
    public static TurningPoint open(int ordinal) {
        return new TurningPoint(Device.open(ordinal));
    }

    /** What it is, for people. */
    public String device() {
        return device.toString();
    }

    /** Bytes of device memory that open sessions hold. */
    public long deviceBytes() {
        return device.allocated();
    }

    /**
     * Opens a session that samples: takes all its memory and reads its weights.
     *
     * @throws dev.turningpoint.gpu.GpuException if the device has not enough memory; nothing is held then
     */
    public synchronized SamplerSession sampler(SamplerOptions options) {
        requireOpen();
        return opened(new SamplerSession(device, options));
    }

    /** Opens a session that scores. @throws dev.turningpoint.reward.RewardException if the reward cannot be opened */
    public synchronized ScorerSession scorer(ScorerOptions options) {
        requireOpen();
        return opened(new ScorerSession(options));
    }

    private <T extends Session> T opened(T session) {
        sessions.removeIf(Session::isEnded);
        sessions.push(session);
        return session;
    }

    private void requireOpen() {
        if (closed) throw new IllegalStateException("the engine on " + device + " is closed");
    }

    /** Closes the sessions that are still open, last opened first, each as {@link Session#close} does, then the device. */
    @Override
    public synchronized void close() {
        if (closed) return;
        closed = true;
        for (Session session : sessions) session.close();
        device.close();
    }
}
