package dev.turningpoint.kernels;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Kernel;
import dev.turningpoint.gpu.Module;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;

/** The kernels of one {@code .cu} file, loaded from the PTX text beside this class. */
final class PtxModule implements AutoCloseable {
    private final Module module;

    PtxModule(Device device, String file) {
        module = device.load(file, text(file));
    }

    /** The kernel with exactly this entry name. A module of which a kernel cannot be had is of no use: it is closed. */
    Kernel kernel(String entry) {
        try {
            return module.kernel(entry);
        } catch (RuntimeException | Error e) {
            try {
                module.close();
            } catch (RuntimeException closing) {
                e.addSuppressed(closing);
            }
            throw e;
        }
    }

    /** The kernel {@code name} for both storage types. */
    Storages storages(String name) {
        return new Storages(kernel(name + "_f32"), kernel(name + "_bf16"));
    }

    @Override
    public void close() {
        module.close();
    }

    private static byte[] text(String file) {
        try (InputStream in = PtxModule.class.getResourceAsStream(file + ".ptx")) {
            if (in == null) {
                throw new IllegalStateException(file + ".ptx is not on the class path; kernels/build-ptx.sh makes it");
            }
            return in.readAllBytes();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** One kernel compiled for f32 and for bf16 storage. */
    record Storages(Kernel f32, Kernel bf16) {
        Kernel of(DType storage) {
            return switch (storage) {
                case F32 -> f32;
                case BF16 -> bf16;
                default -> throw new IllegalArgumentException("kernels store f32 or bf16, not " + storage);
            };
        }
    }
}
