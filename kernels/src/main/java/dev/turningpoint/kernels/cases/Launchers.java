package dev.turningpoint.kernels.cases;

import dev.turningpoint.gpu.Device;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Function;

/** The launchers of the kernel families on one device, each opened when a case first needs it. For one thread at a time. */
public final class Launchers implements AutoCloseable {
    private final Device device;
    private final Map<Class<?>, AutoCloseable> open = new LinkedHashMap<>();

    public Launchers(Device device) {
        this.device = device;
    }

    <K extends AutoCloseable> K of(Class<K> launcher, Function<Device, K> constructor) {
        return launcher.cast(open.computeIfAbsent(launcher, _ -> constructor.apply(device)));
    }

    Device device() {
        return device;
    }

    @Override
    public void close() {
        for (AutoCloseable launcher : open.values()) {
            try {
                launcher.close();
            } catch (RuntimeException e) {
                throw e;
            } catch (Exception e) {
                throw new AssertionError("launchers close without checked exceptions", e);
            }
        }
        open.clear();
    }
}
